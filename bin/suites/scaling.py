"""How time grows with the size of a matrix and with the number of matrices, and the fitted exponents."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy import stats

from eigensweep.bin.suites.measure import Comparison, compare
from eigensweep.engine import SweepOptions, sweep
from eigensweep.engine.spectral.svd import decompose
from eigensweep.models import open_checkpoint

COUNTS = (8, 16, 32, 64)  # matrices of 256 x 256


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """One comparison a size (torch.linalg.svd, float64) and a count (numpy.linalg.svd alone)."""
    import torch

    result = []
    for n in sizes:
        w = np.random.default_rng(n).standard_normal((2, n, n))
        tensor = torch.from_numpy(w)
        case = Comparison("scaling", f"2 x {n} x {n}", "torch float64")
        theirs = partial(torch.linalg.svd, tensor, full_matrices=False)
        result.append(compare(case, partial(decompose, w), theirs, 1 if n >= 2048 else repeats))
    for count in COUNTS:
        rng = np.random.default_rng(count)
        weights = {f"layers.{i}.q_proj.weight": rng.standard_normal((256, 256)) for i in range(count)}
        case = Comparison("scaling", f"sweep of {count} x 256 x 256", "numpy.linalg.svd alone")
        checkpoint = open_checkpoint(weights)
        stack = np.stack(list(weights.values()))
        theirs = partial(np.linalg.svd, stack, full_matrices=False)
        result.append(
            compare(
                case,
                partial(sweep, checkpoint, SweepOptions(control="permutation", equalise=False, num_flips=0)),
                theirs,
                repeats,
            )
        )
    return result


class Growth(NamedTuple):
    """time ~ n^exponent, with its 95 % interval over the sizes; the bound that the exponent should not exceed."""

    exponent: float
    low: float
    high: float
    bound: float

    def __str__(self) -> str:
        word = "met" if self.high <= self.bound else "NOT MET" if self.low > self.bound else "undecided"
        interval = f"{self.low:.2f} to {self.high:.2f}" if np.isfinite(self.low) else "no interval from two sizes"
        return f"time ~ n^{self.exponent:.2f} ({interval}); target <= {self.bound:g}: {word}"


def fits(comparisons: list[Comparison]) -> dict[str, Growth]:
    """Slopes of log time against log n and against log count, by least squares over the medians.

    The intervals are Student's with two degrees of freedom less than there are sizes: what bends the line is in them.
    """
    by_size = [(int(c.case.split(" x ")[1]), np.median(c.ours)) for c in comparisons if c.case.startswith("2 x")]
    by_count = [(int(c.case.split()[2]), np.median(c.ours)) for c in comparisons if c.case.startswith("sweep")]
    found = {}
    for what, points, bound in (("matrix size", by_size, 3.0), ("number of matrices", by_count, 1.0)):
        if len(points) > 1:
            line = stats.linregress(*np.log(np.array(points)).T)
            half = stats.t.ppf(0.975, len(points) - 2) * line.stderr if len(points) > 2 else np.inf
            found[what] = Growth(*map(float, (line.slope, line.slope - half, line.slope + half, bound)))
    return found
