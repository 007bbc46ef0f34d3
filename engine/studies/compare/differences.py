"""Differences of the measures of matched matrices, in spreads of the measure over the matrices of the role."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import block_of, scalar
from eigensweep.engine.report.style import near
from eigensweep.engine.studies.compare.matching import Pair, Row, scalar_or_none
from eigensweep.engine.tables.columns import COUNT, FLOAT
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.matrices import IDENTITY, with_controls

_EVERY = with_controls(equalised=True, signs=True)["matrices"]
_BOOKKEEPING = ("residual", "orthogonality")  # of the decomposition, not of the matrix
MEASURES = tuple(
    name
    for name, column in _EVERY.items()
    if column.dtype in (COUNT, FLOAT) and name not in IDENTITY and not name.endswith(_BOOKKEEPING)
)
"""The columns of `matrices` that are numbers of a matrix."""
_RANKS = ("stable_rank", "effective_rank", "participation")
FEWEST = 3  # matrices of a role whose spread is a scale


def grows_with_size(measure: str) -> bool:
    """Whether a measure counts singular values: a count, or a rank of any kind."""
    return _EVERY[measure].dtype == COUNT or measure.removeprefix("equalised_") in _RANKS


def chosen_measures(asked: Sequence[str], first: Iterable[str], second: Iterable[str]) -> list[str]:
    """The measures that both runs have, of those asked for.

    Raises:
      RunError: one asked for is no measure, or none of them is in both runs.
    """
    for name in asked:
        if name not in MEASURES:
            raise RunError(f"measures: {name} is no number of a matrix{near(name, MEASURES)}")
    both = set(first) & set(second)
    chosen = [name for name in (asked or MEASURES) if name in both]
    if not chosen:
        raise RunError(f"measures: {', '.join(asked)}: not in both runs; a sweep with other options has it")
    return chosen


def differences(pairs: Sequence[Pair], measures: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the table `comparison`, without run and other: every measure of every pair whose matrices are ok.

    A measure without a value in either matrix has no row.
    """
    pairs = [p for p in pairs if p.first["status"] == p.second["status"] == "ok"]
    apart = [_b(p.first) != _b(p.second) for p in pairs]
    roles = [p.role for p in pairs]
    mixed = {role: any(a for a, r in zip(apart, roles, strict=True) if r == role) for role in roles}
    per_value = np.array([mixed[role] for role in roles], bool)  # a role is compared in one way
    rows: list[dict[str, Any]] = []
    for measure in measures:
        values = np.array([[scalar(p.first, measure), scalar(p.second, measure)] for p in pairs]).reshape(-1, 2)
        shares = per_value & grows_with_size(measure)
        sizes = np.array([[_b(p.first), _b(p.second)] for p in pairs], float).reshape(-1, 2)
        values = np.where(shares[:, None], values / sizes, values)
        scales = _scales(values, roles)
        for i, pair in enumerate(pairs):
            if np.isnan(values[i]).all():
                continue
            scale, of = scales[i]
            difference = values[i, 1] - values[i, 0] if np.isfinite(values[i]).all() else float("nan")
            rows.append(
                key_of_pair(pair)
                | {"measure": measure, "per_value": bool(shares[i]), "value": values[i, 0], "value_other": values[i, 1]}
                | {"difference": difference, "scale": scale, "scale_of": of, "size": difference / scale}
            )
    return rows


def key_of_pair(pair: Pair) -> dict[str, Any]:
    """The columns KEY of a pair, without run and other."""
    return {
        "pair": str(pair.first["name"]),
        "role": pair.role,
        "block": block_of(pair.first),
        "block_other": block_of(pair.second),
        "expert": scalar_or_none(pair.first, "expert"),
    }


def _b(row: Row) -> int:
    return min(int(row["m"]), int(row["n"]))


def _scales(values: np.ndarray, roles: Sequence[str]) -> list[tuple[float, str | None]]:
    """Of every pair the pooled standard deviation of its role, or of all, and which it is; NaN where both are 0."""
    overall = _pooled(values)
    names = np.array(roles)
    by_role = {role: _pooled(values[names == role]) for role in dict.fromkeys(roles)}

    def choose(role: str) -> tuple[float, str | None]:
        if by_role[role] > 0:
            return by_role[role], "role"
        return (overall, "run") if overall > 0 else (float("nan"), None)

    return [choose(role) for role in roles]


def _pooled(values: np.ndarray) -> float:
    """sqrt((v + w)/2) of the variances of both columns; NaN with fewer than FEWEST finite values in one of them."""
    columns = [x[np.isfinite(x)] for x in values.T]
    if min(x.size for x in columns) < FEWEST:
        return float("nan")
    return float(np.sqrt(np.mean([x.var(ddof=1) for x in columns])))
