"""Singular value decomposition of a batch of matrices, by one of a few named strategies, in float64.

lapack  The host: Gram matrix, `syevd` and one product, small columns apart (lapack.py). One matrix a thread where
        there are several, threaded BLAS for a single one. The fastest on CPU, and good for every condition number.
gram    JAX: the same idea for accelerators, batched, with static shapes (device.py).
polar   JAX: QDWH polar factor, then `eigh`. No squared condition number; TPU's own route.
direct  JAX: `jnp.linalg.svd`.
streamed  The host: for a matrix whose long vectors should not be held all at once (streamed.py); here they are.

`auto` takes lapack on CPU, gram on GPU, polar on TPU. Whatever was chosen (streamed excepted), a matrix whose measured
errors or whose condition number leave the tolerances is decomposed again, alone, and says so: what a device gave by the
host's lapack route, which holds at every condition number and is faster than a device's direct one; that by gesdd.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from threadpoolctl import ThreadpoolController

from eigensweep.engine.spectral.cores import num_cores
from eigensweep.engine.spectral.svd import device, lapack, streamed

STRATEGIES = ("auto", "lapack", "gram", "polar", "direct", "streamed")
# A Gram matrix's values-only route errs by eps * cond^2 / 2 in the smallest value: 1e-4 at the limit.
MAX_CONDITION = 1e6
MAX_RESIDUAL = 1e-10
MAX_ORTHOGONALITY = 1e-8
LARGE = 1024  # from this size on BLAS's own threads pay


class Decomposition(NamedTuple):
    """W = U diag(s) V^T for a batch of B matrices (m, n); b = min(m, n).

    NumPy arrays under `lapack` (u is then a view whose columns are contiguous), JAX arrays otherwise. A matrix with
    non-finite entries has NaN everywhere.

    Attributes:
      u: (B, m, b) float64, left singular vectors as columns (output space); None without vectors.
      s: (B, b) float64, descending.
      vt: (B, b, n) float64, right singular vectors as rows (input space); None without vectors.
      residual: (B,) |W - U S V^T|_F / |W|_F, measured by probes (accuracy.py); NaN without vectors.
      orthogonality: (B,) largest entry of |U^T U - I| and |V^T V - I|, measured alike; NaN without vectors.
      strategy: the strategy that gave each matrix, B names.
    """

    u: Any
    s: Any
    vt: Any
    residual: Any
    orthogonality: Any
    strategy: tuple[str, ...]


def decompose(
    w: Any, strategy: str = "auto", vectors: bool = True, workers: int | None = None
) -> Decomposition:
    """Thin singular value decomposition of every matrix of a batch.

    Args:
      w: (B, m, n), NumPy or JAX, any floating dtype; computed in float64 (on TPU: float32).
      strategy: one of `STRATEGIES`; see the module's docstring.
      vectors: False gives singular values only, at about a third of the cost.
      workers: threads of the lapack strategy; default: one a core.

    Raises:
      ValueError: unknown strategy, or `w` is not a batch of matrices.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy {strategy!r}: expected one of {', '.join(STRATEGIES)}")
    if w.ndim != 3:
        raise ValueError(f"w has shape {tuple(w.shape)}: expected (batch, m, n)")
    chosen = choose(strategy)
    if chosen == "lapack" or (chosen == "streamed" and not vectors):
        return _on_host(np.asarray(w), vectors, workers)
    if chosen == "streamed":
        return _streamed(np.asarray(w))
    return _escalate(w, _on_device(w, chosen, vectors), vectors)


def choose(strategy: str, backend: str | None = None) -> str:
    """The strategy that `auto` stands for on a backend (default: JAX's own)."""
    if strategy != "auto":
        return strategy
    return {"cpu": "lapack", "tpu": "polar"}.get(backend or jax.default_backend(), "gram")


