"""Phases of matrices whose phase is known by construction, and every rule on numbers."""

import numpy as np
import pytest

from eigensweep.engine.run.statistics import scalar_statistics
from eigensweep.engine.run.tails import phase_columns
from eigensweep.engine.spectral import phases
from eigensweep.engine.spectral.ensembles import noise, planted
from eigensweep.engine.spectral.phases import Evidence, phase, universality

SHAPES = ((192, 192), (384, 384), (768, 768), (1536, 384), (1536, 768))
"""Of the simulation behind ALPHA_SLOPE: 24, 24, 8, 16, 8 matrices; medians of alpha over shapes at mu = 2, 2.25, 2.5:
2.53 to 2.74, 3.03 to 3.38, 3.88 to 4.72."""
NUM = 12


def pareto(mu):
    return lambda rng, m, n: rng.choice([-1.0, 1.0], (m, n)) * (1 - rng.random((m, n))) ** (-1 / mu)


def spiked(*strengths):
    """In units of the smallest spike that can be seen."""

    def draw(rng, m, n):
        return planted(rng.standard_normal((m, n)), np.array(strengths) * (m * n) ** 0.25, rng)

    return draw


def of(words):
    return lambda rng, m, n: noise(words, rng, m, n)


def low_rank(rng, m, n):
    return rng.standard_normal((m, 100)) @ rng.standard_normal((100, n))


