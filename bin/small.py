"""`--config.small=True`: a preset on tiny stand-ins for its model and data, in seconds and without a network.

A preset that can do so has a key `small`, a mapping: `checkpoint` (or `checkpoints`) and `data` are kinds of stand-ins
(models/stand_ins.py), everything else are options that take the place of the preset's own. What is made goes to
WORKDIR/small, and is the same whenever it is made.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from eigensweep.bin.runner import SMALL, UserError


def small_values(name: str, values: Mapping[str, Any], small: Mapping[str, Any] | None, workdir: str) -> dict[str, Any]:
    """The values of a preset with its stand-ins, which are written to `workdir`/small unless they are there.

    Args:
      name: of the preset; "" where none was given.
      values: its own.
      small: what it says of its stand-ins; None: nothing.
      workdir: the run directory.

    Raises:
      UserError: there is no preset, no stand-in or no workdir.
      CheckpointError: a stand-in cannot be written.
    """
    if not name:
        raise UserError("--config.small=True makes a preset small: give --config=NAME, too")
    if small is None:
        raise UserError(f"--config={name}: has no small stand-in; the presets of figures have one")
    if not workdir:
        raise UserError("no --workdir given: where should the stand-ins and the tables go?")
    from eigensweep.models.stand_ins import write_data, write_model

    makers: dict[str, Callable[[str, Path], str]] = {
        "checkpoint": write_model, "checkpoints": write_model, "data": write_data,
    }  # fmt: skip
    folder = Path(workdir, SMALL)
    made = {key: makers[key](value, folder) if key in makers else value for key, value in small.items()}
    return {**values, **made}
