"""Writing a folder whole or not at all, and in runs that fit into memory."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from eigensweep.models.errors import CheckpointError

T = TypeVar("T")


def runs(items: Iterable[T], nbytes: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Consecutive items in lists of at most `limit` bytes; an item that is larger comes alone.

    >>> list(runs([2, 2, 9, 1], lambda item: item, 4))
    [[2, 2], [9], [1]]
    """
    run: list[T] = []
    size = 0
    for item in items:
        size += nbytes(item)
        if run and size > limit:
            yield run
            run, size = [], nbytes(item)
        run.append(item)
    if run:
        yield run


@contextmanager
def staged(out: str | Path) -> Iterator[Path]:
    """A path beside `out` to write a folder at; it becomes `out` if the block ends well, and is removed if not.

    Args:
      out: a folder that does not exist yet, or is empty.

    Raises:
      CheckpointError: `out` is occupied, or something cannot be written (no permission, disk full).
    """
    out = Path(out).expanduser().absolute()
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out}: exists and is no folder; nothing was written")
    try:
        if out.is_dir() and any(out.iterdir()):
            raise CheckpointError(f"{out}: exists and is not empty; nothing was written")
        out.parent.mkdir(parents=True, exist_ok=True)
        # Inside a folder of its own, so that what other libraries leave beside the path goes, too.
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as e:
        raise CheckpointError(f"{out}: cannot be written: {e.strerror or e}") from e
    try:
        yield stage / out.name
        (stage / out.name).rename(out)
    except OSError as e:
        raise CheckpointError(f"{out}: cannot be written: {e.strerror or e}") from e
    finally:
        shutil.rmtree(stage, ignore_errors=True)
