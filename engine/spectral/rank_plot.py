"""Rank plots: log s against log rank, read as a straight part that ends where the spectrum drops off.

    ln s_k ~ level + slope ln k                          up to the rank `end`
    ln s_k ~ level + slope ln k + extra ln(k / end)      beyond it, extra < 0

Least squares over every `end`, continuous there. Ranks are weighed so that equal stretches of ln k count alike, as the
eye reads the plot; the hundreds of ranks of the last decade would otherwise decide alone. A second piece is taken only
where it is steeper and better by BIC: what flattens (one large value before a bulk) is no drop-off.

Two straight pieces can be laid through any concave curve, so the first one counts as a power law only where it spans a
decade and does not bend: a quadratic laid through it says by which share of the slope its two halves differ. The values
of Gaussian noise (Marchenko-Pastur) bend from slope 0 downwards, and `noise` gives their fit for comparison.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eigensweep.engine.spectral import marchenko_pastur

PER_DECADE = 16  # what a decade counts in the fit; a single rank counts at most 1
_FINER = 3  # ranks that are read for each of them: `end` is one of the ranks read
MIN_RANKS = 8  # values below which nothing is fitted
_PIECE = 3  # ranks read that a piece needs
DECADES = 1.0  # that a power law has to span
MAX_BEND = 0.35  # of a power law: noise bends by 1.5 and more, sampled power laws by 0.1 (tests/spectral)
_BIC = 6.0  # by which two pieces must be better; 0 would take a wiggle of the largest values for a piece
_GRID = 1 << 14  # angles at which the law's cdf is read
_ROUNDING = 1e-6  # residuals of ln s below it are none


class RankPlot(NamedTuple):
    """The two-piece fit of one spectrum; NaN where there are fewer than MIN_RANKS values.

    Attributes:
      slope: of ln s against ln rank over the straight part.
      level: ln s of the straight part at rank 1.
      end: the last rank of the straight part; all of them where there is no drop-off.
      beyond: the slope after it; NaN where there is no drop-off.
      bic: by how much two pieces are better than one line; 0 where no steeper second piece is.
      rms: root mean square of what one line leaves of the straight part, in ln s.
      bend: by which share of the slope the halves of the straight part differ; 0 for a straight line.
      ranks: values above zero (and above `least`), of which the plot consists.
    """

    slope: float
    level: float
    end: float
    beyond: float
    bic: float
    rms: float
    bend: float
    ranks: int

    @property
    def decades(self) -> float:
        """What the straight part spans."""
        return float(np.log10(self.end))

    @property
    def drops_off(self) -> bool:
        """Whether the spectrum has a second, steeper piece."""
        return bool(np.isfinite(self.beyond))

    @property
    def is_power_law(self) -> bool:
        """Whether the straight part is one: it falls, spans a decade, and does not bend."""
        return bool(self.slope < 0 and self.decades >= DECADES and self.bend <= MAX_BEND)


class Interval(NamedTuple):
    """Percentile intervals over blocks of slope and end; NaN for a single block."""

    slope_low: float
    slope_high: float
    end_low: float
    end_high: float


_NAN = float("nan")
NONE = RankPlot(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, ranks=0)
NO_INTERVAL = Interval(*[float("nan")] * 4)


def fit(values: ArrayLike, least: float = 0.0) -> RankPlot:
    """The rank plot of one spectrum.

    Args:
      values: (K,) singular values or eigenvalues in any order; those that are not above `least` are left out.
      least: below it values are rounding.
    """
    values = np.asarray(values, np.float64)
    logs = np.log(np.sort(values[values > max(least, 0.0)])[::-1])
    return _fit(logs[_ranks(logs.size) - 1], logs.size)


def pooled(
    spectra: ArrayLike, seed: int, least: ArrayLike = 0.0, num_resamples: int = 1000, confidence: float = 0.95
) -> tuple[RankPlot, Interval]:
    """The rank plot of blocks together: of the mean of ln s over blocks, rank by rank, with percentile intervals.

    Blocks are drawn with replacement. With few of them such intervals are too narrow, and they cover the choice of
    blocks, not whether the plot is straight.

    Args:
      spectra: (B, K) of B blocks, in any order along K; all are cut to the shortest number of values above `least`.
      seed: of the resampling.
      least: (B,) or a number: below it values are rounding.
      num_resamples: of the blocks.
      confidence: of the intervals.
    """
    spectra = -np.sort(-np.atleast_2d(np.asarray(spectra, np.float64)), axis=1)
    floor = np.maximum(np.broadcast_to(least, spectra.shape[:1]), 0.0)
    size = int((spectra > floor[:, None]).sum(axis=1).min())
    logs = np.log(spectra[:, _ranks(size) - 1])
    plot = _fit(logs.mean(axis=0), size)
    if len(logs) < 2 or not plot.ranks:
        return plot, NO_INTERVAL
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(len(logs), np.full(len(logs), 1 / len(logs)), num_resamples) / len(logs)
    slope, _, end, _ = _pieces(counts @ logs, size)[:4]
    ends = np.quantile([slope, end], [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    return plot, Interval(*ends.T.ravel().tolist())


@lru_cache(maxsize=64)
def noise(m: int, n: int) -> RankPlot:
    """The rank plot of a Gaussian matrix (m, n): of Marchenko-Pastur's quantiles, its cdf read off a fine grid."""
    a, b = max(m, n), min(m, n)
    root = (b / a) ** 0.5
    theta = np.pi * (1 - np.cos(np.linspace(0, np.pi, _GRID))) / 2
    cdf = np.asarray(marchenko_pastur.angle_cdf(theta, root))
    return fit(np.sqrt(1 + root**2 - 2 * root * np.cos(np.interp((np.arange(b) + 0.5) / b, cdf, theta))))


