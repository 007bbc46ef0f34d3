"""The columns of one reading as functions of it, from what their formulas say: EVERY_READING (test_recomputed.py)."""

import importlib.util
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy import stats

spec = importlib.util.spec_from_file_location("plain", Path(__file__).with_name("plain.py"))
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)

LEVEL, EPS = 0.01, float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Reading:
    """One matrix as it was read: w, and its row of both tables, without the prefix."""

    prefix: str
    w: np.ndarray
    row: dict
    whole: dict

    @cached_property
    def svd(self):
        return np.linalg.svd(self.w.astype(np.float64), full_matrices=False)

    @property
    def u(self):
        return self.svd[0]

    @property
    def s(self):
        return self.svd[1]

    @property
    def v(self):
        return self.svd[2].T

    @property
    def evals(self):
        return self.s**2

    @property
    def a(self):
        return max(self.w.shape)

    @property
    def b(self):
        return min(self.w.shape)

    @property
    def tail(self):
        return self.evals[self.evals >= self.row["xmin"] * (1 - 1e-9)]

    @property
    def outliers(self):
        return self.row["num_right_outliers"], self.row["num_left_outliers"]


# --- what a formula gives, by column: (function of a Reading, relative tolerance)


def exact(function):
    return function, 0


def close(function, tolerance=1e-6):
    return function, tolerance


def entropy(p):
    p = p / p.sum()
    return -np.sum(p * np.log(p))


def energy(r, part):
    k, left = r.outliers
    cut = {"right": slice(0, k), "bulk": slice(k, r.b - left), "left": slice(r.b - left, r.b)}[part]
    return r.evals[cut].sum() / r.evals.sum()


def plain_outliers(r):
    """Of the Gaussian law at level 0.01 with sigma_bulk."""
    return tuple(int(np.sum(x)) for x in plain.outliers(r.s, r.row["sigma_bulk"], r.a, 0.01))


def mp_gof(r):
    k, left = plain_outliers(r)
    return (r.b - k - left) * plain.mp_distance(r.s, r.row["sigma_bulk"], r.a, k, left)


def verdict(r):
    k = sum(r.outliers)
    words = f"holds with {k} spike{'s' * (k > 1)}" if k else "Marchenko-Pastur holds"
    holds = r.row["mp_gof_p"] > LEVEL
    return words if holds else "does not describe the bulk: outlier counts are descriptive, not tests"


def power_law_holds(r):
    """Not rejected; and over a decade of lambda or half of the values."""
    row = r.row
    fits = row["num_pl_spikes"] ** 0.5 * row["pl_d"] <= 0.73
    return fits, fits and (np.log10(r.evals[0] / row["xmin"]) >= 1 or row["num_pl_spikes"] >= r.b / 2)


def mp_describes(r):
    return r.row["mp_gof_p"] >= 0.01 or r.row["mp_ks"] <= 0.01


def phase(r):
    k, left = r.outliers
    few = k + left <= r.b / 10
    if mp_describes(r):
        if power_law_holds(r)[1] and not few:
            return "undecided"
        mu, sc = plain.centre_and_scale(r.a, r.b, 1)
        near = r.s[0] <= r.row["nu_plus"] * (1 + 10 * sc / (2 * mu))
        return "random-like" if k == 0 else "bleeding-out" if near and k <= r.b / 10 else "bulk+spikes"
    if power_law_holds(r)[1]:
        return "heavy-tailed"
    return "bulk-decay" if r.row["mp_ks"] < 0.25 else "undecided"


def tail_class(r):
    """(universality, mu)"""
    alpha = r.row["alpha"]
    mu = (alpha + 4.4) / 3.5
    if mp_describes(r) or not power_law_holds(r)[0]:
        return None, np.nan
    if mu < 2:
        return "very heavy-tailed", min(2 * (alpha - 1), 2)
    return ("moderately heavy-tailed", mu) if mu <= 2.75 else ("weakly heavy-tailed", np.nan)


def kurtosis(r):
    z = (r.w - r.w.mean(dtype=np.float64)).ravel()
    return stats.kurtosis(z[np.abs(z) < r.row["sigma_entries"] * z.size**0.25])


def determined(r):
    norm = np.linalg.norm(r.s)
    least = r.b * np.finfo(float).eps * r.s[0] + EPS * norm / (r.w.size**0.5)
    gap = -np.diff(r.s)
    apart = np.minimum(np.r_[np.inf, gap], np.r_[gap, np.inf]) > least
    return apart & (np.arange(r.b) < r.row["hard_rank"])


def p_values(r, side):
    return np.array(r.row[f"p_{side}"], float)


