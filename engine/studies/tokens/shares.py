"""Which share of the directions is coherent: by kind, block, index and relative depth, beside neurons and controls.

Two shares say two things. `at_level` is the share of tests with p <= level: of noise it is the level, whatever is
counted, so groups of any size compare. `rejected` is the share that survives Benjamini-Hochberg over the whole run.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.spectral.proportions import wilson_interval
from eigensweep.engine.studies.tokens.study import Tokens
from eigensweep.engine.studies.tokens.testing import DIRECTION, EMBEDDING, GAUSSIAN, MODEL, NEURON, SIGNS
from eigensweep.engine.tables.columns import COUNT, FLOAT, TEXT, Column

if TYPE_CHECKING:
    import pandas as pd

_TOLD = ["unit", "kind", "side", "block", "index", "end", "p_coherence", "rejected", "weights"]
SHARES: Mapping[str, Column] = {
    "by": Column(TEXT, "", "what tells the rows apart: all, kind, side, block, index, last (index from the end)"),
    "unit": Column(TEXT, "", "direction (of a circuit), neuron, or embedding (its eigenvectors)"),
    "group": Column(TEXT, "", "which kind, block or range of indices"),
    "place": Column(FLOAT, "", "of a block its number, of a range of indices its middle"),
    "tests": Column(COUNT, "", "directions, a sign and side each"),
    "share": Column(FLOAT, "", "of tests with p <= level: of noise the level"),
    "low": Column(FLOAT, "", "Wilson's 95 % interval of share, as if tests were independent: lower end"),
    "high": Column(FLOAT, "", "its upper end"),
    "rejected": Column(FLOAT, "", "share rejected by Benjamini-Hochberg over the run's tests of that unit"),
    "gaussian": Column(FLOAT, "", "share of Gaussian weights down the same path; NaN without that control"),
    "gaussian_rejected": Column(FLOAT, "", "of those the share rejected, in a family of their own"),
    "signs": Column(FLOAT, "", "share of the model's weights with random signs"),
    "signs_rejected": Column(FLOAT, "", "of those the share rejected, in a family of their own"),
}


def level_of(found: Tokens) -> float:
    """Of the tests of coherence."""
    return float(found.manifest.get("options", {}).get("coherence_level", 0.05))


def tests(found: Tokens) -> "pd.DataFrame":
    """Every test of the run, the model's and the controls', a row each; empty where nothing was tested."""
    import pandas as pd

    directions = found.directions
    if "p_coherence" not in directions or not directions["p_coherence"].notna().any():
        return pd.DataFrame(columns=_TOLD)
    own = directions.assign(unit=DIRECTION, weights=MODEL)
    units = found.units.assign(end=np.where(found.units["index"] <= _first(found), "first", "last"))
    both = pd.concat([own[_TOLD], units[_TOLD]], ignore_index=True)
    return both[both["p_coherence"].notna()]


def _first(found: Tokens) -> int:
    return int(found.manifest.get("options", {}).get("first", 50))


def shares(found: Tokens) -> "pd.DataFrame":
    """Shares by everything that tells tests apart: the columns of SHARES."""
    import pandas as pd

    every, level = tests(found), level_of(found)
    rows: list[dict] = []
    for unit in (DIRECTION, NEURON, EMBEDDING):
        of = every[every["unit"] == unit]
        if of.empty:
            continue
        rows.append(_row("all", unit, "all", np.nan, of, level))
        kinds = of["kind"] + of["side"].map(lambda side: f" {side}")
        rows += [_row("kind", unit, kind, np.nan, of[kinds == kind], level) for kind in dict.fromkeys(kinds)]
        if unit in (EMBEDDING, DIRECTION):
            rows += _by_index(unit, of, level)
        if unit != EMBEDDING:
            for block in sorted({int(b) for b in of["block"].dropna()}):
                rows.append(_row("block", unit, str(block), block, of[of["block"] == block], level))
    return pd.DataFrame(rows, columns=list(SHARES))


def _by_index(unit: str, of: "pd.DataFrame", level: float) -> list[dict]:
    first = of[of["end"] == "first"]
    rows = []
    for low, high in bands(int(first["index"].max()) if len(first) else 0):
        inside = first[first["index"].between(low, high)]
        name = str(low) if low == high else f"{low}-{high}"
        rows.append(_row("index", unit, name, (low * high) ** 0.5, inside, level))
    last = of[of["end"] == "last"]
    return [*rows, _row("last", unit, "last", np.nan, last, level)] if len(last) else rows


def bands(most: int) -> list[tuple[int, int]]:
    """Ranges of indices that double in width: 1, 2, 3-4, 5-8, ..., the last one as far as there are any."""
    found, low, high = [], 1, 1
    while low <= most:
        found.append((low, min(high, most)))
        low, high = high + 1, 2 * high
    return found


def _row(by: str, unit: str, group: str, place: float, of: "pd.DataFrame", level: float) -> dict:
    own = of[of["weights"] == MODEL]
    hit = int((own["p_coherence"] <= level).sum())
    low, high = wilson_interval(hit, len(own))
    row = {"by": by, "unit": unit, "group": group, "place": place, "tests": len(own)}
    row |= {"share": hit / len(own) if len(own) else np.nan, "low": float(low), "high": float(high)}
    row["rejected"] = _mean(own["rejected"])
    for weights in (GAUSSIAN, SIGNS):
        other = of[of["weights"] == weights]
        row[weights] = _mean(other["p_coherence"] <= level)
        row[f"{weights}_rejected"] = _mean(other["rejected"])
    return row


def _mean(x: "pd.Series") -> float:
    return float(x.astype(float).mean()) if len(x) else np.nan


def above_level(table: "pd.DataFrame", level: float) -> tuple[list[str], list[str]]:
    """Ranges of indices at which more directions are coherent than of noise, and the others.

    Above is where Wilson's interval of confidence 1 - 0.05/R lies above the level: of R ranges of noise none is, in at
    least 95 % of runs (as if tests were independent).
    """
    rows = table[(table["by"] == "index") & (table["unit"] == DIRECTION) & (table["tests"] > 0)]
    low, _ = wilson_interval((rows["share"] * rows["tests"]).round(), rows["tests"], 1 - 0.05 / max(len(rows), 1))
    above = low > level
    return rows["group"][above].tolist(), rows["group"][~above].tolist()


def by_depth(runs: Mapping[str, Tokens] | Sequence[Tokens]) -> "pd.DataFrame":
    """Shares of several models over relative depth, (block + 1/2)/blocks, side by side.

    Args:
      runs: finished studies, by name; or a sequence, named by their checkpoints.

    Returns:
      A row a model and block: model, depth, and the columns of SHARES.
    """
    import pandas as pd

    from eigensweep.engine.report.spectrum import checkpoint_name

    named = runs if isinstance(runs, Mapping) else {checkpoint_name(run): run for run in runs}
    frames = []
    for name, run in named.items():
        table = shares(run)
        of = table[(table["by"] == "block") & (table["unit"] == DIRECTION)]
        depth = (of["place"] + 0.5) / (of["place"].max() + 1)
        frames.append(of.assign(model=name, depth=depth))
    return pd.concat(frames, ignore_index=True)[["model", "depth", *SHARES]]
