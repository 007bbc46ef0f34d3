"""Every column of a sweep, recomputed from what its formula says (plain.py), on real matrices.

A column without an entry here fails; so does a formula from which its numbers do not follow.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from eigensweep import engine, models
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.spectral import controls  # the draw of the control alone

spec = importlib.util.spec_from_file_location("plain", Path(__file__).with_name("plain.py"))
plain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plain)

QUERY = "encoder.layer.0.attention.self.query.weight"  # 384 x 384
# of llama-stories260k:
WIDE = "model.embed_tokens.weight"  # 64 x 512, scales of rows and columns, outliers on both sides
SMALL = "model.layers.0.mlp.up_proj.weight"  # 172 x 64, p-values that are not all at their bounds
LEVEL, EPS, NUM_FLIPS = 0.01, float(np.finfo(np.float32).eps), 7
BOOTSTRAP = (
    "alpha_low", "alpha_high", "pl_p",
    *(f"llr_{law}{p}" for law in ("exponential", "lognormal", "truncated") for p in ("", "_p")),
)  # fmt: skip
SIGNS = [f"{key}_{side}" for key in ("signs_p", "signs_z") for side in ("right", "left")]
COUNT_BEYOND = "num_{}_outliers_beyond_signs"
SIGNS += [COUNT_BEYOND.format(side) for side in ("right", "left")]
PREFIXES = ("", "equalised_", "control_signs_")
DRAWS, MATRICES, FLIPS = 2000, 300, 24  # simulated unit vectors a length, matrices, flips a matrix


class Chosen:
    """Three matrices of two checkpoints as one collection."""

    skipped, warnings = (), ()
    identity: ClassVar = {"source": "tests", "kind": "dict", "architecture": "generic", "files": {}, "sha256": "0" * 64}

    def __init__(self, matrices):
        self.matrices = tuple(matrices)


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


@pytest.fixture(scope="module")
def sources(minilm, shared):
    large = models.open_checkpoint(minilm).matrices
    small = models.open_checkpoint(shared / "checkpoints" / "llama-stories260k").matrices
    return [m for m in (*large, *small) if m.name in (QUERY, WIDE, SMALL)]


def rows_of(sources, **options):
    """The rows of both tables of a sweep as one dict a matrix, by name."""
    run = engine.sweep(Chosen(sources), engine.SweepOptions(**options))
    both = (run.tables[name].to_pylist() for name in ("matrices", "spectra"))
    return {row["name"]: row | lists for row, lists in zip(*both, strict=True)}


@pytest.fixture(scope="module")
def readings(sources):
    rows, found = rows_of(sources, control="signs"), []
    for source in sources:
        w, row = source.read(), rows[source.name]
        even = plain.equalise(w.astype(np.float64))[0].astype(np.float32)
        control = controls.signs(purpose_key(0, "signs", source.name), w)
        for prefix, matrix in zip(PREFIXES, (w, even, control), strict=True):
            stripped = {key.removeprefix(prefix): row[key] for key in row if key.startswith(prefix)}
            found.append(Reading(prefix, matrix, stripped, row))
    return found


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
    if mp_describes(r) or (phase(r) == "undecided" and not power_law_holds(r)[0]) or not power_law_holds(r)[0]:
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


def agree(got, expected, tolerance):
    if expected is None or isinstance(expected, str):
        return got == expected
    got, expected = np.asarray(got, float), np.asarray(expected, float)
    return got.shape == expected.shape and np.allclose(got, expected, tolerance, tolerance * 1e-2, equal_nan=True)


def wrong(readings, columns):
    """What disagrees, by matrix and column."""
    found = [(r, name, function(r), tolerance) for r in readings for name, (function, tolerance) in columns.items()]
    return {
        (r.whole["name"], r.prefix + name): (r.row[name], x)
        for r, name, x, tol in found
        if not agree(r.row[name], x, tol)
    }


def test_columns_of_every_reading(readings):
    assert not wrong(readings, EVERY_READING)


# --- what a simulation of the formula gives, or a property that it states, by column: a predicate of a Reading


def share(null, x, most):
    """Whether p is the share of the simulated values that are at least x, as far as their number tells."""
    p = np.mean(null >= x)
    return abs(most - p) <= 4 * (max(p, 1 / null.size) / null.size) ** 0.5 + 0.01


@cache
def ks_null(n):
    x = np.random.default_rng(n).standard_normal((DRAWS, n))
    return plain.ks_of_vectors(x / np.linalg.norm(x, axis=1, keepdims=True))


def p_of_vectors(r, side):
    n, other = r.w.shape[::-1] if side == "right" else r.w.shape
    p, d = p_values(r, side), np.array(r.row[f"ks_{side}"])
    known = determined(r) & (abs(r.row["entries_kurtosis"]) * n**0.5 / other <= 0.5)
    return np.array_equal(~np.isnan(p), known) and all(
        share(ks_null(n), x, q) for x, q in zip(d[known], p[known], strict=True)
    )


@cache
def noise(equalised):
    """T, s_1/sigma and -s_b/sigma of Gaussian matrices of SMALL's shape, (3, MATRICES)."""
    rng, rows = np.random.default_rng(172), []
    for _ in range(MATRICES):
        w = rng.standard_normal((172, 64))
        s = np.linalg.svd(plain.equalise(w)[0] if equalised else w, compute_uv=False)
        sigma = plain.sigma_bulk(s, 172, 3)
        k, left = (int(np.sum(x)) for x in plain.outliers(s, sigma, 172, 0.01))
        rows.append(((64 - k - left) * plain.mp_distance(s, sigma, 172, k, left), s[0] / sigma, -s[-1] / sigma))
    return np.array(rows).T


