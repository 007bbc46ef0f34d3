"""What the page draws of the linear model: spectra and the law, overlaps, growth with the samples, noise by axis."""

from typing import Any

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.report.style import number
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.studies.toy_linear.study import ToyLinear

BINS = 36
MAX_DOTS = 500  # vectors of a panel that are no lower outliers; those are all there
_SPECTRA = (
    "Density of the logarithm of the singular values of all simulations (dots), one panel for each number of samples "
    "N; D is the mean Kolmogorov-Smirnov distance of a simulation from the law. Line: the generalised Marchenko-Pastur "
    "law, whose population is the spectrum of (X Xᵀ)⁻¹, plus that of W* where there is one. Grey: the same law if "
    "X Xᵀ were N Σ. Dashed: below it a singular value counts as a lower outlier (mean over simulations)."
)
_OVERLAPS = (
    "Overlap O of every right singular vector with the eigenvectors of Σ, against its singular value, for all "
    "simulations with N samples. Lower outliers are blue; of the others some hundreds are drawn. Vertical dashed line: "
    "the edge of lower outliers."
)
_GROWTH = (
    "Lower outliers per simulation against the number of samples, with 95 % bootstrap intervals over simulations, and "
    "how many values the law puts below the same edge. A simulation with more samples begins with those of fewer."
)
_ALIGNED = (
    "Mean overlap of the right vectors of lower outliers with eigenvectors of Σ, of all others, and what chance gives."
)
_NOISE = (
    "Mean square of the entries of Ŵ − W* along each eigenvector of Σ, against the data's variance λ along it; one "
    "colour for each number of samples."
)


def charts(found: ToyLinear) -> dict[str, Chart]:
    """By name."""
    rows = found.samples.to_dict("records")
    seeds = {int(n): of.to_dict("records") for n, of in found.seeds.groupby("samples")}
    return {
        "spectra": _spectra(rows, seeds),
        "overlaps": _overlaps(rows, seeds),
        "growth": _growth(rows, seeds),
        "alignment": _alignment(rows),
        "noise": _noise(rows),
    }


def _spectra(rows: list[dict[str, Any]], seeds: dict[int, list[dict[str, Any]]]) -> Chart:
    panels = []
    for row in rows:
        of = seeds[row["samples"]]
        s = np.concatenate([np.asarray(seed["singular_values"], float) for seed in of])
        s = s[s > 1e-9 * s.max()]
        bins = np.geomspace(s.min() / 1.001, s.max() * 1.001, BINS + 1)
        counts = np.histogram(s, bins)[0]
        drawn = counts > 0
        at = np.asarray(row["law_at"], float)
        series = [
            Series("simulated", np.sqrt(bins[1:] * bins[:-1])[drawn], (counts / s.size / np.diff(np.log(bins)))[drawn],
                   marks="points", color="raw"),
            Series("law", at, _seen(at * np.asarray(row["law_density"], float)), color="law"),
        ]  # fmt: skip
        naive = at * np.asarray(row["inverse_density"], float)
        if np.isfinite(naive).any():
            series.append(Series("law if X Xᵀ were N Σ", at, _seen(naive), color="control"))
        edge = float(np.mean([seed["lower_edge"] for seed in of]))
        title = f"N = {row['samples']}, D = {row['ks_law']:.3f}"
        panels.append(Panel(title, series, rules=[Rule("edge of lower outliers", "x", edge)]))
    worst = max(rows, key=lambda row: row["ks_law"] - row["ks_simulations"])
    seen = f"Mean distance from the law {worst['ks_law']:.3f}, from the other simulations {worst['ks_simulations']:.3f}"
    note = f"Kolmogorov-Smirnov, at N = {worst['samples']}, where the law does worst beside the other simulations"
    x, y = Axis("singular value of Ŵ", "log"), Axis("density of ln s")
    return Chart("Spectra and the law", seen, note, _SPECTRA, x, y, panels)


def _seen(density: np.ndarray) -> np.ndarray:
    """Gaps between the intervals of the support as gaps of the line."""
    inside = density > 0
    kept = inside | np.r_[inside[1:], False] | np.r_[False, inside[:-1]]
    return np.where(kept, density, np.nan)


