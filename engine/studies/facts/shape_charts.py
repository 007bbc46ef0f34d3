"""Charts of distributions: small multiples by block, and log-densities with the fitted shapes."""

import math
from typing import Any

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Series
from eigensweep.engine.report.spectrum import block_of, scalar
from eigensweep.engine.report.style import number
from eigensweep.engine.spectral.shapes import LAWS, Fit, log_density
from eigensweep.engine.studies.facts.stream_charts import evenly
from eigensweep.engine.studies.facts.study import Facts

TAPS = {
    "stream/before": "stream before a block",
    "update/attention": "added by attention",
    "update/mlp": "added by the MLP",
    "mlp/down/kernel": "inside the MLP",
}
LINES, BINS, REACH = 8, 90, 12.0  # blocks of a panel; bins of a line; robust standard deviations shown
COLORS = {"normal": "c0", "logistic": "c2", "laplace": "c1", "student_t": "c3", "generalised_normal": "c4"}
_BY_BLOCK = (
    "Densities of all values of a tap, in robust standard deviations from the median, on a logarithmic axis: a "
    "Gaussian is a parabola, exponential tails are straight lines. A line a block."
)
_FITTED = (
    "Density of all values of the stream before a block, with five laws fitted by maximum likelihood; in robust "
    "standard deviations. The law of lowest AIC is named with each panel."
)


def density(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Middles of a histogram's bins in robust standard deviations, densities there, and median and that deviation."""
    edges, counts = np.asarray(row["edges"], np.float64), np.asarray(row["counts"], np.float64)
    quantiles = np.asarray(row["quantiles"], np.float64)  # at 0.001 0.01 0.05 0.25 0.5 0.75 ...
    centre, scale = quantiles[4], (quantiles[5] - quantiles[3]) / 1.349
    if not (scale > 0 and counts.sum() > 0):
        return np.empty(0), np.empty(0), centre, math.nan
    step = max(1, -(-counts.size // BINS))
    cuts = np.unique(np.r_[0 : edges.size : step, edges.size - 1])
    merged, at = np.add.reduceat(counts, cuts[:-1]), edges[cuts]
    x = ((at[1:] + at[:-1]) / 2 - centre) / scale
    y = merged / counts.sum() / np.diff(at) * scale
    kept = (np.abs(x) <= REACH) & (merged > 0)
    return x[kept], y[kept], centre, scale


def by_block(found: Facts) -> Chart | None:
    """Small multiples: a panel a tap, a line a block."""
    rows = [row for row in found.distributions.to_dict("records") if row["what"] in ("stream", "update", "input")]
    panels = []
    for tap, title in TAPS.items():
        members = [row for row in rows if row["tap"] == tap and block_of(row) is not None]
        series = []
        for i, row in enumerate(shown := evenly(members, LINES)):
            at, values, _, _ = density(row)
            if at.size:
                series.append(Series(f"block {block_of(row)}", at, values, color=i / max(1, len(shown) - 1)))
        if series:
            grid = np.linspace(-4.5, 4.5, 61)
            normal = Series("normal", grid, np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi), color="ink")
            kurtosis = [scalar(row, "kurtosis") for row in members]
            note = f"excess kurtosis {number(min(kurtosis))} to {number(max(kurtosis))}"
            panels.append(Panel(title, [*series, normal], note=note))
    if not panels:
        return None
    stream = [row for row in rows if row["what"] == "stream"]
    best = [row["best"].replace("_", " ") for row in stream if isinstance(row["best"], str)]
    common = max(set(best), key=best.count) if best else "none"
    seen = f"Of five laws {common} describes the stream best at {best.count(common)} of {len(stream)} places"
    x, y = Axis("robust sd from the median"), Axis("density", "log")
    return Chart("Distributions by block", seen, "law of lowest AIC, fitted to all values", _BY_BLOCK, x, y, panels)


def fitted(found: Facts) -> Chart | None:
    """Log-densities of the stream with the fitted laws."""
    rows = [row for row in found.distributions.to_dict("records") if row["what"] == "stream"]
    rows = [row for row in rows if row["tap"] == "stream/before" and isinstance(row["best"], str)]
    if not rows:
        return None
    panels = []
    for row in evenly(rows, 6):
        at, values, centre, scale = density(row)
        if not at.size:
            continue
        grid = np.linspace(at.min(), at.max(), 81)
        series = [Series("values", at, values, marks="dots", color="ink")]
        for law in LAWS:
            fit = Fit(*(scalar(row, f"{law}_{key}") for key in ("loc", "scale", "shape", "aic")))
            drawn = np.exp(log_density(law, centre + grid * scale, fit)) * scale
            drawn = np.where(drawn >= values.min() / 3, drawn, np.nan)
            series.append(Series(law.replace("_", " "), grid, drawn, color=COLORS[law]))
        beta = scalar(row, "tail_shape")
        tail = f", tail exponent {number(beta)}" if math.isfinite(beta) else ""
        panels.append(
            Panel(f"before block {block_of(row)}", series, note=f"best: {row['best'].replace('_', ' ')}{tail}")
        )
    tails = [scalar(row, "tail_shape") for row in rows]
    known = [beta for beta in tails if math.isfinite(beta)]
    seen = (
        f"Tails of the stream: exponents {number(min(known))} to {number(max(known))}; 1 is exponential, 2 Gaussian"
        if known
        else "The stream's values and the fitted laws"
    )
    x, y = Axis("robust sd from the median"), Axis("density", "log")
    return Chart(
        "Fitted shapes", seen, "tails: exp(-|x|^beta) beyond the 90 % quantile of |x - median|", _FITTED, x, y, panels
    )
