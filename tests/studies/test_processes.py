"""Processes that die, and processes that share the work: the tables are those of one undisturbed process."""

import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from eigensweep import engine, models
from eigensweep.engine.run.hosts import my_share

OPTIONS = {"null": "table", "control": "gaussian"}
SWEEP = f"""
import sys
import jax
workdir, weights, rank, port = sys.argv[1:]
if rank != "alone":
    jax.distributed.initialize("127.0.0.1:" + port, 2, int(rank))
from eigensweep import engine, models
engine.sweep(models.open_checkpoint(weights), engine.SweepOptions(**{OPTIONS!r}), workdir, memory_bytes=1)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """24 matrices in two shapes, in a file."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    shapes = [(96, 96), (160, 96)]
    save_file({f"layers.{i}.q_proj.weight": rng.standard_normal(shapes[i % 2]) for i in range(24)}, path)
    return path


@pytest.fixture(scope="module")
def undisturbed(weights):
    return engine.sweep(models.open_checkpoint(weights), engine.SweepOptions(**OPTIONS), memory_bytes=1)


def start(workdir, weights, rank="alone", port=0):
    """A sweep in a process of its own, one matrix a batch."""
    command = [sys.executable, "-c", SWEEP, str(workdir), str(weights), str(rank), str(port)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def assert_same(run, expected):
    pd.testing.assert_frame_equal(run.matrices, expected.matrices, rtol=1e-10)
    pd.testing.assert_frame_equal(run.spectra, expected.spectra, rtol=1e-10)


def parts(workdir):
    folder = workdir / "parts"
    return {p.name: p.stat().st_mtime_ns for p in folder.glob("*.parquet")} if folder.is_dir() else {}


def test_killed_ten_times(weights, undisturbed, tmp_path):
    """SIGKILL at a random moment after work has begun; what was finished is never done again."""
    workdir, rng = tmp_path / "run", random.Random(0)
    seen: dict[str, int] = {}
    for _ in range(10):
        process = start(workdir, weights)
        deadline = time.monotonic() + 120
        while len(parts(workdir)) <= len(seen) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        now = parts(workdir)
        assert {name: now.get(name) for name in seen} == seen  # nothing finished was lost or written again
        seen = now
        if len(seen) >= 22:
            break
    assert seen
    process = start(workdir, weights)
    assert process.wait() == 0, process.stderr.read()
    assert_same(engine.open_run(workdir), undisturbed)


def two_processes(workdir, weights):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(workdir, weights, rank, port) for rank in (0, 1)]


def test_two_processes_give_what_one_gives(weights, undisturbed, tmp_path):
    for process in two_processes(tmp_path / "run", weights):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    run = engine.open_run(tmp_path / "run")
    assert run.manifest["processes"] == 2
    assert_same(run, undisturbed)


def test_a_process_that_dies_leaves_a_run_that_the_next_start_completes(weights, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    both = two_processes(workdir, weights)
    while len(parts(workdir)) < 2 and both[1].poll() is None:
        time.sleep(0.005)
    for process in reversed(both):  # the first process cannot go on without the second; a scheduler ends it
        process.kill()
        process.communicate()
    finished = len(parts(workdir))
    assert finished >= 2
    process = start(workdir, weights)
    assert process.wait() == 0, process.stderr.read()
    assert_same(engine.open_run(workdir), undisturbed)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_work_is_dealt_out_whole_and_even(count):
    costs = [float(c) for c in np.random.default_rng(0).integers(1, 100, 40)]
    shares = [my_share(costs, index, count) for index in range(count)]
    assert sorted(i for share in shares for i in share) == list(range(40))
    loads = [sum(costs[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs)


@pytest.mark.parametrize("strategy", ["lapack", "gram"])
def test_same_numbers_on_two_and_eight_devices(tmp_path, strategy):
    """Integers to the last digit, the rest to 1e-10; residual and orthogonality are themselves rounding errors."""
    code = f"""
import sys, jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import numpy as np
from eigensweep import engine, models
rng = np.random.default_rng(0)
weights = {{f"layers.{{i}}.q_proj.weight": rng.standard_normal((48, 32)) for i in range(5)}}
run = engine.sweep(models.open_checkpoint(weights), engine.SweepOptions(strategy={strategy!r}))
assert len(run.manifest["devices"]) == int(sys.argv[1])
run.matrices.to_pickle(sys.argv[2])
"""
    tables = []
    for count in (1, 2, 8):
        path = tmp_path / f"{count}.pkl"
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        subprocess.run(
            [sys.executable, "-c", code, str(count), str(path)], check=True, env=environment, timeout=300
        )
        table = pd.read_pickle(path)
        tables.append(table[[c for c in table if not c.endswith(("residual", "orthogonality"))]])
    for table in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], table, rtol=1e-10, atol=0)
