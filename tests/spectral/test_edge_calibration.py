"""On Gaussian matrices a test at level alpha must fire at rate alpha, with the sigma known or fitted.

Seeds are fixed. A rate passes if a true rate between 0.75 and 1.3 times the level could have given it (two-sided,
1e-3): the limits' laws are off by up to a tenth at these sizes, the fitted sigma adds up to a fifth at 64 x 64.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from eigensweep.engine.spectral import edges, noise


@partial(jax.jit, static_argnums=(1, 2))
def fired(s, a, b):
    """(num, 2 sigmas, 2 levels, 2 sides): does the test fire?"""

    def one(x):
        sigmas = [1.0, noise.sigma_bulk(x, a, b)]
        return jnp.array([[edges.num_outliers(x, a, b, y, level) for level in (0.05, 0.01)] for y in sigmas]) > 0

    return jax.vmap(one)(s)


def assert_keeps_level(fires, level):
    num, count = len(fires), int(np.sum(fires))
    low = scipy.stats.binom.ppf(1e-3, num, 0.75 * level)
    high = scipy.stats.binom.ppf(1 - 1e-3, num, 1.3 * level)
    assert low <= count <= high, f"fired {count} times of {num} at level {level}: outside [{low}, {high}]"


@pytest.mark.parametrize(
    ("a", "b", "num"),
    [
        (64, 64, 6_000),  # square: Edelman's hard edge
        (68, 64, 6_000),  # nearly square: Forrester's
        (80, 64, 4_000),  # the last of them
        (81, 64, 4_000),  # Ma's soft edge from here on
        (172, 64, 6_000),
        (1000, 16, 6_000),
        (300, 200, 1_000),
    ],
)
def test_outlier_tests_keep_their_level(gaussian_singular_values, a, b, num):
    fires = np.asarray(fired(gaussian_singular_values([2, a, b], a, b, num), a, b))
    for i in range(2):  # known and fitted sigma
        for j, level in enumerate((0.05, 0.01)):
            for side in range(2):
                assert_keeps_level(fires[:, i, j, side], level)


def test_outlier_tests_keep_their_level_on_matrices_themselves():
    s = np.linalg.svd(np.random.default_rng(3).standard_normal((2000, 40, 30)), compute_uv=False)
    fires = np.asarray(fired(s, 40, 30))
    for i in range(2):
        for side in range(2):
            assert_keeps_level(fires[:, i, 0, side], 0.05)


@pytest.mark.parametrize(("a", "b"), [(2, 2), (5, 4), (8, 8), (200, 3), (30, 1)])
def test_outlier_tests_keep_their_level_with_few_values_and_known_sigma(gaussian_singular_values, a, b):
    s = gaussian_singular_values([4, a, b], a, b, 10_000)
    right, left = edges.right_threshold(a, b, 0.05), edges.left_threshold(a, b, 0.05)
    assert_keeps_level(s[:, 0] > right, 0.05)
    assert_keeps_level(s[:, -1] < left, 0.05)
