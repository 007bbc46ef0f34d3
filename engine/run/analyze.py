"""What is computed of matrices of one shape: decomposition, Marchenko-Pastur, edges, KS, power law."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run import entries
from eigensweep.engine.run.memory import is_streamed
from eigensweep.engine.run.nulls import p_values, purpose_key
from eigensweep.engine.run.options import SweepOptions
from eigensweep.engine.run.schema import COUNTS, SCALARS, VECTORS, prefixes
from eigensweep.engine.run.vectors import spectra
from eigensweep.engine.spectral import controls, edges, ks, marchenko_pastur, measures, noise, power_law
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg

ROWS_AT_ONCE = (
    8  # scalar statistics run in chunks of this many rows: compiled once a shape, not once a batch size
)
RESIDUAL_TOLERANCE = 1e-6  # beyond it a row is marked: published numbers should not hang on it


def analyze(ws: Sequence[np.ndarray], names: Sequence[str], options: SweepOptions) -> list[dict[str, Any]]:
    """All statistics of matrices of one shape and dtype, and of their controls.

    Args:
      ws: B arrays (m, n), any floating dtype.
      names: their names; with the seed they determine the controls' random numbers.
      options: see `SweepOptions`.

    Returns:
      B dicts with the columns of `schema.SCALARS` and `schema.VECTORS`, once for the matrix and once a
      control under its prefix; `strategy` and `status`. A matrix without statistics has a row all the same.
    """
    m, n = ws[0].shape
    shape_status = entries.status_of_shape((m, n))
    if shape_status != "ok":
        return [empty_row(w, shape_status, options) for w in ws]
    batch = _stack(ws)
    seen = entries.describe(batch)
    statuses = entries.statuses(seen)
    rows = [empty_row(w, status, options) for w, status in zip(ws, statuses, strict=True)]
    good = [i for i, status in enumerate(statuses) if status == "ok"]
    if not good:
        return rows
    if len(good) < len(ws):
        batch, seen = batch[np.array(good)], entries.Entries(*(x[good] for x in seen))
    eps = rank_eps(ws[0].dtype)
    for prefix, kind in zip(prefixes(options.controls), ("", *options.controls), strict=True):
        if kind:
            batch = _stack(
                [getattr(controls, kind)(purpose_key(options.seed, kind, names[i]), ws[i]) for i in good]
            )
            seen = entries.describe(batch)
        for i, found in zip(good, _analyze_stack(batch, seen.sigma, eps, options), strict=True):
            rows[i] |= {
                prefix + key: value for key, value in found.items() if key not in ("strategy", "status")
            }
            if not prefix:
                rows[i] |= {"strategy": found["strategy"], "status": found["status"]}
    return rows


def _stack(ws: Sequence[np.ndarray]) -> Any:
    """The batch where it will be worked on: on the host if streamed, and on CPU, whose own routines are fastest."""
    batch = ws[0][None] if len(ws) == 1 else np.stack(ws)
    on_host = jax.default_backend() == "cpu" or is_streamed(batch.shape[1:])
    return batch if on_host else jax.device_put(batch)


def empty_row(w: np.ndarray, status: str, options: SweepOptions) -> dict[str, Any]:
    """The row of a matrix without statistics: NaN, null counts, empty lists, and its status."""
    row: dict[str, Any] = {"strategy": "", "status": status}
    for prefix in prefixes(options.controls):
        row |= {prefix + c: None if c in COUNTS else float("nan") for c in SCALARS}
        row |= {prefix + c: [] for c in VECTORS}
    if status.startswith("vector") and np.isfinite(w).all():
        row["sigma_entries"] = float(np.std(w.astype(np.float64)))
        row["frobenius_norm"] = float(np.linalg.norm(w.astype(np.float64)))
    return row


def rank_eps(dtype: np.dtype) -> float:
    """eps of the numerical rank: the stored dtype's, but at most float32's.

    bfloat16 and float16 values are exact numbers in float32; their own eps times max(m, n) exceeds 1.
    """
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)


def _analyze_stack(
    batch: Any, sigma_entries: np.ndarray, eps: float, options: SweepOptions
) -> list[dict[str, Any]]:
    """Statistics of a stack (B, m, n), as one dict a matrix."""
    _, m, n = batch.shape
    found = spectra(batch, options.strategy)
    s = found.s
    sigmas = {
        "bulk": np.full(len(s), np.nan),
        "entries": sigma_entries,
        "init": np.full(len(s), noise.sigma_init(m)),
    }
    scalars = _in_chunks(
        s,
        sigmas[options.sigma],
        a=max(m, n),
        b=min(m, n),
        eps=eps,
        level=options.level,
        power=options.power_law,
    )
    determined = np.arange(s.shape[1]) < scalars["hard_rank"][:, None]
    right = _vector_statistics(found.ks_right, n, determined, "right", options)
    left = _vector_statistics(found.ks_left, m, determined, "left", options)
    columns = (
        scalars
        | right
        | left
        | {
            "singular_values": s,
            "sigma_entries": sigma_entries,
            "undetermined": s.shape[1] - scalars["hard_rank"],
            "residual": found.residual,
            "orthogonality": found.orthogonality,
        }
    )
    rows = [{key: _plain(value[i]) for key, value in columns.items()} for i in range(len(batch))]
    for i, row in enumerate(rows):
        row["strategy"] = found.strategy[i]
        bad = not row["residual"] <= RESIDUAL_TOLERANCE
        row["status"] = f"inaccurate decomposition: residual {row['residual']:.1e}" if bad else "ok"
    return rows


def _plain(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) and value.ndim else value.item()


def _in_chunks(s: np.ndarray, sigma: np.ndarray, **static: Any) -> dict[str, np.ndarray]:
    """`_scalar_statistics` over the batch, padded to chunks of `ROWS_AT_ONCE` by repeating the last row."""
    batch = len(s)
    padded = -batch % ROWS_AT_ONCE
    s, sigma = (np.concatenate([x, np.repeat(x[-1:], padded, axis=0)]) for x in (s, sigma))
    parts = [
        jax.device_get(_scalar_statistics(s[i : i + ROWS_AT_ONCE], sigma[i : i + ROWS_AT_ONCE], **static))
        for i in range(0, len(s), ROWS_AT_ONCE)
    ]
    return {key: np.concatenate([p[key] for p in parts])[:batch] for key in parts[0]}


@partial(jax.jit, static_argnames=("a", "b", "eps", "level", "power"))
def _scalar_statistics(
    s: jax.Array, sigma: jax.Array, *, a: int, b: int, eps: float, level: float, power: str
) -> dict[str, jax.Array]:
    """Everything that the singular values of (a, b) or (b, a) matrices alone tell.

    s (B, b) float64, descending; sigma (B,) sets the edges, the bulk fit where it is NaN.
    """

    def one(s: jax.Array, sigma: jax.Array) -> dict[str, jax.Array]:
        bulk = noise.sigma_bulk(s, a, b)
        sigma = jnp.where(jnp.isnan(sigma), bulk, sigma)
        nu_minus, nu_plus = marchenko_pastur.edges(a, b, sigma)
        right, left = edges.num_outliers(s, a, b, sigma, level, eps)
        left = jnp.where(nu_plus < s[0] * a * eps, 0, left)  # a bulk that is all rounding has no left edge
        index = jnp.arange(b)
        in_bulk = (index >= right) & (index < b - left)
        found = measures.measures(s, a, b, eps)
        evals = s**2
        # what lies beyond the numerical rank is rounding, which has a power law of its own; WeightWatcher fits it, too
        law = power_law.fit(
            evals if power == "weightwatcher" else jnp.where(index < found["hard_rank"], evals, 0.0),
            method=power,
        )
        quasi_null = jnp.sum(s < nu_minus)
        return found | {
            "sigma": sigma,
            "sigma_bulk": bulk,
            "nu_minus": nu_minus,
            "nu_plus": nu_plus,
            "mp_ks": marchenko_pastur.ks_distance(s, a, b, sigma, in_bulk),
            "num_right_outliers": right,
            "num_left_outliers": left,
            "mp_softrank": (nu_plus / s[0]) ** 2,
            "quasi_null_count": quasi_null,
            "quasi_null_fraction": quasi_null / b,
            "alpha": law.alpha,
            "xmin": law.xmin,
            "pl_d": law.d,
            "pl_sigma": law.sigma,
            "num_pl_spikes": law.num_spikes,
            "alpha_weighted": measures.alpha_weighted(law.alpha, evals[0]),
            "log_alpha_norm": measures.log_alpha_norm(s, law.alpha),
        }

    return jax.vmap(one)(s, sigma)


def _vector_statistics(
    d_stat: np.ndarray, length: int, determined: np.ndarray, side: str, options: SweepOptions
) -> dict[str, np.ndarray]:
    """KS statistics, p-values, their average and rejections; d_stat and determined (B, b)."""
    p = np.where(determined, p_values(d_stat, length, options), np.nan)
    count = determined.sum(axis=1)
    return {
        f"ks_{side}": d_stat,
        f"p_{side}": p,
        f"p_{side}_avg": np.asarray(ks.local_average(p)),
        f"mean_p_{side}": np.where(count > 0, np.nansum(p, axis=1) / np.maximum(count, 1), np.nan),
        f"rejected_{side}": np.asarray(benjamini_hochberg(p, options.level)).sum(axis=-1),
    }
