"""Matched controls of removals and deciles of the equalised matrix, against sums written out."""

import jax
import numpy as np
import pytest

from eigensweep.engine.spectral import equalise, matched, removal
from eigensweep.engine.spectral.equalise_rounds import two_rounds
from eigensweep.engine.spectral.removal import Equalised, Factors, parse

LEVEL = 0.01
EPS = float(np.finfo(np.float64).eps)
SHAPES = [(60, 60), (90, 40), (40, 90)]


def factors(shape, seed=0, spikes=0, values=None):
    """A Gaussian matrix, or one of these singular values."""
    rng = np.random.default_rng(seed)
    u, s, vt = np.linalg.svd(rng.standard_normal(shape), full_matrices=False)
    s[:spikes] *= 1.6
    s = s if values is None else np.asarray(values, float)
    return Factors((u * s) @ vt, u, s, vt, 1.0, EPS)


def second_moments(n, seed=1, tokens=500):
    """F of inputs whose entries differ in scale, and that have a mean: (F, x (n, tokens))."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, tokens)) * np.geomspace(3, 0.1, n)[:, None] + 0.5
    return x @ x.T / tokens, x


def changed(text, found, seed=0, f=None):
    """The removal, and W - W' written out."""
    key, taken = jax.random.key(seed), parse(text)
    match = removal.output_match(taken, found, LEVEL, key, f) if taken.kind == "output" else None
    low = removal.update(taken, found, LEVEL, key, match)
    return low, found.w - removal.remove(found.w, low)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", ["energy:right", "energy:decile:3", "energy:decile:10", "energy:band:20-24"])
def test_energy_matched_values_change_as_much_as_what_they_control(shape, text):
    """As entries say; values that are neither outliers nor the controlled ones, all but one of them whole."""
    found = factors(shape, spikes=3)
    low, dw = changed(text, found)
    _, other = changed(str(parse(text).controlled), found)
    assert np.sum(dw**2) == pytest.approx(np.sum(other**2), rel=1e-10)
    assert low.energy == pytest.approx(np.sum(dw**2) / np.sum(found.w**2), rel=1e-10)
    gone = np.diag(found.u.T @ dw @ found.vt.T) / found.s  # the share of each value that goes
    np.testing.assert_allclose((found.u * (gone * found.s)) @ found.vt, dw, atol=1e-12)
    b = min(shape)
    allowed = set(range(3, b)) - set(np.flatnonzero(np.abs(np.diag(found.u.T @ other @ found.vt.T)) > 1e-9))
    whole, part = np.flatnonzero(gone > 1 - 1e-9), np.flatnonzero((gone > 1e-9) & (gone < 1 - 1e-9))
    assert set(whole) | set(part) <= allowed
    assert part.size <= 1
    assert low.rank == whole.size + part.size == low.match.terms
    assert low.match.had
    # the last one is needed: without it the others hold less
    assert np.sum(found.s[whole] ** 2) < np.sum(other**2)


def test_a_bulk_that_holds_less_than_the_outliers_gives_no_match_and_nothing_goes():
    found = factors((40, 40), values=[100.0, *np.linspace(12, 1, 39)])
    found = found._replace(sigma=1.0)
    low, dw = changed("energy:right", found)
    assert not low.match.had
    assert low.match.target == pytest.approx(1e4)
    assert (low.rank, low.energy) == (0, 0.0)
    assert not dw.any()
    low, _ = changed("energy:left", found._replace(sigma=0.01))  # nothing to match is no failure
    assert low.match.had
    assert low.rank == 0


