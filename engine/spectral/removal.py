"""Taking singular values out of a matrix: which ones, and the low-rank update that does it.

    W' = W - L R,    L = U_k S_k (m, k),  R = V_k^T (k, n)    for the singular values with indices k,
    W' = W - (W Q) Q^T  or  W - Q (Q^T W)                     for k random directions of the shorter side,

Q uniform among the (b, k) matrices with orthonormal columns, b = min(m, n). Taking away random directions costs k/b of
|W|_F^2 on average, whatever the spectrum. A removal is written as text, so that configs, tables and file names agree:

    decile:3            the third tenth of the values by rank (deciles.py); decile:1 the largest, decile:10 the smallest
    band:1-16           the values with these ranks, 1 the largest; band:0%-5% the same by shares of their number
    outliers:right      the values that noise does not reach above the bulk; also left, both (see edges.num_outliers)
    equalised:3         the third tenth of the components of the equalised matrix, see `Factors.equalised`
    bulk:right:2        as many values as outliers:right takes, drawn from the bulk; 2 numbers the draw, 0 if absent
    random:right:2      as many random directions; bulk:decile and random:decile take a tenth of the values

Two kinds match what another removal changes: that of outliers (right, left, both), or one that is named (decile:10,
band:1-16, equalised:3). Terms go in random order, the last in part, so that the match is exact (matched.py):

    energy:right:2      values drawn from the bulk, those left out that the other takes, until |W - W'|_F^2 is the same
    output:decile:10:2  random directions, until tr((W - W') F (W - W')^T) is the same, F of the inputs of the layer

Everything runs on the host in float64: how many values go depends on the data.
"""

from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import controls, deciles, edges, matched
from eigensweep.engine.spectral.matched import Match
from eigensweep.engine.spectral.removal_forms import DRAWN, FORMS, MATCHED, SIDES, Removal, expand, parse

__all__ = [
    "DRAWN", "MATCHED", "SIDES", "Equalised", "Factors", "LowRank", "Match", "Removal", "expand", "indices",
    "output_match", "parse", "remove", "update",
]  # fmt: skip


class Equalised(NamedTuple):
    """W = diag(rows) U diag(s) V^T diag(columns): rows (m,), columns (n,); U, s, V those of the equalised matrix.

    Taking components of it out of W is what noise of one scale tells of them, coloured again (W. Leeb, E. Romanov, IEEE
    Transactions on Information Theory 67, 3009, 2021); their sum is W, and each takes one from the rank.
    """

    rows: NDArray
    u: NDArray
    s: NDArray
    vt: NDArray
    columns: NDArray

    def take(self, k: NDArray) -> tuple[NDArray, NDArray]:
        """Some components: (m, k) and (k, n)."""
        return self.rows[:, None] * (self.u[:, k] * self.s[k]), self.vt[k] * self.columns


class Factors(NamedTuple):
    """A decomposed matrix W = U diag(s) V^T: w (m, n), u (m, b), s (b,) descending, vt (b, n).

    sigma: standard deviation of its noise. eps: of the dtype it was rounded to, as `edges.num_outliers` takes it.
    equalised: its rows and columns at one scale (equalise.py), None where not asked for.
    """

    w: NDArray
    u: NDArray
    s: NDArray
    vt: NDArray
    sigma: float
    eps: float
    equalised: Equalised | None = None


class LowRank(NamedTuple):
    """What is subtracted: left (m, k) @ right (k, n), float64, and its share of |W|_F^2; of a control its match."""

    left: NDArray
    right: NDArray
    energy: float
    match: Match | None = None

    @property
    def rank(self) -> int:
        """k, the number of values or directions that go."""
        return self.right.shape[0]


def indices(
    removal: Removal, s: NDArray, shape: tuple[int, int], sigma: float, eps: float, level: float, key: jax.Array
) -> NDArray:
    """Which singular values go, ascending, 0 the largest. Removals of kind "random" take none.

    Args:
      removal: of `parse`.
      s: (b,) singular values, descending.
      shape: (m, n).
      sigma, eps, level: noise and rounding, which set the edges; see `edges.num_outliers`.
      key: a JAX random key; only "bulk" uses it.

    Raises:
      ValueError: a band reaches beyond the b values, or the kind is "random".
    """
    b = s.size
    if removal.kind == "decile":
        return deciles.decile(int(removal.which), b)
    if removal.kind == "band":
        return _band(removal, b)
    right, left = _outliers(s, shape, sigma, eps, level)
    if removal.kind == "outliers":
        return _side(removal.which, right, left)
    if removal.kind == "bulk":
        bulk = np.arange(right.size, b - left.size)
        wanted = _number(removal.which, b, right, left)
        return np.sort(controls.generator(key).choice(bulk, min(wanted, bulk.size), replace=False))
    raise ValueError(f"{removal}: random directions are no singular values")


