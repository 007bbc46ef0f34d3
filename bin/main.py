"""eigensweep: every weight matrix of a transformer against random matrix theory.

eigensweep COMMAND [--flag=value ...]        the same as eigensweep-COMMAND
eigensweep COMMAND --help
eigensweep --version
"""

import importlib
import sys

from eigensweep.bin.commands import COMMANDS
from eigensweep.bin.help import version_line
from eigensweep.bin.output import heard, say_error


def run() -> None:
    """The console script `eigensweep`: hands over to the command that its first argument names."""
    with heard():
        _run()


def _run() -> None:
    command, *rest = sys.argv[1:] or ["--help"]
    if command in ("--help", "-help", "-h", "help"):
        width = max(map(len, COMMANDS))
        print((__doc__ or "").strip(), "", "commands:", sep="\n")
        print(*(f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()), sep="\n")
    elif command in ("--version", "version"):
        print(version_line())
    elif command not in COMMANDS:
        from eigensweep.engine.report.style import near

        say_error(f"{command!r} is no command{near(command, COMMANDS)}; see eigensweep --help")
        sys.exit(2)
    else:
        sys.argv = [f"eigensweep-{command}", *rest]
        importlib.import_module(f"eigensweep.bin.{command}").run()


if __name__ == "__main__":
    run()
