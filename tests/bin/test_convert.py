"""eigensweep-convert from the outside: what it prints, its exit status, what it leaves."""

import numpy as np
import pytest
from safetensors.numpy import save_file


def test_converts_and_says_what(shared, tmp_path, program):
    done = program("convert", f"--checkpoint={shared / 'checkpoints/llama-stories260k'}", f"--out={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"llama: 47 tensors, 1.0 MiB -> {tmp_path / 'out'}\n"
    assert done.stderr == ""
    again = program("convert", f"--checkpoint={tmp_path / 'out'}", f"--out={tmp_path / 'again'}")
    assert again.returncode == 0, again.stderr


def test_bad_checkpoints_end_with_one_line_and_status_2(tmp_path, program):
    bad = tmp_path / "bad.safetensors"
    save_file({"w": np.ones((40, 30), np.float32)}, bad)
    bad.write_bytes(bad.read_bytes()[:-5])
    for source, message in ((bad, "bad.safetensors: tensor 'w' ends at byte"), ("./absent", "no such file or folder")):
        done = program("convert", f"--checkpoint={source}", f"--out={tmp_path / 'out'}")
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "--checkpoint must have a value"),
        (("--nonsense=1",), "Unknown command line flag 'nonsense'"),
        (("--checkpoint=x", "--out=y", "stray"), "unexpected arguments stray"),
    ],
)
def test_bad_flags(program, args, message):
    done = program("convert", *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help(program):
    done = program("convert", "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout
    assert "Orbax" in done.stdout
