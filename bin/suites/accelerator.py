"""What eigensweep sets itself on one accelerator at Llama-8B's shapes, each target with met or not, and ratios.

The checkpoint is `eigensweep-synth`'s Llama-8B without its vocabulary: 224 block matrices. torch decomposes one matrix
of every shape on the same device, and the rest is multiplication: all of them would take it too long.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eigensweep.bin.runner import UserError
from eigensweep.bin.suites.measure import Comparison, compare, seconds, tell
from eigensweep.engine import SweepOptions, sweep
from eigensweep.engine.run.memory import GIB
from eigensweep.engine.spectral.null import sampling
from eigensweep.engine.spectral.svd import decompose
from eigensweep.models import open_checkpoint
from eigensweep.models.planted import write_word_tokenizer
from eigensweep.models.synth import LLAMA_8B, write_synthetic

PLAIN: dict[str, Any] = {"control": "none", "equalise": False, "num_flips": 0}
ONE_CONTROL: dict[str, Any] = PLAIN | {"control": "permutation"}
NULL_N, NULL_DRAWS, NULL_RATE = 4096, 20_000_000, 5e6
RATIO = 20.0  # against torch.linalg.svd on the same device
TARGETS = {"plain": 60.0, "control": 120.0, "svd": 0.15, "host GiB": 4.0, "residual": 1e-12, "studies": 600.0}


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Every target.

    Raises:
      UserError: JAX sees no accelerator.
    """
    del sizes
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch and the studies want their share of a card
    if jax.default_backend() == "cpu":
        raise UserError("the suite accelerator needs a GPU or TPU, and JAX sees only the CPU: nothing was measured")
    return measure(LLAMA_8B | {"vocab_size": 256}, repeats)


def measure(config: dict[str, Any], repeats: int, draws: int = NULL_DRAWS) -> list[Comparison]:
    """The targets on a model of these shapes, on whatever device JAX has."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        write_synthetic(model, config)
        checkpoint = open_checkpoint(str(model))
        matrices = [m for m in checkpoint.matrices if m.block is not None]
        shapes = Counter(tuple(m.shape) for m in matrices)
        samples = {shape: next(m for m in matrices if tuple(m.shape) == shape).read() for shape in shapes}
        largest = samples[max(shapes, key=lambda shape: (min(shape), max(shape)))]
        parts = (
            lambda: _sweeps(str(model), config, samples, shapes),  # first: the peak of the host's memory never falls
            lambda: _decomposition(largest, repeats),
            lambda: [_null(draws, repeats)],
            lambda: _studies(str(model)),
        )
        return [tell(case) for part in parts for case in part()]


def _sweeps(
    folder: str, config: dict[str, Any], samples: dict[Any, np.ndarray], shapes: Counter[Any]
) -> list[Comparison]:
    """Block matrices as they are, and with one control; the first sweep of a block compiles."""
    blocks = tuple(range(config["num_hidden_layers"]))
    torch_seconds = sum(seconds(_torch_svd(samples[shape])) * count for shape, count in shapes.items())
    result = []
    for what, options, target in (("as it is", PLAIN, "plain"), ("with one control", ONE_CONTROL, "control")):
        sweep(open_checkpoint(folder), SweepOptions(blocks=(0,), **options))
        before = _peak_gib()
        spent = seconds(partial(sweep, open_checkpoint(folder), SweepOptions(blocks=blocks, **options)))
        name = f"sweep of {sum(shapes.values())} matrices, {what}"
        result.append(Comparison("accelerator", name, "target", [spent], [TARGETS[target]], target=1.0))
        ratio = RATIO if target == "plain" else None
        note = "torch: a matrix of every shape, times their number; decompositions alone"
        peer = "torch.linalg.svd float64"
        result.append(Comparison("accelerator", name, peer, [spent], [torch_seconds], "s", ratio, note))
        host = f"host memory beyond {before:.1f} GiB, {what}"
        more = max(_peak_gib() - before, 0.01)
        result.append(Comparison("accelerator", host, "target", [more], [TARGETS["host GiB"]], "GiB", 1.0))
    return result


def _decomposition(w: np.ndarray, repeats: int) -> list[Comparison]:
    """One full decomposition: time, residual, and the smallest value against the host's LAPACK."""
    m, n = w.shape
    batch = jax.device_put(np.asarray(w, np.float64)[None])
    name = f"SVD {m} x {n}, both sides"
    timed = Comparison("accelerator", name, "torch.linalg.svd float64")
    compare(timed, lambda: jax.block_until_ready(decompose(batch)[:3]), _torch_svd(w), repeats)
    target = Comparison("accelerator", name, "target", timed.ours, [TARGETS["svd"]], target=1.0)
    found = decompose(batch)
    error = max(float(found.residual[0]), 1e-16)
    residual = Comparison("accelerator", f"residual, {m} x {n}", "target", [error], [TARGETS["residual"]], "", 1.0)
    exact = decompose(np.asarray(w)[None], "lapack", vectors=False).s[0]
    off = max(abs(float(found.s[0, -1]) - exact[-1]) / exact[-1], 1e-16)
    smallest = Comparison("accelerator", f"s_min, {m} x {n}", "1e-9 of the host's", [off], [1e-9], "", 1.0)
    return [timed, target, residual, smallest]


def _null(draws: int, repeats: int) -> Comparison:
    case = Comparison("accelerator", f"{draws} null vectors, n = {NULL_N}", f"target, {NULL_RATE:.0e} a second")
    case.target, case.theirs = 1.0, [draws / NULL_RATE]
    work = partial(sampling.sample_null, jax.random.key(0), NULL_N, draws)
    work()
    case.ours = [seconds(work) for _ in range(repeats)]
    return case


def _studies(folder: str) -> list[Comparison]:
    """Tokens and overlap of the same model, as processes of their own; the text is words drawn at random."""
    vocabulary = json.loads((Path(folder) / "config.json").read_text())["vocab_size"]
    words = ["<unk>", "<s>", *(f"word{i}" for i in range(2, vocabulary))]
    write_word_tokenizer(Path(folder), words)
    text = Path(folder).with_name("text.txt")
    text.write_text(" ".join(np.random.default_rng(0).choice(words[2:], 20_000)))
    commands = {"tokens": ["--config.description=none"], "overlap": [f"--config.data={text}", "--config.max_rows=64"]}
    result = []
    for command, flags in commands.items():
        with tempfile.TemporaryDirectory() as out:
            arguments = [f"--checkpoint={folder}", f"--workdir={out}/run", "--noreport", *flags]
            module = [sys.executable, "-m", f"eigensweep.bin.{command}", *arguments]
            spent = seconds(partial(subprocess.run, module, check=True, stdout=subprocess.DEVNULL))
        case = f"eigensweep-{command} of the same model"
        result.append(Comparison("accelerator", case, "target", [spent], [TARGETS["studies"]], target=1.0))
    return result


def _torch_svd(w: np.ndarray) -> Any:
    import torch

    where = "cuda" if torch.cuda.is_available() and jax.default_backend() == "gpu" else "cpu"
    tensor = torch.from_numpy(np.asarray(w, np.float64)).to(where)

    def work() -> None:
        torch.linalg.svd(tensor, full_matrices=False)
        if where == "cuda":
            torch.cuda.synchronize()

    return work


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
