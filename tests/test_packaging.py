"""The wheel holds every folder of code, and importing is quick."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_every_folder_with_code_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    on_disk = {
        "eigensweep." + ".".join(file.relative_to(ROOT).parts[:-1])
        for room in ("engine", "models", "bin", "configs")
        for file in (ROOT / room).rglob("*.py")
    }
    assert listed == on_disk


def test_console_scripts_exist():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for target in scripts.values():
        module, function = target.split(":")
        path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert f"def {function}(" in path.read_text(), target


@pytest.mark.parametrize("module", ["bin.sweep", "engine"])
def test_importing_brings_nothing_heavy(module):
    """transformers, torch, matplotlib, pandas, orbax and flax are imported where they are used."""
    code = f"import sys, eigensweep.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"transformers", "torch", "matplotlib", "pandas", "orbax", "flax"}
    assert not heavy.intersection(loaded)
    assert f"eigensweep.{module}" in loaded
