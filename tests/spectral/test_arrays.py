"""One function for NumPy's and JAX's arrays."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.spectral.arrays import compiled, iterate, namespace, over_rows


def test_one_jax_array_makes_it_jax():
    assert namespace(np.ones(2), 1.0, 3) is np
    assert namespace(np.ones(2), jnp.ones(2)) is jnp
    assert jax.jit(lambda x: x if namespace(x) is jnp else x / 0)(1.0) == 1


def test_numpy_is_never_compiled_and_does_not_warn():
    seen = []

    @compiled("power")
    def ratio(x, y, power):
        seen.append(type(x))
        return (x / y) ** power

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(ratio(np.zeros(1), np.zeros(1), power=2))
    assert ratio(np.full(1, 6.0), np.full(1, 2.0), 2) == 9
    assert seen == [np.ndarray] * 2
    for _ in range(3):
        assert ratio(jnp.full(1, 6.0), 2.0, 2) == 9
    assert len(seen) == 3  # traced once


def test_iterations_and_rows_are_the_same_on_both():
    calls = []

    def towards_two(x):
        calls.append(x)
        return (x + 2) // 2

    assert iterate(100, towards_two, np.int64(40)) == iterate(100, towards_two, jnp.asarray(40)) == 2
    assert len(calls) < 20  # not once it changes nothing
    assert iterate(2, towards_two, np.int64(40)) == iterate(2, towards_two, jnp.asarray(40)) == 11
    rows = np.arange(12.0).reshape(4, 3)
    for found in (over_rows(lambda x: (x.sum(), 2 * x), xp.asarray(rows)) for xp in (np, jnp)):
        np.testing.assert_array_equal(found[0], rows.sum(axis=1))
        np.testing.assert_array_equal(found[1], 2 * rows)