def gof_p(r):
    """By ln K from SMALL's size to others."""
    size = r.b - sum(plain_outliers(r))
    t, p, equalised = r.row["mp_gof"], r.row["mp_gof_p"], r.prefix == "equalised_"
    return p >= (3e-5 if equalised else 1e-5) and share(noise(equalised)[0], t - 0.43 * np.log(size / 64), p)


def extreme_p(r, end):
    """Of a Gaussian matrix by its law; of an equalised one by simulation, at most 0.5."""
    side, law, value = {"largest": ("right", plain.p_largest, r.s[0]), "smallest": ("left", plain.p_smallest, r.s[-1])}[
        end
    ]
    p, count, x = r.row[f"p_{end}"], r.row[f"num_{side}_outliers"], value / r.row["sigma"]
    if (p <= LEVEL) != (count >= 1):
        return False
    expected = law(x, r.a, r.b)
    if r.prefix != "equalised_":
        return np.isclose(p, expected, 1e-4, 1e-11)
    if r.w.shape != (172, 64):
        return abs(p - min(expected, 0.5)) < 0.2
    null, x = (noise(True)[1], x) if end == "largest" else (noise(True)[2], -x)
    return np.mean(null >= x) > 0.4 if p == 0.5 else share(null, x, p)


def count(r, side):
    """Of a Gaussian matrix by its law; of an equalised one the threshold lies within a width of it."""
    got = r.row[f"num_{side}_outliers"]
    i = ("right", "left").index(side)
    if r.prefix != "equalised_":
        return got == np.sum(plain.outliers(r.s, r.row["sigma"], r.a, LEVEL)[i])
    fewest, most = (np.sum(plain.outliers(r.s, r.row["sigma"], r.a, level)[i]) for level in (1e-4, 0.2))
    return fewest <= got <= most


def evidence(r):
    row, verb = r.row, "describes" if mp_describes(r) else "does not describe"
    start = f"Marchenko-Pastur {verb} the bulk (D = {row['mp_ks']:.3f}, p = {row['mp_gof_p']:.2g})"
    power = f"alpha = {row['alpha']:.2f} {'is not' if power_law_holds(r)[0] else 'is'} rejected (D = {row['pl_d']:.3f})"
    return row["phase_evidence"].startswith(start) and (mp_describes(r) or power in row["phase_evidence"])


