"""The run directory: whole or as it was, in order, found again."""

import errno
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigensweep.engine import RunError, open_run
from eigensweep.engine.run.lock import locked
from eigensweep.engine.run.store import PartStore, in_order, write_atomically, write_manifest


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table"
    write_atomically(path, lambda file: file.write(b"old"))

    def full(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match=f"{path}: cannot be written: No space left on device"):
        write_atomically(path, full)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["table"]


def test_full_disk(tmp_path):
    """A real full device, where the system has one."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")

    def write(file):
        with open("/dev/full", "wb", buffering=0) as device:
            device.write(b"x")

    with pytest.raises(RunError, match="No space left"):
        write_atomically(tmp_path / "x", write)
    assert os.listdir(tmp_path) == []


def test_workdir_that_is_a_file_or_below_one(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"), locked(tmp_path / "file"):
        pass
    with pytest.raises(RunError, match="cannot be written"), locked(tmp_path / "file" / "below"):
        pass


def test_lock_excludes_a_second_holder_and_is_released(tmp_path):
    with locked(tmp_path), pytest.raises(RunError, match="another process"), locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_rows_come_in_the_given_order_each_name_once():
    table = pa.table({"name": ["c", "a", "b", "a"], "x": [3, 1, 2, 1]})
    assert in_order(table, {"a": 0, "b": 1, "c": 2}).to_pydict() == {"name": ["a", "b", "c"], "x": [1, 2, 3]}


def test_parts_are_found_again_and_merged(tmp_path):
    store = PartStore(tmp_path, ())
    assert store.finished() == set()
    for names in (["b"], ["c", "a"]):
        store.write([{"name": n, "alpha": float(ord(n)), "singular_values": [2.0, 1.0]} for n in names])
    (store.folder / ".half.parquet").write_bytes(b"half written")
    store.prepare()
    assert store.finished() == {"a", "b", "c"}
    tables = store.merge(["a", "b", "c"])
    assert tables["matrices"]["alpha"].to_pylist() == [97.0, 98.0, 99.0]
    assert tables["spectra"]["singular_values"].to_pylist() == [[2.0, 1.0]] * 3
    assert tables["matrices"]["num_right_outliers"].to_pylist() == [None] * 3
    store.remove()
    assert os.listdir(tmp_path) == []


def test_missing_rows_are_not_merged_and_late_ones_are_waited_for(tmp_path):
    store = PartStore(tmp_path, ())
    store.write([{"name": "a"}])
    with pytest.raises(RunError, match=r"1 matrices are missing \(b, "):
        store.merge(["a", "b"])
    late = threading.Timer(0.3, store.write, [[{"name": "b"}]])
    late.start()
    assert store.merge(["a", "b"], patience=60)["matrices"]["name"].to_pylist() == ["a", "b"]
    late.join()


def test_what_a_kill_left_in_the_run_directory_goes(tmp_path):
    store = PartStore(tmp_path, ())
    store.write([{"name": "a"}])
    (tmp_path / ".spectra.parquet.x1").write_bytes(b"half written")
    (tmp_path / ".manifest.json.x2").write_bytes(b"half written")
    store.prepare()
    assert os.listdir(tmp_path) == ["parts"]
    store.prepare(done=True)
    assert os.listdir(tmp_path) == []


def test_open_run_says_what_is_wrong(tmp_path):
    with pytest.raises(RunError, match="not a run directory"):
        open_run(tmp_path)
    write_manifest(tmp_path, {"status": "running"})
    with pytest.raises(RunError, match="has not finished"):
        open_run(tmp_path)
    write_manifest(tmp_path, {"status": "done"})
    with pytest.raises(RunError, match="cannot read the tables"):
        open_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunError, match=r"manifest\.json: cannot be read"):
        open_run(tmp_path)


def test_nullable_integers_reach_pandas(tmp_path):
    table = pa.table({"name": ["a"], "block": pa.array([None], pa.int64())})
    pq.write_table(table, tmp_path / "matrices.parquet")
    pq.write_table(table, tmp_path / "spectra.parquet")
    write_manifest(tmp_path, {"status": "done"})
    assert str(open_run(tmp_path).matrices["block"].dtype) == "Int64"
