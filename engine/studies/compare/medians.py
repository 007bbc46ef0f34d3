"""Groups of roles within one run, block by block: attention against MLP."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import block_of, scalar
from eigensweep.engine.studies.compare.differences import grows_with_size
from eigensweep.engine.studies.compare.matching import Pair, Row
from eigensweep.engine.studies.compare.options import roles_of
from eigensweep.engine.tables.groups import group_of


def pairs_of_groups(
    rows: Sequence[Row], roles: tuple[str, ...], other_roles: tuple[str, ...], measures: Sequence[str]
) -> list[Pair]:
    """A pair a block and tower: the medians over the matrices of `roles`, and over those of `other_roles`.

    Counts and ranks are divided by b = min(m, n) of each matrix first: the shapes in a group differ.
    """
    blocks: dict[tuple[str, int], tuple[list[Row], list[Row]]] = {}
    sides = roles_of(roles), roles_of(other_roles)
    for row in rows:
        block = block_of(row)
        if block is None or row["status"] != "ok":
            continue
        for side, wanted in enumerate(sides):
            if row["role"] in wanted:
                blocks.setdefault((group_of(row).tower, block), ([], []))[side].append(row)
    label = f"{'+'.join(roles)} vs {'+'.join(other_roles)}"
    count = 1 + max((block for _, block in blocks), default=0)
    pairs = []
    for (tower, block), (first, second) in sorted(blocks.items()):
        if first and second:
            one, other = (_median(members, measures, tower, block, label) for members in (first, second))
            pairs.append(Pair(one, other, "group", ((block + 0.5) / count,) * 2, label))
    return pairs


def _median(members: Sequence[Row], measures: Sequence[str], tower: str, block: int, label: str) -> dict[str, Any]:
    """A row like a matrix's, of medians; its b is 1, so that shares stay shares."""
    row: dict[str, Any] = {"name": f"{label}, {tower + ' ' if tower else ''}block {block}", "role": label}
    row |= {"tower": tower, "guessed": False, "block": block, "expert": None, "m": 1, "n": 1, "status": "ok"}
    for measure in measures:
        sizes = [min(int(m["m"]), int(m["n"])) if grows_with_size(measure) else 1 for m in members]
        values = np.array([scalar(m, measure) / b for m, b in zip(members, sizes, strict=True)])
        known = values[~np.isnan(values)]
        row[measure] = float(np.median(known)) if known.size else float("nan")
    return row
