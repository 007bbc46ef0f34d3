"""Every column of a sweep, recomputed from what its formula says (formulas.py, plain.py), on real matrices.

A column without an entry here fails; so does a formula from which its numbers do not follow.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from scipy import stats

from eigensweep import engine, models
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.spectral import controls  # the draw of the control alone

spec = importlib.util.spec_from_file_location("formulas", Path(__file__).with_name("formulas.py"))
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)
plain, LEVEL = formulas.plain, formulas.LEVEL

QUERY = "encoder.layer.0.attention.self.query.weight"  # 384 x 384
# of llama-stories260k:
WIDE = "model.embed_tokens.weight"  # 64 x 512, scales of rows and columns, outliers on both sides
SMALL = "model.layers.0.mlp.up_proj.weight"  # 172 x 64, p-values that are not all at their bounds
NUM_FLIPS = 7
LLR = [f"llr_{law}{end}" for law in ("exponential", "lognormal", "truncated") for end in ("", "_p")]
BOOTSTRAP = ["alpha_low", "alpha_high", "pl_p", *LLR]
SIGNS = [f"{key}_{side}" for key in ("signs_p", "signs_z") for side in ("right", "left")]
COUNT_BEYOND = "num_{}_outliers_beyond_signs"
SIGNS += [COUNT_BEYOND.format(side) for side in ("right", "left")]
PREFIXES = ("", "equalised_", "control_signs_")
DRAWS, MATRICES, FLIPS = 2000, 200, 24  # simulated unit vectors a length, matrices, flips a matrix


class Chosen:
    """Three matrices of two checkpoints as one collection."""

    skipped, warnings = (), ()
    identity: ClassVar = {"source": "tests", "kind": "dict", "architecture": "generic", "files": {}, "sha256": "0" * 64}

    def __init__(self, matrices):
        self.matrices = tuple(matrices)


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
            found.append(formulas.Reading(prefix, matrix, stripped, row))
    return found


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
    assert not wrong(readings, formulas.EVERY_READING)


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
    p, d = formulas.p_values(r, side), np.array(r.row[f"ks_{side}"])
    known = formulas.determined(r) & (abs(r.row["entries_kurtosis"]) * n**0.5 / other <= 0.5)
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
    size = r.b - sum(formulas.plain_outliers(r))
    t, p, equalised = r.row["mp_gof"], r.row["mp_gof_p"], r.prefix == "equalised_"
    return p >= (3e-5 if equalised else 1e-5) and share(noise(equalised)[0], t - 0.43 * np.log(size / 64), p)


def extreme_p(r, end):
    """Of a Gaussian matrix by its law; of an equalised one by simulation, at most 0.5."""
    side, law, value = {"largest": ("right", plain.p_largest, r.s[0]), "smallest": ("left", plain.p_smallest, r.s[-1])}[
        end
    ]
    p, count, x = r.row[f"p_{end}"], r.row[f"num_{side}_outliers"], value / r.row["sigma"]
    if (p <= LEVEL) != (count >= 1) or (r.prefix == "equalised_" and p > 0.5):
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
    row, verb = r.row, "describes" if formulas.mp_describes(r) else "does not describe"
    start = f"Marchenko-Pastur {verb} the bulk (D = {row['mp_ks']:.3f}, p = {row['mp_gof_p']:.2g})"
    fits = "is not" if formulas.power_law_holds(r)[0] else "is"
    power = f"alpha = {row['alpha']:.2f} {fits} rejected (D = {row['pl_d']:.3f})"
    return row["phase_evidence"].startswith(start) and (formulas.mp_describes(r) or power in row["phase_evidence"])


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
    return formulas.close(lambda r: np.std(np.log(plain.equalise(r.w.astype(float))[side]) / 2), 1e-5)


def explained(column):
    def of(r):
        before, after = r.whole[column], r.whole["equalised_" + column]
        return (before - after) / before if before else np.nan

    return formulas.close(of)


def kept(side):
    """What is kept of one side: which vectors, and the counts of their entries."""

    def index(r):
        known = np.flatnonzero(~np.isnan(formulas.p_values(r, side)))
        if not known.size:
            known = np.arange(r.row["hard_rank"])
        d = np.array(r.row[f"ks_{side}"])[known]
        return sorted({*known[:2], *known[-2:], *known[np.argsort(-d)[:2]]})

    def counts(r):
        vectors = (r.v if side == "right" else r.u)[:, index(r)].T
        limits = [-np.inf, *np.linspace(-4, 4, 65), np.inf]
        found = [np.histogram(len(x) ** 0.5 * x, limits)[0] for x in vectors]
        # the sign of a vector is nobody's: either way round
        got = np.array(r.row[f"kept_{side}_counts"]).reshape(len(found), -1)
        return np.concatenate([x if np.array_equal(x, y) else x[::-1] for x, y in zip(found, got, strict=True)])

    return {f"kept_{side}": formulas.exact(index), f"kept_{side}_counts": formulas.exact(counts)}


ONCE = {
    **kept("right"),
    **kept("left"),
    "m": formulas.exact(lambda r: r.w.shape[0]),
    "n": formulas.exact(lambda r: r.w.shape[1]),
    "dtype": formulas.exact(lambda r: str(r.w.dtype)),
    "quantised": formulas.exact(lambda r: ""),
    "zero_rows": formulas.exact(lambda r: np.sum(~r.w.any(axis=1))),
    "zero_columns": formulas.exact(lambda r: np.sum(~r.w.any(axis=0))),
    "profile_rows": profile(1),
    "profile_columns": profile(2),
    "profile_share_right": explained("num_right_outliers"),
    "profile_share_left": explained("num_left_outliers"),
    "profile_share_rejected_right": explained("rejected_right"),
    "profile_share_rejected_left": explained("rejected_left"),
    "status": formulas.exact(lambda r: "ok"),
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
    once = {"name", "role", "tower", "guessed", "block", "expert", "strategy", *ONCE, *SIGNS}
    assert columns == once | {prefix + name for prefix in PREFIXES for name in (*formulas.EVERY_READING, *PROPERTIES)}
