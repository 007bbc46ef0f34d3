"""Covariance of token counts: the three ways against NumPy, against each other, and against the closed form."""

import numpy as np
import pytest

from eigensweep.engine.spectral import token_covariance
from eigensweep.engine.spectral.token_covariance import shuffled, spectrum, token_counts


def dense(rows, presence):
    """The same by counting in a loop and NumPy's covariance."""
    tokens = np.unique(rows)
    counts = np.array([[np.sum(row == token) for token in tokens] for row in rows], float)
    return np.cov((counts > 0 if presence else counts).T, bias=True)


@pytest.fixture
def rows():
    """(60, 12) tokens out of 40 by Zipf's law, with numbers far apart; token 900 stands once in every row."""
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, 41)
    drawn = 7 * rng.choice(40, (60, 12), p=p / p.sum()) + 5
    drawn[:, 0] = 900
    return drawn


@pytest.mark.parametrize("presence", [False, True])
@pytest.mark.parametrize("few", [False, True])
def test_the_three_ways_agree_with_numpy(rows, presence, few):
    rows = rows[:15] if few else rows
    expected = np.linalg.eigvalsh(dense(rows, presence))[::-1]
    counts = token_counts(rows, presence)
    for method in ("tokens", "sequences", "lanczos"):
        found = spectrum(counts, 9, 0, method)
        size = min(len(found.evals), 9)
        assert size == 9
        np.testing.assert_allclose(found.evals[:size], expected[:size], rtol=1e-10)
        assert found.total == pytest.approx(expected.sum(), rel=1e-12)
    assert spectrum(counts, 9, 0, "tokens").evals.sum() == pytest.approx(expected.sum())
    assert spectrum(counts, 9, 0).method == ("sequences" if few else "tokens")


def test_what_is_large_goes_by_lanczos_and_forms_no_square(rows, monkeypatch):
    monkeypatch.setattr(token_covariance, "DENSE", 20)
    found = spectrum(token_counts(rows), 5, 0)
    assert found.method == "lanczos"
    assert len(found.evals) == 5


def test_lanczos_gives_the_same_numbers_again(rows):
    counts = token_counts(rows)
    a, b = (spectrum(counts, 6, 3, "lanczos").evals for _ in "ab")
    np.testing.assert_array_equal(a, b)


def test_tokens_without_order_give_their_frequencies():
    """length (diag p - p p^T): its eigenvalues interlace length p, which sampling widens by sqrt(V/N)."""
    rng = np.random.default_rng(1)
    p = np.arange(1, 61) ** -1.0
    p /= p.sum()
    ordered = np.sort(rng.choice(60, 8000 * 16, p=p)).reshape(8000, 16)  # each row one token: all order, no chance
    share = np.bincount(ordered.ravel()) / ordered.size
    evals = spectrum(token_counts(shuffled(ordered, 0)), 5, 0).evals
    np.testing.assert_allclose(evals[2:40], 16 * np.sort(share)[::-1][2:40], rtol=0.12)
    whole = spectrum(token_counts(ordered), 5, 0)
    assert whole.total == pytest.approx(16 * evals.sum(), rel=0.02)


def test_one_token_or_one_sequence(rows):
    same = spectrum(token_counts(np.full((5, 4), 7)), 3, 0)
    assert same.total == 0
    assert (same.evals == 0).all()
    with pytest.raises(ValueError, match="at least two"):
        spectrum(token_counts(rows[:1]), 3, 0)
    with pytest.raises(ValueError, match="'all'"):
        spectrum(token_counts(rows), 3, 0, "all")
