"""A damaged run directory that is continued: the tables are those of an undisturbed run, or one line names the file."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.result import Result

IDENTITY = {"checkpoint": {"source": "here", "sha256": "0" * 64}, "options": {"seed": 0}}
UNITS = [f"unit {i}" for i in range(4)]
VALUES = [None, True, 3, 1e300, "x", "\ud800", [], [1], {}, {"sha256": 3}]


def unit(name):
    return {"scalars": [{"name": name, "alpha": float(len(name))}], "lists": [{"name": name, "values": [2.0, 1.0]}]}


def work(directory, layout, stop=None):
    with claimed(directory, layout, IDENTITY, {"warnings": ["w"]}) as study:
        for name in study.todo(UNITS)[:stop]:
            study.write({name: unit(name)}, {"total": 1.0})
        if stop is None and not study.done:
            study.finish(UNITS)


def damage(directory, rng):
    path = rng.choice(sorted(p for p in directory.rglob("*") if p.suffix in (".json", ".parquet")))
    data = path.read_bytes()
    kind = rng.choice(["flip", "short", "gone", "folder", "value"])
    if kind == "value" and path.suffix == ".json":
        content = json.loads(data)
        at = content if rng.random() < 0.7 else content["checkpoint"]
        at[rng.choice(list(at))] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        path.write_text(json.dumps(content))
    elif kind in ("gone", "folder"):
        path.unlink()
        if kind == "folder":
            path.mkdir()
    elif kind == "short":
        path.write_bytes(data[: rng.integers(len(data))])
    else:
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(flipped))
    return f"{kind} {path.name}"


@pytest.mark.parametrize("stop", [2, None])
def test_a_damaged_directory_is_continued_or_refused(layout, tmp_path, stop):
    study = type("Study", (Result,), {"layout": layout})
    work(tmp_path / "whole", layout)
    expected = study.read(tmp_path / "whole").tables
    work(tmp_path / "begun", layout, stop)
    said = []
    for case in range(80):
        directory = shutil.copytree(tmp_path / "begun", tmp_path / "run")
        what = damage(directory, np.random.default_rng(case))
        try:
            work(directory, layout)
            found = study.read(directory).tables
            assert {name: t.to_pydict() for name, t in found.items()} == {
                name: t.to_pydict() for name, t in expected.items()
            }, what
        except RunError as error:
            said.append(str(error))
        shutil.rmtree(directory)
    assert 15 < len(said) < 80
    assert [text for text in said if "\n" in text or str(directory) not in text] == []


def test_parts_that_another_version_wrote_are_done_again(layout, tmp_path):
    """The same identity, but other columns."""
    older = replace(layout, tables={**layout.tables, "lists": {"name": layout.tables["lists"]["name"]}})
    with claimed(tmp_path, older, IDENTITY, {"warnings": ["w"]}) as study:
        study.write({name: {"scalars": unit(name)["scalars"]} for name in UNITS[:2]})
    work(tmp_path, layout)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert any("1 parts were of another run or version" in warning for warning in manifest["warnings"])
    assert pq.read_table(tmp_path / "lists.parquet")["values"].to_pylist() == [[2.0, 1.0]] * 4
