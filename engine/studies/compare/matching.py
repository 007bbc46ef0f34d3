"""Which matrix of one run is held against which of another: by name, or by role and place in the stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eigensweep.engine.report.spectrum import block_of, grouped, scalar
from eigensweep.engine.tables.groups import group_of

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """Two matrices (rows of `run.matrices`), how they were matched, how deep each lies (NaN outside blocks), and what
    tables call their role: with tower, and with the first one's shape where the role has a few different ones.
    """

    first: Row
    second: Row
    by: str
    depths: tuple[float, float]
    role: str


@dataclass(frozen=True)
class Matched:
    """The pairs in the first run's order, and the rows that found no partner."""

    pairs: list[Pair]
    alone: tuple[list[Row], list[Row]]


def match(first: Sequence[Row], second: Sequence[Row], same_family: bool) -> Matched:
    """Match the matrices of two runs.

    Where both are of one architecture and a tower has as many blocks in both, by name. What is left: by role, tower,
    expert and place among its likes; in the same block where the tower has as many blocks in both, else at the nearest
    relative depth (block + 1/2)/blocks, every matrix once. Shapes may differ.

    Args:
      first, second: rows of `matrices`.
      same_family: whether both runs are of one known architecture.
    """
    count = _num_blocks(first), _num_blocks(second)
    roles = labels(first)
    pairs: dict[int, Pair] = {}
    taken: set[int] = set()

    def pair(i: int, j: int, by: str) -> None:
        depths = _depth(first[i], count[0]), _depth(second[j], count[1])
        pairs[i] = Pair(first[i], second[j], by, depths, roles[str(first[i]["name"])])
        taken.add(j)

    if same_family:
        place = {str(row["name"]): j for j, row in enumerate(second)}
        for i, row in enumerate(first):
            tower = group_of(row).tower
            if (j := place.get(str(row["name"]))) is not None and count[0].get(tower) == count[1].get(tower):
                pair(i, j, "name")
    mine = _by_kind(first, [i for i in range(len(first)) if i not in pairs])
    others = _by_kind(second, [j for j in range(len(second)) if j not in taken])
    for kind, blocks in mine.items():
        there = others.get(kind, {})
        tower = kind[0].tower
        if None in blocks and None in there:
            pair(blocks[None], there[None], "role")
        inside, outside = ({b: i for b, i in x.items() if b is not None} for x in (blocks, there))
        if count[0].get(tower) == count[1].get(tower):
            for block in inside.keys() & outside.keys():
                pair(inside[block], outside[block], "block")
        else:
            for i, j in _nearest(inside, outside, count[0].get(tower, 0), count[1].get(tower, 0)):
                pair(i, j, "depth")
    alone = (
        [row for i, row in enumerate(first) if i not in pairs],
        [row for j, row in enumerate(second) if j not in taken],
    )
    return Matched([pairs[i] for i in sorted(pairs)], alone)


def labels(rows: Sequence[Row]) -> dict[str, str]:
    """What tables call the role of each matrix, by its name."""
    return {str(row["name"]): label for label, of in grouped([*map(dict, rows)]).items() for row in of}


def _num_blocks(rows: Sequence[Row]) -> dict[str, int]:
    """How many blocks each tower has, by the largest number among its matrices."""
    found: dict[str, int] = {}
    for row in rows:
        if (block := block_of(row)) is not None:
            tower = group_of(row).tower
            found[tower] = max(found.get(tower, 0), block + 1)
    return found


def _depth(row: Row, num_blocks: Mapping[str, int]) -> float:
    block = block_of(row)
    return float("nan") if block is None else (block + 0.5) / num_blocks[group_of(row).tower]


def _by_kind(rows: Sequence[Row], places: Sequence[int]) -> dict[tuple[Any, ...], dict[int | None, int]]:
    """Places of rows by block, by what else must agree: group, expert, an adapter's part, and which of its likes."""
    kinds: dict[tuple[Any, ...], dict[int | None, int]] = {}
    seen: dict[tuple[Any, ...], int] = {}
    for i in places:
        row, block = rows[i], block_of(rows[i])
        part = str(row["name"]).rpartition(":")[2]
        what = (group_of(row), scalar_or_none(row, "expert"), part if part in ("base", "merged", "delta") else "")
        which = seen[(*what, block)] = seen.get((*what, block), -1) + 1
        kinds.setdefault((*what, which), {})[block] = i
    return kinds


def scalar_or_none(row: Row, column: str) -> int | None:
    """A whole number of a table; None where it is null."""
    value = scalar(row, column)
    return int(value) if value == value else None


def _nearest(
    mine: Mapping[int, int], others: Mapping[int, int], num_mine: int, num_others: int
) -> list[tuple[int, int]]:
    """Of every block of the shallower stack the block of the deeper one that is nearest in relative depth, each once.

    None is taken that lies nearer to where the next block of the shallower stack would be.
    """
    if num_mine > num_others:
        return [(i, j) for j, i in _nearest(others, mine, num_others, num_mine)]
    found, free = [], dict(others)
    for block, i in sorted(mine.items()):
        depth = (block + 0.5) / num_mine
        near = min(free, key=lambda b: (abs((b + 0.5) / num_others - depth), b), default=None)
        if near is not None and abs((near + 0.5) / num_others - depth) <= 0.5 / num_mine:
            found.append((i, free.pop(near)))
    return found
