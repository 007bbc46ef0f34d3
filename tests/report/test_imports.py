"""The report knows no study: what it imports, directly or by way of other modules, followed in the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = ("eigensweep.engine.report.", "eigensweep.engine.tables.", "eigensweep.engine.spectral.")


def file_of(module):
    """The source file of a module of eigensweep; None for a name within a module."""
    stem = ROOT.joinpath(*module.split(".")[1:])
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def imports(path):
    """The modules of eigensweep that a file names anywhere, also within functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.startswith("eigensweep.") and file_of(name))


def reached(path):
    """All that `path` imports, and what those import, and so on; packages' own `__init__` are gone through, too."""
    found, waiting = set(), [path]
    while waiting:
        new = set(imports(waiting.pop())) - found
        found |= new
        waiting += map(file_of, new)
    return found


def test_imports_are_found():
    """The check below sees what there is to see."""
    sweep = reached(ROOT / "engine" / "studies" / "sweep" / "study.py")
    assert {"eigensweep.engine.run.stream", "eigensweep.engine.spectral.ks"} <= sweep
    overlap = reached(ROOT / "engine" / "studies" / "overlap" / "__init__.py")
    assert {"eigensweep.models", "eigensweep.engine.studies.sweep.study"} <= overlap


@pytest.mark.parametrize("path", sorted((ROOT / "engine" / "report").rglob("*.py")), ids=lambda path: path.stem)
def test_the_report_imports_tables_and_mathematics_only(path):
    strangers = {name for name in reached(path) if not f"{name}.".startswith(ALLOWED)}
    assert strangers == set()
