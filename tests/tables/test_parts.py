"""Parts of a running study: written whole, found again, merged in order, never taken from another run."""

import json
import os
import shutil
import threading

import pyarrow.parquet as pq
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.tables import parts
from eigensweep.engine.tables.claim import claimed

IDENTITY = {"checkpoint": {"sha256": "0" * 64}, "options": {"seed": 0}}


def rows(*names):
    """Units with a row in each table."""
    return {n: {"scalars": [{"name": n, "alpha": float(ord(n))}], "lists": [{"name": n, "values": [2.0, 1.0]}]}
            for n in names}  # fmt: skip


@pytest.fixture
def start(layout, tmp_path):
    """start(seed=0): the study at work in `tmp_path`, as a new start finds it."""

    def start(seed=0):
        return claimed(tmp_path, layout, IDENTITY | {"options": {"seed": seed}})

    return start


def read(path, name):
    return pq.read_table(path / f"{name}.parquet")


def test_parts_are_found_again_and_merged_in_the_order_of_the_units(start, tmp_path, layout):
    with start() as work:
        assert work.todo(["a", "b", "c"]) == ["a", "b", "c"]
        work.write(rows("b"))
        work.write(rows("c", "a"))
        (layout.parts(tmp_path) / ".half.parquet.x1").write_bytes(b"half written")
    with start() as work:
        assert work.todo(["a", "b", "d", "c"]) == ["d"]
        assert work.read("c")["lists"] == [{"name": "c", "values": [2.0, 1.0]}]
        work.finish(["a", "b", "c"], extra=1)
    assert read(tmp_path, "scalars").to_pydict() == {
        "name": ["a", "b", "c"], "alpha": [97.0, 98.0, 99.0], "num": [None, None, None],
    }  # fmt: skip
    assert read(tmp_path, "lists")["values"].to_pylist() == [[2.0, 1.0]] * 3
    assert sorted(os.listdir(tmp_path)) == [".lock", "lists.parquet", "manifest.json", "scalars.parquet"]
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert (manifest["status"], manifest["extra"]) == ("done", 1)


def test_a_finished_study_has_nothing_to_do(start):
    with start() as work:
        work.write(rows("a"))
        work.finish(["a"])
        assert work.done
    with start() as work:
        assert work.done
        assert work.todo(["a", "b"]) == []


def test_units_may_have_many_rows_or_none_in_a_table(start, tmp_path):
    with start() as work:
        work.write({"a": {"lists": [{"name": "a1", "values": [1.0]}, {"name": "a2"}]}, "b": {}})
        work.finish(["b", "a"])
    assert read(tmp_path, "lists").to_pydict() == {"name": ["a1", "a2"], "values": [[1.0], None]}
    assert read(tmp_path, "scalars").num_rows == 0


def test_a_unit_that_two_processes_did_is_there_once(start, tmp_path):
    with start() as work:
        work.write(rows("a", "b"))
        work.write(rows("b", "c"))
        work.finish(["a", "b", "c"])
    assert read(tmp_path, "scalars")["name"].to_pylist() == ["a", "b", "c"]


def test_parts_of_another_run_are_not_taken(start, tmp_path, layout):
    """They lie there after someone has taken the manifest away: same units, other options, other numbers."""
    with start(seed=1) as work:
        work.write({"a": {"scalars": [{"name": "a", "alpha": -1.0}]}})
    (tmp_path / "manifest.json").unlink()
    with start(seed=0) as work:
        assert work.manifest["warnings"] == [
            f"{layout.parts(tmp_path)}: 1 parts of another run lay there without its manifest: removed"
        ]
        assert work.todo(["a"]) == ["a"]
        with pytest.raises(RunError, match="a is not finished"):
            work.read("a")
        work.write(rows("a"))
        work.finish(["a"])
    assert read(tmp_path, "scalars")["alpha"].to_pylist() == [97.0]
    assert not layout.parts(tmp_path).exists()


def test_parts_are_found_where_the_checkpoint_has_moved(layout, tmp_path):
    """The manifest names the old place, and the parts carry the digest of the identity with it."""
    here = {"checkpoint": {"source": "here", "sha256": "0" * 64}, "options": {"seed": 0}}
    there = {"checkpoint": {"source": "there", "files": {}, "sha256": "0" * 64}, "options": {"seed": 0}}
    with claimed(tmp_path, layout, here) as work:
        work.write(rows("a"))
    with claimed(tmp_path, layout, there) as work:
        assert work.todo(["a", "b"]) == ["b"]
        work.write(rows("b"))
        work.finish(["a", "b"])
    assert read(tmp_path, "scalars")["name"].to_pylist() == ["a", "b"]


def test_missing_rows_are_not_merged(start, tmp_path):
    with start() as work:
        work.write(rows("a"))
        with pytest.raises(RunError, match=r"the rows of 1 of 2 units are missing \(b, "):
            work.finish(["a", "b"])
    assert not (tmp_path / "scalars.parquet").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["status"] == "running"


def test_late_parts_of_other_hosts_are_waited_for(start, tmp_path, monkeypatch):
    with start() as work:
        work.write(rows("a"))
        monkeypatch.setattr("jax.process_count", lambda: 2)
        monkeypatch.setattr(parts.hosts, "wait_for_all", lambda where: None)
        late = threading.Timer(0.3, work.write, [rows("b")])
        late.start()
        work.finish(["a", "b"])
        late.join()
    assert read(tmp_path, "scalars")["name"].to_pylist() == ["a", "b"]


def test_seconds_of_all_starts_add_up(start, tmp_path):
    with start() as work:
        work.write(rows("a", "b"), {"total": 3.0, "read": 1.0})
    with start() as work:
        work.write(rows("c"), {"total": 0.25})
        work.finish(["a", "b", "c"])
    timings = json.loads((tmp_path / "manifest.json").read_text())["timings"]
    assert timings == {"total": 3.25, "read": 1.0}


def test_parts_left_by_a_kill_after_the_last_write_go(start, tmp_path, layout):
    folder = layout.parts(tmp_path)
    with start() as work:
        work.write(rows("a"))
        shutil.copytree(folder, tmp_path / "kept")
        work.finish(["a"])
    shutil.move(tmp_path / "kept", folder)
    with start() as work:
        assert work.done
    assert not folder.exists()


def test_a_part_that_is_no_parquet_is_named(start, tmp_path, layout):
    folder = layout.parts(tmp_path)
    folder.mkdir()
    (folder / "x.parquet").write_bytes(b"rubbish")
    with start() as work, pytest.raises(RunError, match=r"x\.parquet: cannot be read"):
        work.todo(["a"])
