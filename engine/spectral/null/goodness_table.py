"""Makes goodness.npz: T of Gaussian matrices of every size and shape of a grid, through the fit that real ones take.

At each b/a the quantiles of T are fitted over all b at once by c0 + c1 ln b + c2/b + c3/b^2, each size weighing as many
as its matrices: the noise of single sizes goes, and larger ones than any simulated follow c0 + c1 ln b. Takes less
than half an hour on one core.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from eigensweep.engine.spectral.null import goodness

SIZES = (8, 12, 16, 24, 32, 64, 256, 512)
RATIOS = (0.02, 0.1, 0.25, 0.5, 0.75, 1.0)
P = (0.999, 0.99, *np.arange(0.95, 0.09, -0.05).round(2), 0.07, 0.05, 0.035, 0.025, 0.02, 0.014, 0.01)
TAIL = (0.007, 0.005, 0.0035, 0.002, 0.0014, 0.001)
MOST, FEWEST, ENTRIES = 20_000, 800, 5e8  # matrices a cell: as many as have so many squared sides
_CHECKED = (0.05, 0.01, 0.001)


def num_matrices(b: int) -> int:
    """How many matrices of smaller side b are drawn."""
    return int(np.clip(ENTRIES / b**2, FEWEST, MOST))


def write_table(
    path: Path, command: str, seed: int = 0, simulate: Callable[[int, int, int, int], np.ndarray] = goodness.simulate
) -> str:
    """Simulate, fit and write the table; returns how well the fit holds the simulated counts.

    Args:
      path: of the .npz file.
      command: that asked for it, kept in the recipe.
      seed: of the matrices.
      simulate: (seed, a, b, num) -> (num,) T; `goodness.simulate` but in tests.
    """
    p = np.array([*P, *TAIL])
    coefficients, worst = [], dict.fromkeys(_CHECKED, 0.0)
    for ratio in RATIOS:
        draws = [simulate(seed, round(b / ratio), b, num_matrices(b)) for b in SIZES]
        basis, weight = goodness.basis(np.array(SIZES)).T, np.sqrt([[len(t)] for t in draws])
        quantiles = np.array([np.quantile(t, 1 - p) for t in draws])
        found = np.linalg.lstsq(basis * weight, quantiles * weight, rcond=None)[0]
        coefficients.append(found.T)
        for t, fitted in zip(draws, basis @ found, strict=True):
            for level in _CHECKED:
                expected = level * len(t)
                off = np.sum(t >= fitted[p == level]) - expected
                worst[level] = max(worst[level], abs(off) / np.sqrt(expected * (1 - level)))
    quality = "largest deviation of a size's count from the fit, in its sd: " + ", ".join(
        f"{off:.1f} at p = {level:g}" for level, off in worst.items()
    )
    recipe = {
        "command": command,
        "eigensweep": version("eigensweep"),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "jax": version("jax"),
        "b": list(SIZES),
        "num_matrices": [num_matrices(b) for b in SIZES],
        "seed": seed,
        "fit": quality,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez_compressed(
            file, ratio=np.array(RATIOS), p=p, coefficients=np.array(coefficients), recipe=json.dumps(recipe)
        )
    return quality
