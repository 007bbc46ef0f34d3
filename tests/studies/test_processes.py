"""Processes and devices that share the work, and those that die of it: the tables are those of one alone."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from eigensweep import engine, models

OPTIONS = {"null": "table", "control": "gaussian", "equalise": False, "num_flips": 0}
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
    return list((workdir / "sweep_parts").glob("*.parquet"))


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
    deadline = time.monotonic() + 300
    while len(parts(workdir)) < 2 and both[1].poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    for process in reversed(both):  # the first process cannot go on without the second; a scheduler ends it
        process.kill()
        process.communicate(timeout=60)
    finished = parts(workdir)
    assert len(finished) >= 2
    process = start(workdir, weights)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert_same(engine.open_run(workdir), undisturbed)


DEVICES = """
import sys, jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import numpy as np
from eigensweep import engine, models
rng = np.random.default_rng(0)
weights = {f"layers.{i}.q_proj.weight": rng.standard_normal((48, 32)) for i in range(5)}
for strategy in ("lapack", "gram"):
    run = engine.sweep(models.open_checkpoint(weights), engine.SweepOptions(strategy=strategy))
    assert len(run.manifest["devices"]) == int(sys.argv[1])
    run.matrices.to_pickle(f"{sys.argv[2]}/{strategy}.pkl")
"""


@pytest.fixture(scope="module")
def by_devices(tmp_path_factory):
    """Number of devices -> the folder with the tables of both strategies, made by one process."""
    folders = {}
    for count in (1, 2, 8):
        folders[count] = tmp_path_factory.mktemp(f"devices{count}")
        command = [sys.executable, "-c", DEVICES, str(count), str(folders[count])]
        subprocess.run(command, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}, timeout=300)
    return folders


@pytest.mark.parametrize("strategy", ["lapack", "gram"])
def test_same_numbers_on_two_and_eight_devices(by_devices, strategy):
    """Integers to the last digit, the rest to 1e-10; residual and orthogonality are themselves rounding errors."""
    tables = []
    for folder in by_devices.values():
        table = pd.read_pickle(folder / f"{strategy}.pkl")
        tables.append(table[[c for c in table if not c.endswith(("residual", "orthogonality"))]])
    for table in tables[1:]:
        pd.testing.assert_frame_equal(tables[0], table, rtol=1e-10, atol=0)
