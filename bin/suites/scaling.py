"""How time grows with the size of a matrix and with the number of matrices, and the fitted exponents."""

from functools import partial

import numpy as np

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


def fits(comparisons: list[Comparison]) -> dict[str, float]:
    """Slopes of log time against log n and against log count."""
    by_size = [(int(c.case.split(" x ")[1]), np.median(c.ours)) for c in comparisons if c.case.startswith("2 x")]
    by_count = [(int(c.case.split()[2]), np.median(c.ours)) for c in comparisons if c.case.startswith("sweep")]
    slopes = {}
    for what, points in (("matrix size", by_size), ("number of matrices", by_count)):
        if len(points) > 1:
            x, y = np.log(np.array(points)).T
            slopes[what] = float(np.polyfit(x, y, 1)[0])
    return slopes