def mean_p_z(r, side, n):
    p = p_values(r, side)
    k = np.sum(~np.isnan(p))
    rho = -min(1, 0.4 + 4 / n**2) / (n - 1)
    return (r.row[f"mean_p_{side}"] - 0.5) / ((1 + (k - 1) * rho) / (12 * k)) ** 0.5 if k else np.nan


def mean_of(p):
    return np.nanmean(p) if not np.isnan(p).all() else np.nan


def average(p):
    return np.array([np.nan if np.isnan(p[i]) else np.nanmean(p[max(0, i - 7) : i + 8]) for i in range(len(p))])


def of_vectors(side, n):
    """The columns of one side; n(r) is the length of its vectors."""
    vectors = {"right": lambda r: r.v.T, "left": lambda r: r.u.T}[side]
    return {
        f"ks_{side}": close(lambda r: plain.ks_of_vectors(vectors(r))),
        f"p_{side}_avg": close(lambda r: average(p_values(r, side))),
        f"mean_p_{side}": close(lambda r: mean_of(p_values(r, side))),
        f"mean_p_{side}_z": close(lambda r: mean_p_z(r, side, n(r))),
        f"rejected_{side}": exact(lambda r: plain.benjamini_hochberg(p_values(r, side), LEVEL)),
        f"rejected_share_{side}": close(
            lambda r: (
                r.row[f"rejected_{side}"] / np.sum(~np.isnan(p_values(r, side)))
                if not np.isnan(p_values(r, side)).all()
                else np.nan
            )
        ),
    }


LAW = {name: i for i, name in enumerate(("alpha", "xmin", "pl_d", "num_pl_spikes"))}
EVERY_READING = {
    "sigma": close(lambda r: r.row["sigma_bulk"]),
    "sigma_entries": close(lambda r: np.std(r.w.astype(np.float64))),
    "sigma_bulk": close(lambda r: plain.sigma_bulk(r.s, r.a), 1e-5),
    "nu_minus": close(lambda r: r.row["sigma"] * r.a**0.5 * (1 - (r.b / r.a) ** 0.5)),
    "nu_plus": close(lambda r: r.row["sigma"] * r.a**0.5 * (1 + (r.b / r.a) ** 0.5)),
    "mp_ks": close(lambda r: plain.mp_distance(r.s, r.row["sigma"], r.a, *r.outliers), 1e-4),
    "mp_gof": close(mp_gof, 1e-4),
    "mp_verdict": exact(verdict),
    **{f"energy_{part}": close(lambda r, part=part: energy(r, part)) for part in ("right", "bulk", "left")},
    "hard_rank": exact(lambda r: np.sum(r.s > r.s[0] * r.a * EPS)),
    "stable_rank": close(lambda r: r.evals.sum() / r.evals[0]),
    "entropy": close(lambda r: entropy(r.evals) / np.log(r.row["hard_rank"])),
    "effective_rank": close(lambda r: np.exp(entropy(r.s))),
    "participation": close(lambda r: r.evals.sum() ** 2 / np.sum(r.evals**2)),
    "norm": close(lambda r: r.evals.sum()),
    "spectral_norm": close(lambda r: r.evals[0]),
    "frobenius_norm": close(lambda r: r.evals.sum() ** 0.5),
    "log_norm": close(lambda r: np.log10(r.evals.sum())),
    "log_spectral_norm": close(lambda r: np.log10(r.evals[0])),
    "condition": close(lambda r: r.s[0] / r.s[-1] if r.row["hard_rank"] == r.b else np.inf, 1e-3),
    "mp_softrank": close(lambda r: r.row["nu_plus"] ** 2 / r.evals[0]),
    **{key: close(lambda r, i=i: plain.power_law(r.evals[: r.row["hard_rank"]])[i], 1e-5) for key, i in LAW.items()},
    "pl_sigma": close(lambda r: (r.row["alpha"] - 1) / r.row["num_pl_spikes"] ** 0.5),
    "alpha_weighted": close(lambda r: r.row["alpha"] * np.log10(r.evals[0])),
    "log_alpha_norm": close(lambda r: np.log10(np.sum(r.evals ** r.row["alpha"]))),
    "phase": exact(phase),
    "universality": exact(lambda r: tail_class(r)[0]),
    "mu": close(lambda r: tail_class(r)[1]),
    "quasi_null_count": exact(lambda r: np.sum(r.s < r.row["nu_minus"])),
    "quasi_null_fraction": close(lambda r: r.row["quasi_null_count"] / r.b),
    "entries_kurtosis": close(kurtosis, 1e-5),
    "undetermined": exact(lambda r: r.b - determined(r).sum()),
    "singular_values": close(lambda r: r.s),
    **of_vectors("right", lambda r: r.w.shape[1]),
    **of_vectors("left", lambda r: r.w.shape[0]),
}
