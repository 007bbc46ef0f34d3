"""What a sweep costs: a model of its time, fitted to trials on this machine.

    seconds of a matrix = c3 b^3 + c2 a b^2 + c1 a b,    b <= a its sides

b^3 is the eigenproblem of a Gram matrix, a b^2 the products before and after it, a b what is done to every entry:
controls, flips, the KS statistics of vectors. The trials are swept with the options of the sweep itself, so the
coefficients hold for these options alone. Matrices that are streamed have coefficients of their own.

Small matrices are cheap to try at their own size: one trial and c2 alone. From `LARGE` on the trials are at
`TRIAL_SIDES`, at the widest and the narrowest aspect ratio of the plan, with as many matrices at a time as the sweep's
batches have. Beyond the largest trial an eigenproblem outgrows the caches: one decomposition at the plan's own b says
how much more than b^3 it takes, and b^3 becomes b^3 (b/1024)^growth.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.stream import batches, cost
from eigensweep.engine.spectral.cores import num_cores
from eigensweep.engine.spectral.svd import decompose, is_streamed
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.sweep.readings import rows_of

Shape = tuple[int, int]
TRIAL = 384  # shorter side of the one trial of small matrices, at most
LARGE = 768  # from this shorter side on there are trials at TRIAL_SIDES
TRIAL_SIDES = (512, 1024)
STREAMED_TRIAL = (8192, 1024)


@dataclass(frozen=True)
class CostModel:
    """Seconds by shape; see the module's docstring.

    Attributes:
      whole: (c3, c2, c1), seconds, of matrices that are decomposed at once.
      growth: what the power of b^3 grows by beyond the largest trial.
      streamed: c2 of those that are streamed.
    """

    whole: tuple[float, float, float]
    growth: float = 0.0
    streamed: float = 0.0

    def seconds(self, shape: Shape, streamed: bool = False) -> float:
        """What one matrix of a shape takes."""
        if streamed:
            return self.streamed * cost(shape)
        beyond = max(1.0, min(shape) / TRIAL_SIDES[-1]) ** self.growth
        return float(np.dot(self.whole, _terms(shape) * np.array([beyond, 1.0, 1.0])))

    def total(self, matrices: Sequence[MatrixSource], options: SweepOptions) -> float:
        """What all these take, seconds."""
        return sum(self.seconds(m.shape, is_streamed(m.shape, options.strategy)) for m in matrices)

    def __str__(self) -> str:
        grown = f" max(1, b/{TRIAL_SIDES[-1]})^{self.growth:.2f}" if self.growth else ""
        names = (f"b^3{grown}", "a b^2", "a b")
        parts = [f"{c:.2g} {name}" for c, name in zip(self.whole, names, strict=True) if c]
        parts = parts or ["0"]
        streamed = [f"streamed matrices {self.streamed:.2g} a b^2"] if self.streamed else []
        return "; ".join([" + ".join(parts) + " seconds a matrix with sides b <= a", *streamed])


def cost_model(matrices: Sequence[MatrixSource], options: SweepOptions, budget: int | None = None) -> CostModel:
    """The cost model of sweeping `matrices`, from trials on Gaussian ones; it takes seconds.

    Args:
      matrices: of a plan.
      options: of the sweep.
      budget: bytes of a batch, as the sweep takes it.
    """
    sized = [m for m in matrices if min(m.shape) > 0]
    streamed = [m for m in sized if is_streamed(m.shape, options.strategy)]
    whole = [m for m in sized if not is_streamed(m.shape, options.strategy)]
    return CostModel(_fit(whole, options, budget), _growth(whole), _streamed(options) if streamed else 0.0)


def _fit(matrices: Sequence[MatrixSource], options: SweepOptions, budget: int | None) -> tuple[float, float, float]:
    if not matrices:
        return 0.0, 0.0, 0.0
    sides = np.array([sorted(m.shape) for m in matrices], dtype=float)
    if sides[:, 0].max() < LARGE:
        shape = _typical(sides)
        return 0.0, _trial(shape, 2 * num_cores(), options) / cost(shape), 0.0
    # matrices that weigh little are not worth trials of their own
    weights = np.array([cost(m.shape) for m in matrices])
    heavy = sides[weights >= 0.01 * weights.max()]
    aspects = heavy[:, 1] / heavy[:, 0]
    ends = [aspects.min(), aspects.max()] if aspects.max() > 1.3 * aspects.min() else [aspects.mean()]
    largest = max(batches(matrices, budget), key=lambda batch: len(batch.sources) * cost(batch.shape))
    count = min(len(largest.sources), num_cores())
    shapes = [(round(aspect * b), b) for aspect in ends for b in TRIAL_SIDES]
    seconds = np.array([_trial(shape, count, options) for shape in shapes])
    # relative errors count: each row is divided by what it took
    rows = np.array([_terms(shape) for shape in shapes]) / seconds[:, None]
    scale = rows.max(axis=0)
    from scipy.optimize import nnls  # 0.2 s, and only a dry run comes here

    c3, c2, c1 = nnls(rows / scale, np.ones(len(shapes)))[0] / scale
    return float(c3), float(c2), float(c1)


def _growth(matrices: Sequence[MatrixSource]) -> float:
    """The power of b/1024 by which decomposing a square matrix of the largest b exceeds b^3; at least 0."""
    b, largest_trial = max((min(m.shape) for m in matrices), default=0), TRIAL_SIDES[-1]
    if b <= 1.5 * largest_trial:
        return 0.0
    rng = np.random.default_rng(0)
    rates = []
    for side, repeats in ((largest_trial, 3), (b, 1)):
        w = rng.standard_normal((1, side, side), dtype=np.float32)
        start = time.perf_counter()
        for _ in range(repeats):
            decompose(w)
        rates.append((time.perf_counter() - start) / repeats / side**3)
    return max(0.0, math.log(rates[1] / rates[0]) / math.log(b / largest_trial))


def _typical(sides: np.ndarray) -> Shape:
    """The geometric mean of the shapes, at most TRIAL on its shorter side."""
    b, a = np.exp(np.log(sides).mean(axis=0))
    shrink = min(1.0, TRIAL / b)
    return max(2, round(a * shrink)), max(2, round(b * shrink))


def _streamed(options: SweepOptions) -> float:
    """c2 of a streamed matrix, of which the sweep takes neither flips nor the equalised reading."""
    plain = replace(options, strategy="streamed", equalise=False, num_flips=0)
    return _trial(STREAMED_TRIAL, 1, plain) / cost(STREAMED_TRIAL)


def _trial(shape: Shape, count: int, options: SweepOptions) -> float:
    """Seconds a matrix of sweeping `count` Gaussian ones at once: the faster of two runs after one that compiles."""
    rng = np.random.default_rng(0)
    what: dict[str, Any] = {"role": "other", "block": None, "expert": None, "shape": shape, "dtype": "float32"}
    sources: list[Any] = [SimpleNamespace(name=f"trial {i}", **what) for i in range(count)]
    ws = [rng.standard_normal(shape).astype(np.float32) for _ in sources]
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        rows_of(sources, ws, options)
        spent.append(time.perf_counter() - start)
    return min(spent[1:]) / count


def _terms(shape: Shape) -> np.ndarray:
    a, b = float(max(shape)), float(min(shape))
    return np.array([b**3, a * b**2, a * b])
