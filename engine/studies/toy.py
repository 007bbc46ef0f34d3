"""What the models of learning have in common: the base of their options, and how the command runs one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from eigensweep.engine.run.options import LARGEST, Options, option
from eigensweep.engine.run.progress import OnProgress
from eigensweep.engine.tables.result import Result


@dataclass(frozen=True)
class ToyOptions(Options):
    """Options of every model of learning; a model's own class adds its own."""

    COMMAND: ClassVar[str] = "toy"

    seed: int = option(0, "root of every random number", least=0, most=LARGEST)


class Toy(NamedTuple):
    """A model of learning, as `eigensweep-toy` runs it.

    Attributes:
      options: the class of its options, from which the command's flags follow.
      run: (options, workdir, on_progress) -> the finished study; continues what is unfinished in `workdir`.
      render: its summary on the terminal.
    """

    options: type[ToyOptions]
    run: Callable[[Any, str | Path, OnProgress], Result]
    render: Callable[[Any], str]
