"""How many terms of a sum change as much as something else did: what matched controls of a removal take.

A change dW = sum_i t_i l_i r_i^T has terms in a given order, of which the first c - 1 go whole (t_i = 1), the c-th in
part (0 < t_c <= 1) and the others not at all (t_i = 0). With H_ij = (l_i . l_j)(r_i^T F r_j)

    sum_ij t_i t_j H_ij = tr(dW F dW^T) = mean |dW x|^2    for F = mean x x^T over the inputs x,
                        = |dW|_F^2                         for F = I,

and c and t_c are such that this is a target. The last term is the only one in part, so the match is exact wherever
all terms together reach the target; whole terms alone could not come near a small target, such as the few thousandths
of |W|_F^2 that the smallest tenth of the singular values holds, where one value of the bulk has as much.
"""

from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import controls

TOLERANCE = 0.05
"""How far a sum over several matrices may be from its target and still be called matched."""
_FIRST = 32  # random directions that are tried at first
_ROUNDING = 1e-12


class Match(NamedTuple):
    """How far a control goes.

    Attributes:
      terms: c, the number of terms; 0 where there is nothing to match, or no match.
      last: t_c.
      target: what was to be reached, in the unit of the sum.
      had: whether it was reached; all terms together may hold less.
    """

    terms: int
    last: float
    target: float
    had: bool


NO_MATCH = Match(0, 0.0, 0.0, False)
"""Of a matrix whose target is not known."""


def change(left: NDArray, right: NDArray, f: NDArray | None = None) -> NDArray:
    """H (k, k) of terms left (m, k), right (k, n); its sum is |dW|_F^2, or tr(dW F dW^T).

    Args:
      f: F (n, n), symmetric; None for the identity.
    """
    return (left.T @ left) * ((right if f is None else right @ f) @ right.T)


def first_terms(h: NDArray, target: float) -> Match:
    """The first terms whose sum is `target`, the last in part.

    Args:
      h: H (k, k) of `change`, or its diagonal (k,) where the rest is 0.
      target: of the sum of t_i t_j H_ij.
    """
    own = np.diagonal(h) if h.ndim == 2 else h
    cross = np.triu(h, 1).sum(axis=0) if h.ndim == 2 else np.zeros_like(h)
    if not target > 0:
        return Match(0, 0.0, 0.0, True)
    sums = np.cumsum(own + 2 * cross)
    reached = np.flatnonzero(sums >= target * (1 - _ROUNDING))
    if not reached.size:
        return Match(0, 0.0, target, False)
    c = int(reached[0])
    rest = target - (sums[c - 1] if c else 0.0)
    # own t^2 + 2 cross t = rest
    root = np.sqrt(cross[c] ** 2 + own[c] * rest)
    last = rest / (cross[c] + root) if cross[c] >= 0 else (root - cross[c]) / own[c]
    return Match(c + 1, float(min(last, 1.0)), target, True)


def cut(left: NDArray, right: NDArray, match: Match) -> tuple[NDArray, NDArray]:
    """The terms that a match takes: left (m, c), its last column times t_c, and right (c, n)."""
    left, right = left[:, : match.terms].copy(), right[: match.terms]
    left[:, -1:] *= match.last
    return left, right


def random_terms(w: NDArray, count: int, key: jax.Array) -> tuple[NDArray, NDArray]:
    """`count` random directions of the shorter side projected out, one after another: (m, count) and (count, n).

    W q_i q_i^T, or q_i q_i^T W where m < n. The q_i are the first of a uniformly random orthonormal basis, the same
    ones for every `count`.
    """
    w = np.asarray(w, np.float64)
    draws = controls.generator(key).standard_normal((count, min(w.shape))).T
    q = np.linalg.qr(draws)[0]
    return (w @ q, q.T) if w.shape[0] >= w.shape[1] else (q, q.T @ w)


def random_match(w: NDArray, f: NDArray, target: float, key: jax.Array) -> Match:
    """How many of `random_terms` change the output by tr(dW F dW^T) = target; F (n, n)."""
    b = min(w.shape)
    count = min(_FIRST, b)
    while True:
        match = first_terms(change(*random_terms(w, count, key), f), target)
        if match.had or count == b:
            return match
        count = min(2 * count, b)
