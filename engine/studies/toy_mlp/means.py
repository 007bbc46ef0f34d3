"""What summary and charts are made of: means over the seeds of a regime, with Student's 95 % intervals.

An interval covers what differs between seeds (first weights, order of the rows), for the test rows at hand.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from eigensweep.engine.spectral.student import mean_interval
from eigensweep.engine.studies.toy_mlp.study import ToyMlp


class Mean(NamedTuple):
    """A mean over seeds and its interval, NaN where there is one seed."""

    mean: float
    low: float
    high: float


def regimes(found: ToyMlp) -> list[str]:
    """In the order of the work."""
    return list(dict.fromkeys(found.networks["regime"]))


def said(found: ToyMlp, interval: str = "") -> str:
    """What numbers of a regime are: "means over 5 seeds", with the interval's name behind it where there is one."""
    seeds = found.networks["seed"].nunique()
    return "one seed" if seeds == 1 else f"means over {seeds} seeds{interval}"


def over_seeds(found: ToyMlp, regime: str, column: str) -> Mean:
    """Of a column of accuracies in the networks' table."""
    frame = found.networks
    return share_of_rows(frame.loc[frame["regime"] == regime, column])


def accuracies(found: ToyMlp, regime: str, by: str) -> tuple[np.ndarray, np.ndarray]:
    """Shares removed (P,), ascending, and the test accuracies without them (seeds, P)."""
    frame = found.removals
    chosen = frame[(frame["regime"] == regime) & (frame["by"] == by)]
    table = chosen.pivot(index="seed", columns="share", values="test_accuracy").sort_index(axis=1)
    return table.columns.to_numpy(np.float64), table.to_numpy(np.float64)


def curve(found: ToyMlp, regime: str, by: str) -> tuple[np.ndarray, list[Mean]]:
    """Shares removed, and the mean accuracy at each."""
    shares, values = accuracies(found, regime, by)
    return shares, [share_of_rows(column) for column in values.T]


def share_of_rows(values: ArrayLike) -> Mean:
    """The mean of accuracies; of its interval what lies beyond 0 and 1 is cut off."""
    return Mean(*(float(x) for x in np.clip(mean_interval(values), 0.0, 1.0)))


def change(found: ToyMlp, regime: str, by: str, share: float) -> Mean | None:
    """Change of the accuracy by a removal, paired by seed; None where the study has no such share."""
    shares, values = accuracies(found, regime, by)
    at = np.flatnonzero(np.isclose(shares, share))
    return Mean(*mean_interval(values[:, at[0]] - values[:, 0])) if at.size else None


def by_index(found: ToyMlp, regime: str, layer: int, column: str) -> np.ndarray:
    """The mean over seeds of a list of the spectra's table, NaN left out; (b,)."""
    frame = found.matrices
    names = frame.loc[(frame["regime"] == regime) & (frame["layer"] == layer), "name"]
    rows = found.spectra.set_index("name")[column].reindex(names)
    lists = np.stack([np.asarray(row, np.float64) for row in rows])
    known = np.isfinite(lists)
    count = known.sum(axis=0)
    return np.divide(np.where(known, lists, 0.0).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)


def shown(mean: Mean, text: Callable[[float], str]) -> str:
    """ "97.4 (96.9 to 97.9)"; the mean alone where seeds say nothing of its error: one seed, or equal ones."""
    return f"{text(mean.mean)} ({text(mean.low)} to {text(mean.high)})" if mean.low < mean.high else text(mean.mean)
