"""The linear model of learning: simulated for several numbers of samples, beside the law of its singular values."""

import time
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.spectral import least_squares
from eigensweep.engine.spectral.covariances import eigenvalues
from eigensweep.engine.spectral.least_squares import Shape
from eigensweep.engine.studies.toy_linear.options import ToyLinearOptions
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.columns import COUNT, LIST, Column
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result, frame_of

NAME = "toy_linear"
BATCH_ENTRIES = 2**25  # of data and noise at a time, where the options leave it open
SEEDS = {
    "samples": Column(COUNT, "", "N, the number of samples that W_hat is fitted to"),
    "simulation": Column(COUNT, "", "which of the simulations with so many samples, from 0"),
    "singular_values": Column(LIST, "[w]", "of W_hat, descending"),
}
LAYOUT = Layout(
    NAME, {"toy_linear_seeds": SEEDS}, "toy_linear.json",
    keys={"toy_linear_seeds": ("samples", "simulation")}, needed={"toy_linear_seeds": ("singular_values",)},
)  # fmt: skip


class ToyLinear(Result):
    """A finished study of the linear model."""

    layout: ClassVar[Layout] = LAYOUT
    options: ClassVar[type[ToyLinearOptions]] = ToyLinearOptions

    seeds = frame_of("toy_linear_seeds", "One row a simulation.")


open_toy_linear = ToyLinear.read


def run_toy_linear(options: ToyLinearOptions, workdir: str | Path, on_progress: OnProgress = silent) -> ToyLinear:
    """Simulate, continue what is unfinished in `workdir`.

    Raises:
      RunError: `workdir` holds something else, is in use, or cannot be written.
    """
    with claimed(workdir, LAYOUT, {"options": options.to_json()}) as work:
        units = [str(samples) for samples in options.samples]
        for samples in map(int, work.todo(units)):
            start = time.perf_counter()
            rows = _simulated(options, samples)
            work.write({str(samples): {"toy_linear_seeds": rows}}, {"total": time.perf_counter() - start})
            done = units.index(str(samples)) + 1
            on_progress(Progress(done, len(units), done, len(units), f"N = {samples}", "simulating"))
        if not work.done:
            work.finish(units)
    return open_toy_linear(workdir)


def _simulated(options: ToyLinearOptions, samples: int) -> list[dict[str, Any]]:
    evals = eigenvalues(options.covariance, options.inputs)
    rank = (options.rank or options.inputs) if options.signal else 0
    shape = Shape(options.inputs, options.outputs, samples, rank)
    size = options.batch_size or max(1, BATCH_ENTRIES // ((options.inputs + options.outputs) * samples))
    root = jax.random.fold_in(jax.random.key(options.seed), samples)
    rows: list[dict[str, Any]] = []
    for first in range(0, options.num_seeds, size):
        numbers = np.arange(first, min(first + size, options.num_seeds))
        keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(numbers)
        fitted, _, _ = least_squares.fit(keys, evals, options.noise, options.signal, shape)
        for i, w in zip(numbers, np.asarray(fitted), strict=True):
            s = np.linalg.svd(w, compute_uv=False)
            rows.append({"samples": samples, "simulation": int(i), "singular_values": s})
    return rows