PROPERTIES = {
    "p_right": lambda r: p_of_vectors(r, "right"),
    "p_left": lambda r: p_of_vectors(r, "left"),
    "mp_gof_p": gof_p,
    "num_right_outliers": lambda r: count(r, "right"),
    "num_left_outliers": lambda r: count(r, "left"),
    "p_largest": lambda r: extreme_p(r, "largest"),
    "p_smallest": lambda r: extreme_p(r, "smallest"),
    "phase_evidence": evidence,
    "residual": lambda r: 0 < r.row["residual"] < 1e-12,
    "orthogonality": lambda r: 0 < r.row["orthogonality"] < 1e-9,
    **{key: lambda r, key=key: np.isnan(r.row[key]) for key in BOOTSTRAP},  # none were asked for
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_simulated_columns_of_every_reading(readings, name):
    assert not [(r.whole["name"], r.prefix, r.row[name]) for r in readings if not PROPERTIES[name](r)]


# --- columns of a matrix beside its readings


def profile(side):
    return close(lambda r: np.std(np.log(plain.equalise(r.w.astype(float))[side]) / 2), 1e-5)


def explained(column):
    def of(r):
        before, after = r.whole[column], r.whole["equalised_" + column]
        return (before - after) / before if before else np.nan

    return close(of)


ONCE = {
    "m": exact(lambda r: r.w.shape[0]),
    "n": exact(lambda r: r.w.shape[1]),
    "dtype": exact(lambda r: str(r.w.dtype)),
    "zero_rows": exact(lambda r: np.sum(~r.w.any(axis=1))),
    "zero_columns": exact(lambda r: np.sum(~r.w.any(axis=0))),
    "profile_rows": profile(1),
    "profile_columns": profile(2),
    "profile_share_right": explained("num_right_outliers"),
    "profile_share_left": explained("num_left_outliers"),
    "profile_share_rejected_right": explained("rejected_right"),
    "profile_share_rejected_left": explained("rejected_left"),
    "status": exact(lambda r: "ok"),
}
WORDS = {  # role, block, expert
    QUERY: ("query", 0, None),
    WIDE: ("embedding", None, None),
    SMALL: ("mlp_up", 0, None),
}


def test_columns_of_the_matrix(readings):
    once = [r for r in readings if not r.prefix]
    assert not wrong(once, ONCE)
    for r in once:
        assert tuple(r.row[key] for key in ("role", "block", "expert")) == WORDS[r.row["name"]]
        assert r.row["strategy"] in ("lapack", "gram", "polar", "direct", "streamed")


def hard_edge(rng, shape):
    """-ln s_b of square noise, up to its unit, by Edelman's law exp(-(x/2 + sqrt(x))) of b s_b^2."""
    return -np.log((1 + 2 * rng.standard_exponential(shape)) ** 0.5 - 1)


@cache
def z_null(square):
    """z of one draw of noise beside NUM_FLIPS others, 20,000 times; and the sd where the law is known."""
    rng, shape = np.random.default_rng(0), (NUM_FLIPS + 1, 20_000)
    x = hard_edge(rng, shape) if square else rng.standard_gamma(25, shape)  # skewness 0.4
    sd = x.std() if square else x[1:].std(axis=0, ddof=1)
    return (x[0] - x[1:].mean(axis=0)) / (sd * (1 + 1 / NUM_FLIPS) ** 0.5), np.mean(sd)


def test_columns_beside_random_signs(readings):
    """z and counts as other flips have them, to the spread that seven flips leave; p by z."""
    for r in (r for r in readings if not r.prefix):
        taken = [r.row[f"equalised_num_{side}_outliers"] for side in ("right", "left")]
        log_flips, log_s = np.log(plain.flips(r.w.astype(float), *taken, FLIPS)), np.log(r.s)
        for side, x, out in (("right", log_s, log_flips[:, 0]), ("left", -log_s[::-1], -log_flips[:, 1])):
            square = side == "left" and r.a == r.b and not taken[1]
            null, known_sd = z_null(square)
            sd = known_sd if square else out.std(ddof=1)
            z, p, count = (r.row[name.format(side)] for name in ("signs_z_{}", "signs_p_{}", COUNT_BEYOND))
            expected = (x[0] - out.mean()) / (sd * (1 + 1 / NUM_FLIPS) ** 0.5)
            assert 0.4 < z / expected < 2.5 or abs(z - expected) < 1.3
            assert p >= 1 / 200_001
            assert share(null, z, p)
            assert abs(np.sum(x > out.mean() + np.quantile(null, 1 - LEVEL) * sd) - count) <= 0.1 * count + 1


# --- what bootstrap replicas give


def test_bootstrap_columns(sources):
    """Interval and p as 200 other replicas have them; likelihood ratios exactly."""
    small = [source for source in sources if source.name == SMALL]
    row = rows_of(small, control="none", equalise=False, num_flips=0, bootstrap=100)[SMALL]
    evals = np.linalg.svd(small[0].read().astype(float), compute_uv=False) ** 2
    rng, tail = np.random.default_rng(1), evals[evals >= row["xmin"] * (1 - 1e-9)]
    alpha = [plain.power_law(np.sort(rng.choice(evals, 64))[::-1])[0] for _ in range(200)]
    for name, part in (("alpha_low", 0.025), ("alpha_high", 0.975)):
        assert np.quantile(alpha, max(part - 0.03, 0)) <= row[name] <= np.quantile(alpha, min(part + 0.03, 1)), name
    distances, share_above = [], len(tail) / 64
    for _ in range(200):
        above = row["xmin"] * rng.random(64) ** (-1 / (row["alpha"] - 1))
        sample = np.where(rng.random(64) < share_above, above, rng.choice(evals[len(tail) :], 64))
        distances.append(plain.power_law(np.sort(sample)[::-1])[2])
    assert abs(row["pl_p"] - np.mean(np.array(distances) >= row["pl_d"])) < 0.15
    log_l = plain.likelihoods(tail, row["xmin"])
    for name in ("exponential", "lognormal", "truncated"):
        difference = log_l["power"] - log_l[name]
        ratio = difference.sum()
        z = ratio / (len(tail) * difference.var()) ** 0.5
        p = stats.chi2.sf(2 * abs(ratio), 1) if name == "truncated" else 2 * stats.norm.sf(abs(z))
        assert [row[f"llr_{name}"], row[f"llr_{name}_p"]] == pytest.approx([ratio, p], rel=1e-3, abs=1e-4), name


def test_every_column_is_recomputed(readings):
    columns = set(readings[0].whole)
    once = {"name", "role", "block", "expert", "strategy", *ONCE, *SIGNS}
    assert columns == once | {prefix + name for prefix in PREFIXES for name in (*EVERY_READING, *PROPERTIES)}