def faded(rng, m, n):
    """Rank n/2 with faint noise everywhere: no value is numerically zero."""
    signal = rng.standard_normal((m, n // 2)) @ rng.standard_normal((n // 2, n)) / n**0.5
    return signal + 1e-4 * rng.standard_normal((m, n))


def spectra(draw, shape, num=NUM, seed=0):
    return np.array(
        [np.linalg.svd(draw(np.random.default_rng([seed, i]), *shape), compute_uv=False) for i in range(num)]
    )


def read(s, shape):
    """The rows of many spectra; p of Marchenko-Pastur from the cut-offs of T = K D that were simulated."""
    scalars = scalar_statistics(s, np.full(len(s), np.nan), shape, 2.0**-23, 0.01, "default")
    count = s.shape[1] - scalars["num_right_outliers"] - scalars["num_left_outliers"]
    t, log = count * scalars["mp_ks"], 0.43 * np.log(count)
    p = np.where(t > 1.08 + log, 0.005, np.where(t > 0.79 + log, 0.03, 0.5))
    return phase_columns(s, scalars | {"mp_gof_p": p}, shape)


@pytest.mark.parametrize(
    ("draw", "shape", "expected", "least"),
    [
        (of("gaussian"), (384, 384), {"random-like"}, 0.9),
        (of("gaussian"), (384, 96), {"random-like"}, 0.9),
        (spiked(1.15, 1.2, 1.25), (384, 384), {"bleeding-out"}, 0.8),
        (spiked(2, 3, 4, 6), (384, 384), {"bulk+spikes"}, 0.9),
        (spiked(2, 3, 4, 6), (384, 96), {"bulk+spikes"}, 0.9),
        (pareto(1.0), (384, 384), {"heavy-tailed"}, 0.8),
        (pareto(1.0), (384, 96), {"heavy-tailed"}, 0.8),
        (pareto(1.5), (384, 384), {"heavy-tailed"}, 0.8),
        # in the limit heavy-tailed; at this size the largest entries do not reach the edge of the bulk
        (pareto(3.0), (384, 384), {"random-like", "bleeding-out", "bulk+spikes", "bulk-decay"}, 1.0),
        (pareto(5.0), (384, 384), {"random-like"}, 0.8),
        (low_rank, (384, 192), {"rank-collapse"}, 1.0),
        (faded, (384, 192), {"rank-collapse"}, 1.0),
        (of("columns:0.25"), (384, 384), {"bulk-decay"}, 0.9),
        (of("columns:0.25"), (384, 192), {"bulk-decay"}, 0.9),
    ],
)
def test_phase_known_by_construction(draw, shape, expected, least):
    rows = read(spectra(draw, shape), shape)
    found = [row["phase"] for row in rows]
    assert np.mean([word in expected for word in found]) >= least, found
    assert all(row["phase_evidence"] for row in rows)


def test_class_and_mu():
    """Below mu = 2 the limit's formula, from there the simulated line; medians of 12 matrices."""
    for mu, name, tolerance in ((1.0, phases.CLASSES[2], 0.15), (1.5, phases.CLASSES[2], 0.25)):
        rows = [row for row in read(spectra(pareto(mu), (384, 384)), (384, 384)) if row["universality"]]
        assert len(rows) >= 0.7 * NUM
        assert np.mean([row["universality"] == name for row in rows]) >= 0.9
        assert abs(np.median([row["mu"] for row in rows]) - mu) < tolerance
    s = spectra(pareto(2.25), (384, 384))
    alpha = np.median(scalar_statistics(s, np.full(NUM, np.nan), (384, 384), 2.0**-23, 0.01, "default")["alpha"])
    assert abs(universality(alpha)[1] - 2.25) < 0.25
    noise_rows = read(spectra(of("gaussian"), (384, 96)), (384, 96))
    assert {row["universality"] for row in noise_rows if row["phase"] == "random-like"} == {None}


def test_class_of_numbers():
    assert universality(1.5) == (phases.CLASSES[2], 1.0)
    assert universality(2.3) == (phases.CLASSES[2], 2.0)
    name, mu = universality(phases.ALPHA_SLOPE * 2.4 + phases.ALPHA_OFFSET)
    assert (name, round(mu, 9)) == (phases.CLASSES[1], 2.4)
    assert universality(7.0)[0] == phases.CLASSES[0]
    assert np.isnan(universality(7.0)[1])
    for nothing in (np.nan, 1.0):
        assert universality(nothing)[0] == ""


PLAIN = Evidence(
    s=np.linspace(10, 0.1, 100), a=100, hard_rank=100, nu_plus=10.0, num_right=0, num_left=0, mp_ks=0.02, mp_gof_p=0.5,
    alpha=np.nan, xmin=np.nan, pl_d=np.nan, num_pl_spikes=0,
)  # fmt: skip
TAIL = {"alpha": 2.0, "xmin": 5.0, "pl_d": 0.05, "num_pl_spikes": 60}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "random-like"),
        ({"mp_gof_p": 1e-6}, "bulk-decay"),
        ({"mp_gof_p": 1e-6, "mp_ks": 0.009}, "random-like"),  # rejected for its size only
        ({"mp_gof_p": 1e-6, "mp_ks": 0.5}, "undecided"),
        ({"mp_gof_p": np.nan}, "undecided"),
        ({"mp_ks": np.nan}, "undecided"),
        ({"num_right": 3, "nu_plus": 9.9}, "bleeding-out"),
        ({"num_right": 3, "nu_plus": 7.0}, "bulk+spikes"),
        ({"num_right": 30, "nu_plus": 9.9}, "bulk+spikes"),
        ({"hard_rank": 60, "s": np.r_[np.linspace(10, 5, 60), np.full(40, 1e-9)]}, "rank-collapse"),
        ({"mp_gof_p": 1e-6, **TAIL}, "heavy-tailed"),
        ({"mp_gof_p": 1e-6, **TAIL, "pl_p": 0.05}, "bulk-decay"),
        ({"mp_gof_p": 1e-6, **TAIL, "pl_d": 0.2}, "bulk-decay"),
        ({"mp_gof_p": 1e-6, **TAIL, "pl_d": 0.2, "pl_p": 0.5}, "heavy-tailed"),  # the bootstrap's p goes first
        ({"mp_gof_p": 1e-6, **TAIL, "xmin": 20.0, "num_pl_spikes": 30}, "bulk-decay"),  # 0.7 decades, 30 %
        ({**TAIL, "num_right": 30}, "undecided"),  # both laws hold, many outliers
        ({**TAIL, "num_right": 3}, "bulk+spikes"),
        ({"s": np.arange(10, 0, -1.0), "hard_rank": 10}, "undecided"),
    ],
)
def test_rules(changes, expected):
    changes = {"nu_plus": 5.0} | changes if changes.get("num_right") else changes
    assert phase(PLAIN._replace(**changes)).phase == expected


def test_evidence_has_the_numbers():
    found = phase(PLAIN._replace(mp_gof_p=0.002, **TAIL))
    assert found.evidence == (
        "Marchenko-Pastur does not describe the bulk (D = 0.020, p = 0.002); a power law with alpha = 2.00 is not "
        "rejected (D = 0.050) on 60 values (60%) over 1.3 decades"
    )
    assert found.universality == phases.CLASSES[2]
    spikes = phase(PLAIN._replace(num_right=2, num_left=1, nu_plus=8.0))
    assert spikes.evidence.endswith("2 of 100 values above its edge and 1 below, the largest by 17 edge widths")


def test_edge_width_against_fluctuations(gaussian_singular_values):
    """Tracy-Widom's standard deviation is 1.27 widths."""
    top = gaussian_singular_values(0, 96, 96, 2000)[:, 0]
    assert np.std(top) / np.mean(top) / phases.edge_width(96, 96) == pytest.approx(1.27, rel=0.08)