def test_energy_draws_follow_the_key_and_are_uniform_over_the_bulk():
    found = factors((30, 30), values=np.full(30, 2.0))
    counts = np.zeros(30)
    for seed in range(200):
        _, dw = changed("energy:decile:1", found, seed)
        counts += np.diag(found.u.T @ dw @ found.vt.T) > 1
    assert counts[:3].max() == 0  # decile 1 itself
    expected = 200 * 3 / 27  # standard deviation 4.4
    assert np.abs(counts[3:] - expected).max() < 5 * 4.4
    one, two, again = (changed("energy:decile:1", found, seed)[1] for seed in (1, 2, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - two).max() > 0.1


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", ["decile:1", "decile:5", "decile:10", "right"])
def test_output_matched_directions_change_the_outputs_as_much(shape, text):
    """mean |dW x|^2 over the inputs themselves; dW is a projection but for the last direction."""
    found = factors(shape, spikes=3, seed=2)
    f, x = second_moments(shape[1])
    low, dw = changed(f"output:{text}", found, 3, f)
    _, other = changed(str(parse(f"output:{text}").controlled), found)
    square = np.mean(np.sum((other @ x) ** 2, axis=0))
    assert np.mean(np.sum((dw @ x) ** 2, axis=0)) == pytest.approx(square, rel=1e-8)
    assert low.match.target == pytest.approx(square, rel=1e-8)
    assert low.energy == pytest.approx(np.sum(dw**2) / np.sum(found.w**2), rel=1e-8)
    # dW = W P, or P W, with P symmetric: eigenvalues 1 but for one in part
    p = np.linalg.pinv(found.w) @ dw if shape[0] >= shape[1] else dw @ np.linalg.pinv(found.w)
    np.testing.assert_allclose(p, p.T, atol=1e-8)
    evals = np.linalg.eigvalsh(p)[::-1]
    np.testing.assert_allclose(evals[: low.rank - 1], 1, atol=1e-7)
    assert evals[low.rank - 1] == pytest.approx(low.match.last, abs=1e-7)
    np.testing.assert_allclose(evals[low.rank :], 0, atol=1e-7)


@pytest.mark.parametrize("shape", [(40, 40), (70, 40), (40, 70)])
def test_where_all_directions_are_alike_as_many_go_as_values_of_the_decile(shape):
    """Equal singular values and F = I: a direction changes |W|^2/b, so 4 of 40 values are worth 4 directions."""
    found = factors(shape, values=np.full(40, 3.0))
    for k in (1, 7, 10):
        low, dw = changed(f"output:decile:{k}", found, k, np.eye(shape[1]))
        assert (low.rank, low.match.had) == (4, True)
        assert low.match.last == pytest.approx(1)
        assert np.linalg.matrix_rank(found.w - dw) == 36


def test_more_directions_than_are_tried_at_first_are_the_same_ones():
    found = factors((100, 80), values=np.linspace(2, 1, 80))
    f, _ = second_moments(80)
    key = jax.random.key(5)
    low, _ = changed("output:decile:1", found, 5, f)
    left, right = matched.random_terms(found.w, 80, key)
    sums = [np.trace(left[:, :k] @ right[:k] @ f @ right[:k].T @ left[:, :k].T) for k in range(81)]
    assert sums[low.rank - 1] < low.match.target <= sums[low.rank] * (1 + 1e-9)
    whole = matched.random_match(found.w, f, sums[80], key)
    assert (whole.terms, whole.had) == (80, True)
    beyond = matched.random_match(found.w, f, 1.5 * max(sums), key)
    assert (beyond.terms, beyond.had) == (0, False)
    np.testing.assert_allclose(matched.random_terms(found.w, 3, key)[1] @ right.T, np.eye(3, 80), atol=1e-12)


def test_terms_that_work_against_each_other_are_summed_with_their_signs():
    """H = [[2, -1], [-1, 2]]: one term has 2, both together 2; the second in part first takes away, then adds."""
    h = np.array([[2.0, -1.0], [-1.0, 4.0]])
    for target in (0.5, 2.0, 2.5, 4.0):
        match = matched.first_terms(h, target)
        t = np.array([1.0, match.last])[: match.terms] if match.terms > 1 else np.array([match.last])
        assert t @ h[: match.terms, : match.terms] @ t == pytest.approx(target)
        assert match.terms == (1 if target <= 2 else 2)
    assert not matched.first_terms(h, 4.1).had
    assert matched.first_terms(h, 0.0) == (0, 0.0, 0.0, True)


@pytest.mark.parametrize("shape", [(80, 50), (50, 80), (60, 60)])
def test_deciles_of_the_equalised_matrix_are_those_of_its_own_decomposition_in_the_scales_of_w(shape):
    rng = np.random.default_rng(6)
    rows, columns = (np.exp(0.7 * rng.standard_normal(side)) for side in shape)
    w = rows[:, None] * rng.standard_normal(shape) * columns
    w[3] = 0
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    x, y = (z[0] for z in two_rounds([w], u[None], s[None], vt[None]))
    # what equalise divides by, written out; rows of zeros keep their scale of 1
    divide_rows = np.where(x > 0, np.sqrt(np.where(x > 0, x, 1)) / np.exp(np.log(x[x > 0]).mean() / 2), 1)
    divide_columns = np.sqrt(y) / np.exp(np.log(y).mean() / 2)
    even = w / divide_rows[:, None] / divide_columns
    np.testing.assert_allclose(even, equalise.equalise(w, x, y), rtol=1e-12)
    ue, se, ve = np.linalg.svd(even, full_matrices=False)
    terms = Equalised(equalise.relative(x), ue, se, ve, equalise.relative(y))
    found = Factors(w, u, s, vt, 20.0, EPS, terms)  # all of it bulk
    lows = [changed(f"equalised:{k}", found) for k in range(1, 11)]
    np.testing.assert_allclose(sum(dw for _, dw in lows), w, atol=1e-10)
    gone = np.arange(round(min(shape) * 0.2), round(min(shape) * 0.3))
    low, dw = lows[2]
    expected = np.diag(divide_rows) @ ue[:, gone] @ np.diag(se[gone]) @ ve[gone] @ np.diag(divide_columns)
    np.testing.assert_allclose(dw, expected, atol=1e-10)
    assert low.energy == pytest.approx(np.sum(expected**2) / np.sum(w**2))
    assert np.linalg.matrix_rank(w - dw, tol=1e-9) == np.linalg.matrix_rank(w) - gone.size
    control, dc = changed("energy:equalised:3", found)
    assert np.sum(dc**2) == pytest.approx(np.sum(dw**2))
    assert control.match.had


def test_what_is_not_there_is_asked_for():
    found = factors((20, 12))
    with pytest.raises(ValueError, match="equalised:3: the equalised components are not there"):
        removal.update(parse("equalised:3"), found, LEVEL, jax.random.key(0))
    with pytest.raises(ValueError, match="output:right: follows from the activations"):
        removal.update(parse("output:right"), found, LEVEL, jax.random.key(0))
    with pytest.raises(ValueError, match="energy:right: matches no change of the output"):
        removal.output_match(parse("energy:right"), found, LEVEL, jax.random.key(0), np.eye(12))


def test_forms_are_read_back_spelt_out_and_refused():
    for text in ("equalised:10", "energy:right:3", "energy:decile:10", "output:decile:10:2", "output:band:0%-5%:1"):
        assert str(parse(text)) == text
    of = {"energy:both": "outliers:both", "output:band:1-4:2": "band:1-4", "random:left": "outliers:left",
          "output:equalised:2": "equalised:2"}  # fmt: skip
    assert {text: str(parse(text).controlled) for text in of} == of
    assert parse("random:decile").controlled is None
    assert parse("decile:1").controlled is None
    assert [str(r) for r in removal.expand(["equalised"])] == [f"equalised:{k}" for k in range(1, 11)]
    assert [str(r) for r in removal.expand(["energy:deciles"], 2)][:3] == [
        "energy:decile:1", "energy:decile:1:1", "energy:decile:2",
    ]  # fmt: skip
    assert [str(r) for r in removal.expand(["output:decile:10:0", "output:decile:10:4"], 3)] == [
        "output:decile:10", "output:decile:10:4",
    ]  # fmt: skip
    for text in (
        "equalised:0",
        "equalised:1:1",
        "energy:decile",
        "energy:decile:11",
        "energy:outliers:right",
        "output:band:5-4",
        "output:right:x",
        "energy:random:right",
        "energy:",
        "output:equalised:x",
    ):
        with pytest.raises(ValueError, match=f"removal '{text}'"):
            removal.expand([text])
