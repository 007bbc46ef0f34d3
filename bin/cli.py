"""What every entry point shares: absl's `app.run` with one-line errors, exit status 2 and a useful help."""

import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from eigensweep.models.errors import InputError

_HELP = {"--help", "-help", "-h", "--helpshort", "-?"}


class UserError(InputError):
    """Wrong use, or bad input from outside; the message is all that the user gets to see."""


def _fail(message: object) -> NoReturn:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def _flags_parser(module: str) -> Callable[[list[str]], list[str]]:
    """A parser for absl's `app.run`: module's own help on `--help`, status 2 on bad or stray arguments."""

    def parse(argv: list[str]) -> list[str]:
        if _HELP.intersection(argv[1:]):
            print((sys.modules[module].__doc__ or "").strip(), "\n\nflags:")
            print(flags.FLAGS.module_help(sys.modules[module]))
            sys.exit(0)
        try:
            name, *stray = flags.FLAGS(argv)
        except flags.Error as e:
            _fail(f"{e}; see --help")
        if stray:
            _fail(f"unexpected arguments {' '.join(stray)}; see --help")
        if flags.FLAGS["verbosity"].using_default_value:
            # absl would raise it to INFO, at which libraries log every file they touch.
            flags.FLAGS["verbosity"].value = logging.WARNING
            flags.FLAGS["verbosity"].using_default_value = False
        return [name]

    return parse


def run_main(main: Callable[[list[str]], None]) -> None:
    """Parses the flags, runs `main(argv)` under absl and exits.

    Args:
      main: what absl's `app.run` takes, in the module that defines the entry point's flags.

    An InputError (CheckpointError, DataError, UserError, …), and a flag that cannot be parsed, end as
    `error: <message>` on stderr with exit status 2; Ctrl-C ends with 130. Any other exception is a defect of ours and
    keeps its traceback.
    """

    def guarded(argv: list[str]) -> None:
        try:
            main(argv)
        except (InputError, app.UsageError, flags.Error) as e:
            _fail(e)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    flags.FLAGS.set_default("verbosity", -1)  # warnings; at INFO, JAX tells of every backend it did not find
    # absl knows flags by the name of the running script, which is __main__ only under `python -m`.
    app.run(guarded, flags_parser=_flags_parser(main.__module__))
