"""What changes with depth, as tables of text: trends of the norms, rank plots."""

import math
from typing import Any

from eigensweep.engine.report.registry import Table
from eigensweep.engine.report.spectrum import scalar
from eigensweep.engine.report.style import number
from eigensweep.engine.spectral.trend import log_trend
from eigensweep.engine.studies.facts.depth_charts import MEASURES, described, trends
from eigensweep.engine.studies.facts.study import Facts
from eigensweep.engine.tables.groups import group_of

_TREND = "from the first block to the last, with its 95 % interval; a word where the interval excludes no change"
_NORMS = [
    ("role", ""),
    ("side", "writing to the stream, or reading it"),
    *((name, _TREND) for name in MEASURES.values()),
]
_RANKS = [
    ("spectra", "weight: singular values; stream, dataset: eigenvalues of a covariance"), ("role", ""),
    ("shape", ""), ("spectra together", "blocks whose logarithms are averaged, rank by rank"),
    ("straight part", "slope with its 95 % interval over blocks, and to which rank"),
    ("beyond", "slope of the second piece"), ("Gaussian", "slope that noise of the shape has"),
]  # fmt: skip


def norm_table(found: Facts) -> Table | None:
    """By which factor norms change over depth, a row a role and one a side; None below three blocks."""
    frame = found.norms
    frame = frame[frame["block"].notna() & (frame["side"] != "")]
    if frame["block"].nunique() < 3:
        return None
    frame = frame.assign(label=[group_of(row).label for row in frame.to_dict("records")])
    rows = []
    for side in ("writing", "reading"):
        for label, of in frame[frame["side"] == side].groupby("label", sort=False):
            cells = []
            for measure in MEASURES:
                mean = of.groupby("block")[measure].mean()
                trend = log_trend(mean.index.to_numpy(float), mean.to_numpy(float, na_value=math.nan))
                factor, low, high = (math.exp(x) for x in trend)
                cells.append(_factor(factor, low, high, trend.word))
            rows.append([str(label), side, *cells])
        rows.append([f"all {side}", side, *(_factor(*trends(found, measure)[side]) for measure in MEASURES)])
    return Table("Norms over depth", _NORMS, rows)


def _factor(factor: float, low: float, high: float, word: str) -> str:
    if not math.isfinite(factor):
        return "–"
    return f"× {number(factor)} ({number(low)} to {number(high)}){f', {word}' if word else ''}"


def rank_table(found: Facts) -> Table:
    """Rank plots: of blocks of one kind together, and of what is there once."""
    single = [row for row in found.ranks.to_dict("records") if math.isnan(scalar(row, "block"))]
    rows = [_rank_cells(row) for row in (*found.pooled_ranks.to_dict("records"), *single)]
    return Table("Rank plots", _RANKS, rows)


def _rank_cells(row: dict[str, Any]) -> list[str]:
    m = scalar(row, "m")
    shape = f"{row['n']}" if math.isnan(m) else f"{m:.0f} × {row['n']}"
    blocks = "1" if math.isnan(scalar(row, "blocks")) else str(row["blocks"])
    numbers = (number(scalar(row, key)) for key in ("beyond", "slope_noise"))
    return [str(row["what"]), str(row["role"]), shape, blocks, described(row), *numbers]
