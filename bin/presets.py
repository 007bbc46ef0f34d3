"""The presets that `--config` names: those that come with eigensweep, and Python files with a `get_config()`."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigensweep import configs
from eigensweep.models.errors import InputError

if TYPE_CHECKING:
    from eigensweep.engine.run.options import Options


PRESETS = Path(next(iter(configs.__path__)))


class UserError(InputError):
    """Wrong use, or bad input from outside; the message is all that the user gets to see."""


def preset_paths() -> dict[str, Path]:
    """Name -> file of the presets that come with eigensweep: those of models, then those of the sources' figures."""
    paths = [*sorted(PRESETS.glob("*.py")), *sorted(PRESETS.glob("figures/*.py"))]
    return {path.stem: path for path in paths if not path.stem.startswith("__")}


def preset_values(name: str, options: type["Options"]) -> dict[str, Any]:
    """The values of `--config`; {} where it is not given. What stands in for its model and data is under `small`.

    Raises:
      UserError: there is no such preset, or it is another command's.
    """
    if not name:
        return {}
    values = _values(name)
    command = values.pop("command", None)
    if command is not None and command != options.COMMAND:
        raise UserError(f"--config={name}: is a preset of eigensweep-{command}, not of eigensweep-{options.COMMAND}")
    for key in [key for key in values if key in options.ALIASES]:
        print(f"warning: the key {key} is called {options.ALIASES[key]} now", file=sys.stderr)
        values[options.ALIASES[key]] = values.pop(key)
    return values


def _values(name: str) -> dict[str, Any]:
    """What the preset or file `name` holds; the file is executed.

    Raises:
      UserError: there is none, or it cannot be executed.
    """
    known = preset_paths()
    path = known.get(name, Path(name))
    if path.suffix != ".py" or not path.is_file():
        from eigensweep.engine.report.style import near

        raise UserError(f"--config={name}: neither a preset (--help lists them) nor a file{near(name, list(known))}")
    spec = importlib.util.spec_from_file_location("eigensweep_preset", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return dict(module.get_config())
    except Exception as error:  # the file is the user's program: whatever it raises, the message must name it
        raise UserError(f"--config={name}: {type(error).__name__}: {error}") from error
