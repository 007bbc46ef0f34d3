"""The benchmark runs, writes what it prints, and computes its ratios right."""

import json
import subprocess
import sys

import pytest

from eigensweep.bin.suites.measure import Comparison, compare, spread
from eigensweep.bin.suites.scaling import fits
from eigensweep.bin.suites.table import text


def test_small_run_end_to_end(tmp_path):
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "eigensweep.bin.benchmark", "--suites=svd", "--sizes=32", "--repeats=1"]
    done = subprocess.run([*command, f"--out={tmp_path}"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "benchmark.json").read_text())
    assert {c["peer"] for c in record["comparisons"]} == {"torch float64", "torch float32", "numpy float64"}
    assert record["machine"]["versions"]["jax"]
    assert (tmp_path / "benchmark.png").stat().st_size > 1000
    assert "2 x 32 x 32" in done.stdout


def test_unknown_suite_is_refused(tmp_path):
    command = [sys.executable, "-m", "eigensweep.bin.benchmark", "--suites=nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_ratio_is_of_medians_and_warm_up_is_not_counted():
    calls = []
    case = compare(Comparison("s", "c", "p"), lambda: calls.append("ours"), lambda: calls.append("theirs"), 3)
    assert calls == ["ours", "theirs"] * 4
    assert len(case.ours) == len(case.theirs) == 3
    assert Comparison("s", "c", "p", [1.0, 9.0, 2.0], [4.0, 4.0, 100.0]).ratio == 2.0
    assert spread([1.0, 2.0, 3.0]) == 1.0
    assert "NOT MET" in text([Comparison("s", "c", "p", [1.0], [1.0], target=2.0)])


def test_exponents_are_fitted():
    cases = [Comparison("scaling", f"2 x {n} x {n}", "p", [n**3.0], [1.0]) for n in (10, 20, 40)]
    cases += [Comparison("scaling", f"sweep of {k} x 2 x 2", "p", [2.0 * k], [1.0]) for k in (1, 2, 4)]
    assert fits(cases) == pytest.approx({"matrix size": 3.0, "number of matrices": 1.0})
