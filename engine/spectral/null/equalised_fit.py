"""Making the table of the equalised reading's null (equalised.py): simulation, smoothing over shapes, the file.

A few thousand small matrices a shape give quantiles that serve as they are; of large ones there are only hundreds, and
their quantiles at 0.01 are too noisy. From SMOOTH on the shifts are therefore fitted to all shapes at once,

    (quantile at p, in units of w) = location(b, r) + scale(b, r) (the plain law's),
    location, scale - 1 = sum_{j=1..2} sum_{k=0..2} c_jk b^(-j/3) r^k,    r = sqrt(b/a),

which fade for large b: what fitting the scales does to s^2 is O(1/b) of it, the edge's width O(b^(-2/3)). T's mean is
fitted by (1, ln b, ln^2 b) x (1, r, r^2), its standard deviation by (1, ln b) x (1, r, r^2); (T - mean)/sd of all
shapes together give one survival function.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.spectral import edges, marchenko_pastur, noise
from eigensweep.engine.spectral.equalise import equalise, resolvent_scales
from eigensweep.engine.spectral.null.equalised import T_LEVEL, width
from eigensweep.engine.spectral.svd import decompose

RATIOS = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.02)
LEVELS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
SMOOTH = 64
_WORK = 1e10  # at most so much of num a b^2 a shape
_FEWEST = 100  # a shape that this leaves fewer matrices to is left out
_CHUNK = 2**22  # entries at once

_Threshold = Callable[[int, int, float], float]
Draws = Mapping[tuple[int, int], np.ndarray]
"""(a, b) -> (num, 3): 2 ln(s_1/sigma), 2 ln(s_b/sigma), T."""


def shapes(sizes: Sequence[int], num_matrices: Sequence[int]) -> dict[tuple[int, int], int]:
    """(a, b) -> how many matrices."""
    found = {}
    for b, num in zip(sizes, num_matrices, strict=True):
        for ratio in RATIOS:
            a = round(b / ratio)
            count = min(num, int(_WORK / (a * b**2)))
            if count >= min(num, _FEWEST):
                found[a, b] = count
    return found


def simulate(a: int, b: int, num: int, seed: int) -> np.ndarray:
    """(num, 3) of `num` equalised a x b Gaussian matrices, a >= b (see `Draws`)."""
    rng = np.random.default_rng([seed, a, b])
    size = max(1, min(num, _CHUNK // (a * b)))
    parts = []
    for first in range(0, num, size):
        w = rng.standard_normal((min(size, num - first), a, b))
        parts.append(decompose(equalise(w, *resolvent_scales(w)), "lapack", vectors=False).s)
    return np.asarray(_statistics(jnp.asarray(np.concatenate(parts)), a, b))


@partial(jax.jit, static_argnums=(1, 2))
def _statistics(s: jax.Array, a: int, b: int) -> jax.Array:
    def one(s: jax.Array) -> jax.Array:
        sigma = noise.sigma_bulk(s, a, b)
        right, left = edges.num_outliers(s, a, b, sigma, T_LEVEL)
        t = (b - right - left) * marchenko_pastur.ks_distance(s, a, b, sigma, right, left)
        return jnp.array([2 * jnp.log(s[0] / sigma), 2 * jnp.log(s[-1] / sigma), t])

    return jax.lax.map(one, s, batch_size=64)


def write_table(draws: Draws, path: Path, command: str, seed: int) -> str:
    """Fit and write the table; returns a line on how well the edges' fit describes what was simulated.

    Args:
      draws: of the `shapes` simulated.
      command: goes into the file.
    """
    sizes = np.unique([b for _, b in draws])
    r = np.sqrt(RATIOS[::-1])
    # the fit reaches further than the simulation
    b = np.append(sizes, 2 * sizes[-1])
    quality = []
    arrays = {"b": b, "r": r, "level": np.array(LEVELS)}
    for column, (side, threshold) in enumerate({"right": edges.right_threshold, "left": edges.left_threshold}.items()):
        arrays[side], text = _edge(draws, column, threshold, b, r)
        quality.append(f"{side} {text}")
    arrays |= _law_of_t(draws, b, r)
    text = "; ".join(quality)
    recipe = {
        "command": command,
        "versions": {name: version(name) for name in ("eigensweep", "jax", "numpy")},
        "seed": seed,
        "num_matrices": {f"{a}x{b}": len(x) for (a, b), x in draws.items()},
        "quality": text,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        small = {name: x.astype(np.float32) for name, x in arrays.items()}
        np.savez_compressed(file, recipe=np.array(json.dumps(recipe)), **small)  # type: ignore[arg-type]
    return text


def _edge(draws: Draws, column: int, threshold: _Threshold, b: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, str]:
    """(B, R, P) shifts of one edge, and how far the smoothed ones are from the counted ones."""
    counted = {shape: _quantiles(x[:, column], threshold, *shape) for shape, x in draws.items()}
    plain = {shape: _plain(threshold, *shape) for shape in counted}
    smooth = [shape for shape in counted if shape[1] >= SMOOTH]
    design = np.concatenate([_design(*shape, plain[shape]) for shape in smooth])
    shift = np.concatenate([counted[shape] - plain[shape] for shape in smooth])
    # a quantile's standard error is about sqrt(p/num)/p, over the density's decay
    weight = np.concatenate([np.sqrt(len(draws[shape]) * np.array(LEVELS)) for shape in smooth])
    coefficients = np.linalg.lstsq(design * weight[:, None], shift * weight, rcond=None)[0]
    shifts = np.empty((b.size, r.size, len(LEVELS)))
    for i, size in enumerate(b.tolist()):
        for j, ratio in enumerate(RATIOS[::-1]):
            shape = round(size / ratio), size
            law = plain[shape] if shape in plain else _plain(threshold, *shape)
            fitted = _design(*shape, law) @ coefficients
            shifts[i, j] = fitted if size >= SMOOTH or shape not in counted else counted[shape] - law
    rms = np.sqrt(np.mean((weight * (shift - design @ coefficients)) ** 2))
    return shifts, f"rms {rms:.2f} of {shift.size} quantiles' sqrt(num p)"


def _plain(threshold: _Threshold, a: int, b: int) -> np.ndarray:
    """(P,) quantiles of the plain law from its median outwards, in units of w."""
    log = 2 * np.log([threshold(a, b, p) for p in LEVELS])
    return np.abs(log - log[0]) / width(threshold, a, b)


def _quantiles(x: np.ndarray, threshold: _Threshold, a: int, b: int) -> np.ndarray:
    """(P,) quantiles of what was simulated, in the same units and from the same point."""
    outwards = 1 if threshold is edges.right_threshold else -1
    origin = outwards * 2 * np.log(threshold(a, b, 0.5))
    return (np.quantile(outwards * x, 1 - np.array(LEVELS)) - origin) / width(threshold, a, b)


def _design(a: int, b: int, plain: np.ndarray) -> np.ndarray:
    """(P, 12) of the location's and the scale's coefficients."""
    terms = [b ** (-j / 3) * (b / a) ** (k / 2) for j in (1, 2) for k in (0, 1, 2)]
    return np.concatenate([np.outer(np.ones_like(plain), terms), np.outer(plain, terms)], axis=1)


def _law_of_t(draws: Draws, b: np.ndarray, r: np.ndarray) -> dict[str, np.ndarray]:
    """mean and sd (B, R) of T, and z (Z,), log_p (Z,) of what is standardised by them."""
    t = [x[:, 2] for x in draws.values()]
    weight = np.sqrt([len(x) for x in t])
    height, size = np.array(list(draws)).T

    def smoothed(values: list[float], degree: int) -> tuple[np.ndarray, np.ndarray]:
        """On the grid, and at the shapes simulated."""
        at = _terms(np.log(size), np.sqrt(size / height), degree)
        fit = np.linalg.lstsq(at * weight[:, None], np.array(values) * weight, rcond=None)[0]
        grid_b, grid_r = np.meshgrid(np.log(b), r, indexing="ij")
        return _terms(grid_b, grid_r, degree) @ fit, at @ fit

    mean, mean_at = smoothed([x.mean() for x in t], 2)
    sd, sd_at = smoothed([x.std() for x in t], 1)
    z = np.concatenate([(x - m) / s for x, m, s in zip(t, mean_at, sd_at, strict=True)])
    tail = 10 / z.size
    p = np.concatenate([1 - np.geomspace(tail, 0.5, 40)[:-1], np.geomspace(0.5, tail, 60)])
    return {"mean": mean, "sd": sd, "z": np.quantile(z, 1 - p), "log_p": np.log(p)}


def _terms(log_b: np.ndarray, r: np.ndarray, degree: int) -> np.ndarray:
    return np.stack([log_b**i * r**j for i in range(degree + 1) for j in range(3)], axis=-1)