def update(
    removal: Removal, factors: Factors, level: float, key: jax.Array, match: Match | None = None, checked: bool = False
) -> LowRank:
    """The low-rank matrix that a removal subtracts.

    Args:
      removal: of `parse`.
      factors: the decomposed matrix.
      level: of the outlier tests.
      key: a JAX random key; what is drawn follows from it.
      match: of `output_match`, for the kind "output" alone.
      checked: the factors are known to be finite, and those that are mapped from a file need not be read whole.

    Returns:
      LowRank; k = 0 where there is nothing to take, such as outliers that a matrix has not, or no match.

    Raises:
      ValueError: see `indices`; factors that are not finite, which would make the edited weights NaN; no match or
        no equalised components where the kind needs them.
    """
    w, u, s, vt, sigma, eps, equalised = factors
    if not (checked or all(np.isfinite(x).all() for x in (w, u, s, vt, *(equalised or ())))):
        raise ValueError(f"{removal}: the decomposition of a {w.shape[0]} x {w.shape[1]} matrix has NaN or infinity")
    if removal.kind == "random":
        right, left = _outliers(s, w.shape, sigma, eps, level)
        return _random_directions(w, min(_number(removal.which, s.size, right, left), s.size), key)
    if removal.kind == "equalised":
        if equalised is None:
            raise ValueError(f"{removal}: the equalised components are not there")
        return _low_rank(*equalised.take(deciles.decile(int(removal.which), s.size)), s)
    if removal.kind == "output":
        if match is None:
            raise ValueError(f"{removal}: follows from the activations that enter the matrix; match it first")
        return _low_rank(*matched.cut(*matched.random_terms(w, match.terms, key), match), s, match)
    if removal.kind == "energy":
        k, match = _energy_match(removal, factors, level, key, checked)
        k = k[: match.terms]
        return _low_rank(*matched.cut(u[:, k] * s[k], vt[k], match), s, match)
    k = indices(removal, s, w.shape, sigma, eps, level, key)
    energy = float(np.sum(s[k] ** 2) / np.sum(s**2)) if k.size else 0.0
    return LowRank(u[:, k] * s[k], vt[k], energy)


def output_match(
    removal: Removal, factors: Factors, level: float, key: jax.Array, f: NDArray, checked: bool = False
) -> Match:
    """How many random directions a removal of kind "output" takes.

    Args:
      f: F = mean x x^T of the vectors x that enter the matrix, (n, n).
      removal, factors, level, key, checked: as of `update`.

    Raises:
      ValueError: see `update`; the removal is of another kind.
    """
    if removal.kind != "output" or removal.controlled is None:
        raise ValueError(f"{removal}: matches no change of the output")
    other = update(removal.controlled, factors, level, key, checked=checked)
    target = float(matched.change(other.left, other.right, f).sum())
    return matched.random_match(factors.w, f, target, key)


def remove(w: NDArray, low_rank: LowRank) -> NDArray:
    """W - L R in float64."""
    result = np.array(w, np.float64)
    result -= low_rank.left @ low_rank.right
    return result


def _low_rank(left: NDArray, right: NDArray, s: NDArray, match: Match | None = None) -> LowRank:
    return LowRank(left, right, float(matched.change(left, right).sum() / np.sum(s**2)), match)


def _energy_match(
    removal: Removal, factors: Factors, level: float, key: jax.Array, checked: bool
) -> tuple[NDArray, Match]:
    """The values of the bulk in the order in which they go, and how many do."""
    s, other = factors.s, removal.controlled
    assert other is not None
    shape, sigma, eps = factors.w.shape, factors.sigma, factors.eps
    right, left = _outliers(s, shape, sigma, eps, level)
    bulk = np.arange(right.size, s.size - left.size)
    if other.kind != "equalised":
        bulk = np.setdiff1d(bulk, indices(other, s, shape, sigma, eps, level, key))
    order = controls.generator(key).permutation(bulk)
    target = update(other, factors, level, key, checked=checked).energy * float(np.sum(s**2))
    return order, matched.first_terms(s[order] ** 2, target)


def _band(removal: Removal, b: int) -> NDArray:
    match = FORMS["band"].fullmatch(removal.which)
    assert match is not None  # parse has seen to it
    if match["from"]:
        low, high = (round(b * float(match[name]) / 100) for name in ("from", "to"))
        return np.arange(low, high)
    low, high = int(match["low"]) - 1, int(match["high"])
    if high > b:
        raise ValueError(f"{removal}: the matrix has {b} singular values only")
    return np.arange(low, high)


def _outliers(s: NDArray, shape: tuple[int, int], sigma: float, eps: float, level: float) -> tuple[NDArray, NDArray]:
    # without a test there are none to take
    right, left = (max(0, int(count)) for count in edges.num_outliers(s, *shape, sigma, level, eps))
    return np.arange(right), np.arange(s.size - left, s.size)


def _side(which: str, right: NDArray, left: NDArray) -> NDArray:
    return {"right": right, "left": left, "both": np.concatenate((right, left))}[which]


def _number(which: str, b: int, right: NDArray, left: NDArray) -> int:
    return deciles.decile(1, b).size if which == "decile" else _side(which, right, left).size


def _random_directions(w: NDArray, count: int, key: jax.Array) -> LowRank:
    w = np.asarray(w, np.float64)
    m, n = w.shape
    draws = controls.generator(key).standard_normal((min(m, n), count))
    # QR of a Gaussian spans a uniform subspace; the projection does not depend on the basis, hence not on signs
    q = np.linalg.qr(draws)[0]
    left, right = (w @ q, q.T) if m >= n else (q, q.T @ w)
    energy = float(np.sum((left if m >= n else right) ** 2) / np.sum(w**2)) if count else 0.0
    return LowRank(left, right, energy)
