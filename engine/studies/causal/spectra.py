"""The spectra of the kept models beside those of the start: have they lost rank, or only scale?

A pure shrink W' = c W leaves the normalised spectrum s / |W|_F, every rank, phase and p-value as they were.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eigensweep.engine.report.spectrum import scalar
from eigensweep.engine.spectral.phases import num_zeros
from eigensweep.engine.studies.causal.tables import KEY, MATRIX, SERIES, Causal, folder_of
from eigensweep.engine.studies.series.study import Series, open_series
from eigensweep.engine.studies.sweep.study import open_run
from eigensweep.engine.tables.columns import COUNT, FLOAT, Column, to_table
from eigensweep.engine.tables.equalised import EQUALISED
from eigensweep.engine.tables.matrices import with_controls

if TYPE_CHECKING:
    import pandas as pd

_ALL = with_controls(equalised=True, signs=True)["matrices"]
COPIED = (
    "phase", f"{EQUALISED}phase", "stable_rank", "effective_rank", "hard_rank", "num_right_outliers",
    f"{EQUALISED}num_right_outliers", "num_right_outliers_beyond_signs", "alpha", "mean_p_right", "mean_p_left",
)  # fmt: skip
"""Columns of the sweeps that are laid side by side."""
SPECTRA: dict[str, Column] = {
    **KEY,
    **MATRIX,
    **{name: _ALL[name] for name in COPIED},
    "zeros": Column(COUNT, "", "values beyond hard_rank, or below 0.01 of the median of those within"),
    "top_share": Column(FLOAT, "", "lambda_1 / sum lambda = 1 / stable_rank"),
    "stable_ratio": Column(FLOAT, "", "stable_rank over that of step 0"),
    "effective_ratio": Column(FLOAT, "", "effective_rank over that of step 0"),
    "shape_change": Column(FLOAT, "", "|s'/|W'|_F - s/|W|_F|, s of step 0: 0 where W' = c W, at most sqrt(2)"),
}
"""The columns of causal_spectra.parquet."""
RULES = {
    "phase": "the phase rank-collapse: 5 % of the values at zero",
    "hard_rank": "a numerical rank less than half of what it was",
    "effective_rank": "an effective rank less than half of what it was",
}
"""What is called a collapse of rank since step 0. The stable rank is not: one value that grows can halve it."""
HALVED = 0.5


def series_of(run: Causal) -> dict[float, Series]:
    """The series of sweeps of each training, by its weight decay; {} unless all are there."""
    if run.directory is None:
        return {}
    folders = {decay: run.directory / SERIES / folder_of(decay) for decay in run.trainings()}
    if not all(Series.layout.is_finished(folder) for folder in folders.values()):
        return {}
    return {decay: open_series(folder) for decay, folder in folders.items()}


def spectra_of(run: Causal) -> "pd.DataFrame | None":
    """The rows of SPECTRA, of the matrices whose status is ok; None without sweeps."""
    import pandas as pd

    rows = [row for decay, series in series_of(run).items() for row in _rows(decay, series)]
    table = to_table(SPECTRA, rows)
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get) if rows else None


def normalised(run: Causal, decay: float, step: int) -> dict[str, np.ndarray]:
    """s / |W|_F of every matrix of a step that has a spectrum, by name."""
    series = series_of(run)[decay]
    assert series.directory is not None
    return _normalised(series.directory, step)


def collapsed(first: "pd.DataFrame", last: "pd.DataFrame") -> dict[str, "pd.Series"]:
    """By each of RULES: which matrices (index: name) have lost their rank between two steps of one training."""
    before, after = first.set_index("name"), last.set_index("name")
    before = before.reindex(after.index)
    phase = (after["phase"] == "rank-collapse") & (before["phase"] != "rank-collapse")
    ranks = {rank: after[rank].astype("Float64") < HALVED * before[rank].astype("Float64") for rank in list(RULES)[1:]}
    return {"phase": phase} | {rank: halved.fillna(False) for rank, halved in ranks.items()}


def _rows(decay: float, series: Series) -> Iterator[dict[str, Any]]:
    assert series.directory is not None
    frame = series.matrices[series.matrices["status"] == "ok"]
    start: dict[str, Mapping[str, Any]] = {}
    shapes: dict[str, np.ndarray] = {}
    for step, part in frame.groupby("step", sort=True):
        found, spectra = part.to_dict("records"), _normalised(series.directory, int(step))
        if not start:
            start, shapes = {row["name"]: row for row in found}, spectra
        for row in found:
            name = row["name"]
            first, s = start.get(name, {}), spectra[name]
            ratios = {
                f"{kind}_ratio": scalar(row, f"{kind}_rank") / scalar(first, f"{kind}_rank")
                for kind in ("stable", "effective")
            }
            yield {
                **{column: _value(row.get(column), SPECTRA[column]) for column in (*MATRIX, *COPIED)},
                **ratios,
                "weight_decay": decay,
                "step": int(step),
                "zeros": num_zeros(s, int(row["hard_rank"])),
                "top_share": 1.0 / scalar(row, "stable_rank"),
                "shape_change": float(np.linalg.norm(s - shapes[name])) if name in shapes else np.nan,
            }


def _normalised(directory: Path, step: int) -> dict[str, np.ndarray]:
    spectra = open_run(directory / f"step-{step:08d}").spectra[["name", "singular_values"]]
    found = {str(row["name"]): row["singular_values"] for row in spectra.to_dict("records")}
    values = {name: np.asarray(s, np.float64) for name, s in found.items() if s is not None and len(s)}
    return {name: s / np.linalg.norm(s) for name, s in values.items()}


def _value(value: Any, column: Column) -> Any:
    """A cell out of pandas, which turns null into NA and counts into floats."""
    import pandas as pd

    if value is None or pd.isna(value):
        return np.nan if column.dtype == FLOAT else None
    return int(value) if column.dtype == COUNT else value
