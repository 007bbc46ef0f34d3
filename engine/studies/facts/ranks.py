"""Tables of rank plots: of weights, of covariances of the stream and of a data set; of blocks of one kind together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.spectral import rank_plot
from eigensweep.engine.spectral.rank_plot import RankPlot
from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, TRUTH, Column
from eigensweep.engine.tables.matrices import MATRICES

WHAT = ("weight", "stream", "dataset")
_READ = "equal stretches of ln k counting alike"

RANKS = {
    "what": Column(TEXT, "", "weight: singular values of W; stream, dataset: eigenvalues of a covariance"),
    "name": Column(TEXT, "", "of the matrix, the place in the stream, the data set"),
    "role": Column(TEXT, "", "of the matrix; stream, tokens"),
    "block": MATRICES["block"],
    "m": Column(COUNT, "", "outputs of W; null for covariances"),
    "n": Column(COUNT, "", "inputs of W, dimensions of a covariance"),
    "num_ranks": Column(COUNT, "", "values above rounding, which the plot consists of"),
    "slope": Column(FLOAT, "", f"of ln s against ln k over the straight part, {_READ}; least squares", "", "slope"),
    "end": Column(FLOAT, "", "last rank of the straight part; num_ranks where the spectrum does not drop off"),
    "beyond": Column(FLOAT, "", "slope beyond it; null without a drop-off"),
    "decades": Column(FLOAT, "", "log10 end"),
    "bend": Column(FLOAT, "", "by which share of the slope the two halves of the straight part differ (a quadratic)"),
    "bic": Column(FLOAT, "", "by how much two pieces are better than one line"),
    "rms": Column(FLOAT, "", "root mean square of what the line leaves of ln s over the straight part"),
    "power_law": Column(
        TRUTH, "",
        f"slope < 0, decades >= {rank_plot.DECADES:g} and bend <= {rank_plot.MAX_BEND:g}; noise does not read so",
    ),
    "slope_noise": Column(FLOAT, "", "slope that a Gaussian matrix of the shape has; null for covariances"),
    "values": Column(LIST, "[w] or [x]^2", "s_k, descending"),
}  # fmt: skip

POOLED = {
    **{key: RANKS[key] for key in ("what", "role", "m", "n")},
    "blocks": Column(COUNT, "", "how many spectra: ln s is averaged over them, rank by rank"),
    **{key: RANKS[key] for key in ("num_ranks", "slope")},
    "slope_low": Column(FLOAT, "", "95 % percentile interval: blocks drawn with replacement"),
    "slope_high": Column(FLOAT, "", "its upper end"),
    "end": RANKS["end"],
    "end_low": Column(FLOAT, "", "95 % percentile interval of end"),
    "end_high": Column(FLOAT, "", "its upper end"),
    **{key: RANKS[key] for key in ("beyond", "decades", "bend", "bic", "rms", "power_law", "slope_noise")},
}


def rank_row(
    what: str,
    values: np.ndarray,
    *,
    name: str,
    role: str,
    block: int | None = None,
    least: float = 0.0,
    shape: tuple[int | None, int],
) -> dict[str, Any]:
    """A spectrum's row of the table; values: (K,) descending."""
    plot = rank_plot.fit(values, least)
    about = {"what": what, "name": name, "role": role, "block": block, "m": shape[0], "n": shape[1]}
    return about | _fitted(plot, shape) | {"values": values}


def pooled_rows(rows: Sequence[Mapping[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Blocks of one kind and shape together, in the order in which they first come."""
    groups: dict[tuple, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["block"] is not None:
            groups.setdefault((row["what"], row["role"], row["m"], row["n"]), []).append(row)
    found = []
    for key, members in groups.items():
        size = min(row["num_ranks"] for row in members)
        spectra = [np.asarray(row["values"], np.float64)[:size] for row in members]
        plot, interval = rank_plot.pooled(np.stack(spectra), seed)
        about = dict(zip(("what", "role", "m", "n"), key, strict=True)) | {"blocks": len(members)}
        found.append(about | _fitted(plot, key[2:]) | interval._asdict())
    return found


def _fitted(plot: RankPlot, shape: Sequence[int | None]) -> dict[str, Any]:
    m, n = shape
    known = {key: _known(getattr(plot, key)) for key in ("slope", "end", "beyond", "decades", "bend", "bic", "rms")}
    noise = _known(rank_plot.noise(m, n).slope) if m and n else None
    return known | {"num_ranks": plot.ranks, "power_law": plot.is_power_law, "slope_noise": noise}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