def _overlaps(rows: list[dict[str, Any]], seeds: dict[int, list[dict[str, Any]]]) -> Chart:
    panels = []
    for row in rows:
        of = seeds[row["samples"]]
        s, o = (np.concatenate([np.asarray(seed[key], float) for seed in of]) for key in ("singular_values", "overlap"))
        edges = np.repeat([seed["lower_edge"] for seed in of], len(of[0]["singular_values"]))
        lower = s < edges
        others = np.flatnonzero(~lower & (s > 1e-9 * s.max()))
        others = others[:: max(1, -(-others.size // MAX_DOTS))]
        series = [Series("other", s[others], o[others], marks="dots", color="control")]
        if lower.any():
            series.append(Series("lower outlier", s[lower], o[lower], marks="dots", color="raw"))
        rules = [
            Rule("random rotation: mean", "y", row["overlap_null"], "law", dashed=False),
            Rule("random rotation: 99 % quantile", "y", row["overlap_null_99"], "law"),
            Rule("edge of lower outliers", "x", float(edges.mean())),
        ]
        panels.append(Panel(f"N = {row['samples']}, d/N = {number(row['ratio'])}", series, rules=rules))
    x, y = Axis("singular value of Ŵ", "log"), Axis("overlap O", limits=(0.0, 1.02))
    return Chart("Right vectors and the data's axes", *_said(rows), _OVERLAPS, x, y, panels)


def _said(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """What the lower outliers of the most samples that have any overlap with, against all others."""
    having = [row for row in rows if row["num_any"]]
    if not having:
        return "No simulation has a lower outlier", "simulations with isotropic data set the edge"
    row = having[-1]
    seen = (
        f"Overlap with eigenvectors of Σ at N = {row['samples']}: {row['overlap_lower']:.2f} for lower outliers, "
        f"{row['overlap_inside']:.2f} for all others, {row['overlap_null']:.2f} by chance"
    )
    return seen, f"p = {row['p_overlap_lower']:.4f}, permutations within each simulation"


def _growth(rows: list[dict[str, Any]], seeds: dict[int, list[dict[str, Any]]]) -> Chart:
    n = np.array([row["samples"] for row in rows], float)
    mean, low, high, law = (
        np.array([row[key] for row in rows], float)
        for key in ("num_lower", "num_lower_low", "num_lower_high", "law_num_lower")
    )
    series = [
        Series("simulated", n, mean, low, high, marks="line+points", color="raw"),
        Series("law", n, law, marks="line", color="law"),
    ]
    seen = f"Lower outliers per simulation: {mean[0]:.2f} with {n[0]:.0f} samples, {mean[-1]:.2f} with {n[-1]:.0f}"
    first, last = (np.array([seed["num_lower"] for seed in seeds[int(k)]], float) for k in (n[0], n[-1]))
    change, least, most = paired_interval(last - first, np.ones_like(first), 0)
    note = f"change {change:+.2f}, 95 % interval {least:+.2f} to {most:+.2f} over the same simulations"
    top = 1.1 * max(float(high.max()), float(law.max()), 1.0)
    x, y = Axis("samples N", "log"), Axis("lower outliers", limits=(0.0, top))
    return Chart("Lower outliers by samples", seen, note if len(rows) > 1 else "", _GROWTH, x, y, [Panel("", series)])


def _alignment(rows: list[dict[str, Any]]) -> Chart:
    n = np.array([row["samples"] for row in rows], float)
    lower, others = (np.array([row[key] for row in rows], float) for key in ("overlap_lower", "overlap_inside"))
    series = [
        Series("lower outliers", n, lower, marks="line+points", color="raw"),
        Series("all others", n, others, marks="line+points", color="control"),
    ]
    first, known = rows[0], np.flatnonzero(np.isfinite(lower))
    said = _said(rows)
    if known.size > 1:
        ends = [f"{lower[i]:.2f} at N = {n[i]:.0f}" for i in known[[0, -1]]]
        said = (
            f"Overlap of lower outliers with eigenvectors of Σ: {', '.join(ends)}",
            f"by chance {first['overlap_null']:.2f}",
        )
    rules = [
        Rule("random rotation: mean", "y", first["overlap_null"], "law", dashed=False),
        Rule("random rotation: 99 % quantile", "y", first["overlap_null_99"], "law"),
    ]
    x, y = Axis("samples N", "log"), Axis("overlap O", limits=(0.0, 1.02))
    return Chart("Overlap by samples", *said, _ALIGNED, x, y, [Panel("", series, rules=rules)])


def _noise(rows: list[dict[str, Any]]) -> Chart:
    series, ratios = [], []
    for i, row in enumerate(rows):
        evals, seen, expected = (np.asarray(row[key], float) for key in ("covariance", "noise", "expected_noise"))
        ratios.append(seen / expected)
        color = i / max(1, len(rows) - 1)
        series.append(Series(f"N = {row['samples']}", evals, seen, marks="points", color=color))
        order = np.argsort(evals)
        series.append(Series("noise²/((N − d − 1) λ)", evals[order], expected[order], color="ink"))
    ratio = np.concatenate(ratios)
    said = f"Noise along an axis over noise²/((N − d − 1) λ): median {np.median(ratio):.3f}"
    note = f"{ratio.min():.2f} to {ratio.max():.2f} over all axes and N"
    x, y = Axis("λ, variance of the data along the axis", "log"), Axis("noise in an entry of Ŵ", "log")
    return Chart("Noise by axis of the data", said, note, _NOISE, x, y, [Panel("", series)])
