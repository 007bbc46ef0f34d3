"""The wheel holds every folder of code, dependencies are declared and imported, and importing is quick."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("engine", "models", "bin", "configs")
INSTALLED = {"diffract": ["diffract-core"]} | packages_distributions()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def normal(name):
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def names_of(requirements):
    return {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def imported(file):
    """The third-party modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "find_spec")):
            found |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    tops = {name.partition(".")[0] for name in found}
    return {top for top in tops if top.isidentifier() and top not in {"eigensweep", *sys.stdlib_module_names}}


@pytest.fixture(scope="module")
def imports():
    """Third-party module -> the files that import it."""
    found = {}
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            for module in imported(file):
                found.setdefault(module, set()).add(file.relative_to(ROOT).as_posix())
    return found


def distributions(module):
    """What brings a module; it is called like it where it is not installed."""
    return {normal(name) for name in INSTALLED.get(module, [module])}


def test_every_folder_with_code_is_listed():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    on_disk = {
        ("eigensweep." + ".".join(file.relative_to(ROOT).parts[:-1])).replace("eigensweep.engine.front", "eigensweep")
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
    }
    assert listed == on_disk


def test_console_scripts_exist():
    for target in PROJECT["project"]["scripts"].values():
        module, function = target.split(":")
        path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert re.search(rf"^(def {function}\(|{function} = )", path.read_text(), re.MULTILINE), target


def test_every_import_is_declared(imports):
    """As a dependency, or in an extra where only that serves; two are asked for by name when a file needs them."""
    required = names_of(PROJECT["project"]["dependencies"])
    extras = {
        "bin/suites/": names_of(PROJECT["project"]["optional-dependencies"]["bench"]),
        "configs/minilm.py": names_of(PROJECT["project"]["optional-dependencies"]["demo"]),
        "models/sources/arrays.py": {"torch"},
        "models/sources/torch_file.py": {"torch"},
        "models/data/images.py": names_of(PROJECT["project"]["optional-dependencies"]["demo"]),
        "models/data/text.py": {"datasets"},
        "models/sources/gguf_file.py": names_of(PROJECT["project"]["optional-dependencies"]["gguf"]),
        "engine/studies/labels/endpoint.py": names_of(PROJECT["project"]["optional-dependencies"]["label"]),
    }
    undeclared = []
    for module, files in imports.items():
        for file in files:
            declared = required.union(*(names for place, names in extras.items() if file.startswith(place)))
            if not declared & distributions(module):
                undeclared.append(f"{file}: {module}")
    assert not undeclared


def test_every_dependency_is_imported(imports):
    brought = set().union(*map(distributions, imports))
    assert not names_of(PROJECT["project"]["dependencies"]) - brought


@pytest.mark.parametrize("module", ["bin.sweep", "engine"])
def test_importing_brings_nothing_heavy(module):
    """Large packages, and those of SciPy that a sweep needs nothing of, are imported where they are used."""
    code = f"import sys, eigensweep.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.split()
    heavy = {
        "transformers",
        "torch",
        "matplotlib",
        "pandas",
        "orbax",
        "flax",
        "scipy.optimize",
        "scipy.linalg",
        "scipy.stats",
    }
    assert not heavy.intersection(loaded)
    assert f"eigensweep.{module}" in loaded
