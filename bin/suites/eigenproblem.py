"""Ways to the singular vectors of a square matrix on this device, each against torch.linalg.svd there, in float64.

syevd, syevj    Gram matrix and LAPACK's, cuSOLVER's or TPU's eigensolver (Jacobi: accelerators only), float64, float32
refined         `syevd` in float32, then steps of Ogita & Aishima 2018, which are products in float64
polar           QDWH and an eigenproblem of the polar factor
direct          jnp.linalg.svd

A note beside each says what it is worth: relative residual, the relative error of the smallest singular value against
LAPACK's on the host, XLA's own count of temporary memory, and the power that the device draws where it tells.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from eigensweep.bin.suites.measure import Comparison, compare
from eigensweep.engine.run.memory import GIB
from eigensweep.engine.spectral.svd import device

STEPS = 3
_HIGHEST = lax.Precision.HIGHEST
Vectors = tuple[Array, Array]  # s ascending (n,), right singular vectors as columns (n, n)


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Every way at every n, on one matrix with a few spikes."""
    result = []
    for n in sizes:
        w = _trained_like(n)
        exact = np.linalg.svd(w, compute_uv=False)
        theirs = _torch(w)
        for name, way in _ways().items():
            case = Comparison("eigenproblem", f"{name}, {n} x {n}", "torch.linalg.svd float64")
            try:
                result.append(_measured(case, way, w, exact, theirs, repeats))
            except NotImplementedError as error:
                print(f"  {case.case}: left out, {error}", flush=True)
    return result


def refine(gram: Array, v: Array) -> Vectors:
    """One step of Ogita & Aishima (2018, algorithm 1): approximate eigenvectors v (n, n) made better by products.

    R = I - V^T V, S = V^T G V, lambda_i = S_ii/(1 - R_ii); V <- V + V E with E_ij = (S_ij + lambda_j R_ij) /
    (lambda_j - lambda_i) where these two stand apart, R_ij / 2 where they do not. The error is squared, but for
    eigenvalues that lie closer together than V's error, and those at the bottom of a Gram matrix do: there it stays.
    """
    product = lambda a, b: jnp.matmul(a, b, precision=_HIGHEST)  # noqa: E731
    r = jnp.eye(len(v), dtype=v.dtype) - product(v.T, v)
    s = product(v.T, product(gram, v))
    evals = jnp.diagonal(s) / (1 - jnp.diagonal(r))
    off = s - jnp.diag(jnp.diagonal(s))
    # Frobenius norms in place of the source's spectral ones, over sqrt(n): what an entry may be off by
    delta = 2 * (jnp.linalg.norm(off) + jnp.max(jnp.abs(evals)) * jnp.linalg.norm(r)) / jnp.sqrt(len(v))
    gap = evals[None, :] - evals[:, None]
    apart = jnp.abs(gap) > delta
    e = jnp.where(apart, (s + evals[None, :] * r) / jnp.where(apart, gap, 1.0), r / 2)
    return evals, v + product(v, e)


def _ways() -> dict[str, Callable[[Array], Vectors]]:
    single, double = jnp.float32, jnp.float64
    jacobi = lax.linalg.EighImplementation.JACOBI
    return {
        "syevd float64": lambda w: _gram(w, double, None),
        "syevd float32": lambda w: _gram(w, single, None),
        "syevj float64": lambda w: _gram(w, double, jacobi),
        "syevj float32": lambda w: _gram(w, single, jacobi),
        f"syevd float32, refined {STEPS} times": _refined,
        "polar float64": lambda w: _of_route(w, "polar"),
        "direct float64": lambda w: _of_route(w, "direct"),
    }


def _gram(w: Array, dtype: Any, implementation: Any) -> Vectors:
    x = w.astype(dtype)
    v, _ = lax.linalg.eigh(jnp.matmul(x.T, x, precision=_HIGHEST), implementation=implementation)
    return _values(w, v.astype(w.dtype)), v.astype(w.dtype)


def _refined(w: Array) -> Vectors:
    _, v = _gram(w, jnp.float32, None)
    gram = jnp.matmul(w.T, w, precision=_HIGHEST)
    for _ in range(STEPS):
        _, v = refine(gram, v)
    return _values(w, v), v


def _of_route(w: Array, strategy: str) -> Vectors:
    _, s, vt, *_ = device.svd(w[None], strategy, vectors=True)
    assert vt is not None  # vectors were asked for
    return s[0, ::-1], vt[0, ::-1].T


def _values(w: Array, v: Array) -> Array:
    return jnp.linalg.norm(jnp.matmul(w, v, precision=_HIGHEST), axis=0)


def _measured(
    case: Comparison, way: Callable[[Array], Vectors], w: np.ndarray, exact: np.ndarray, theirs: Any, repeats: int
) -> Comparison:
    on_device = jnp.asarray(w)
    compiled = jax.jit(way).lower(on_device).compile()
    with _watts() as watts:
        compare(case, lambda: jax.block_until_ready(compiled(on_device)), theirs, repeats)
    s, v = map(np.asarray, compiled(on_device))
    # X V has orthogonal columns of norm s where V is right
    p = w @ v
    scale = np.linalg.norm(p, axis=0)
    cosines = (p.T @ p) / np.outer(scale, scale)
    residual = float(np.linalg.norm(w - (p @ v.T)) / np.linalg.norm(w))
    memory = compiled.memory_analysis()
    told = [
        f"residual {residual:.1e}",
        f"left vectors orthogonal to {np.abs(cosines - np.eye(len(v))).max():.1e}",
        f"smallest value {abs(s.min() - exact[-1]) / exact[-1]:.1e}",
        f"temporary memory {memory.temp_size_in_bytes / GIB:.2f} GiB" if memory else "",
        f"{max(watts):.0f} W" if watts else "",
    ]
    case.note = ", ".join(filter(None, told))
    return case


def _torch(w: np.ndarray) -> Callable[[], Any]:
    import torch

    where = "cuda" if jax.default_backend() == "gpu" and torch.cuda.is_available() else "cpu"
    tensor = torch.from_numpy(w).to(where)

    def work() -> Any:
        found = torch.linalg.svd(tensor, full_matrices=False)
        if where == "cuda":
            torch.cuda.synchronize()
        return found

    return work


def _trained_like(n: int) -> np.ndarray:
    rng = np.random.default_rng(n)
    spikes = rng.standard_normal((n, 4)) @ rng.standard_normal((4, n))
    return 0.02 * (rng.standard_normal((n, n)) + spikes * 4 / np.sqrt(n))


@contextmanager
def _watts() -> Iterator[list[float]]:
    """Power drawn while a block runs, by nvidia-smi twice a second; empty where there is none."""
    found: list[float] = []
    done = threading.Event()

    def look() -> None:
        query = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
        while not done.is_set():
            said = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False).stdout.split()
            found.extend(float(said[0]) for _ in [0] if said and said[0].replace(".", "").isdigit())
            time.sleep(0.5)

    thread = threading.Thread(target=look, daemon=True)
    if shutil.which("nvidia-smi"):
        thread.start()
    try:
        yield found
    finally:
        done.set()
        if thread.is_alive():
            thread.join(15)
