"""On a CPU a sweep compiles next to nothing: programs are counted, not timed."""

import jax
import numpy as np
import pytest

from eigensweep.engine import SweepOptions, sweep
from eigensweep.engine.run import statistics


@pytest.fixture
def compiled():
    """The programs that JAX compiled, or fetched from its cache, since the test began: a number each that it took."""
    seen = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            seen.append(duration)

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_sweep_compiles_its_random_keys_and_nothing_else_whatever_the_shapes(compiled, make_checkpoint):
    rng = np.random.default_rng(0)
    shapes = ((40, 30), (31, 64), (50, 20))
    extra = [(f"m{i}", "other", rng.standard_normal(shape).astype(np.float32)) for i, shape in enumerate(shapes)]
    options = SweepOptions(control="both,signs")
    sweep(make_checkpoint(), options)
    assert 0 < len(compiled) <= 4  # a seed, a name folded into it, and what these two are made of
    compiled.clear()
    sweep(make_checkpoint(extra), options)
    assert not compiled


@pytest.mark.parametrize(("a", "b", "power"), [(30, 12, "default"), (9, 5, "weightwatcher")])
def test_host_and_device_give_the_same_columns(a, b, power):
    rng = np.random.default_rng([a, b])
    w = rng.standard_normal((3, a, b))
    w[1] += 3 * rng.standard_normal((a, 2)) @ rng.standard_normal((2, b))
    w[2, :, : b // 3] = 0
    s = np.linalg.svd(w, compute_uv=False)
    rest = (np.array([np.nan, np.nan, 0.1]), (1.9 * a**0.5, 0.3 * a**0.5), 1e-7, a, b, power)
    host, device = statistics._on_host(s, *rest), statistics._on_device(s, *rest)
    assert set(host) == set(device)
    for name, column in host.items():
        assert column.dtype.kind == device[name].dtype.kind, name
        np.testing.assert_allclose(column, device[name], rtol=1e-11, err_msg=name)
