"""What an entry point says, whatever listens: an ASCII terminal, a full disk, a pipe that closes early, Ctrl-C."""

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

_PLAIN = {"×": "x", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "’": "'", "≤": "<=", "≥": ">=", "·": "*"}
_ERRORS = "eigensweep.plain"


def _plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Characters that the terminal has not, in ASCII where that is read as well, else escaped."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing), error.end


codecs.register_error(_ERRORS, _plainly)


class _UnheardError(Exception):
    """Standard output could not be written; carries the OSError, which from elsewhere would be a defect of ours."""

    def __init__(self, error: OSError):
        super().__init__(str(error))
        self.error = error


class _Listened:
    """Standard output whose failures are told from those of other files."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            raise _UnheardError(error) from error

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            raise _UnheardError(error) from error


@contextlib.contextmanager
def heard() -> Iterator[None]:
    """Around a whole entry point: nothing said makes it fail, and what nobody can hear ends it in one line.

    Standard output that cannot be written ends with status 2; a reader that went away with 141, as SIGPIPE does, and
    without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=_ERRORS)
    original = sys.stdout
    if original is None:  # closed: print says nothing then
        yield
        return
    sys.stdout = cast(TextIO, _Listened(original))
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except _UnheardError as unheard:
        # What is left goes nowhere: at the exit of the process it would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), original.fileno())
        if isinstance(unheard.error, BrokenPipeError):
            sys.exit(141)
        say_error(f"standard output cannot be written: {unheard.error.strerror}")
        sys.exit(2)
    finally:
        sys.stdout = original


def say_error(text: str) -> None:
    """An error on standard error, if there is one, after all that was said on standard output."""
    if sys.stdout is not None:
        with contextlib.suppress(OSError, _UnheardError):
            sys.stdout.flush()
    with contextlib.suppress(OSError):
        print(f"error: {text}", file=sys.stderr, flush=True)
