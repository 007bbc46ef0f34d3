"""Which of Martin and Mahoney's 5+1 phases a spectrum shows, and the universality class of its tail.

    rank-collapse   a mass of values at zero
    random-like     Marchenko-Pastur describes all values
    bleeding-out    it does, but for few values within some widths of the edge
    bulk+spikes     it does, but for values that stand apart from the edge
    bulk-decay      it does not, though most values still lie where it puts them
    heavy-tailed    it does not, and a power law holds over a decade of lambda or half of the values
    undecided       the tests disagree, or there is too little to test

"Describes" is read from two numbers. With size every test rejects, so the law is given up where its goodness of fit p
is small and its distance D, the share of values that it misplaces, is large. The word is about the matrix as it is:
independent entries whose columns differ in scale read bulk-decay, which is what their spectrum shows, and random-like
once they are equalised. Heavy-tailed entries with mu near 3 and a few hundred rows still look like noise with spikes.

How often it is right where the phase is known by construction: `tests/spectral/test_phases.py`.

Reference: C. H. Martin, M. W. Mahoney, Implicit self-regularization in deep neural networks, JMLR 22 (2021), 165.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PHASES = ("rank-collapse", "random-like", "bleeding-out", "bulk+spikes", "bulk-decay", "heavy-tailed", "undecided")
CLASSES = ("weakly heavy-tailed", "moderately heavy-tailed", "very heavy-tailed")

MIN_SIZE = 16  # below 16 values sigma and the edges are not calibrated
# A value below ZERO times the median of what is not numerically zero counts as zero. A square Gaussian matrix has 0.5 %
# of its values there (its density at 0 is 2/pi per unit of their root mean square), so ten times that share is a mass.
ZERO, MASS = 0.01, 0.05
MP_LEVEL = 0.01  # of the goodness of fit: noise fails once in a hundred matrices
SMALL_D = 0.01  # misplaces one value in a hundred, which no plot shows; at b = 384 the test itself allows 0.0095
LARGE_D = 0.25  # misplaces a quarter of the values: too many to call the rest a bulk
WIDTHS = 10.0  # near the edge: within this many widths of the largest value's fluctuation, 6 % of nu_plus at 384 x 384
FEW = 0.1  # share of the values that may be outliers for Marchenko-Pastur to be the story
PL_LEVEL = 0.1  # Clauset, Shalizi and Newman's: a power law is given up at p <= 0.1
# Without that p: the 0.9 quantile of sqrt(n) D with xmin fitted is 0.72 to 0.75 on samples of power laws with exponents
# 2 and 3 and 64, 384, 1024 values (`test_power_law_bootstrap.py: test_distance_without_bootstrap`).
PL_CUT = 0.73
DECADES, SHARE = 1.0, 0.5  # of lambda, from xmin to the largest; of the values: over less a power law is not seen
# alpha = ALPHA_SLOPE mu + ALPHA_OFFSET: medians over matrices of symmetric Pareto entries (density ~ |x|^-(1 + mu)) at
# mu = 2, 2.25, 2.5 and shapes SHAPES. From MU_LAST on the medians part with size and the tail sinks into the bulk.
ALPHA_SLOPE, ALPHA_OFFSET, MU_LAST = 3.5, -4.4, 2.75


class Evidence(NamedTuple):
    """What is known of one matrix; numbers, NaN where not known.

    Attributes:
      s: (b,) singular values, descending.
      a: the longer side.
      hard_rank: numerical rank.
      nu_plus: upper edge of the bulk.
      num_right, num_left: outliers beyond the edges.
      mp_ks: D, distance between the rest and Marchenko-Pastur.
      mp_gof_p: p of that distance.
      alpha, xmin, pl_d, num_pl_spikes: the power-law fit of lambda = s^2.
      pl_p: its goodness of fit p.
    """

    s: NDArray
    a: int
    hard_rank: int
    nu_plus: float
    num_right: int
    num_left: int
    mp_ks: float
    mp_gof_p: float
    alpha: float
    xmin: float
    pl_d: float
    num_pl_spikes: int
    pl_p: float = float("nan")


class Phase(NamedTuple):
    """phase: one of PHASES. evidence: a sentence with the numbers. universality: one of CLASSES or "". mu: the exponent
    of the entries that would give such a tail; NaN without a class."""

    phase: str
    evidence: str
    universality: str
    mu: float


def phase(e: Evidence) -> Phase:
    """The phase of one matrix, and the class of its tail."""
    b = len(e.s)
    if np.isfinite(e.s).all() and e.s[0] > 0:
        zeros = num_zeros(e.s, e.hard_rank)
        if zeros >= MASS * b and zeros > 1:
            return Phase("rank-collapse", f"{zeros} of {b} singular values at zero, rank {e.hard_rank}", "", np.nan)
    if b < MIN_SIZE:
        return Phase("undecided", f"{b} singular values are too few", "", np.nan)
    if not np.isfinite([e.mp_ks, e.mp_gof_p, e.nu_plus]).all():
        return Phase("undecided", "no test of Marchenko-Pastur", "", np.nan)
    holds, law = _marchenko_pastur(e)
    power, tail = _power_law(e)
    few = e.num_right + e.num_left <= FEW * b
    if holds and power and not few:
        return Phase("undecided", f"{law}; {_outliers(e)}; but {tail}", "", np.nan)
    if holds:
        word = _by_outliers(e)
        return Phase(word, f"{law}; {_outliers(e)}", "", np.nan)
    name, mu = universality(e.alpha) if _tail_fits(e) else ("", np.nan)
    if power:
        return Phase("heavy-tailed", f"{law}; {tail}", name, mu)
    if e.mp_ks < LARGE_D:
        return Phase("bulk-decay", f"{law}; {_outliers(e)}; {tail}", name, mu)
    return Phase("undecided", f"{law}; {tail}", name, mu)


def universality(alpha: float) -> tuple[str, float]:
    """Class and mu of a tail lambda^-alpha.

    Entries with density ~ |x|^-(1 + mu) give lambda^-(mu/2 + 1) in the limit: mu = 2 (alpha - 1), which serves below
    mu = 2. From there on alpha is larger in matrices of hundreds of rows, whose tail the bulk cuts short:
    alpha = ALPHA_SLOPE mu + ALPHA_OFFSET. Beyond MU_LAST mu is not seen in the spectrum (weakly heavy-tailed, NaN),
    though the class begins at mu = 4 in the limit.
    """
    if not alpha > 1:
        return "", float("nan")
    mu = (alpha - ALPHA_OFFSET) / ALPHA_SLOPE
    if mu < 2:
        return CLASSES[2], min(2 * (alpha - 1), 2.0)
    return (CLASSES[1], mu) if mu <= MU_LAST else (CLASSES[0], float("nan"))


def num_zeros(s: NDArray, hard_rank: int) -> int:
    """Values at zero: beyond the numerical rank, or below ZERO times the median of those within it."""
    return int(np.sum(s <= ZERO * np.median(s[: max(hard_rank, 1)])))


def edge_width(a: int, b: int) -> float:
    """Scale of the largest singular value's fluctuation by its mean: sc / (2 mu) of Johnstone's scaling."""
    root_a, root_b = np.sqrt(a - 0.5), np.sqrt(b - 0.5)
    return float((1 / root_a + 1 / root_b) ** (1 / 3) / (root_a + root_b) / 2)


def _marchenko_pastur(e: Evidence) -> tuple[bool, str]:
    holds = e.mp_gof_p >= MP_LEVEL or e.mp_ks <= SMALL_D
    verb = "describes" if holds else "does not describe"
    return holds, f"Marchenko-Pastur {verb} the bulk (D = {e.mp_ks:.3f}, p = {e.mp_gof_p:.2g})"


def _tail_fits(e: Evidence) -> bool:
    """Whether the power law is not rejected."""
    if not np.isfinite(e.alpha):
        return False
    return e.pl_p > PL_LEVEL if np.isfinite(e.pl_p) else np.sqrt(e.num_pl_spikes) * e.pl_d <= PL_CUT


def _power_law(e: Evidence) -> tuple[bool, str]:
    """Whether a power law holds over a decade or half of the values, and the words."""
    if not np.isfinite(e.alpha):
        return False, "no power law"
    smallest = e.xmin**0.5 if 0 < e.xmin < np.inf else e.s[e.num_pl_spikes - 1]  # s^2 may overflow, and underflow
    decades = 2 * np.log10(e.s[0] / smallest)
    share = e.num_pl_spikes / len(e.s)
    fits = _tail_fits(e)
    p = f", p = {e.pl_p:.2g}" if np.isfinite(e.pl_p) else ""
    words = (
        f"a power law with alpha = {e.alpha:.2f} {'is not' if fits else 'is'} rejected (D = {e.pl_d:.3f}{p}) "
        f"on {e.num_pl_spikes} values ({share:.0%}) over {decades:.1f} decades"
    )
    return fits and (decades >= DECADES or share >= SHARE), words


def _by_outliers(e: Evidence) -> str:
    if e.num_right == 0:
        return "random-like"
    near = e.s[0] <= e.nu_plus * (1 + WIDTHS * edge_width(e.a, len(e.s)))
    return "bleeding-out" if near and e.num_right <= FEW * len(e.s) else "bulk+spikes"


def _outliers(e: Evidence) -> str:
    left = f" and {e.num_left} below" if e.num_left else ""
    if not e.num_right:
        return f"no values above its edge{left}"
    widths = (e.s[0] / e.nu_plus - 1) / edge_width(e.a, len(e.s))
    return f"{e.num_right} of {len(e.s)} values above its edge{left}, the largest by {widths:.0f} edge widths"
