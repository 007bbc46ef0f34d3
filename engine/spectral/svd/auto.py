"""Singular value decomposition of a batch of matrices in float64: one interface, and the whole choice of a strategy.

lapack    The host: Gram matrix, `syevd` and one product, small columns apart (lapack.py). One matrix a thread where
          there are several, threaded BLAS for a single one. The fastest on CPU, and good for every condition number.
gram      JAX: the same idea for accelerators, batched, with static shapes (device.py).
polar     JAX: QDWH polar factor, then `eigh`. No squared condition number; TPU's own route.
direct    JAX: `jnp.linalg.svd`.
streamed  The host: for a matrix whose long vectors should not be held all at once (streamed.py). `decompose` returns
          them all, so it streams only if told to; who can use them a group at a time asks `is_streamed`.

How `auto` and the rest is decided, in this order:

backend     CPU lapack, GPU gram, TPU polar.
shape       An empty matrix is the host's. A matrix that would take more than 4 GiB (CPU) or half of the device's memory
            is streamed where its vectors are wanted in groups. That depends on the shape and the device alone, so the
            same matrix always goes the same way.
vectors     Without them a streamed matrix goes by lapack, and the Gram routes leave out the eigenvectors.
escalation  A finite matrix whose measured errors leave the tolerances, whose condition number does (values only, Gram
            routes), or whose result is NaN because an iteration did not converge, is decomposed again, alone, and its
            strategy says so: what a device gave by the host's lapack route, which holds at every condition number and
            is faster than a device's direct one; what lapack or streamed gave by LAPACK's `gesdd` ("direct"). Of
            streamed only NaN counts: its loss of orthogonality is known and measured. A matrix with entries that are
            not finite has NaN everywhere and is not tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
# Llama's blocks are not streamed on CPU (4096 x 14336: 2.3 GiB), its embedding is (17 GiB).
CPU_RESIDENT = 4 << 30

_BLAS_LOCK = threading.Lock()  # the number of BLAS's threads is the process's: one call at a time sets it


class Decomposition(NamedTuple):
    """W = U diag(s) V^T for a batch of B matrices (m, n); b = min(m, n).

    NumPy arrays where the host worked (u is then a view whose columns are contiguous), JAX arrays otherwise. A matrix
    with non-finite entries, or one on which LAPACK's `gesdd` did not converge either, has NaN everywhere; `streamed`
    leaves NaN in the long side's vectors of s = 0, which the matrix does not determine.

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


def decompose(w: Any, strategy: str = "auto", vectors: bool = True, workers: int | None = None) -> Decomposition:
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
    if 0 in w.shape or (chosen == "streamed" and not vectors):
        chosen = "lapack"
    if chosen in ("lapack", "streamed"):
        return _on_host(np.asarray(w), chosen, vectors, workers)
    return _escalate(w, Decomposition(*device.svd(w, chosen, vectors), (chosen,) * len(w)), vectors)


def on_cores(
    run: Callable[[int], Any], batch: int, b: int, workers: int | None = None, alone: bool = False
) -> list[Any]:
    """[run(0), ..., run(batch - 1)], each BLAS's work on a matrix whose shorter side is b.

    One matrix a thread; all of BLAS's threads on one after another where they are few and large, or `alone`.
    """
    workers = workers or num_cores()
    few = workers == 1 or batch == 1 or (batch < workers and b >= LARGE) or alone
    matrices, blas = (1, workers) if few else (workers, 1)
    with _BLAS_LOCK, _blas().limit(limits=blas, user_api="blas"), ThreadPoolExecutor(matrices) as pool:
        return list(pool.map(run, range(batch)))


def choose(strategy: str, backend: str | None = None) -> str:
    """The strategy that `auto` stands for on a backend (default: JAX's own)."""
    if strategy != "auto":
        return strategy
    return {"cpu": "lapack", "tpu": "polar"}.get(backend or jax.default_backend(), "gram")


