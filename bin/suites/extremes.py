"""Both ends of a flipped matrix's spectrum, against the ways that NumPy and SciPy have; a thread of BLAS, CPU seconds.

Matrices of Gaussian noise in float32, n x n and 3.5 n x n (4096 x 14336 as in Llama-8B), whose Gram matrix is float64.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import scipy.linalg
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from eigensweep.bin.suites.measure import Comparison, compare, cpu_seconds
from eigensweep.engine.spectral import controls, extremes

ASPECTS = (1.0, 3.5)
LARGE = 4096  # timed once
ACCURATE = 1024  # largest side whose smallest value is held against LAPACK's SVD of the matrix itself


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """A row a shape and peer: the Gram matrix is there; then with everything that a flip takes, against eigvalsh."""
    result = []
    with threadpool_limits(1, user_api="blas"):
        for n in sizes:
            for aspect in ASPECTS:
                a, times = int(aspect * n), 1 if n >= LARGE else repeats
                w = np.random.default_rng(n).standard_normal((a, n), dtype=np.float32)
                result += _of_gram(w, times)
                result.append(_of_flip(w, times))
                if n <= ACCURATE:
                    result += _accuracy(w)
    return result


def _of_gram(w: np.ndarray, repeats: int) -> list[Comparison]:
    a, n = w.shape
    x = w.astype(np.float64)
    gram = x.T @ x
    del x
    peers: dict[str, Callable[[], object]] = {
        "numpy eigvalsh": partial(np.linalg.eigvalsh, gram),
        "scipy eigh, subset": partial(_subset, gram),
        "scipy eigsh": partial(_arpack, gram),
    }
    found = []
    for peer, theirs in peers.items():
        case = Comparison("extremes", f"Gram of {a} x {n}", peer)
        found.append(compare(case, partial(extremes.ends, gram, a / n), theirs, repeats, n < LARGE, cpu_seconds))
        print(f"  {case.case} {peer}: {case.ratio:.2f}", flush=True)
    return found


def _of_flip(w: np.ndarray, repeats: int) -> Comparison:
    a, n = w.shape
    bits, x = controls.packed_bits(np.random.default_rng(0), w.size), w.astype(np.float64)

    def flipped() -> np.ndarray:
        flip = controls.flip(x, bits)
        return flip.T @ flip

    note = "signs and Gram matrix included, which both take"
    case = Comparison("extremes", f"flip of {a} x {n}", "numpy eigvalsh", note=note)
    ours, theirs = lambda: extremes.ends(flipped(), a / n), lambda: np.linalg.eigvalsh(flipped())
    return compare(case, ours, theirs, repeats, n < LARGE, cpu_seconds)


def _accuracy(w: np.ndarray) -> list[Comparison]:
    """Relative error of s_1 and s_b against LAPACK's SVD; what is below eps counts as eps."""
    a, n = w.shape
    x = w.astype(np.float64)
    gram, exact = x.T @ x, np.linalg.svd(x, compute_uv=False)[[-1, 0]]
    ways = [np.array(extremes.ends(gram, a / n)), np.linalg.eigvalsh(gram)[[0, -1]]]
    errors = [np.maximum(np.abs(np.sqrt(way) / exact - 1), np.finfo(float).eps) for way in ways]
    return [
        Comparison("extremes", f"error of {name}, {a} x {n}", "numpy eigvalsh", [ours], [theirs], unit="relative error")
        for name, ours, theirs in zip(("s_b", "s_1"), *errors, strict=True)
    ]


def _subset(gram: np.ndarray) -> tuple[float, float]:
    """LAPACK's syevr, an end a call."""
    low, high = (scipy.linalg.eigh(gram, eigvals_only=True, subset_by_index=(i, i)) for i in (0, len(gram) - 1))
    return float(low[0]), float(high[0])


def _arpack(gram: np.ndarray) -> tuple[float, float]:
    """ARPACK: the largest by restarted Lanczos, the smallest by its shift-invert mode about 0."""
    top = eigsh(gram, 1, which="LA", return_eigenvectors=False, tol=1e-6)
    bottom = eigsh(gram, 1, sigma=0.0, which="LM", return_eigenvectors=False, tol=1e-6)
    return float(bottom[0]), float(top[0])
