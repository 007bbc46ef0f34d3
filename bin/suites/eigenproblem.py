"""Ways to the singular vectors of a square matrix on this device, each against torch.linalg.svd there, in float64.

syevd, syevj    Gram matrix and LAPACK's, cuSOLVER's or TPU's eigensolver (Jacobi: accelerators only), float64, float32
divide          Gram matrix and spectral divide and conquer (ways/divide.py), by QDWH as its source has it, with larger
                blocks left to syevd, or by Cholesky factors alone and refined
refined         in float32, or with those factors, then steps of Ogita & Aishima 2018, which are products in float64
polar           QDWH and an eigenproblem of the polar factor, which knows small values better than a Gram matrix does
direct          jnp.linalg.svd
block Jacobi    one-sided, on the columns of R^T (ways/jacobi.py)

A note beside each says what it is worth: relative residual, the largest cosine between two left vectors, the relative
error of the smallest singular value against LAPACK's on the host (up to 4096), XLA's own count of temporary memory,
what compiling took, and the power that the device draws where it tells. torch is timed once an n.
"""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from eigensweep.bin.suites.measure import Comparison, compare, seconds, tell
from eigensweep.bin.suites.ways import divide, jacobi
from eigensweep.engine.run.memory import GIB
from eigensweep.engine.spectral.svd import device

STEPS = 3
BATCH = 4
LARGE = 4096  # from here on torch is timed once, beyond it LAPACK's values are not waited for
_HIGHEST = lax.Precision.HIGHEST
Vectors = tuple[Array, Array]  # s ascending (n,), right singular vectors as columns (n, n)


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Every way at every n, on one matrix with a few spikes."""
    result = []
    for n in sizes:
        w = _trained_like(n)
        exact = np.linalg.svd(w, compute_uv=False) if n <= LARGE else None
        work = _torch(w)
        work()
        theirs = [seconds(work) for _ in range(1 if n >= LARGE else repeats)]
        for name, way in ways().items():
            case = Comparison("eigenproblem", f"{name}, {n} x {n}", "torch.linalg.svd float64", theirs=theirs)
            try:
                result.append(tell(_measured(case, way, jnp.asarray(w), exact, repeats)))
            except (NotImplementedError, jax.errors.JaxRuntimeError) as error:  # the other ways go on
                print(f"  {case.case}: left out, {str(error).splitlines()[0]}", flush=True)
        result.append(tell(_at_once(w, repeats)))
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


def ways() -> dict[str, Callable[[Array], Vectors]]:
    """Every way by its name: a function of W (n, n) in float64."""
    single, double = jnp.float32, jnp.float64
    syevj = lax.linalg.EighImplementation.JACOBI
    return {
        "syevd float64": lambda w: _gram(w, double, lapack_like),
        "syevd float32": lambda w: _gram(w, single, lapack_like),
        "syevj float64": lambda w: _gram(w, double, partial(lapack_like, implementation=syevj)),
        "syevj float32": lambda w: _gram(w, single, partial(lapack_like, implementation=syevj)),
        f"syevd float32, refined {STEPS} times": lambda w: _refined(w, single, lapack_like, STEPS),
        "divide float64": lambda w: _gram(w, double, divide.eigh),
        "divide float64, blocks of 1024": lambda w: _gram(w, double, partial(divide.eigh, least=1024)),
        "divide float64 by Cholesky, refined twice": lambda w: _refined(w, double, _by_cholesky, 2),
        "divide float32": lambda w: _gram(w, single, divide.eigh),
        "polar float64": lambda w: _of_route(w, "polar"),
        "polar, divide float64": _of_polar_factor,
        "direct float64": lambda w: _of_route(w, "direct"),
        "block Jacobi float64": lambda w: _by_jacobi(w, double),
        "block Jacobi float32": lambda w: _by_jacobi(w, single),
    }


def lapack_like(gram: Array, implementation: Any = None) -> Vectors:
    """Eigenvalues and eigenvectors by the device's own solver."""
    v, evals = lax.linalg.eigh(gram, implementation=implementation)
    return evals, v


