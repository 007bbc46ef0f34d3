"""What a decomposition tells: measures, noise and edges, power law, and whether its vectors are random directions.

What follows from the singular values alone is computed by NumPy where the CPU is all there is, else by programs that
are compiled for `ROWS_AT_ONCE` rows, whatever the batch.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run import fit
from eigensweep.engine.run.nulls import draws_needed, p_values
from eigensweep.engine.run.options import MatrixOptions
from eigensweep.engine.run.stream import Decomposed
from eigensweep.engine.run.tails import bootstraps, phase_columns
from eigensweep.engine.spectral import edges, ks, measures, noise, power_law
from eigensweep.engine.spectral.arrays import compiled, namespace
from eigensweep.engine.spectral.determined import determined, entries_decide
from eigensweep.engine.spectral.law import GAUSSIAN, Law
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.tables.columns import COUNT, TEXT
from eigensweep.engine.tables.matrices import MATRICES, SCALARS, VECTORS

ROWS_AT_ONCE = 8
NULLS = {"null": "table", "num_draws": 100_000}
NO_NUMBERS: dict[str, Any] = {
    **{name: None if MATRICES[name].dtype in (COUNT, TEXT) else float("nan") for name in SCALARS},
    **{name: [] for name in VECTORS},
}
"""The statistics of a matrix that has none."""


def statistics(
    found: Decomposed,
    options: MatrixOptions,
    *,
    power_law: str = "default",
    nulls: dict[str, Any] = NULLS,
    law: Law = GAUSSIAN,
    bootstrap: int = 0,
) -> list[dict[str, Any]]:
    """Every column of `tables.matrices.SCALARS` and `VECTORS`, and the outcome, of B decomposed matrices.

    Args:
      found: with KS statistics.
      options: seed, level and sigma.
      power_law: `default` (two-sided KS) or `weightwatcher` (its fit, number for number).
      nulls: `null` and `num_draws` of `p_values`.
      law: of the noise that s is held against.
      bootstrap: replicas behind what the power law's fit is worth; 0 for none.

    Returns:
      B rows. A matrix without numbers has NaN, null counts and empty lists, and its status all the same.
    """
    rows = [_empty(found, i) for i in range(len(found.names))]
    good = np.flatnonzero(np.isfinite(found.s).all(axis=1) & (min(found.shape) > 1))
    if not good.size:
        return rows
    s, (m, n) = found.s[good], found.shape
    sigmas = {
        "bulk": np.full(len(s), np.nan),
        "entries": found.sigma[good],
        "init": np.full(len(s), noise.sigma_init(m, n, options.init)),
    }
    scalars = scalar_statistics(s, sigmas[options.sigma], (m, n), found.eps, options.level, power_law, law)
    names = [found.names[i] for i in good]
    scalars |= bootstraps(s, scalars, names, options.seed, bootstrap, power_law)
    vectors = determined(s, scalars["hard_rank"], (m, n), found.eps, float(np.finfo(s.dtype).eps))
    kurtosis = found.kurtosis[good]
    p_largest, p_smallest = edges.extreme_p_values(
        s, m, n, scalars["sigma"], found.eps, (law.p_largest, law.p_smallest)
    )
    words = phase_columns(s, scalars, (m, n))
    columns = {
        **scalars,
        **_of_vectors(found.ks_right[good], (n, m), vectors, kurtosis, "right", options, nulls),
        **_of_vectors(found.ks_left[good], (m, n), vectors, kurtosis, "left", options, nulls),
        "singular_values": s,
        "sigma_entries": found.sigma[good],
        "entries_kurtosis": kurtosis,
        "p_largest": p_largest,
        "p_smallest": p_smallest,
        "undetermined": s.shape[1] - vectors.sum(axis=1),
        "residual": found.residual[good],
        "orthogonality": found.orthogonality[good],
    }
    for place, i in enumerate(good):
        rows[i] |= {key: _plain(value[place]) for key, value in columns.items()} | words[place]
    return rows


def _empty(found: Decomposed, i: int) -> dict[str, Any]:
    """The row of a matrix without numbers."""
    row = NO_NUMBERS | {"strategy": found.strategy[i], "status": found.status[i]}
    if found.status[i].startswith("vector") and np.isfinite(found.sigma[i]):
        row["sigma_entries"] = float(found.sigma[i])
        row["frobenius_norm"] = float(np.linalg.norm(found.w[i].astype(np.float64)))
    return row


def _plain(value: Any) -> Any:
    """A list as it is, a scalar of Python; a count that there is not, which arrays hold as -1, is None."""
    if isinstance(value, str) or (isinstance(value, np.ndarray) and value.ndim):
        return value
    return None if isinstance(value, np.integer) and value < 0 else value.item()


def _of_vectors(
    d_stat: np.ndarray,
    sides: tuple[int, int],
    determined: np.ndarray,
    kurtosis: np.ndarray,
    side: str,
    options: MatrixOptions,
    nulls: dict[str, Any],
) -> dict[str, np.ndarray]:
    """KS statistics, p-values, their averages and rejections.

    Args:
      d_stat, determined: (B, b).
      sides: the length of the vectors, and the other side of W.
      kurtosis: (B,) of the entries.
      side: right or left.
    """
    known = determined & ~entries_decide(kurtosis, *sides)[:, None]
    num_draws = max(nulls["num_draws"], draws_needed(d_stat.shape[1], options.level))
    p = p_values(d_stat, sides[0], null=nulls["null"], seed=options.seed, num_draws=num_draws)
    p = np.where(known, p, np.nan)
    count = (~np.isnan(p)).sum(axis=1)
    some = np.maximum(count, 1)
    mean, sd = np.where(count > 0, np.nansum(p, axis=1) / some, np.nan), ks.mean_sd(count, sides[0])
    rejected = benjamini_hochberg(p, options.level).sum(axis=-1)
    return {
        f"ks_{side}": d_stat,
        f"p_{side}": p,
        f"p_{side}_avg": ks.local_average(p),
        f"mean_p_{side}": mean,
        f"mean_p_{side}_z": np.divide(mean - 0.5, sd, out=np.full(len(p), np.nan), where=sd > 0),
        f"rejected_{side}": rejected,
        f"rejected_share_{side}": np.where(count > 0, rejected / some, np.nan),
    }


def scalar_statistics(
    s: np.ndarray,
    sigma: np.ndarray,
    shape: tuple[int, int],
    eps: float,
    level: float,
    power_law: str,
    law: Law = GAUSSIAN,
) -> dict[str, np.ndarray]:
    """The columns that follow from s.

    Args:
      s: (B, b) float64, descending.
      sigma: (B,) sets the edges; the bulk fit where it is NaN.
      shape: (m, n) of the matrices.
      eps: of the stored dtype, for the numerical rank.
      level: of the outlier tests.
      power_law, law: see `statistics`.

    Returns:
      (B,) arrays; a count that there is not is -1.
    """
    unit = np.exp2(np.clip(np.frexp(s[:, 0])[1], -1000, 1000))  # a power of two: ordinary numbers keep their digits
    s, sigma = s / unit[:, None], sigma / unit
    a, b = max(shape), min(shape)
    thresholds = law.right_threshold(a, b, level), law.left_threshold(a, b, level)
    of_rows = _on_host if jax.default_backend() == "cpu" else _on_device
    columns = of_rows(s, sigma, thresholds, eps, a, b, power_law)
    columns |= fit.judge(columns, a, b, level, law)
    return {key: _in_unit(key, columns, unit) for key in columns if key in SCALARS}


def _in_unit(name: str, columns: dict[str, np.ndarray], unit: np.ndarray) -> np.ndarray:
    """A column of s/unit as that of s, by its declared unit; beyond float64's range squares are inf or 0."""
    value = columns[name]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        match MATRICES[name].unit:
            case "[w]":
                return value * unit
            case "[w]^2":
                return value * unit * unit
            case "log10 [w]^2":
                return value + 2 * np.log10(unit)
            case "log10 [w]^(2 alpha)":
                return value + 2 * columns["alpha"] * np.log10(unit)
    return value


