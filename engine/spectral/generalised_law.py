"""The generalised Marchenko-Pastur law: eigenvalues of a sample covariance whose population has any spectrum.

Let M = (1/m) T^(1/2) G^T G T^(1/2), G (m, d) of independent unit entries, the eigenvalues tau of T distributed as H,
y = d/m. As d grows, the eigenvalues of M follow a law mu whose companion -1/w(z), the Stieltjes transform of
(1 - y) delta_0 + y mu, solves Silverstein's equation

    z = w + y w int tau/(w - tau) dH(tau),

which with the companion -1/w written as s is z = -1/s + y int tau/(1 + tau s) dH. For each real p at most one q > 0
makes z(p + iq) real,

    y int tau^2/((p - tau)^2 + q^2) dH = 1,

and x = z(p + iq) grows with p: that curve is walked here, so that nothing is iterated on the real axis. Its ends are
the critical points of the inverse map, z'(p) = 0, and their images the edges of the support, of as many intervals as
there are. On it

    density    q/(pi y |w|^2)
    cdf        1 + (x q/|w|^2 - arg w - y int arg(1 - tau/w) dH)/(pi y),

and 0 carries the mass max(H({0}), 1 - 1/y).

References: J. W. Silverstein, S. I. Choi, Analysis of the limiting spectral distribution of large dimensional random
matrices, 1995 (the equation, the edges); O. Ledoit, M. Wolf, Numerical implementation of the QuEST function, 2017 (the
curve). The cdf integrates the equation: int s dz = z s - int z ds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

Array = np.ndarray

CELLS = 400  # of a grid over the support, each interval's as its mass
LEAST_CELLS = 32  # of an interval
_BISECTIONS = 60
_STEPS = 60  # Newton's towards q, far more than it takes
_ENTRIES = 2**22  # of a table of places by points, at a time
_DESCENT = 80  # steps of the imaginary part on the way to the real axis


@dataclass(frozen=True)
class _Arc:
    """One interval of the support: its ends in p, and x, cdf on a grid of the angle that divides it."""

    low: float
    high: float
    x: Array
    cdf: Array
    place: Callable[[Array], Array] = field(repr=False)  # angle of x -> p
    level: Callable[[Array], Array] = field(repr=False)  # angle of x -> cdf


class GeneralisedLaw:
    """The law mu of the eigenvalues of M.

    Args:
      points: (K,) eigenvalues tau of the population, non-negative, finite, any order.
      weights: (K,) their shares, positive; they are divided by their sum. Default: equal.
      ratio: y = d/m, positive.
      cells: of the grid over the support; what is read off at a given place does not hang on it, `nodes` does.

    Raises:
      ValueError: points or weights are not as they must be; all points are 0.
    """

    def __init__(self, points: ArrayLike, ratio: float, weights: ArrayLike | None = None, cells: int = CELLS):
        tau = np.atleast_1d(np.asarray(points, np.float64))
        share = np.full(tau.shape, 1.0) if weights is None else np.atleast_1d(np.asarray(weights, np.float64))
        if tau.ndim != 1 or share.shape != tau.shape or not (np.isfinite(tau) & (tau >= 0)).all() or not tau.any():
            raise ValueError("points must be a list of non-negative finite numbers, not all 0, weights one for each")
        if not (np.isfinite(share) & (share > 0)).all():
            raise ValueError("weights must be positive and finite")
        if not (np.isfinite(ratio) and ratio > 0):
            raise ValueError(f"ratio is {ratio}; expected a positive number")
        self.ratio = float(ratio)
        kept, place = np.unique(tau, return_inverse=True)
        share = np.bincount(place, share / share.sum())
        self.tau, self.share = kept[kept > 0], share[kept > 0]
        self.atom = max(1.0 - float(self.share.sum()), 1 - 1 / self.ratio, 0.0)
        """The mass at 0."""
        if self.atom < 1e-12:
            self.atom = 0.0
        self._arcs = [self._arc(low, high, cells) for low, high in self._intervals()]

    @cached_property
    def support(self) -> Array:
        """(I, 2) edges of the intervals of the support, ascending; the atom at 0 is not among them."""
        return np.array([[arc.x[0], arc.x[-1]] for arc in self._arcs])

    def pdf(self, x: ArrayLike) -> Array:
        """Density, of any shape; 0 outside the support, the atom left out."""
        return self._at(x)[0]

    def cdf(self, x: ArrayLike) -> Array:
        """Share of the eigenvalues that are at most x, the atom included; any shape."""
        return self._at(x)[1]

    def quantile(self, p: ArrayLike) -> Array:
        """The least x with cdf(x) >= p, p in [0, 1], any shape; NaN elsewhere."""
        p = np.asarray(p, np.float64)
        x = np.where(p <= self.atom, 0.0, np.nan) if self.atom else np.full(p.shape, np.nan)
        for arc in self._arcs:
            inside = (p >= arc.cdf[0]) & (p <= arc.cdf[-1]) & np.isnan(x)
            low, high = np.zeros(int(inside.sum())), np.full(int(inside.sum()), np.pi)
            for _ in range(_BISECTIONS):
                middle = (low + high) / 2
                below = arc.level(middle) < p[inside]
                low, high = np.where(below, middle, low), np.where(below, high, middle)
            x[inside] = arc.x[0] + (arc.x[-1] - arc.x[0]) * np.sin((low + high) / 4) ** 2
        last = self._arcs[-1]
        x = np.where((p > last.cdf[-1]) & (p <= 1), last.x[-1], x)
        return np.where((p >= 0) & (p <= 1), x, np.nan)

    def stieltjes(self, z: ArrayLike) -> Array:
        """int dmu(lambda)/(lambda - z) for Im z > 0, any shape, complex128."""
        z = np.asarray(z, np.complex128)
        if not (z.imag > 0).all():
            raise ValueError("the Stieltjes transform is taken in the upper half plane: Im z > 0")
        flat, high = z.ravel(), 10 * (self.support[-1, 1] + np.abs(z).max(initial=0.0))
        w = flat.real + 1j * high
        for t in np.linspace(0, 1, _DESCENT):
            target = flat.real + 1j * np.exp((1 - t) * np.log(high) + t * np.log(flat.imag))
            for _ in range(4):
                value, slope = self._map(w)
                w = w - (value - target) / slope
        companion = -1 / w.reshape(z.shape)
        return (companion + (1 - self.ratio) / z) / self.ratio

    def nodes(self) -> tuple[Array, Array]:
        """Points and weights that stand for the law as the population of another; the atom is one of them."""
        points, weights = [np.zeros(1)] if self.atom else [], [np.full(1, self.atom)] if self.atom else []
        for arc in self._arcs:
            points.append(arc.x[1::2])
            weights.append(np.diff(arc.cdf[::2]))
        together = np.concatenate(weights)
        kept = together > 0
        return np.concatenate(points)[kept], together[kept] / together[kept].sum()

    def _intervals(self) -> list[tuple[float, float]]:
        """Where in p the curve lies off the real axis: from one critical point of z to the next."""
        y, tau, share = self.ratio, self.tau, self.share
        single, total = np.sqrt(y * share) * tau, np.sqrt(y * np.sum(share * tau**2))
        first = _bisect(lambda p: self._slope(p) < 0, tau[:1] - total, tau[:1] - single[0])
        last = _bisect(lambda p: self._slope(p) >= 0, tau[-1:] + single[-1], tau[-1:] + total)
        # between two points the slope is at most 1 - (A^(1/3) + B^(1/3))^3/gap^2, A and B theirs alone
        gap = np.diff(tau)
        candidates = np.flatnonzero(((single[1:] ** (2 / 3) + single[:-1] ** (2 / 3)) ** 3) < gap**2)
        left, right = tau[candidates], tau[candidates + 1]
        top = _bisect(lambda p: self._curvature(p) < 0, left, right)
        open_ = self._slope(top) > 0
        left, top, right = left[open_], top[open_], right[open_]
        ends = _bisect(lambda p: self._slope(p) > 0, left, top)
        starts = _bisect(lambda p: self._slope(p) <= 0, top, right)
        return list(zip(np.r_[first, starts], np.r_[ends, last], strict=True))

    def _arc(self, low: float, high: float, cells: int) -> _Arc:
        mass = float(self.share[(self.tau > low) & (self.tau < high)].sum())
        count = 2 * max(LEAST_CELLS // 2, round(cells * mass / 2))
        angle = np.linspace(0, np.pi, count + 1)
        p = low + (high - low) * np.sin(angle / 2) ** 2
        q = self._height(p)
        q[0] = q[-1] = 0.0
        x, _, cdf = self._values(p, q)
        if low <= self.tau[0]:  # where y is 1 the curve begins in w = 0, the one place where z has no value
            x[0], cdf[0] = np.nan_to_num(x[0]), self.atom
        x, cdf = np.maximum.accumulate(np.maximum(x, 0.0)), np.maximum.accumulate(np.clip(cdf, 0.0, 1.0))
        own = 2 * np.arcsin(np.sqrt(np.clip((x - x[0]) / (x[-1] - x[0]), 0, 1)))
        once = np.r_[True, np.diff(own) > 0]
        place = PchipInterpolator(own[once], angle[once])
        return _Arc(
            low, high, x, cdf, lambda a: low + (high - low) * np.sin(place(a) / 2) ** 2,
            PchipInterpolator(own[once], cdf[once]),
        )  # fmt: skip

    def _at(self, x: ArrayLike) -> tuple[Array, Array]:
        """Density and cdf at x."""
        x = np.asarray(x, np.float64)
        density, cdf = np.zeros(x.shape), np.where(x >= 0, self.atom, 0.0)
        for arc in self._arcs:
            cdf = np.where(x >= arc.x[0], np.where(x >= arc.x[-1], arc.cdf[-1], arc.cdf[0]), cdf)
            inside = (x > arc.x[0]) & (x < arc.x[-1])
            if not inside.any():
                continue
            here = x[inside]
            p = arc.place(2 * np.arcsin(np.sqrt((here - arc.x[0]) / (arc.x[-1] - arc.x[0]))))
            near, density[inside], level = self._values(p, self._height(p))
            level = level + density[inside] * (here - near)
            cdf[inside] = np.clip(level, arc.cdf[0], arc.cdf[-1])
        return density, np.where(x >= self._arcs[-1].x[-1], 1.0, cdf)

    def _values(self, p: Array, q: Array) -> tuple[Array, Array, Array]:
        """x, density and cdf where the curve stands above p."""
        w = p + 1j * q
        turned = self._sum(lambda v: np.angle(1 - self.tau / v), w)
        x = self._map(w)[0].real
        squared = np.maximum(np.abs(w) ** 2, np.finfo(float).tiny)
        density = q / (np.pi * self.ratio * squared)
        return x, density, 1 + (x * q / squared - np.angle(w) - self.ratio * turned) / (np.pi * self.ratio)

    def _height(self, p: Array) -> Array:
        """q > 0 above each p, 0 where there is none: Newton on 1/sum, which is concave in q^2, from the left."""
        a = self.ratio * self.share * self.tau**2
        result = np.empty(p.shape)
        for part in _parts(p.size, self.tau.size):
            far = (p[part, None] - self.tau) ** 2
            square = np.maximum(np.max(a - far, axis=1), 1e-300)
            for _ in range(_STEPS):
                terms = a / (far + square[:, None])
                total = terms.sum(axis=1)
                step = (total - 1) * total / np.sum(terms / (far + square[:, None]), axis=1)
                square, old = np.maximum(square + step, 0.0), square
                if np.all(np.abs(square - old) <= 1e-15 * square):
                    break
            result[part] = np.sqrt(square)
        return result

    def _map(self, w: Array) -> tuple[Array, Array]:
        """z(w) and its derivative."""
        first = self._sum(lambda v: self.tau / (v - self.tau), w)
        second = self._sum(lambda v: (self.tau / (v - self.tau)) ** 2, w)
        return w * (1 + self.ratio * first), 1 - self.ratio * second

    def _slope(self, p: Array) -> Array:
        return 1 - self.ratio * self._sum(lambda v: (self.tau / (v - self.tau)) ** 2, p)

    def _curvature(self, p: Array) -> Array:
        """Half the derivative of the slope over y."""
        return self._sum(lambda v: self.tau**2 / (v - self.tau) ** 3, p)

    def _sum(self, term: Callable[[Array], Array], at: Array) -> Array:
        """sum over the population of share * term(at[:, None])."""
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = [term(at[part, None]) @ self.share for part in _parts(at.size, self.tau.size)]
        return np.concatenate(parts) if parts else np.zeros(at.shape)


class SingularLaw:
    """The same law for the singular values of G T^(1/2), s = sqrt(m lambda), those that are 0 by the shape left out."""

    def __init__(self, law: GeneralisedLaw, outputs: int):
        self.law, self.outputs = law, outputs
        self.support = np.sqrt(outputs * law.support)
        """(I, 2) edges of the intervals of the support."""

    def pdf(self, s: ArrayLike) -> Array:
        """Density, of any shape."""
        s = np.asarray(s, np.float64)
        return 2 * s / self.outputs * self.law.pdf(s**2 / self.outputs) / (1 - self.law.atom)

    def cdf(self, s: ArrayLike) -> Array:
        """Share of the singular values that are at most s, of any shape."""
        s = np.asarray(s, np.float64)
        return np.where(s > 0, (self.law.cdf(s**2 / self.outputs) - self.law.atom) / (1 - self.law.atom), 0.0)

    def quantile(self, p: ArrayLike) -> Array:
        """The singular value below which a share p lies, of any shape."""
        p = np.asarray(p, np.float64)
        return np.sqrt(self.outputs * self.law.quantile(self.law.atom + p * (1 - self.law.atom)))

    def ks_distance(self, s: ArrayLike) -> Array:
        """Kolmogorov-Smirnov distance of singular values (..., K), descending, from the law."""
        f = self.cdf(s)
        rank = np.arange(f.shape[-1], 0, -1)
        return np.max(np.maximum(rank / f.shape[-1] - f, f - (rank - 1) / f.shape[-1]), axis=-1)


def _bisect(above: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where `above` turns from false (at low) to true (at high)."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = above(middle)
        low, high = np.where(found, low, middle), np.where(found, middle, high)
    return high


def _parts(rows: int, columns: int) -> list[slice]:
    size = max(1, _ENTRIES // max(columns, 1))
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]
