"""The benchmark runs, writes what it prints, and computes its ratios right."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.bin.runner import UserError
from eigensweep.bin.suites import accelerator, beside, candidates, eigenproblem
from eigensweep.bin.suites.measure import Comparison, compare, spread
from eigensweep.bin.suites.scaling import fits
from eigensweep.bin.suites.table import text
from eigensweep.models.synth import LLAMA_8B

SMALL = LLAMA_8B | {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 64,
}  # fmt: skip


def test_small_run_end_to_end(tmp_path, program):
    pytest.importorskip("torch")
    done = program("benchmark", "--suites=svd", "--sizes=32", "--repeats=1", f"--out={tmp_path}").succeeded()
    record = json.loads((tmp_path / "benchmark.json").read_text())
    assert {c["peer"] for c in record["comparisons"]} == {"torch float64", "torch float32", "numpy float64"}
    assert record["machine"]["versions"]["jax"]
    assert (tmp_path / "benchmark.png").stat().st_size > 1000
    assert "2 x 32 x 32" in done.stdout


def test_unknown_suite_is_refused(tmp_path, program):
    program("benchmark", "--suites=nonsense", cwd=tmp_path).refused("nonsense")


def test_ratio_is_of_medians_and_warm_up_is_not_counted():
    calls = []
    case = compare(Comparison("s", "c", "p"), lambda: calls.append("ours"), lambda: calls.append("theirs"), 3)
    assert calls == ["ours", "theirs"] * 4
    assert len(case.ours) == len(case.theirs) == 3
    assert Comparison("s", "c", "p", [1.0, 9.0, 2.0], [4.0, 4.0, 100.0]).ratio == 2.0
    assert spread([1.0, 2.0, 3.0]) == 1.0
    assert "NOT MET" in text([Comparison("s", "c", "p", [1.0], [1.0], target=2.0)])


def test_exponents_are_fitted_with_intervals_over_the_sizes():
    noise = {10: 1.1, 20: 0.9, 40: 1.0, 80: 1.1}
    cases = [Comparison("scaling", f"2 x {n} x {n}", "p", [noise[n] * n**2.5], [1.0]) for n in noise]
    cases += [Comparison("scaling", f"sweep of {k} x 2 x 2", "p", [2.0 * k], [1.0]) for k in (1, 2, 4)]
    found = fits(cases)
    x, y = np.log(list(noise)), np.log([noise[n] * n**2.5 for n in noise])
    slope, rest = np.polyfit(x, y, 1), y - np.polyval(np.polyfit(x, y, 1), x)
    error = np.sqrt(np.sum(rest**2) / 2 / np.sum((x - x.mean()) ** 2))
    assert found["matrix size"].exponent == pytest.approx(slope[0])
    assert found["matrix size"].high - slope[0] == pytest.approx(4.302653 * error, rel=1e-5)  # t(2), 97.5 %
    assert str(found["matrix size"]).endswith("target <= 3: met")
    assert found["number of matrices"][:3] == pytest.approx((1.0, 1.0, 1.0), abs=1e-9)


def test_two_sizes_give_no_interval():
    cases = [Comparison("scaling", f"2 x {n} x {n}", "p", [n**2.0], [1.0]) for n in (10, 20)]
    assert str(fits(cases)["matrix size"]).endswith("(no interval from two sizes); target <= 3: undecided")


def test_a_step_of_refinement_squares_the_error_of_eigenvectors_that_stand_apart():
    rng = np.random.default_rng(0)
    v = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    gram = (v * np.arange(1.0, 41.0)) @ v.T
    off = v + 1e-5 * rng.standard_normal((40, 40))
    evals, better = eigenproblem.refine(jnp.asarray(gram), jnp.asarray(off))
    before, after = (np.abs(np.abs(v.T @ x) - np.eye(40)).max() for x in (off, np.asarray(better)))
    assert before > 1e-5
    assert after < 1e-7
    assert np.asarray(evals) == pytest.approx(np.arange(1.0, 41.0), rel=1e-7)


def test_ways_to_singular_vectors_are_measured_and_those_of_other_devices_left_out(capsys):
    pytest.importorskip("torch")
    found = eigenproblem.run([24], 1)
    assert found.pop().case == "syevd float64 of 4 at once, 24 x 24"
    notes = {c.case.removesuffix(", 24 x 24"): c.note for c in found}
    ways = set(eigenproblem.ways())
    assert set(notes) == {way for way in ways if not way.startswith("syevj")}
    assert "syevj float64, 24 x 24: left out" in capsys.readouterr().out
    residuals = {way: float(re.search(r"residual ([\d.e-]+)", note)[1]) for way, note in notes.items()}
    rounded = {way for way in residuals if way.endswith("float32")}
    assert min(residuals[way] for way in rounded) > 1e-9
    assert max(residuals[way] for way in set(residuals) - rounded) < 1e-12


def test_targets_are_measured_on_any_device_and_the_suite_refuses_a_cpu(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(accelerator, "_studies", lambda folder: [])
    found = {(c.case, c.peer): c for c in accelerator.measure(SMALL, 1, draws=64)}
    assert ("sweep of 14 matrices, as it is", "target") in found
    assert found["SVD 48 x 32, both sides", "target"].theirs == [0.15]
    assert found["residual, 48 x 32", "target"].ratio >= 1
    with pytest.raises(UserError, match="needs a GPU or TPU"):
        accelerator.run([], 1)


def test_candidates_are_measured_on_any_device_and_the_suite_refuses_a_cpu(capsys, monkeypatch):
    started = []
    monkeypatch.setattr(
        beside, "_seconds", lambda model, folder, name, *rest, **_: started.append((name, *rest)) or 2.0
    )
    found = {(c.case, c.peer): c.note for c in candidates.measure(SMALL, 1)}
    assert "0 of 14 did not converge" in found["ends of 7 flips of 32 x 32", "eigvalsh of each"]
    differs = {case: float(note.split()[-1]) for (case, _), note in found.items() if case.startswith("KS")}
    assert differs["KS of 48 vectors of 32, no sort"] < 1e-15
    assert 1e-10 < differs["KS of 48 vectors of 32, float32 keys"] < 1.5e-8
    assert ("two sweeps beside each other", "one after the other") in found
    assert ("one sweep by two processes", "by one process") in found
    assert ("beside", [["--config.blocks=0-0"], ["--config.blocks=1-1"]]) in started
    assert "profile of the sweep" in capsys.readouterr().out
    with pytest.raises(UserError, match="needs a GPU or TPU"):
        candidates.run([], 1)


def test_processes_that_fail_are_left_out_with_their_last_word(tmp_path, capsys):
    assert list(beside.rows(str(tmp_path / "nothing"), 2, tmp_path)) == []
    assert "left out, error: " in capsys.readouterr().out