_Columns = dict[str, np.ndarray]


def _on_host(
    s: np.ndarray, sigma: np.ndarray, thresholds: tuple[float, float], eps: float, a: int, b: int, power: str
) -> _Columns:
    """Row by row in NumPy: nothing is compiled, and a matrix's numbers are the same in every batch."""
    rows = [_of_matrix(*row, thresholds, eps, a=a, b=b, power=power) for row in zip(s, sigma, strict=True)]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def _on_device(
    s: np.ndarray, sigma: np.ndarray, thresholds: tuple[float, float], eps: float, a: int, b: int, power: str
) -> _Columns:
    """The same by programs of `ROWS_AT_ONCE` rows: measures and power law once a b, noise and edges once a shape."""
    batch, padded = len(s), -len(s) % ROWS_AT_ONCE
    s, sigma = (np.concatenate([x, np.repeat(x[-1:], padded, axis=0)]) for x in (s, sigma))
    parts = []
    for i in range(0, len(s), ROWS_AT_ONCE):
        rows = slice(i, i + ROWS_AT_ONCE)
        found = _values_of_rows(s[rows], float(a), eps, power=power)
        found |= _shape_of_rows(s[rows], sigma[rows], thresholds, eps, a=a, b=b)
        parts.append(jax.device_get(found))
    return {key: np.concatenate([part[key] for part in parts])[:batch] for key in parts[0]}


@compiled("a", "b", "power")
def _of_matrix(
    s: Any, sigma: Any, thresholds: tuple[float, float], eps: float, *, a: int, b: int, power: str
) -> dict[str, Any]:
    return _of_values(s, float(a), eps, power) | fit.of_matrix(s, sigma, thresholds, eps, a=a, b=b)


@partial(jax.jit, static_argnames="power")
def _values_of_rows(s: jax.Array, a: float, eps: float, *, power: str) -> dict[str, jax.Array]:
    return jax.vmap(lambda s: _of_values(s, a, eps, power))(s)


@partial(jax.jit, static_argnames=("a", "b"))
def _shape_of_rows(
    s: jax.Array, sigma: jax.Array, thresholds: tuple[float, float], eps: float, *, a: int, b: int
) -> dict[str, jax.Array]:
    return jax.vmap(lambda s, sigma: fit.of_matrix(s, sigma, thresholds, eps, a=a, b=b))(s, sigma)


def _of_values(s: Any, a: Any, eps: Any, power: str) -> dict[str, Any]:
    """Measures and power law of one matrix; a is the longer side."""
    xp = namespace(s)
    found = measures.measures(s, a, 1, eps)
    evals = s**2
    # what lies beyond the numerical rank is rounding, which has a power law of its own; WeightWatcher fits it, too
    within = xp.arange(s.size) < found["hard_rank"]
    law = power_law.fit(evals if power == "weightwatcher" else xp.where(within, evals, 0.0), method=power)
    return found | {
        "alpha": law.alpha,
        "xmin": law.xmin,
        "pl_d": law.d,
        "pl_sigma": law.sigma,
        "num_pl_spikes": law.num_spikes,
        "alpha_weighted": measures.alpha_weighted(law.alpha, evals[0]),
        "log_alpha_norm": measures.log_alpha_norm(s, law.alpha),
    }
