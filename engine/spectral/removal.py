"""Taking singular values out of a matrix: which ones, and the low-rank update that does it.

    W' = W - L R,    L = U_k S_k (m, k),  R = V_k^T (k, n)    for the singular values with indices k,
    W' = W - (W Q) Q^T  or  W - Q (Q^T W)                     for k random directions of the shorter side,

Q uniform among the (b, k) matrices with orthonormal columns, b = min(m, n). Taking away random directions costs k/b of
|W|_F^2 on average, whatever the spectrum. A removal is written as text, so that configs, tables and file names agree:

    decile:3            the third tenth of the values by rank (deciles.py); decile:1 the largest, decile:10 the smallest
    band:1-16           the values with these ranks, 1 the largest; band:0%-5% the same by shares of their number
    outliers:right      the values that noise does not reach above the bulk; also left, both (see edges.num_outliers)
    bulk:right:2        as many values as outliers:right takes, drawn from the bulk; 2 numbers the draw, 0 if absent
    random:right:2      as many random directions; bulk:decile and random:decile take a tenth of the values

Everything runs on the host in float64: how many values go depends on the data.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from eigensweep.engine.spectral import controls, deciles, edges

SIDES = ("right", "left", "both")
DRAWN = ("bulk", "random")  # kinds that need a key
_FORMS = {
    "decile": re.compile(r"[1-9]|10"),
    "band": re.compile(r"(?P<low>\d+)-(?P<high>\d+)|(?P<from>\d+(\.\d+)?)%-(?P<to>\d+(\.\d+)?)%"),
    "outliers": re.compile("|".join(SIDES)),
    "bulk": re.compile("|".join((*SIDES, "decile"))),
    "random": re.compile("|".join((*SIDES, "decile"))),
}


@dataclass(frozen=True)
class Removal:
    """A removal as the module's docstring writes it: `kind`:`which`, and the number of the draw for random ones."""

    kind: str
    which: str
    draw: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.which}" + (f":{self.draw}" if self.draw else "")


class Factors(NamedTuple):
    """A decomposed matrix W = U diag(s) V^T: w (m, n), u (m, b), s (b,) descending, vt (b, n).

    sigma: standard deviation of its noise. eps: of the dtype it was rounded to, as `edges.num_outliers` takes it.
    """

    w: NDArray
    u: NDArray
    s: NDArray
    vt: NDArray
    sigma: float
    eps: float


class LowRank(NamedTuple):
    """What is subtracted: left (m, k) @ right (k, n), float64, and its share of |W|_F^2."""

    left: NDArray
    right: NDArray
    energy: float

    @property
    def rank(self) -> int:
        """k, the number of values or directions that go."""
        return self.right.shape[0]


def parse(text: str) -> Removal:
    """A removal from its text.

    Raises:
      ValueError: the text is none of the forms.

    >>> str(parse("bulk:left:3"))
    'bulk:left:3'
    """
    kind, _, rest = text.strip().partition(":")
    which, _, draw = rest.partition(":")
    form = _FORMS.get(kind)
    match = form.fullmatch(which) if form else None
    if match is None or (draw and (kind not in DRAWN or not draw.isdigit())):
        raise ValueError(
            f"removal {text!r}: expected decile:1 to decile:10, band:1-16, band:0%-5%, outliers:right, left or both, "
            "bulk: or random: with right, left, both or decile"
        )
    if kind == "band":
        _check_band(text, match)
    return Removal(kind, which, int(draw or 0))


def expand(texts: Iterable[str], num_draws: int = 1) -> tuple[Removal, ...]:
    """Removals from texts, each once: "deciles" stands for all ten, drawn ones without a number for `num_draws` draws.

    Raises:
      ValueError: see `parse`.
    """
    removals: list[Removal] = []
    for text in texts:
        words = [f"decile:{k}" for k in range(1, deciles.NUM_DECILES + 1)] if text.strip() == "deciles" else [text]
        for removal in map(parse, words):
            numbered = removal.kind not in DRAWN or text.count(":") > 1
            draws = (removal.draw,) if numbered else range(num_draws)
            removals += [Removal(removal.kind, removal.which, draw) for draw in draws]
    return tuple(dict.fromkeys(removals))


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


def update(removal: Removal, factors: Factors, level: float, key: jax.Array, checked: bool = False) -> LowRank:
    """The low-rank matrix that a removal subtracts.

    Args:
      removal: of `parse`.
      factors: the decomposed matrix.
      level: of the outlier tests.
      key: a JAX random key; "bulk" and "random" draw from it.
      checked: the factors are known to be finite, and those that are mapped from a file need not be read whole.

    Returns:
      LowRank; k = 0 where there is nothing to take, such as outliers that a matrix has not.

    Raises:
      ValueError: see `indices`; or factors that are not finite, which would make the edited weights NaN.
    """
    w, u, s, vt, sigma, eps = factors
    if not (checked or all(np.isfinite(x).all() for x in (w, u, s, vt))):
        raise ValueError(f"{removal}: the decomposition of a {w.shape[0]} x {w.shape[1]} matrix has NaN or infinity")
    if removal.kind == "random":
        right, left = _outliers(s, w.shape, sigma, eps, level)
        return _random_directions(w, min(_number(removal.which, s.size, right, left), s.size), key)
    k = indices(removal, s, w.shape, sigma, eps, level, key)
    energy = float(np.sum(s[k] ** 2) / np.sum(s**2)) if k.size else 0.0
    return LowRank(u[:, k] * s[k], vt[k], energy)


def remove(w: NDArray, low_rank: LowRank) -> NDArray:
    """W - L R in float64."""
    result = np.array(w, np.float64)
    result -= low_rank.left @ low_rank.right
    return result


def _check_band(text: str, match: re.Match[str]) -> None:
    if match["low"]:
        low, high, allowed = int(match["low"]), int(match["high"]), "1 <= first <= last"
        good = 1 <= low <= high
    else:
        share, to, allowed = float(match["from"]), float(match["to"]), "0 <= from < to <= 100"
        good = 0 <= share < to <= 100
    if not good:
        raise ValueError(f"removal {text!r}: expected {allowed}")


def _band(removal: Removal, b: int) -> NDArray:
    match = _FORMS["band"].fullmatch(removal.which)
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
