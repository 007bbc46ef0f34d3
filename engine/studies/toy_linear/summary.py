"""The linear model in two tables, a row for each number of samples: the law of the spectrum, and the lower outliers."""

import math
from collections.abc import Mapping
from typing import Any

from eigensweep.engine.report.style import aligned, number
from eigensweep.engine.studies.toy_linear.study import ToyLinear

SPECTRUM = {
    "samples": ("N", "number of samples"),
    "ratio": ("d/N", "inputs over samples"),
    "largest": ("largest", "singular value, mean over simulations"),
    "law_largest": ("law", "upper edge of the law"),
    "inverse_largest": ("if X Xᵀ = NΣ", "upper edge of the law of the population noise²/(N λ)"),
    "ks_law": ("D law", "mean Kolmogorov-Smirnov distance of a simulation from the law"),
    "ks_simulations": ("D others", "the same from all other simulations together: about what a true law would come to"),
    "ks_inverse": ("D if NΣ", "the same from the law of the population noise²/(N λ)"),
    "risk": ("risk", "error on new data beyond their noise, mean over simulations"),
    "expected_risk": ("expected", "noise² m d/(N - d - 1)"),
}
OUTLIERS = {
    "samples": ("N", "number of samples"),
    "num_lower": (
        "lower",
        "lower outliers per simulation, mean; isotropic data have one in a share `level` of the simulations",
    ),
    "interval": ("95 %", "bootstrap interval over simulations"),
    "law_num_lower": ("law", "as many values of the law lie there"),
    "num_any": ("in", "simulations that have a lower outlier, of all"),
    "overlap_lower": ("O lower", "mean overlap of their right vectors with eigenvectors of Σ"),
    "overlap_inside": ("O others", "of all other right vectors"),
    "overlap_null": ("null", "mean overlap for a random rotation"),
    "p_overlap_lower": ("p", "one-sided, lower > others: permutations within each simulation"),
    "variance_lower": ("var lower", "variance of the data along right vectors of lower outliers; 1 by chance"),
    "variance_inside": ("var others", "along all others"),
}


def spectrum_rows(found: ToyLinear) -> list[list[str]]:
    """The first table as text, a cell a heading."""
    return [[_cell(column, row) for column in SPECTRUM] for row in found.samples.to_dict("records")]


def outlier_rows(found: ToyLinear) -> list[list[str]]:
    """The second table as text, a cell a heading."""
    return [[_cell(column, row) for column in OUTLIERS] for row in found.samples.to_dict("records")]


def about(found: ToyLinear) -> str:
    """What was simulated, in a sentence."""
    o = found.chosen
    reads = f"W* of standard deviation {number(o.signal)}" if o.signal else "W* = 0"
    if o.signal and o.rank:
        reads += f" in {o.rank} random directions"
    return (
        f"{o.num_seeds} simulations of W ({o.outputs} × {o.inputs}), {reads}, noise {number(o.noise)}, "
        f"covariance {o.covariance}"
    )


def render_linear(found: ToyLinear) -> str:
    """Both tables as aligned plain text for a terminal."""
    tables = ((SPECTRUM, spectrum_rows(found)), (OUTLIERS, outlier_rows(found)))
    return "\n\n".join(
        [about(found), *(aligned([[h for h, _ in headings.values()], *rows]) for headings, rows in tables)]
    )


def _cell(column: str, row: Mapping[str, Any]) -> str:
    if column == "samples":
        return str(row[column])
    if column == "num_any":
        return f"{row[column]}/{row['num_simulations']}"
    if column == "interval":
        return f"{row['num_lower_low']:.2f} to {row['num_lower_high']:.2f}"
    value = float(row[column])
    if not math.isfinite(value):
        return "–"
    if column.startswith("p_"):
        return f"{value:.4f}"
    if column in ("num_lower", "law_num_lower"):
        return f"{value:.2f}"
    return f"{value:.3f}" if column.startswith(("ks", "overlap", "ratio")) else f"{value:.4g}"
