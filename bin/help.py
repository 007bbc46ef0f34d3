"""What `--help` and `--version` print."""

import ast
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from absl import flags

from eigensweep.bin.presets import preset_paths

if TYPE_CHECKING:
    from eigensweep.engine.run.options import Options

_WIDTH = 100
_SMALL = (
    "With --config.small=True a preset of a figure runs in seconds and without a network, on a tiny model of the same "
    "architecture, which it writes to WORKDIR/small."
)


def version_line() -> str:
    """Name and version."""
    from importlib.metadata import version

    return f"eigensweep {version('eigensweep')}"


def help_text(module: str, options: "type[Options] | None") -> str:
    """The help of the entry point in `module`: its docstring, its flags, its options and the presets that fit."""
    parts = [(sys.modules[module].__doc__ or "").strip(), "", "flags:"]
    for home in dict.fromkeys((module, sys.argv[0], "eigensweep.bin.runner")):  # absl calls __main__ by its file
        own = flags.FLAGS.flags_by_module_dict().get(home, [])
        parts += [line for flag in own if "." not in flag.name for line in _entry(f"--{flag.name}", *_of_flag(flag))]
    if options is not None:
        kinds = get_type_hints(options)
        parts += ["", "options, each as --config.KEY=VALUE:"]
        for key, field in options.by_name().items():
            what = [field.metadata["help"]]
            if words := field.metadata["choices"]:
                what.append(f"one of {', '.join(word or repr('') for word in words)}")
            parts += _entry(key, "; ".join(what), _default(field.default), getattr(kinds[key], "__name__", ""))
        fitting = [(name, doc) for name, path in preset_paths().items() if (doc := _preset(path, options.COMMAND))]
        parts += ["", "presets, each as --config=NAME:", *(x for name, doc in fitting for x in _entry(name, doc))]
        parts += _wrapped(_SMALL) if fitting else []
    return "\n".join(parts)


def _of_flag(flag: flags.Flag) -> tuple[str, str]:
    return str(flag.help or ""), _default(flag.default)


def _default(value: Any) -> str:
    """A default as the user would write it; "" where there is none."""
    if isinstance(value, tuple | list):
        value = ",".join(map(str, value))
    return "" if value is None or value == "" else str(value).lower() if isinstance(value, bool) else str(value)


def _entry(name: str, what: str, default: str = "", kind: str = "") -> Iterator[str]:
    """A name, and beside it what it means, wrapped; its default at the end."""
    said = ", ".join(
        (*((kind,) if kind in ("int", "float", "bool") else ()), *((f"default {default}",) if default else ()))
    )
    text = f"{what.rstrip('.')} ({said})" if said else what
    lines = textwrap.wrap(text, _WIDTH - 26, break_long_words=False, break_on_hyphens=False) or [""]
    if len(name) > 22:
        yield f"  {name}"
    else:
        yield f"  {name:<22}  {lines.pop(0)}"
    yield from (f"{'':26}{line}" for line in lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _preset(path: Path, command: str) -> str:
    """The first line of a preset's docstring, if it is one of `command`'s; nothing of it is executed."""
    tree = ast.parse(path.read_text())
    pairs = [
        pair
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for pair in zip(node.keys, node.values, strict=True)
    ]
    found = [
        v.value
        for k, v in pairs
        if isinstance(k, ast.Constant) and k.value == "command" and isinstance(v, ast.Constant)
    ]
    return (ast.get_docstring(tree) or "").split("\n")[0] if command in found else ""
