"""The branches that only accelerators take, on CPU devices that say they are a GPU: the tables are those of the CPU."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from eigensweep.engine.run import statistics

WAYS = (("cpu", 1), ("gpu", 1), ("gpu", 8))
SWEEP = """
import ml_dtypes
import numpy as np
from eigensweep import engine, models
rng = np.random.default_rng(0)
weights = {}
def add(role, w):
    weights[f"layers.{len(weights)}.{role}.weight"] = w
for dtype in (np.float32, ml_dtypes.bfloat16, np.float64):
    for _ in range(3):
        square, tall, wide = (rng.standard_normal(shape).astype(dtype) for shape in ((48, 48), (96, 48), (48, 96)))
        add("self_attn.q_proj", square)
        if dtype == np.float32:  # every shape and every dtype, not each with each: nearly all is tracing
            add("mlp.up_proj", tall)
            add("mlp.down_proj", wide)
u, v = (np.linalg.qr(rng.standard_normal((48, 48)))[0] for _ in range(2))
add("self_attn.q_proj", (u * np.logspace(0, -7, 48)) @ v)  # leaves the tolerances of a Gram matrix
add("self_attn.q_proj", np.zeros((48, 48), np.float32))
add("self_attn.q_proj", np.full((48, 48), np.nan, np.float32))
run = engine.sweep(models.open_checkpoint(weights), engine.SweepOptions(control="both,signs"))
run.matrices.merge(run.spectra, on="name").to_pickle(out)
"""
GPU = f"""
import json
import sys
import jax
out, count = sys.argv[1], int(sys.argv[2])
jax.config.update("jax_num_cpu_devices", count)
import numpy as np
from eigensweep.engine.run import statistics
from eigensweep.engine.spectral import ks
from eigensweep.engine.spectral.svd import auto, device
jax.default_backend = lambda: "gpu"
auto.device_memory = lambda: {{"bytes_limit": 8 << 30, "bytes_in_use": 0}}
on_host = ks.ks_statistic
ks.ks_statistic = lambda x: on_host(x) if isinstance(x, np.ndarray) else ks._on_device(x)
asked, svd = set(), device.svd
def heard(w, strategy, vectors):
    asked.add((w.shape, str(w.dtype), type(w).__module__.startswith("jax")))
    return svd(w, strategy, vectors)
device.svd = heard
{SWEEP}
programs = {{f.__name__: f._cache_size() for f in (statistics._values_of_rows, statistics._shape_of_rows)}}
if count == 1:
    programs["svd"] = device._jitted("gram", True, None)._cache_size()
print(json.dumps({{"programs": programs, "asked": sorted(asked)}}))
"""


def programs():
    """How often this process has compiled the statistics."""
    return [f._cache_size() for f in (statistics._values_of_rows, statistics._shape_of_rows)]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Backend and number of devices -> the joined tables, and what was compiled; the CPU's are made in this process."""
    folder = tmp_path_factory.mktemp("tables")
    before = programs()
    exec(SWEEP, {"out": folder / "cpu1.pkl"})
    compiled = [{"programs": dict(zip(("values", "shape"), np.subtract(programs(), before), strict=True))}]
    for count in (1, 8):
        done = subprocess.run(
            [sys.executable, "-c", GPU, str(folder / f"gpu{count}.pkl"), str(count)],
            capture_output=True, text=True, timeout=300,
            env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},  # nearly all of its time is compilation
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        compiled.append(json.loads(done.stdout.splitlines()[-1]))
    tables = [pd.read_pickle(folder / f"{backend}{count}.pkl") for backend, count in WAYS]
    return dict(zip(WAYS, zip(tables, compiled, strict=True), strict=True))


@pytest.fixture(scope="module")
def tables(sweeps):
    return {key: table for key, (table, _) in sweeps.items()}


def test_every_program_is_compiled_once(sweeps):
    """Measures and power law once a smaller side, noise and edges once a shape, a decomposition once a batch."""
    compiled = sweeps["gpu", 1][1]
    assert compiled["programs"]["_values_of_rows"] == 1  # the smaller side is 48 throughout
    assert compiled["programs"]["_shape_of_rows"] == 2  # 48 x 48, and 96 x 48 either way round
    assert compiled["programs"]["svd"] == len(compiled["asked"])
    stored = [on_device for _, dtype, on_device in compiled["asked"] if dtype == "bfloat16"]
    assert stored  # matrices reach the device as they are stored, and are widened there
    assert all(stored)
    assert set(sweeps["cpu", 1][1]["programs"].values()) == {0}


def measured(table):
    """Without what differs by design: the way, and the rounding errors it left."""
    return table[[c for c in table if not c.endswith(("residual", "orthogonality", "strategy", "_counts"))]]


@pytest.mark.parametrize("count", [1, 8])
def test_the_accelerators_way_gives_the_cpus_tables(tables, count):
    cpu, gpu = tables["cpu", 1], tables["gpu", count]
    assert set(cpu["strategy"]) == {"lapack", ""}
    assert set(gpu["strategy"]) == {"gram", "lapack", ""}  # one matrix was repaired on the host
    assert (gpu["strategy"] == "lapack").sum() == 1
    for column in ("kept_right_counts", "kept_left_counts"):  # an entry on a bin's border may change sides
        for one, other in zip(cpu[column], gpu[column], strict=True):
            assert np.abs(np.asarray(one) - np.asarray(other)).sum() <= 4
    cpu, gpu = measured(cpu), measured(gpu)
    equalised = cpu.columns.str.startswith("equalised_")
    pd.testing.assert_frame_equal(cpu.loc[:, ~equalised], gpu.loc[:, ~equalised], rtol=1e-8, atol=1e-8)
    # the ill-conditioned matrix once equalised is at the tolerance: repaired or not, its small vectors differ by 1e-4
    others = cpu["equalised_condition"].fillna(0) < 1e6
    assert (~others).sum() == 1
    pd.testing.assert_frame_equal(cpu.loc[others, equalised], gpu.loc[others, equalised], rtol=1e-8, atol=1e-8)
    columns = [f"equalised_{c}" for c in ("sigma", "num_right_outliers", "num_left_outliers", "hard_rank", "condition")]
    pd.testing.assert_frame_equal(cpu.loc[~others, columns], gpu.loc[~others, columns], rtol=1e-5)


def test_residuals_stay_small(tables):
    for table in tables.values():
        assert np.nanmax(table["residual"]) < 1e-10
        assert np.nanmax(table["orthogonality"]) < 1e-8
