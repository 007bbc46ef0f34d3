"""One process a run directory: a lock that the operating system releases however the process ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from eigensweep.engine.run.errors import RunError


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory/.lock` for the body.

    Raises:
      RunError: if another process holds it, or the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = open(directory / ".lock", "a")  # noqa: SIM115 (closed in the finally below)
    except OSError as error:
        raise RunError(f"{directory}: cannot be written: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"{directory}: another process is working there") from error
        except OSError as error:
            raise RunError(f"{directory}: cannot be locked: {error.strerror or error}") from error
        yield
    finally:
        file.close()