def line(plot: RankPlot) -> tuple[NDArray, NDArray]:
    """The fit as corners (ranks, values), for drawing."""
    top = np.exp(plot.level + plot.slope * np.log(plot.end))
    corners = [(1.0, np.exp(plot.level)), (plot.end, top)]
    if plot.drops_off:
        corners.append((float(plot.ranks), top * (plot.ranks / plot.end) ** plot.beyond))
    ranks, values = np.transpose(corners)
    return ranks, values


def _ranks(size: int) -> NDArray:
    """The ranks that are read, evenly spaced in their logarithm, from 1 to `size`."""
    if size < 1:
        return np.empty(0, int)
    count = max(2, round(_FINER * PER_DECADE * np.log10(size)) + 1)
    return np.unique(np.geomspace(1, size, count).round().astype(int))


def _weights(ranks: NDArray) -> NDArray:
    """What each of the ranks read counts: the stretch of log10 k about it, PER_DECADE a decade, at most 1."""
    return np.minimum(1.0, PER_DECADE * np.gradient(np.log10(ranks)))


def _fit(y: NDArray, size: int) -> RankPlot:
    """y: (P,) ln s at the ranks that are read."""
    if size < MIN_RANKS:
        return NONE._replace(ranks=size)
    slope, level, end, beyond, bic = (float(x[0]) for x in _pieces(y[None], size))
    ranks = _ranks(size)
    straight = ranks <= end
    x, part, weight = np.log(ranks[straight]), y[straight], _weights(ranks)[straight]
    rms = np.sqrt(np.average((part - level - slope * x) ** 2, weights=weight))
    square = np.polyfit(x, part, 2, w=np.sqrt(weight))[0]
    bend = abs(square) * (x[-1] - x[0]) / max(abs(slope), _ROUNDING)
    return RankPlot(slope, level, end, beyond, bic, float(rms), float(bend), size)


def _pieces(y: NDArray, size: int) -> tuple[NDArray, ...]:
    """Slope, level, end, slope beyond and BIC, each (R,), of R plots read at the same ranks; y: (R, P)."""
    ranks = _ranks(size)
    x, root = np.log(ranks), np.sqrt(_weights(ranks))
    breaks = np.arange(_PIECE, len(ranks) - _PIECE)
    one = np.stack([np.ones(len(ranks)), x], axis=1)
    bent = np.maximum(x - x[breaks, None], 0.0)[..., None]
    two = np.concatenate([np.broadcast_to(one, (len(breaks), *one.shape)), bent], axis=2)  # (C, P, 3), a fit a break
    one, two, y = root[:, None] * one, root[:, None] * two, root * y
    q, r = np.linalg.qr(two)
    parts = (y @ q.transpose(1, 0, 2).reshape(len(x), -1)).reshape(len(y), len(breaks), 3)  # Q^T y of every fit
    coefficients = np.linalg.solve(r, parts[..., None])[..., 0]
    left = (y * y).sum(axis=1)[:, None] - (parts * parts).sum(axis=2)
    left = np.where(coefficients[..., 2] < 0, left, np.inf)  # a second piece is steeper
    best = left.argmin(axis=1)
    row = np.arange(len(y))
    single = y @ np.linalg.pinv(one).T
    residual = ((y - single @ one.T) ** 2).sum(axis=1)
    num = float((root * root).sum())
    rounding = num * _ROUNDING**2
    with np.errstate(divide="ignore"):  # no second piece is steeper
        bic = num * np.log((residual + rounding) / (np.maximum(left[row, best], 0.0) + rounding)) - 2 * np.log(num)
    taken = bic > _BIC
    chosen = coefficients[row, best]
    slope, level = np.where(taken, chosen[:, 1], single[:, 1]), np.where(taken, chosen[:, 0], single[:, 0])
    end = np.where(taken, ranks[breaks[best]], size).astype(np.float64)
    beyond = np.where(taken, chosen[:, 1] + chosen[:, 2], np.nan)
    return slope, level, end, beyond, np.maximum(bic, 0.0)
