"""eigensweep-null as a user runs it: draws, continues, refuses, makes a table."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.spectral.null import equalised_fit, histogram
from eigensweep.engine.studies import null


def same(a, b):
    return a.num_draws == b.num_draws and np.array_equal(a.counts, b.counts) and np.array_equal(a.top, b.top)


def test_draws_a_table_and_prints_quantiles(tmp_path, program):
    done = program("null", "--n=20,40,80", "--num_draws=30000,20000,10000", "--table=table.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["20", "40", "80"]
    assert float(lines[1].split()[2]) == pytest.approx(0.757, abs=0.01)
    assert "tail fit: chi2" in lines[-1]
    with np.load(tmp_path / "table.npz") as table:
        assert table["n"].tolist() == [20, 40, 80]
    found = histogram.load(tmp_path / "null" / "null-40.npz")
    assert (found.n, found.seed, found.num_draws) == (40, 0, 20_000)


def test_makes_the_table_of_the_equalised_reading(tmp_path, monkeypatch):
    monkeypatch.setattr(equalised_fit, "RATIOS", (1.0, 0.5))
    counts = equalised_fit.shapes([8, 64], [400, 100])
    assert counts == {(8, 8): 400, (16, 8): 400, (64, 64): 100, (128, 64): 100}
    draws = {shape: equalised_fit.simulate(*shape, num, seed=3) for shape, num in counts.items()}
    assert "right rms" in equalised_fit.write_table(draws, tmp_path / "table.npz", "a command", 3)
    with np.load(tmp_path / "table.npz") as table:
        assert table["b"].tolist() == [8, 64, 128]
        assert table["right"].shape == table["left"].shape == (3, 2, 7)
        recipe = json.loads(str(table["recipe"]))
    assert (recipe["command"], recipe["seed"], recipe["num_matrices"]["128x64"]) == ("a command", 3, 100)


def test_adds_to_what_is_there(tmp_path):
    path, other = tmp_path / "a.npz", tmp_path / "b.npz"
    null.draw(50, 10_001, 3, path)
    grown, _ = null.draw(50, 25_000, 3, path, batch_size=4096)
    whole, _ = null.draw(50, 25_000, 3, other)
    assert same(grown, whole)
    again, rate = null.draw(50, 25_000, 3, other)
    assert same(again, whole)
    assert rate == 0


def test_interrupted_and_continued_is_undisturbed(tmp_path, monkeypatch):
    monkeypatch.setattr(null, "SAVE_EVERY_S", 0.0)
    whole, _ = null.draw(3000, 4000, 1, tmp_path / "whole.npz", batch_size=200)
    code = (
        "import pathlib, sys; from eigensweep.engine.studies import null; null.SAVE_EVERY_S = 0.0;"
        "null.draw(3000, 4000000, 1, pathlib.Path(sys.argv[1]), 200)"
    )
    path = tmp_path / "killed.npz"
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    begun = histogram.load(path).num_draws
    assert 0 < begun < 4_000_000
    target = max(4000, begun)
    continued, _ = null.draw(3000, target, 1, path, batch_size=200)
    if target > 4000:
        whole, _ = null.draw(3000, target, 1, tmp_path / "whole.npz")
    assert same(continued, whole)


def test_refuses_what_does_not_fit(tmp_path):
    path = tmp_path / "null.npz"
    null.draw(50, 5000, 0, path)
    with pytest.raises(RunError, match="holds n = 50, seed 0; asked for n = 50, seed 1"):
        null.draw(50, 5000, 1, path)
    with pytest.raises(RunError, match="holds 5000 draws already, more than --num_draws=100"):
        null.draw(50, 100, 0, path)
    path.write_bytes(b"rubbish")
    with pytest.raises(RunError, match="not a null histogram"):
        null.draw(50, 5000, 0, path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        null.draw(50, 5000, 0, tmp_path / "file" / "null.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no --n given"),
        (["--n=64,x"], "whole numbers"),
        (["--n=64,128", "--num_draws=1,2,3"], "--num_draws has 3 numbers, --n has 2"),
        (["--n=1"], "--n is at least 2"),
        (["--n=64", "--table=t.npz"], "at least 3 different"),
        (["--equalised=t.npz", "--sizes=8,16", "--num_matrices=200"], "the last at least 64"),
        (["--equalised=t.npz", "--num_matrices=2,3"], "--num_matrices has 2 numbers, --sizes has 6"),
    ],
)
def test_wrong_use_ends_with_status_2(tmp_path, program, arguments, message):
    done = program("null", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
