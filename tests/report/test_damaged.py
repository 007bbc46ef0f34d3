"""Damaged run directories of every study: what reads them shows tables, or says in one line which file is at fault.

EIGENSWEEP_FUZZ=N takes N times as many cases.
"""

import copy
import importlib.util
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigensweep import engine
from eigensweep.engine import RunError
from eigensweep.engine.spectral.permutation import permutation_p
from eigensweep.engine.studies.ablation import summary as ablation
from eigensweep.engine.studies.compare import summary as comparison
from eigensweep.engine.studies.finetune import summary as finetune
from eigensweep.engine.studies.overlap import summary as overlap


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_directories = _beside("test_directories")
make_sweep, make_overlap = _directories.make_sweep, _directories.make_overlap
make_ablation, make_finetune = _directories.make_ablation, _directories.make_finetune
make_compare = _directories.make_compare
makers = _directories.makers

CASES = 40 * int(os.environ.get("EIGENSWEEP_FUZZ", "1"))
FIGURES = bool(os.environ.get("EIGENSWEEP_FUZZ_FIGURES"))
VALUES = [
    None, True, 0, -1, 1e308, 2**70, "", "x", "\ud800", [], [1], {}, {"a": 1}, [[[]]], "../../etc/passwd", "\x1b[31m",
]  # fmt: skip
TYPES = [pa.int64(), pa.float64(), pa.string(), pa.bool_(), pa.list_(pa.float64()), pa.list_(pa.string())]


def sweep_text(directory):
    run = engine.open_run(directory)
    return engine.render_summary(engine.summary_table(run)) + engine.render_family(engine.family_table(run))


READ = {
    "sweep": sweep_text,
    "overlap": lambda d: overlap.render_overlap(overlap.overlap_table(engine.open_overlap(d))),
    "ablation": lambda d: ablation.render(engine.open_ablation(d)),
    "finetune": lambda d: finetune.render(engine.open_finetune(d)),
    "compare": lambda d: comparison.render(engine.open_comparison(d)),
}


def damage_json(path, rng):
    """One place of a manifest, or its text."""
    if rng.random() < 0.15:
        data = bytearray(path.read_bytes())
        if rng.random() < 0.5:
            path.write_bytes(data[: rng.integers(len(data))])
        else:
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(data))
        return f"{path.name}: bytes"
    content = json.loads(path.read_text())
    at, where = content, []
    while True:
        keys = list(at) if isinstance(at, dict) else range(len(at))
        where.append(keys[int(rng.integers(len(keys)))])
        below = at[where[-1]]
        if not isinstance(below, dict | list) or not below or rng.random() < 0.4:
            break
        at = below
    if rng.random() < 0.25 and isinstance(at, dict):
        del at[where[-1]]
        what = "gone"
    else:
        at[where[-1]] = what = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    path.write_text(json.dumps(content))
    return f"{path.name}: {where} {what!r}"


def damage_table(path, rng):
    """One column of a table, its rows, or its bytes."""
    kind = rng.choice(
        ["drop", "type", "null", "nan", "rename", "empty", "twice", "bytes", "foreign", "short", "negative"]
    )
    table = pq.read_table(path)
    column = int(rng.integers(table.num_columns))
    name, values = table.column_names[column], table.column(column).to_pylist()
    if kind == "bytes":
        data = path.read_bytes()
        path.write_bytes(data[: rng.integers(len(data))] + bytes(rng.integers(0, 256, int(rng.integers(9)), np.uint8)))
        return f"{path.name}: {kind}"
    if kind == "foreign":
        table = pa.table({"x": [1, 2]})
    elif kind == "empty":
        table = table.slice(0, 0)
    elif kind == "twice":
        table = pa.concat_tables([table, table])
    elif kind == "drop":
        table = table.remove_column(column)
    elif kind == "rename":
        table = table.rename_columns(["other" if c == name else c for c in table.column_names])
    else:
        new = TYPES[rng.integers(len(TYPES))] if kind == "type" else table.schema.field(column).type
        sample = {pa.string(): "x", pa.int64(): 3, pa.float64(): 0.5, pa.bool_(): True}.get(new, [0.5])
        sample = [str(x) for x in sample] if new == pa.list_(pa.string()) else sample
        if kind == "type":
            values = [sample] * len(values)
        elif kind == "null":
            values = [None if rng.random() < 0.5 else value for value in values]
        elif kind == "nan":
            values = [_with_nan(value) for value in values]
        elif kind == "short":
            values = [value[: len(value) // 2] if isinstance(value, list) else value for value in values]
        elif kind == "negative":
            values = [-value if type(value) in (int, float) else value for value in values]
        table = table.set_column(column, name, pa.array(values, new))
    pq.write_table(table, path)
    return f"{path.name}: {kind} {name}"


def _with_nan(value):
    if isinstance(value, list):
        return [float("nan") if isinstance(x, float) else x for x in value]
    return float("nan") if isinstance(value, float) else value


def damage(directory, rng):
    files = [p for p in sorted(directory.rglob("*")) if p.suffix in (".json", ".parquet") and p.is_file()]
    path = files[rng.integers(len(files))]
    kind = rng.random()
    if kind < 0.04:
        path.unlink()
        return f"{path.name}: gone"
    if kind < 0.07:
        path.unlink()
        path.mkdir()
        return f"{path.name}: a folder"
    if kind < 0.1:
        (directory / f"extra{path.suffix}").write_bytes(rng.bytes(50))
        return "an extra file"
    try:
        return damage_json(path, rng) if path.suffix == ".json" else damage_table(path, rng)
    except (pa.ArrowException, ValueError, UnicodeError):  # it is damaged already
        return f"{path.name}: as it was"


@pytest.mark.parametrize("kind", list(READ))
def test_a_damaged_directory_is_read_or_refused_in_one_line(makers, kind, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    makers[kind](whole)
    READ[kind](whole)
    failed, refused = [], 0
    permute = partial(permutation_p, num_draws=19)
    monkeypatch.setattr(overlap, "permutation_p", permute)
    for case in range(CASES):
        rng = np.random.default_rng([case, len(kind)])
        directory = shutil.copytree(whole, tmp_path / "run")
        what = "; ".join(damage(directory, rng) for _ in range(1 + case % 2))
        readers = [READ[kind], lambda d: engine.write_report(d, tmp_path / "out", figures=FIGURES)]
        if kind == "sweep" and case % 8 == 0:
            readers.append(
                lambda d: engine.write_comparison([engine.open_run(x) for x in (whole, d)], tmp_path / "out")
            )
        for read in readers:
            try:
                read(directory)
            except RunError as error:
                refused += 1
                if "\n" in str(error) or str(tmp_path) not in str(error):
                    failed.append(f"{what}: says {error}")
            except Exception as error:  # whatever a defect raises
                place = error.__traceback__
                while place.tb_next:
                    place = place.tb_next
                at = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
                failed.append(f"{what}: {type(error).__name__}: {error} at {at}")
        shutil.rmtree(directory)
    assert not failed, "\n".join(failed)
    assert refused > CASES // 4