_BLAS_LOCK = threading.Lock()  # the number of BLAS's threads is the process's: one call at a time sets it


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def acceptable(residual: np.ndarray, orthogonality: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Are the errors within the tolerances? True for NaN: a non-finite matrix does not get better by another route."""
    # 1 for float64; for TPU's float32 the tolerances become 4e-4 and 4e-2.
    slack = float(np.finfo(dtype).eps / np.finfo(np.float64).eps) ** 0.75
    return ~((residual > slack * MAX_RESIDUAL) | (orthogonality > slack * MAX_ORTHOGONALITY))


def _on_host(w: np.ndarray, vectors: bool, workers: int | None) -> Decomposition:
    """One matrix a thread; all of BLAS's threads on one matrix after another where they are few and large."""
    workers = workers or num_cores()
    batch, m, n = w.shape
    b = min(m, n)
    u_t, vt = (np.empty((batch, b, m)), np.empty((batch, b, n))) if vectors else (None, None)
    s, errors = np.empty((batch, b)), np.empty((2, batch))

    def run(i: int) -> str:
        result, name = _host_matrix(w[i], vectors)
        s[i], errors[:, i] = result.s, (result.residual, result.orthogonality)
        if u_t is not None and vt is not None:
            u_t[i], vt[i] = result.u_t, result.vt
        return name

    one_each = workers > 1 and batch > 1 and (batch >= workers or b < LARGE)
    matrices, blas = (workers, 1) if one_each else (1, workers)
    with _BLAS_LOCK, _blas().limit(limits=blas, user_api="blas"), ThreadPoolExecutor(matrices) as pool:
        names = tuple(pool.map(run, range(batch)))
    u = None if u_t is None else u_t.swapaxes(1, 2)
    return Decomposition(u, s, vt, errors[0], errors[1], names)


def _host_matrix(x: np.ndarray, vectors: bool) -> tuple[lapack.HostSVD, str]:
    if vectors:
        result = lapack.gram_svd(x)
        good = bool(acceptable(np.asarray(result.residual), np.asarray(result.orthogonality), result.s.dtype))
    else:
        result = lapack.gram_values(x)
        good = result.s.size == 0 or not result.s[0] > MAX_CONDITION * result.s[-1]
    return (result, "lapack") if good else (lapack.direct_svd(x, vectors), "direct")


def _streamed(w: np.ndarray) -> Decomposition:
    batch, m, n = w.shape
    b = min(m, n)
    long, short = np.full((batch, b, max(m, n)), np.nan), np.full((batch, b, b), np.nan)
    s, errors = np.full((batch, b), np.nan), np.full((2, batch), np.nan)
    for i in np.flatnonzero(np.isfinite(w).all(axis=(1, 2)) & (b > 0)):
        result = streamed.streamed_svd(w[i], long[i].__setitem__)
        s[i], short[i], errors[:, i] = result.s, result.short, (result.residual, result.orthogonality)
    u_t, vt = (short, long) if m < n else (long, short)
    return Decomposition(u_t.swapaxes(1, 2), s, vt, errors[0], errors[1], ("streamed",) * batch)


def _on_device(w: Any, strategy: str, vectors: bool) -> Decomposition:
    svd = device.empty if min(w.shape) == 0 else device.svd
    u, s, vt, errors = svd(w, strategy, vectors)
    return Decomposition(u, s, vt, errors[0], errors[1], (strategy,) * len(w))


def _escalate(w: Any, result: Decomposition, vectors: bool) -> Decomposition:
    """Decompose on the host what the chosen strategy did not bring within the tolerances."""
    s = np.asarray(result.s)
    if s.size == 0 or result.strategy[0] == "direct":
        return result
    if vectors:
        residual, orthogonality = np.asarray(result.residual), np.asarray(result.orthogonality)
        bad = ~acceptable(residual, orthogonality, s.dtype) | np.isnan(residual)
    elif result.strategy[0] == "gram":
        bad = s[:, 0] > MAX_CONDITION * s[:, -1]
    else:
        bad = np.zeros(len(s), bool)
    indices = np.flatnonzero(bad)
    if not indices.size:
        return result
    again = [_on_host(np.asarray(w[i : i + 1]), vectors, None) for i in indices]

    def merge(field: str) -> Any:
        old = getattr(result, field)
        if old is None:
            return None
        return old.at[indices].set(np.concatenate([getattr(r, field) for r in again]).astype(old.dtype))

    names = list(result.strategy)
    for i, repaired in zip(indices, again, strict=True):
        names[i] = repaired.strategy[0]
    return Decomposition(
        u=merge("u"),
        s=merge("s"),
        vt=merge("vt"),
        residual=merge("residual"),
        orthogonality=merge("orthogonality"),
        strategy=tuple(names),
    )
