"""eigensweep-calibrate as a user runs it: Gaussian matrices, and noise of any kind under every reading."""

import numpy as np
import pytest

from eigensweep.engine.studies import calibration


def test_prints_a_line_a_noise_shape_and_reading(program):
    flags = "--noise=both:0.5,t10", "--shapes=40x24", "--num_matrices=60", "--reading=raw,equalised,signs"
    done = program("calibrate", *flags).succeeded()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    assert lines[0] == ["noise", "shape", "reading", "matrices", "right at 0.01", "left at 0.01"]
    assert [line[:4] for line in lines[2:]] == [
        [kind, "40 x 24", reading, "60"] for kind in ("both:0.5", "t10") for reading in ("raw", "equalised", "signs")
    ]
    assert float(lines[2][4].split()[0]) > 0.9  # what the profile does to the raw reading
    assert float(lines[3][4].split()[0]) < 0.1
    assert float(lines[4][4].split()[0]) < 0.1


def test_a_planted_spike_is_found(program):
    flags = "--noise=gaussian", "--shapes=40x24", "--num_matrices=40", "--reading=raw", "--spike=2"
    done = program("calibrate", *flags).succeeded()
    assert float(done.stdout.splitlines()[-1].strip("| ").split(" | ")[4].split()[0]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--noise=pink", "--shapes=20x10"], "pink"),
        (["--noise=t5", "--reading=none"], "'none' is none of raw, equalised, signs"),
        (["--reading=raw"], "goes with --noise"),
        (["--shapes=20"], "'20' is no shape"),
    ],
)
def test_refuses(program, arguments, message):
    program("calibrate", *arguments).refused(message)


def test_gaussian_matrices_without_noise_named(program):
    done = program("calibrate", "--shapes=16x8", "--num_matrices=2000").succeeded()
    cells = done.stdout.splitlines()[-1].strip("| ").split(" | ")
    assert cells[:2] == ["16 x 8", "2000"]
    assert float(cells[2].split("/")[0]) == pytest.approx(0.05, abs=0.02)


def test_matrices_are_the_same_in_any_batch(monkeypatch):
    def seen():
        return np.concatenate([w for _, w in calibration._batches("laplace", 6, 5, 7, 3)])

    whole = seen()
    monkeypatch.setattr(calibration, "_ELEMENTS_AT_ONCE", 60)
    np.testing.assert_array_equal(seen(), whole)


def test_interval_is_clopper_and_pearsons():
    low, high = calibration.interval(3, 50)
    assert (low, high) == pytest.approx((0.01254859, 0.16548195), abs=1e-6)  # binomtest(3, 50).proportion_ci()
    assert calibration.interval(0, 50)[0] == 0
    assert calibration.interval(50, 50)[1] == 1
