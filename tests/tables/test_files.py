"""Files are whole or as they were, and what cannot be read or written is named."""

import errno
import os
import re

import pyarrow as pa
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.tables.files import (
    read_json,
    read_table,
    remove_unfinished,
    write_atomically,
    write_json,
    write_table,
)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table"
    write_atomically(path, lambda file: file.write(b"old"))

    def full(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(RunError, match=f"{re.escape(str(path))}: cannot be written: No space left on device"):
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


def test_what_a_kill_left_goes_and_what_is_whole_stays(tmp_path):
    write_table(tmp_path / "a.parquet", pa.table({"x": [1]}))
    (tmp_path / ".spectra.parquet.x1").write_bytes(b"half written")
    (tmp_path / ".manifest.json.x2").write_bytes(b"half written")
    (tmp_path / ".lock").write_text("")
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "a.parquet"]


def test_json_is_read_back_and_a_missing_file_is_none(tmp_path):
    write_json(tmp_path / "a.json", {"x": [1, None]})
    assert read_json(tmp_path / "a.json") == {"x": [1, None]}
    assert read_json(tmp_path / "b.json") is None


def test_json_without_a_meaning_in_json_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\xff"])
def test_broken_json_is_named(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"a\.json: cannot be read"):
        read_json(tmp_path / "a.json")


def test_a_broken_table_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 rubbish")
    for name in ("a.parquet", "absent.parquet"):
        with pytest.raises(RunError, match=rf"{name}: cannot be read"):
            read_table(tmp_path / name)
