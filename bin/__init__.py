"""Entry points. Ctrl-C while they still import what they need, before their runner listens, is one line as well."""

import sys
from types import TracebackType

_elsewhere = sys.excepthook


def _interrupted(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        _elsewhere(kind, error, traceback)


sys.excepthook = _interrupted
