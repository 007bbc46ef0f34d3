"""What is taken out of a matrix, against full decompositions and masks."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral import noise, removal
from eigensweep.engine.spectral.removal import Factors, parse

LEVEL = 0.01
EPS = float(np.finfo(np.float64).eps)
SHAPES = [(60, 60), (120, 40), (40, 120), (47, 33)]


def factors(shape, spikes=0, seed=0):
    """A Gaussian matrix, `spikes` of its largest singular values and half as many small ones moved far out."""
    rng = np.random.default_rng(seed)
    u, s, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    s[:spikes] *= 4
    if spikes:
        s[-(spikes // 2) :] *= 1e-4
    return Factors((u * s) @ vt, u, s, vt, 1.0, EPS)


def without(found, gone):
    """The slow way: the whole product with zeros in s."""
    s = found.s.copy()
    s[list(gone)] = 0
    return found.u @ np.diag(s) @ found.vt


@pytest.mark.parametrize("shape", SHAPES)
def test_deciles_divide_the_values_and_their_updates_add_up_to_the_matrix(shape):
    found, key = factors(shape), jax.random.key(0)
    taken = removal.expand(["deciles"])
    groups = [removal.indices(r, found.s, shape, 1.0, EPS, LEVEL, key) for r in taken]
    np.testing.assert_array_equal(np.concatenate(groups), np.arange(min(shape)))
    sizes = [len(g) for g in groups]
    assert max(sizes) - min(sizes) <= 1
    updates = [removal.update(r, found, LEVEL, key) for r in taken]
    np.testing.assert_allclose(sum(u.left @ u.right for u in updates), found.w, atol=1e-12)
    assert sum(u.energy for u in updates) == pytest.approx(1)
    assert [u.rank for u in updates] == sizes


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("decile:1", lambda b: range(round(b / 10))),
        ("decile:10", lambda b: range(round(b * 0.9), b)),
        ("band:1-1", lambda b: [0]),
        ("band:4-9", lambda b: range(3, 9)),
        ("band:50%-100%", lambda b: range(round(b / 2), b)),
    ],
)
def test_a_removal_is_the_product_with_zeroed_values(shape, text, gone):
    found = factors(shape, seed=1)
    low = removal.update(parse(text), found, LEVEL, jax.random.key(0))
    expected = without(found, gone(min(shape)))
    np.testing.assert_allclose(removal.remove(found.w, low), expected, atol=1e-12)
    share = 1 - np.linalg.norm(expected) ** 2 / np.linalg.norm(found.w) ** 2
    assert low.energy == pytest.approx(share, abs=1e-12)
    assert low.left.shape == (shape[0], low.rank)
    assert low.right.shape == (low.rank, shape[1])


def test_outliers_are_the_planted_ones_and_the_controls_take_as_many():
    shape, key = (120, 40), jax.random.key(3)
    found = factors(shape, spikes=6)

    def gone(text):
        return set(removal.indices(parse(text), found.s, shape, 1.0, EPS, LEVEL, key).tolist())

    assert gone("outliers:right") == set(range(6))
    assert gone("outliers:left") == {37, 38, 39}
    assert gone("outliers:both") == gone("outliers:right") | gone("outliers:left")
    for side, count in (("right", 6), ("left", 3), ("both", 9), ("decile", 4)):
        drawn = gone(f"bulk:{side}")
        assert len(drawn) == count
        assert drawn <= set(range(6, 37))
        assert removal.update(parse(f"random:{side}"), found, LEVEL, key).rank == count


def test_without_outliers_nothing_goes():
    found = factors((50, 50), seed=5)
    low = removal.update(parse("outliers:right"), found._replace(sigma=10.0), LEVEL, jax.random.key(0))
    assert (low.rank, low.energy) == (0, 0.0)
    np.testing.assert_array_equal(removal.remove(found.w, low), found.w)
    assert removal.update(parse("random:right"), found._replace(sigma=10.0), LEVEL, jax.random.key(0)).rank == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_random_directions_are_projected_out_and_cost_their_share_on_average(shape):
    found, energies, b = factors(shape, spikes=4, seed=2), [], min(shape)
    for seed in range(60):
        low = removal.update(parse("random:decile"), found, LEVEL, jax.random.key(seed))
        w = removal.remove(found.w, low)
        assert np.linalg.matrix_rank(w) == b - round(b / 10)
        removed = np.linalg.norm(found.w - w) ** 2 / np.linalg.norm(found.w) ** 2
        assert low.energy == pytest.approx(removed)
        # a projection: what is left and what went are orthogonal
        assert np.vdot(w, found.w - w) == pytest.approx(0, abs=1e-9)
        energies.append(low.energy)
    expected = round(b / 10) / b
    assert np.mean(energies) == pytest.approx(expected, abs=4 * np.std(energies) / np.sqrt(60))


def test_draws_follow_the_key_and_bulk_draws_are_uniform():
    found = factors((60, 60), seed=4)

    def drawn(text, seed):
        return removal.indices(parse(text), found.s, (60, 60), 1.0, EPS, LEVEL, jax.random.key(seed))

    np.testing.assert_array_equal(drawn("bulk:decile", 1), drawn("bulk:decile", 1))
    assert set(drawn("bulk:decile", 1)) != set(drawn("bulk:decile", 2))
    counts = np.bincount(np.concatenate([drawn("bulk:decile", seed) for seed in range(400)]), minlength=60)
    bulk = counts[counts > 0]  # 40 draws a value expected, standard deviation 6
    assert bulk.size >= 58
    assert abs(bulk - 40).max() < 5 * 6
    one, two = (removal.update(parse("random:decile"), found, LEVEL, jax.random.key(seed)).right for seed in (1, 2))
    assert np.abs(one - two).max() > 0.1


def test_texts_are_read_back_and_expanded_once():
    for text in ("decile:10", "band:1-16", "band:0%-2.5%", "outliers:both", "bulk:left:3", "random:decile"):
        assert str(parse(text)) == text
    assert [str(r) for r in removal.expand(["decile:2", "deciles", "bulk:left"], 2)] == [
        "decile:2", "decile:1", *(f"decile:{k}" for k in range(3, 11)), "bulk:left", "bulk:left:1",
    ]  # fmt: skip
    assert [str(r) for r in removal.expand(["random:left:4"], 3)] == ["random:left:4"]


@pytest.mark.parametrize(
    "text",
    [
        "decile:0", "decile:11", "decile", "band:0-3", "band:5-4", "band:50%-40%", "band:0%-101%", "outliers:top",
        "outliers:left:1", "bulk:left:x", "random:", "nonsense:1", "decile:1:1", "",
    ],
)  # fmt: skip
def test_wrong_texts_are_refused(text):
    with pytest.raises(ValueError, match="removal"):
        parse(text)


def test_bands_beyond_the_matrix_and_indices_of_random_directions_are_refused():
    found = factors((20, 20))
    with pytest.raises(ValueError, match="20 singular values"):
        removal.update(parse("band:15-21"), found, LEVEL, jax.random.key(0))
    with pytest.raises(ValueError, match="no singular values"):
        removal.indices(parse("random:decile"), found.s, (20, 20), 1.0, EPS, LEVEL, jax.random.key(0))


@pytest.mark.parametrize("shape", [(100, 60), (64, 64), (48, 200)])
@pytest.mark.parametrize("rank", [1, 4, 12])
def test_a_low_rank_product_has_no_outliers_to_take(shape, rank):
    """A float32 product as LoRA makes it: its values beyond the rank are rounding, no bulk to stand out from."""
    rng = np.random.default_rng(rank)
    a, b = (rng.standard_normal(sides).astype(np.float32) for sides in ((shape[0], rank), (rank, shape[1])))
    w = a @ b
    u, s, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    sigma, eps = float(noise.sigma_bulk(s, *shape)), float(np.finfo(w.dtype).eps)
    found = Factors(w, u, s, vt, sigma, eps)
    for side in ("right", "left", "both"):
        assert removal.update(parse(f"outliers:{side}"), found, LEVEL, jax.random.key(0)).rank == 0


@pytest.mark.parametrize("field", ["u", "s", "vt", "w"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_factors_that_are_not_finite_are_refused(field, value):
    found, key = factors((20, 12)), jax.random.key(0)
    spoilt = getattr(found, field).copy()
    spoilt.flat[-1] = value  # far from what decile:1 takes out
    for text in ("decile:1", "outliers:left", "bulk:decile", "random:right"):
        with pytest.raises(ValueError, match=f"{text}: the decomposition of a 20 x 12 matrix has NaN"):
            removal.update(parse(text), found._replace(**{field: spoilt}), LEVEL, key)
