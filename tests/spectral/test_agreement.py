"""Agreement of judges: a textbook's numbers, small counts, and how often its interval holds."""

import numpy as np
import pytest

from eigensweep.engine.spectral.agreement import cohen_kappa


def test_kappa_is_cohens():
    """Counts 20, 5, 10, 15 of 50: p_o = 0.7, p_e = 0.5, kappa = 0.4; the textbook's standard error is 0.127."""
    first = [True] * 25 + [False] * 25
    second = [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = cohen_kappa(first, second)
    assert found.value == pytest.approx(0.4)
    assert found.counts == ((15, 10), (5, 20))
    assert found.low == pytest.approx(0.4 - 1.96 * 0.127, abs=0.02)
    assert found.high == pytest.approx(0.4 + 1.96 * 0.127, abs=0.04)


def test_perfect_agreement_on_few_items_is_not_certain():
    few, many = (cohen_kappa([True, False] * n, [True, False] * n) for n in (4, 400))
    assert few.value == many.value == 1
    assert few.low < 0.7
    assert many.low > 0.98


def test_kappa_without_a_difference_to_agree_on():
    found = cohen_kappa([True] * 5, [True] * 5)
    assert np.isnan(found.value)
    assert found.low < 0 < found.high
    assert np.isnan(cohen_kappa([], [])[:3]).all()
    with pytest.raises(ValueError, match="one length"):
        cohen_kappa([True], [True, False])


@pytest.mark.parametrize("p", [(0.45, 0.05, 0.1, 0.4), (0.7, 0.1, 0.1, 0.1), (0.25, 0.25, 0.25, 0.25)])
def test_the_interval_of_kappa_holds_as_often_as_it_says(p):
    """95 % of 300 draws of 40 items cover the truth; binomial error is 1.3 %."""
    p00, p01, p10, p11 = p
    chance = (p10 + p11) * (p01 + p11) + (p00 + p01) * (p00 + p10)
    truth = (p00 + p11 - chance) / (1 - chance)
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        cell = rng.choice(4, 40, p=p)
        found = cohen_kappa(cell >= 2, cell % 2 == 1, draws=1000)
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 300 <= 0.99
