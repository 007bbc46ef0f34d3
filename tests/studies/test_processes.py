"""Processes and devices that share the work, and those that die of it: the tables are those of one alone."""

import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from eigensweep import engine, models

OPTIONS = {"null": "table", "control": "gaussian", "equalise": False, "num_flips": 0}


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


@pytest.fixture(scope="module")
def start(program, weights):
    """start(workdir, *flags): a sweep in a process of its own, one matrix a batch."""
    options = [f"--config.{key}={value}" for key, value in OPTIONS.items()]

    def start(workdir, *flags):
        words = (f"--checkpoint={weights}", f"--workdir={workdir}", "--noreport", "--memory_gib=1e-9")
        return program.start("sweep", *words, *options, *flags)

    return start


def assert_same(run, expected):
    pd.testing.assert_frame_equal(run.matrices, expected.matrices, rtol=1e-10)
    pd.testing.assert_frame_equal(run.spectra, expected.spectra, rtol=1e-10)


def parts(workdir):
    return list((workdir / "sweep_parts").glob("*.parquet"))


def two_processes(start, workdir):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = f"--coordinator=127.0.0.1:{port}", "--num_processes=2"
    return [start(workdir, *flags, f"--process_id={rank}") for rank in (0, 1)]


def test_two_processes_give_what_one_gives(start, undisturbed, tmp_path):
    for process in two_processes(start, tmp_path / "run"):
        process.wait().succeeded()
    run = engine.open_run(tmp_path / "run")
    assert run.manifest["processes"] == 2
    assert_same(run, undisturbed)


def test_a_process_that_dies_leaves_a_run_that_the_next_start_completes(start, undisturbed, tmp_path):
    workdir = tmp_path / "run"
    both = two_processes(start, workdir)
    deadline = time.monotonic() + 300
    while len(parts(workdir)) < 2 and both[1].poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    for process in reversed(both):  # the first process cannot go on without the second; a scheduler ends it
        process.send(signal.SIGKILL)
        process.wait(60)
    finished = parts(workdir)
    assert len(finished) >= 2
    start(workdir).wait().succeeded()
    assert_same(engine.open_run(workdir), undisturbed)


SWEEPS = """
import numpy as np
from eigensweep import engine, models
rng = np.random.default_rng(0)
weights = {f"layers.{i}.q_proj.weight": rng.standard_normal((48, 32)) for i in range(5)}
for strategy in ("lapack", "gram"):
    run = engine.sweep(models.open_checkpoint(weights), engine.SweepOptions(strategy=strategy))
    assert len(run.manifest["devices"]) == count
    run.matrices.to_pickle(f"{folder}/{strategy}.pkl")
"""
DEVICES = f"""
import sys, jax
count, folder = int(sys.argv[1]), sys.argv[2]
jax.config.update("jax_num_cpu_devices", count)
{SWEEPS}"""


@pytest.fixture(scope="module")
def by_devices(tmp_path_factory):
    """Number of devices -> the folder with the tables of both strategies, made by one process; this one has one."""
    folders = {count: tmp_path_factory.mktemp(f"devices{count}") for count in (1, 2, 8)}
    exec(SWEEPS, {"count": 1, "folder": folders[1]})
    for count in (2, 8):
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
