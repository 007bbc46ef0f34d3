"""Roots of monotone functions against scipy.optimize.brentq."""

import numpy as np
import pytest
from scipy.optimize import brentq

from eigensweep.engine.spectral.roots import root

CASES = {
    "line": (lambda x: 3 * x - 1, -10.0, 16.0),
    "falling": (lambda x: np.exp(-x) - 1e-9, 0.0, 100.0),
    "flat on both sides": (lambda x: np.tanh(x - 2), -50.0, 60.0),
    "steep": (lambda x: np.arctan(1e6 * (x - 0.1)), -3.0, 7.0),
    "plateau": (lambda x: float(np.clip(x - 5, -1, 1)), -100.0, 900.0),
    "large": (lambda x: x**3 - 1e18, 0.0, 1e9),
}


@pytest.mark.parametrize("name", CASES)
def test_brentqs_root(name):
    f, low, high = CASES[name]
    calls = []
    counted = lambda x: calls.append(x) or f(x)  # noqa: E731
    found = root(counted, low, high)
    exact = brentq(f, low, high, xtol=1e-14, rtol=1e-14)
    assert found == pytest.approx(exact, rel=1e-13, abs=1e-12)
    assert len(calls) < 120


def test_a_root_at_an_end():
    assert root(lambda x: x, 0.0, 1.0) == 0.0
    assert root(lambda x: x - 1, 0.0, 1.0) == 1.0


def test_the_same_sign_at_both_ends_is_refused():
    with pytest.raises(ValueError, match="same sign"):
        root(lambda x: x * x + 1, -1.0, 1.0)
