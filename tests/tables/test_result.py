"""Reading a run directory back, and saying what is wrong with one."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigensweep.engine import RunError, open_ablation, open_finetune, open_overlap, open_run
from eigensweep.engine.tables.result import Result

OPENERS = {"sweep": open_run, "ablation": open_ablation, "overlap": open_overlap, "finetune": open_finetune}
FILES = {"overlap": "overlap.json", "finetune": "finetune.json"}


@pytest.mark.parametrize("study", list(OPENERS))
def test_open_says_what_is_wrong(tmp_path, study):
    file = tmp_path / FILES.get(study, "manifest.json")
    with pytest.raises(RunError, match=f"not the run directory of a finished {study}"):
        OPENERS[study](tmp_path)
    file.write_text(json.dumps({"study": study, "status": "running"}))
    with pytest.raises(RunError, match=f"the {study} has not finished"):
        OPENERS[study](tmp_path)
    file.write_text(json.dumps({"study": study, "status": "done"}))
    with pytest.raises(RunError, match=r"\.parquet: cannot be read|is damaged: it has no"):
        OPENERS[study](tmp_path)
    file.write_text("{")
    with pytest.raises(RunError, match=rf"{file.name}: cannot be read"):
        OPENERS[study](tmp_path)


def test_open_names_what_is_there_instead(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"study": "ablation", "status": "done"}))
    with pytest.raises(RunError, match=r"not the run directory of a finished sweep \(it holds: ablation\)"):
        open_run(tmp_path)


@pytest.fixture
def result(layout, tmp_path):
    tables = {
        "scalars": pa.table({"name": ["a"], "alpha": [0.5], "num": pa.array([None], pa.int64())}),
        "lists": pa.table({"name": ["a"], "values": [[1.0, 2.0]]}),
    }
    for name, table in tables.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    manifest = {"study": "study", "status": "done", "checkpoint": {"source": "here"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return type("Result", (Result,), {"layout": layout}).read(tmp_path)


def test_nullable_integers_and_lists_reach_pandas(result):
    assert str(result.frame("scalars")["num"].dtype) == "Int64"
    np.testing.assert_array_equal(result.frame("lists")["values"][0], [1.0, 2.0])


def test_a_frame_is_made_once(result):
    assert result.frame("lists") is result.frame("lists")


def test_it_tells_what_it_is(result, tmp_path):
    assert result.study == "study"
    assert repr(result) == f"Result('here', scalars: 1 rows, lists: 1 rows, directory='{tmp_path}')"