def is_streamed(shape: tuple[int, int], strategy: str = "auto") -> bool:
    """Should who can use vectors a group at a time send an (m, n) matrix through `streamed.streamed_svd`?"""
    if strategy != "auto":
        return strategy == "streamed"
    memory = device_memory()
    return resident_bytes(shape) > (memory["bytes_limit"] // 2 if memory else CPU_RESIDENT)


def resident_bytes(shape: tuple[int, int]) -> int:
    """Float64 w, u, vt, their products and the Gram matrix; on accelerators XLA's own count of its buffers, at most."""
    a, b = max(shape), min(shape)
    return 8 * (7 * a * b + 9 * b * b) if device_memory() else 8 * (4 * a * b + 4 * b * b)


def working_bytes(shape: tuple[int, int]) -> int:
    """Peak bytes that one (m, n) matrix takes, streamed or not."""
    return streamed.working_bytes(shape) if is_streamed(shape) else resident_bytes(shape)


def device_memory() -> dict[str, int] | None:
    """The first local device's account of its memory; None on CPU."""
    stats = jax.local_devices()[0].memory_stats()
    return stats if stats and "bytes_limit" in stats else None


def _acceptable(s: Any, residual: Any, orthogonality: Any, vectors: bool, strategy: str) -> np.ndarray:
    """Are the errors within the tolerances? s (..., b), the rest (...); False for NaN, whatever it came from."""
    s, residual, orthogonality = (np.asarray(x) for x in (s, residual, orthogonality))
    good = ~np.isnan(s).any(axis=-1)
    if s.shape[-1] == 0 or (strategy == "streamed" and vectors):
        return good
    if vectors:
        # 1 for float64; for TPU's float32 the tolerances become 4e-4 and 4e-2
        slack = float(np.finfo(s.dtype).eps / np.finfo(np.float64).eps) ** 0.75
        return good & (residual <= slack * MAX_RESIDUAL) & (orthogonality <= slack * MAX_ORTHOGONALITY)
    return good & (s[..., 0] <= MAX_CONDITION * s[..., -1]) if strategy in ("lapack", "gram") else good


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _on_host(w: np.ndarray, strategy: str, vectors: bool, workers: int | None) -> Decomposition:
    batch, m, n = w.shape
    b = min(m, n)
    u_t, vt = (np.empty((batch, b, m)), np.empty((batch, b, n))) if vectors else (None, None)
    s, errors = np.empty((batch, b)), np.empty((2, batch))

    def run(i: int) -> str:
        found, name = _host_matrix(w[i], strategy, vectors)
        s[i], errors[:, i] = found.s, (found.residual, found.orthogonality)
        if u_t is not None and vt is not None:
            u_t[i], vt[i] = found.u_t, found.vt
        return name

    names = tuple(on_cores(run, batch, b, workers, alone=strategy == "streamed"))
    u = None if u_t is None else u_t.swapaxes(1, 2)
    return Decomposition(u, s, vt, errors[0], errors[1], names)


def _host_matrix(x: np.ndarray, strategy: str, vectors: bool) -> tuple[lapack.MatrixSVD, str]:
    found = streamed.whole_svd(x) if strategy == "streamed" else lapack.gram_svd(x, vectors)
    good = _acceptable(found.s, found.residual, found.orthogonality, vectors, strategy)
    if good or not np.isfinite(x).all():
        return found, strategy
    return lapack.direct_svd(x, vectors), "direct"


def _escalate(w: Any, found: Decomposition, vectors: bool) -> Decomposition:
    """Decompose on the host what the device did not bring within the tolerances."""
    good = _acceptable(found.s, found.residual, found.orthogonality, vectors, found.strategy[0])
    bad = np.array([i for i in np.flatnonzero(~good) if np.isfinite(np.asarray(w[i])).all()], int)
    if not bad.size:
        return found
    again = _on_host(np.stack([np.asarray(w[i]) for i in bad]), "lapack", vectors, None)
    u, s, vt, residual, orthogonality = (
        old if old is None else old.at[bad].set(new.astype(old.dtype))
        for old, new in zip(found[:5], again[:5], strict=True)
    )
    names = np.array(found.strategy, object)
    names[bad] = again.strategy
    return Decomposition(u, s, vt, residual, orthogonality, tuple(names.tolist()))
