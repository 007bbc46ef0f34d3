"""The smallest and the largest eigenvalue of a Gram matrix, without the others.

Values-only `eigvalsh` first makes the whole matrix tridiagonal, half of it in products of a matrix and a vector that
wait for the memory. The ends alone need few such products: Lanczos' three-term recurrence from a random vector finds
them in about 3 (b/2)^(1/3) + 30 of them, even where the values crowd as at the edges of the Marchenko-Pastur law.

largest     Lanczos on G.
smallest    Of a long matrix (a >= 2 b) its edge is as sharp as the other: the same recurrence goes on until it is
            there. Else, or where that takes too long, Lanczos on G^-1 through a Cholesky factor, on which the small
            values of a square matrix lie far apart.
otherwise   `eigvalsh`: below `LEAST_SIDE`, where it is as fast; where Cholesky finds G not positive definite (a matrix
            without full rank, to rounding); where the recurrence does not converge.

ARPACK (`eigsh`), given the same two operators, takes 1.0 to 1.25 times as long, and SciPy 1.17 multiplies its start by
G first: the null vectors of a matrix with zero columns are gone from it, and the smallest value found is another one.

Nothing is orthogonalised again: by the time that rounding costs the vectors their orthogonality, an extreme value has
converged, and copies of it that turn up later do no harm (Paige). A value counts as converged when the bound
min(r, r^2/gap) of its error, r its residual, gap its distance to the next, is below 1e-11 of it; where several values
lie within 1e-8 of the end it may be any of them. What a Gram matrix itself does not know, about eps cond^2 of the
smallest value, neither route knows.

References: C. C. Paige, Error analysis of the Lanczos algorithm for tridiagonalizing a symmetric matrix, 1976;
B. N. Parlett, The Symmetric Eigenvalue Problem, chapters 11 and 13.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

LEAST_SIDE = 512  # from here on the ends alone are cheaper
_LONG = 2.0  # a/b from which the lower edge is sharp enough for the recurrence itself
_TOLERANCE = 1e-11  # of a value
_MOST = 400  # steps; Marchenko-Pastur edges at b = 4096 take 100
_PATIENCE = 4  # the lower edge may take this many times the steps of the upper one
_EVERY = 8  # steps between two looks at the values
_BLOCK = 128  # rows of a triangular factor that are solved for together
_SEED = 11


def ends(gram: NDArray[np.float64], aspect: float = 1.0) -> tuple[float, float]:
    """(smallest, largest) eigenvalue of a symmetric positive semidefinite matrix.

    Args:
      gram: (b, b), X^T X of a matrix X (a, b).
      aspect: a/b, by which the way to the smallest is chosen.

    Raises:
      numpy.linalg.LinAlgError: `eigvalsh`, where it is needed, did not converge.
    """
    if len(gram) < LEAST_SIDE:
        return _of_all(gram)
    low, high = lanczos(gram.__matmul__, len(gram), both=aspect >= _LONG)
    if np.isnan(low):
        low = _by_inverse(gram)
    return (low, high) if np.isfinite([low, high]).all() else _of_all(gram)


def lanczos(apply: Callable[[NDArray], NDArray], size: int, both: bool = False) -> tuple[float, float]:
    """(smallest, largest) eigenvalue of a symmetric operator; NaN for what did not converge, or was not asked for.

    Args:
      apply: (size,) -> (size,).
      both: whether to wait for the smallest, too.
    """
    v = np.random.default_rng(_SEED).standard_normal(size)
    v /= np.linalg.norm(v)
    before, diagonal, beside = np.zeros(size), np.empty(_MOST), np.empty(_MOST)
    low = high = np.nan
    budget = _MOST
    for k in range(_MOST):
        w = apply(v)
        diagonal[k] = v @ w
        w -= diagonal[k] * v
        if k:
            w -= beside[k - 1] * before
        beside[k] = np.linalg.norm(w)
        if (k + 1) % _EVERY == 0 or not beside[k] > 0:
            if np.isnan(high):
                high = _converged(diagonal[: k + 1], beside[: k + 1])
                budget = _MOST if np.isnan(high) else min(_MOST, _PATIENCE * (k + 1))
            low = -_converged(-diagonal[: k + 1], beside[: k + 1]) if both else low
            if not np.isnan(high) and (not both or not np.isnan(low)):
                break
            if k + 1 >= budget or not beside[k] > 0:
                break
        before, v = v, w / beside[k]
    return low, high


def _converged(diagonal: NDArray, beside: NDArray) -> float:
    """The largest value of the tridiagonal matrix, if it is one of the operator's; else NaN."""
    size = len(diagonal)
    if size < 2:
        return float(diagonal[0]) if beside[-1] == 0 else float("nan")
    from scipy.linalg import eigh_tridiagonal  # 0.1 s, and smaller matrices need none of it

    values, vectors = eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(size - 2, size - 1))
    residual, gap = beside[-1] * abs(vectors[-1, 1]), values[1] - values[0]
    error = min(residual, residual**2 / gap) if gap > 0 else residual
    return float(values[1]) if error <= _TOLERANCE * abs(values[1]) else float("nan")


def _by_inverse(gram: NDArray) -> float:
    """The smallest eigenvalue as 1/the largest of the inverse; NaN where G is not positive definite."""
    try:
        factor = np.linalg.cholesky(gram.T)  # the transpose, which is the same, is LAPACK's own order
    except np.linalg.LinAlgError:
        return float("nan")
    return 1 / lanczos(_solver(factor), len(gram))[1]


def _solver(factor: NDArray) -> Callable[[NDArray], NDArray]:
    """x -> (L L^T)^-1 x. By blocks, in NumPy's products alone: SciPy's triangular solvers hold the GIL."""
    size = len(factor)
    blocks = [slice(i, min(i + _BLOCK, size)) for i in range(0, size, _BLOCK)]
    inverses = [np.linalg.inv(factor[block, block]) for block in blocks]

    def solve(x: NDArray) -> NDArray:
        y = x.copy()
        for block, inverse in zip(blocks, inverses, strict=True):
            y[block] = inverse @ (y[block] - factor[block, : block.start] @ y[: block.start])
        for block, inverse in zip(reversed(blocks), reversed(inverses), strict=True):
            y[block] = inverse.T @ (y[block] - y[block.stop :] @ factor[block.stop :, block])
        return y

    return solve


def _of_all(gram: NDArray) -> tuple[float, float]:
    values = np.linalg.eigvalsh(gram)
    return float(values[0]), float(values[-1])
