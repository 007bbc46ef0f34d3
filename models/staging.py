"""Writing a folder whole or not at all, and in runs that fit into memory."""

import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import filelock

from eigensweep.models.errors import CheckpointError

_LOCK = ".lock"
_SECONDS = 60.0  # between making a folder and holding its lock

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
def staged(out: str | Path, nbytes: int = 0) -> Iterator[Path]:
    """A path beside `out` to write a folder at; it becomes `out` if the block ends well, and is removed if not.

    What a killed process began for the same `out` is removed.

    Args:
      out: a folder that does not exist yet, or is empty.
      nbytes: before compression; a disk with less than half of that is refused at once.

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
        _remove_stale(out)
        if (free := shutil.disk_usage(out.parent).free) < nbytes // 2:
            raise CheckpointError(
                f"{out}: cannot be written: {nbytes / 2**20:,.0f} MiB are to go there, {free / 2**20:,.0f} MiB are free"
            )
        # Inside a folder of its own, so that what other libraries leave beside the path goes, too.
        stage = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
    except OSError as e:
        raise CheckpointError(f"{out}: cannot be written: {e.strerror or e}") from e
    try:
        with filelock.FileLock(stage / _LOCK):
            yield stage / out.name
            (stage / out.name).rename(out)
    except OSError as e:
        raise CheckpointError(f"{out}: cannot be written: {e.strerror or e}") from e
    except ValueError as e:
        if not (code := re.search(r"os_error_code='(\d+)'", str(e))):
            raise
        raise CheckpointError(f"{out}: cannot be written: {os.strerror(int(code[1]))}") from e  # tensorstore's
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def check_writable(out: str | Path) -> None:
    """Could `staged` write a folder here? The folders above it are made.

    Raises:
      CheckpointError: it could not, with the reason.
    """

    class Tried(Exception):
        pass

    with suppress(Tried), staged(out):
        raise Tried


def _prefix(out: Path) -> str:
    return f".{out.name}.staged-"


def _remove_stale(out: Path) -> None:
    """What nobody writes at any more: the lock in it died with its process."""
    for stage in out.parent.glob(f"{glob.escape(_prefix(out))}*"):
        lock = filelock.FileLock(stage / _LOCK, blocking=False)
        try:
            if not (stage / _LOCK).exists() and time.time() - stage.stat().st_mtime < _SECONDS:
                continue  # it has just been made
            with lock:
                shutil.rmtree(stage, ignore_errors=True)
        except (OSError, filelock.Timeout):
            continue  # another process is at work there
