"""Rank plots: closed forms, a slow reference, noise, and power laws behind sampling."""

import jax
import numpy as np
import pytest
from scipy.optimize import nnls

from eigensweep.engine.spectral import rank_plot

jax.config.update("jax_enable_x64", True)


def cut(ranks, slope, end, beyond):
    """3 k^slope up to `end`, then k^beyond."""
    k = np.arange(1.0, ranks + 1)
    return 3 * np.where(k <= end, k**slope, end**slope * (k / end) ** beyond)


def test_a_power_law_with_a_cut_is_found_as_it_is():
    values = cut(2000, -0.6, rank_plot._ranks(2000)[-12], -4.0)
    plot = rank_plot.fit(np.random.default_rng(0).permutation(values))
    assert (plot.slope, plot.end, plot.beyond) == pytest.approx((-0.6, rank_plot._ranks(2000)[-12], -4.0), rel=1e-9)
    assert plot.level == pytest.approx(np.log(3))
    assert plot.bend < 1e-6
    assert plot.is_power_law
    ranks, drawn = rank_plot.line(plot)
    np.testing.assert_allclose(drawn, np.interp(np.log(ranks), np.log(np.arange(1, 2001)), values), rtol=1e-9)


def test_a_pure_power_law_has_no_drop_off():
    plot = rank_plot.fit(cut(500, -1.2, 500, 0))
    assert plot.slope == pytest.approx(-1.2)
    assert plot.end == plot.ranks == 500
    assert not plot.drops_off
    assert plot.bic == 0


def test_what_flattens_is_no_drop_off():
    assert not rank_plot.fit(cut(500, -1.0, 20, -0.1)).drops_off


def test_the_fit_is_the_best_of_all_two_piece_fits():
    """Every break, by non-negative least squares that keeps the second piece steeper, one after the other."""
    rng = np.random.default_rng(1)
    values = cut(300, -0.5, 60, -1.4) * np.exp(0.1 * rng.standard_normal(300))
    ranks = rank_plot._ranks(300)
    x, y = np.log(ranks), np.log(np.sort(values)[::-1][ranks - 1])
    spacing = np.gradient(np.log10(ranks))
    root = np.sqrt(np.minimum(1, 16 * spacing))
    best = (np.inf,)
    for i in range(3, len(x) - 3):
        design = np.stack([np.ones_like(x), -np.ones_like(x), x, -x, -np.maximum(x - x[i], 0)], axis=1)
        coefficients, norm = nnls(root[:, None] * design, root * y, maxiter=500)
        best = min(best, (norm, ranks[i], coefficients[2] - coefficients[3], coefficients[4]))
    plot = rank_plot.fit(values)
    assert plot.end == best[1]
    assert plot.slope == pytest.approx(best[2], rel=1e-6)
    assert plot.beyond == pytest.approx(best[2] - best[3], rel=1e-6)


@pytest.mark.parametrize("shape", [(192, 192), (384, 192)])
def test_noise_is_no_power_law_and_lies_on_its_own_plot(gaussian_singular_values, shape):
    """The fit of drawn spectra is that of the law's quantiles; none reads as a power law."""
    spectra = np.asarray(gaussian_singular_values(0, *shape, 60))
    plots = [rank_plot.fit(s) for s in spectra]
    assert not any(plot.is_power_law for plot in plots)
    assert min(plot.bend for plot in plots) > 1
    law = rank_plot.noise(*shape)
    assert not law.is_power_law
    assert np.mean([plot.slope for plot in plots]) == pytest.approx(law.slope, abs=0.04)


def test_a_sampled_power_law_keeps_its_slope():
    """Singular values of 2000 samples in 200 dimensions whose deviations fall as k^-0.5."""
    rng = np.random.default_rng(2)
    scales = np.arange(1.0, 201) ** -0.5
    plots = [rank_plot.fit(np.linalg.svd(rng.standard_normal((2000, 200)) * scales, compute_uv=False)) for _ in "1234"]
    assert all(plot.is_power_law for plot in plots)
    assert np.mean([plot.slope for plot in plots]) == pytest.approx(-0.5, abs=0.02)


def test_exponential_spectra_bend():
    plot = rank_plot.fit(np.exp(-np.arange(384) / 60))
    assert not plot.is_power_law


def test_rounding_is_left_out():
    values = cut(400, -0.5, 400, 0)
    values[100:] = 1e-14
    plot = rank_plot.fit(np.r_[values, 0.0, -1e-15, np.nan], least=1e-12)
    assert plot.ranks == 100
    assert plot.slope == pytest.approx(-0.5)


@pytest.mark.parametrize("values", [[], [0.0], [3.0, 2.0, 1.0], [np.nan] * 40])
def test_too_few_values_have_no_plot(values):
    plot = rank_plot.fit(values)
    assert np.isnan(plot.slope)
    assert not plot.is_power_law
    assert not plot.drops_off


def test_blocks_of_one_kind_have_an_interval_that_holds_the_slope():
    """Ten blocks whose slopes have a standard deviation of 0.05: the mean's is 0.016; covered about 9 times in 10."""
    rng = np.random.default_rng(3)
    k = np.arange(1.0, 301)
    held = widths = 0.0
    for seed in range(40):
        slopes = -0.6 + 0.05 * rng.standard_normal(10)
        plot, interval = rank_plot.pooled(k ** slopes[:, None], seed, num_resamples=200)
        assert plot.slope == pytest.approx(slopes.mean(), abs=1e-9)
        held += interval.slope_low <= -0.6 <= interval.slope_high
        widths += interval.slope_high - interval.slope_low
    assert 31 <= held <= 40
    assert widths / 40 == pytest.approx(2 * 1.96 * 0.05 / np.sqrt(10), rel=0.15)


def test_blocks_end_with_the_shortest_and_one_alone_has_no_interval():
    spectra = np.stack([cut(200, -0.5, 200, 0), cut(200, -0.7, 200, 0)])
    spectra[1, 150:] = 0
    plot, interval = rank_plot.pooled(spectra, 0)
    assert (plot.ranks, plot.slope) == (150, pytest.approx(-0.6))
    assert -0.7 - 1e-9 <= interval.slope_low < interval.slope_high <= -0.5 + 1e-9
    assert np.isnan(rank_plot.pooled(spectra[:1], 0)[1]).all()
