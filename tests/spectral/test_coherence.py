"""Coherence of token sets against loops written out, and its null's calibration on fresh Gaussian circuits."""

import itertools

import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import coherence
from eigensweep.engine.spectral.factored import product_svd
from eigensweep.engine.spectral.frames import flipped_frames, uniform_frames


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_descriptions_are_unit_rows_about_the_mean():
    rows = np.random.default_rng(0).normal(3, 1, (50, 4)).astype(np.float32)
    described = coherence.descriptions(rows)
    np.testing.assert_allclose(described, unit(rows - rows.mean(0)), atol=2e-6)
    same = coherence.descriptions(np.concatenate([rows - rows.mean(0), np.zeros((1, 4))]))
    assert np.linalg.norm(same[-1]) < 1.001
    assert np.isfinite(same).all()
    assert not coherence.descriptions(np.ones((5, 3))).any()  # nothing tells them apart


def test_mean_cosine_is_the_mean_over_pairs():
    rng = np.random.default_rng(1)
    described = coherence.descriptions(rng.normal(size=(40, 6)))
    ids = np.array([rng.permutation(40)[:5] for _ in range(7)])
    found = coherence.mean_cosine(coherence.sums(described, ids), 5)
    for tokens, value in zip(ids, found, strict=True):
        pairs = [described[a] @ described[b] for a, b in itertools.combinations(tokens, 2)]
        assert value == pytest.approx(np.mean(pairs), abs=1e-6)
    assert coherence.mean_cosine(5 * described[0], 5) == pytest.approx(1, abs=1e-6)  # one and the same token
    with pytest.raises(ValueError, match="at least 2"):
        coherence.mean_cosine(described[0], 1)


def test_centroids_between_and_across_are_means_over_pairs():
    groups = np.random.default_rng(2).normal(size=(3, 4, 5))
    directions = unit(groups)
    pairs = [directions[0, i] @ directions[0, j] for i, j in itertools.combinations(range(4), 2)]
    assert coherence.mean_cosine_between(groups[0]) == pytest.approx(np.mean(pairs))
    others = [directions[1, i] @ x for i in range(4) for g in (0, 2) for x in directions[g]]
    assert coherence.mean_cosine_across(groups)[1] == pytest.approx(np.mean(others))
    np.testing.assert_allclose(
        coherence.cosine(groups[0], groups[1]), np.einsum("id,id->i", directions[0], directions[1])
    )
    assert np.isnan(coherence.mean_cosine_across(groups[:1])).all()
    assert np.isnan(coherence.mean_cosine_between(groups[0, :1]))


def test_exceedance_counts_draws_at_least_as_large():
    null = np.array([3.0, 1.0, 2.0, 2.0])
    np.testing.assert_allclose(coherence.exceedance([0.5, 2.0, 2.5, 9.0], null), [1, 4 / 5, 2 / 5, 1 / 5])
    assert np.isnan(coherence.exceedance(np.nan, null))


@pytest.mark.parametrize("centred", [False, True])
def test_frames_are_orthonormal_and_uniform(centred):
    rng = np.random.default_rng(3)
    frames = uniform_frames(rng, 400, 3, 8, centred)
    np.testing.assert_allclose(frames @ frames.swapaxes(1, 2), np.broadcast_to(np.eye(3), (400, 3, 3)), atol=1e-12)
    if centred:
        np.testing.assert_allclose(frames.sum(-1), 0, atol=1e-12)
    dims = 8 - centred
    # (v.e)^2 of a unit vector e of the space is beta
    e = unit(np.array([1.0, -1, 0, 0, 0, 0, 0, 0]))
    p = scipy.stats.kstest((frames[:, 1] @ e) ** 2, scipy.stats.beta(0.5, (dims - 1) / 2).cdf).pvalue
    assert p > 1e-3
    with pytest.raises(ValueError, match="orthonormal"):
        uniform_frames(rng, 1, 9, 8)


def top(directions, table, k):
    return np.argsort(-(directions @ table.T), axis=-1)[..., :k]


def folded_circuits(rng, count, d, r, gain):
    """Right singular vectors (count, r, d) of Gaussian circuits whose reading side was folded: the slow way."""
    left, right = rng.normal(size=(count, d, r)), rng.normal(size=(count, r, d)) * gain
    return product_svd(left, right).vt


def test_null_is_calibrated_where_gains_are_folded_and_isotropic_directions_are_not():
    """p of fresh Gaussian circuits against draws by signs from a few dozen others, index by index."""
    rng = np.random.default_rng(4)
    d, r, vocab, k = 48, 6, 300, 8
    gain = np.exp(rng.normal(0, 0.8, d))
    # tokens of large gains come in clusters: what isotropic directions would not choose
    centres = rng.normal(size=(30, d)) * (gain > np.median(gain)) * 2
    table = rng.normal(size=(vocab, d)) + centres[rng.integers(0, 30, vocab)]
    described = coherence.descriptions(table)

    def statistic(directions):
        return coherence.mean_cosine(coherence.sums(described, top(directions, table, k)), k)

    drawn = flipped_frames(rng, folded_circuits(rng, 60, d, r, gain), 1500)
    fresh = folded_circuits(rng, 1200, d, r, gain)
    uniform = statistic(uniform_frames(rng, 3000, 1, d)[:, 0])
    for index in (0, 2, 5):
        observed = statistic(fresh[:, index])
        p = coherence.exceedance(observed, statistic(drawn[:, index]))
        for level in (0.01, 0.05, 0.2):  # 5 standard errors of share and null together
            assert abs(np.mean(p <= level) - level) < 5 * np.sqrt(level * (1 / 1200 + 1 / 1500)), (index, level)
    wrong = coherence.exceedance(statistic(fresh[:, 0]), uniform)
    assert np.mean(wrong <= 0.05) > 0.1


def test_centred_frames_have_no_mean_and_keep_their_length():
    rng = np.random.default_rng(5)
    frames = uniform_frames(rng, 4, 3, 20, centred=True)
    drawn = flipped_frames(rng, frames, 10, centred=True)
    np.testing.assert_allclose(drawn.mean(-1), 0, atol=1e-15)
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=-1), 1)
    plain = flipped_frames(rng, frames, 8)
    np.testing.assert_allclose(np.abs(plain), np.abs(frames[[0, 1, 2, 3] * 2]))
    np.testing.assert_allclose(plain @ plain.swapaxes(1, 2), np.broadcast_to(np.eye(3), (8, 3, 3)), atol=1e-12)