def _by_cholesky(gram: Array) -> Vectors:
    return divide.eigh(gram, smallest=1e-3, cutoff=float("inf"))


def _gram(w: Array, dtype: Any, solve: Callable[[Array], Vectors]) -> Vectors:
    x = w.astype(dtype)
    _, v = solve(jnp.matmul(x.T, x, precision=_HIGHEST))
    return _values(w, v.astype(w.dtype)), v.astype(w.dtype)


def _refined(w: Array, dtype: Any, solve: Callable[[Array], Vectors], steps: int) -> Vectors:
    _, v = _gram(w, dtype, solve)
    gram = jnp.matmul(w.T, w, precision=_HIGHEST)
    for _ in range(steps):
        _, v = refine(gram, v)
    return _values(w, v), v


def _of_polar_factor(w: Array) -> Vectors:
    _, h, *_ = lax.linalg.qdwh(w)
    _, v = divide.eigh(h)
    return _values(w, v), v


def _by_jacobi(w: Array, dtype: Any) -> Vectors:
    _, v = jacobi.right_vectors(w.astype(dtype))
    return _values(w, v.astype(w.dtype)), v.astype(w.dtype)


def _of_route(w: Array, strategy: str) -> Vectors:
    _, s, vt, *_ = device.svd(w[None], strategy, vectors=True)
    assert vt is not None  # vectors were asked for
    return s[0, ::-1], vt[0, ::-1].T


def _values(w: Array, v: Array) -> Array:
    return jnp.linalg.norm(jnp.matmul(w, v, precision=_HIGHEST), axis=0)


def _measured(
    case: Comparison, way: Callable[[Array], Vectors], w: Array, exact: np.ndarray | None, repeats: int
) -> Comparison:
    start = time.perf_counter()
    compiled = jax.jit(way).lower(w).compile()
    compiling = time.perf_counter() - start
    work = lambda: jax.block_until_ready(compiled(w))  # noqa: E731
    s, v = work()
    with _watts() as watts:
        case.ours = [seconds(work) for _ in range(repeats)]
    residual, cosine = map(float, _quality(w, v))
    off = abs(float(jnp.min(s)) - exact[-1]) / exact[-1] if exact is not None else None
    memory = compiled.memory_analysis()
    told = [
        f"residual {residual:.1e}",
        f"left vectors orthogonal to {cosine:.1e}",
        "" if off is None else f"smallest value {off:.1e}",
        f"temporary memory {memory.temp_size_in_bytes / GIB:.2f} GiB" if memory else "",
        f"compiled in {compiling:.1f} s",
        f"{max(watts):.0f} W" if watts else "",
    ]
    case.note = ", ".join(filter(None, told))
    return case


@jax.jit
def _quality(w: Array, v: Array) -> Vectors:
    """|W - W V V^T|_F / |W|_F, and the largest cosine between two columns of W V; both 0 where V is right."""
    product = partial(jnp.matmul, precision=_HIGHEST)
    p = product(w, v)
    scale = jnp.linalg.norm(p, axis=0)
    cosines = product(p.T, p) / jnp.outer(scale, scale) - jnp.eye(len(v))
    return jnp.linalg.norm(w - product(p, v.T)) / jnp.linalg.norm(w), jnp.max(jnp.abs(cosines))


def _at_once(w: np.ndarray, repeats: int) -> Comparison:
    """A batched eigenproblem, which is what a sweep's `gram` asks for, against one matrix after the other."""
    gram = jnp.asarray(w.T @ w)
    grams = jnp.stack([gram * (1 + i) for i in range(BATCH)])
    batched, mapped = (jax.jit(way) for way in (jnp.linalg.eigh, lambda x: lax.map(jnp.linalg.eigh, x)))
    case = Comparison("eigenproblem", f"syevd float64 of {BATCH} at once, {len(w)} x {len(w)}", "one after the other")
    ours, theirs = (lambda way=way: jax.block_until_ready(way(grams)) for way in (batched, mapped))
    return compare(case, ours, theirs, repeats)


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
