"""Several processes on one device: two sweeps beside each other, and one sweep by two processes that share its workdir.

A JAX process takes three quarters of a card when it starts. Two share one if each is told its part of the memory
(XLA_PYTHON_CLIENT_MEM_FRACTION, from which the sweep's budget follows) and not to take it at once
(XLA_PYTHON_CLIENT_PREALLOCATE=false).
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from eigensweep.bin.suites.measure import Comparison, seconds

SHARED = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.4", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_PLAIN = ("--config.control=none", "--config.equalise=False", "--config.num_flips=0", "--noreport")


def rows(model: str, num_blocks: int, folder: Path) -> Iterator[Comparison]:
    """Both against the same work in other order; whole processes, programs from one cache. What fails is left out."""
    half = num_blocks // 2
    halves = [f"0-{half - 1}", f"{half}-{num_blocks - 1}"]
    whole = f"0-{num_blocks - 1}"
    with_coordinator = [f"--coordinator=localhost:{_free_port()}", "--num_processes=2"]
    together = [[f"--config.blocks={whole}", *with_coordinator, f"--process_id={i}"] for i in range(2)]
    apart = [[f"--config.blocks={blocks}"] for blocks in halves]
    run = partial(_seconds, model, folder)
    try:
        run("warm", [[f"--config.blocks={whole}"]])
        one_by_one = run("one", apart[:1]) + run("other", apart[1:])
        both = run("beside", apart)
        yield Comparison("candidates", "two sweeps beside each other", "one after the other", [both], [one_by_one])
        alone = run("alone", [[f"--config.blocks={whole}"]])
        shared = run("shared", together, one_workdir=True)
        yield Comparison("candidates", "one sweep by two processes", "by one process", [shared], [alone])
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines() or [f"exit status {error.returncode}"]
        print(f"  several processes on a device: left out, {said[-1]}", flush=True)


def _seconds(model: str, folder: Path, name: str, processes: list[list[str]], one_workdir: bool = False) -> float:
    """Of all these sweeps, started at once.

    Raises:
      subprocess.CalledProcessError: one of them failed.
    """
    environment = os.environ | SHARED | {"JAX_COMPILATION_CACHE_DIR": str(folder / "programs")}
    environment |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0"}
    commands = [
        [
            *(sys.executable, "-m", "eigensweep.bin.sweep", f"--checkpoint={model}"),
            f"--workdir={folder / name}{'' if one_workdir else i}",
            *_PLAIN,
            *arguments,
        ]
        for i, arguments in enumerate(processes)
    ]

    def work() -> None:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "env": environment}
        started = [subprocess.Popen(command, **pipes) for command in commands]  # type: ignore[call-overload]
        said = [process.communicate()[1] for process in started]
        for process, error in zip(started, said, strict=True):
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, process.args, stderr=error)

    return seconds(work)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
