"""What is computed of matrices of one shape: decomposition, Marchenko-Pastur, edges, KS, power law."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run import entries
from eigensweep.engine.run.memory import is_streamed
from eigensweep.engine.run.nulls import p_values, purpose_key
from eigensweep.engine.run.options import SweepOptions
from eigensweep.engine.run.scalars import scalar_statistics
from eigensweep.engine.run.schema import COUNTS, SCALARS, VECTORS, prefixes
from eigensweep.engine.run.vectors import spectra
from eigensweep.engine.spectral import controls, ks, noise
from eigensweep.engine.spectral.cores import num_cores
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg

# beyond it a row is marked: published numbers should not hang on it. TPUs compute in float32.
RESIDUAL_TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-4}


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
    draw = partial(_draw, names=[names[i] for i in good], ws=[ws[i] for i in good], seed=options.seed)
    # an accelerator works on the matrices themselves while the host draws their controls
    drawn = {} if jax.default_backend() == "cpu" else {kind: draw(kind) for kind in options.controls}
    for prefix, kind in zip(prefixes(options.controls), ("", *options.controls), strict=True):
        if kind:
            batch = _stack([future.result() for future in drawn.pop(kind, None) or draw(kind)])
            seen = entries.describe(batch)
        for i, found in zip(good, _analyze_stack(batch, seen.sigma, eps, options), strict=True):
            rows[i] |= {
                prefix + key: value for key, value in found.items() if key not in ("strategy", "status")
            }
            if not prefix:
                rows[i] |= {"strategy": found["strategy"], "status": found["status"]}
    return rows


def _draw(kind: str, names: Sequence[str], ws: Sequence[np.ndarray], seed: int) -> list[Future[np.ndarray]]:
    """The control of every matrix, a matrix a core."""
    draw = getattr(controls, kind)
    pool = ThreadPoolExecutor(num_cores())
    futures = [pool.submit(draw, purpose_key(seed, kind, name), w) for name, w in zip(names, ws, strict=True)]
    pool.shutdown(wait=False)
    return futures


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
    eps = max(eps, float(np.finfo(s.dtype).eps))
    sigmas = {
        "bulk": np.full(len(s), np.nan),
        "entries": sigma_entries,
        "init": np.full(len(s), noise.sigma_init(m)),
    }
    scalars = scalar_statistics(s, sigmas[options.sigma], (m, n), eps, options)
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
        bad = not row["residual"] <= RESIDUAL_TOLERANCE[s.dtype]
        row["status"] = f"inaccurate decomposition: residual {row['residual']:.1e}" if bad else "ok"
    return rows


def _plain(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) and value.ndim else value.item()


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
