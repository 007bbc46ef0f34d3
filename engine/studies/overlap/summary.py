"""The overlap study in a table: a row a role, outside the Marchenko-Pastur edges against inside."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.spectrum import known_mean
from eigensweep.engine.report.style import aligned
from eigensweep.engine.spectral.permutation import permutation_p
from eigensweep.engine.studies.overlap.figure_covariances import CENTRED, TAP_TITLES, by_kind
from eigensweep.engine.studies.overlap.figures import Vectors, by_role
from eigensweep.engine.studies.overlap.study import Overlap

if TYPE_CHECKING:
    import pandas as pd

_MEAN, _POSITIONS = "the part of it in the mean of all tokens", "the part of it in the means of the positions"
SHARES = (
    ("inputs", "what the activations enter"),
    ("number", "how many there are"),
    ("first", "share of tr F in its largest eigenvalue"),
    ("mean", _MEAN),
    ("positions", _POSITIONS),
    ("second", "share of tr F in its second eigenvalue"),
    ("mean", _MEAN),
    ("positions", _POSITIONS),
)
# Column -> (heading, what it is).
HEADINGS = {
    "role": ("role", "what the matrices do; with the shape where a role has several"),
    "matrices": ("matrices", "how many there are"),
    "num_right": ("n right", "singular values above the right edge, all matrices together"),
    "num_inside": ("n inside", "between the edges"),
    "num_left": ("n left", "below the left edge (square matrices have none)"),
    "right": ("O right", "mean overlap of the singular vectors above the right edge"),
    "inside": ("O inside", "of those between the edges"),
    "left": ("O left", "of those below the left edge"),
    "smallest": ("O smallest", "of the smallest tenth of each matrix's singular values, wherever the edge"),
    "null": ("null", "mean overlap for a random rotation"),
    "axis_right": ("j right", "median rank of the axis that they overlap with most, 1: the largest eigenvalue of F"),
    "axis_left": ("j left", "the same of those below the left edge"),
    "p_right": ("p right", "one-sided, right > inside: permutations within each matrix"),
    "p_left": ("p left", "one-sided, left > inside"),
    "p_smallest": ("p smallest", "one-sided, smallest tenth > all others that are not above the right edge"),
}
_COUNTS = ("matrices", "num_right", "num_inside", "num_left")


def overlap_table(found: Overlap, seed: int = 0) -> "pd.DataFrame":
    """A row a role, in the order in which activations meet them: the columns of HEADINGS, NaN where undefined.

    Args:
      found: a finished study.
      seed: of the permutations.
    """
    import pandas as pd

    groups = by_role(found).items()
    return pd.DataFrame([_row(label, members, seed) for label, members in groups], columns=list(HEADINGS))


def _row(label: str, members: list[Vectors], seed: int) -> dict[str, Any]:
    overlap = [v.overlap for v in members]
    right, left, smallest = ([getattr(v, side) for v in members] for side in ("right", "left", "smallest"))
    inside = [~r & ~l for r, l in zip(right, left, strict=True)]
    tests = {"p_right": (right, left), "p_left": (left, right), "p_smallest": (smallest, right)}
    result: dict[str, Any] = {
        "role": label,
        "matrices": len(members),
        "num_right": int(sum(map(np.sum, right))),
        "num_inside": int(sum(map(np.sum, inside))),
        "num_left": int(sum(map(np.sum, left))),
        "null": float(np.mean([v.null for v in members])),
    }
    for name, masks in (("right", right), ("inside", inside), ("left", left), ("smallest", smallest)):
        result[name] = known_mean(np.concatenate([x[mask] for x, mask in zip(overlap, masks, strict=True)]))
    for name, masks in (("axis_right", right), ("axis_left", left)):
        ranks = np.concatenate([v.partner[mask] for v, mask in zip(members, masks, strict=True)])
        result[name] = float(np.median(ranks)) if ranks.size else math.nan
    for name, (chosen, without) in tests.items():
        values = [np.where(other & ~mine, np.nan, x) for x, mine, other in zip(overlap, chosen, without, strict=True)]
        result[name] = permutation_p(values, chosen, seed)
    return result


def render_overlap(table: "pd.DataFrame") -> str:
    """The table as aligned plain text for a terminal."""
    lines = [[heading for heading, _ in HEADINGS.values()]]
    lines += [cells(row) for row in table.to_dict("records")]
    return aligned(lines)


def covariance_table(found: Overlap) -> "pd.DataFrame":
    """A row a kind of input: medians over blocks of what the first two eigenvalues of F hold, and of their parts.

    Columns: input, inputs, then of either eigenvalue its share of tr F, and the parts of it that the mean of all
    tokens and the means of the positions carry; NaN in runs of versions that did not keep them.
    """
    import pandas as pd

    rows = []
    for kind, members in by_kind(found).items():
        row: dict[str, Any] = {"input": TAP_TITLES.get(kind, f"into {kind.removesuffix('/kernel')}")}
        row["inputs"] = len(members)
        for j, name in enumerate(("first", "second")):
            there = [m for m in members if m["num_axes"] > j]
            values = {
                name: [m["evals"][j] / np.sum(m["evals"]) for m in there],
                **{f"{name}_{part}": [_part(m, part, j) for m in there] for part in ("mean", "position")},
            }
            row |= {key: float(np.median(v)) if v else math.nan for key, v in values.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _part(row: Mapping[str, Any], part: str, j: int) -> float:
    shares = row.get(f"{part}_share")
    return math.nan if shares is None else float(shares[j])


def share_cells(found: Overlap) -> list[list[str]]:
    """`covariance_table` as text, a cell a heading of SHARES."""
    return [
        [kind, str(count), *(f"{share:.1%}" if math.isfinite(share) else "–" for share in shares)]
        for _, kind, count, *shares in covariance_table(found).itertuples()
    ]


def covariances(found: Overlap) -> str:
    """What F is, and what its table shows."""
    return (
        f"F = mean x x^T, {CENTRED[found.centring]}: share of tr F in its first two eigenvalues; of each, the part in "
        "the mean, in positions' means; medians over the inputs"
    )


def render_covariances(found: Overlap) -> str:
    """The table as aligned plain text, under a line that says what it is."""
    table = aligned([[heading for heading, _ in SHARES], *share_cells(found)])
    return "\n".join([*textwrap.wrap(covariances(found), 100), table])


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the table as text, a cell a heading."""
    return [_cell(column, row) for column in HEADINGS]


def _cell(column: str, row: Mapping[str, Any]) -> str:
    value = row[column]
    if column == "role" or column in _COUNTS:
        return str(value)
    if not math.isfinite(value):
        return "–"
    digits = {"axis": "g", "p": ".4f"}.get(column.split("_")[0], ".3f")
    return f"{value:{digits}}"
