"""Distributions of activations: every tap in one pass, and the residual stream's dimensions."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax import Array

from eigensweep.engine.spectral.distribution import Distribution
from eigensweep.engine.studies.facts.described import block_of, row_of, unit_of
from eigensweep.engine.studies.facts.outliers import LARGE, LEAST_LARGE, THRESHOLD, robust_z
from eigensweep.models import data, nn

WHAT = {"stream": "stream", "updates": "update", "inputs": "input"}
Rows = dict[str, list[dict[str, Any]]]


@dataclass
class Seen:
    """What a tap has shown so far, in the two halves of the rows.

    Attributes:
      halves: None where a half has shown nothing yet.
      large: of the residual stream, tokens with |x| >= LARGE, a dimension each.
    """

    halves: list[Distribution | None] = field(default_factory=lambda: [None, None])
    large: Any = 0.0

    @property
    def found(self) -> Distribution:
        """Both halves together."""
        there = [half for half in self.halves if half is not None]
        return functools.reduce(Distribution.merged, there) if there else Distribution.of(np.zeros(0))


@dataclass
class Taps:
    """Takes the activations of one block after another, and gives each block's rows when it has seen all batches.

    Attributes:
      batches: of rows.
      num_blocks: of the model.
      todo: units whose rows are wanted.
      write: is given a unit and its rows.
    """

    batches: Sequence[data.Rows]
    num_blocks: int
    todo: Sequence[str]
    write: Callable[[str, Rows], None]
    _seen: dict[str, Seen] = field(default_factory=dict)

    def visit(self, number: int, taps: Mapping[str, Array]) -> None:
        """Batch `number`'s activations by tap."""
        unit = f"taps/{unit_of(next(iter(taps)))}" if taps else "taps/outside"
        if unit not in self.todo:
            return
        wanted = {tap: x for tap, x in taps.items() if self._is_wanted(tap)}
        for tap, x in wanted.items():
            self._add(tap, x, self._mask(tap, x, taps, number), number)
        if number == len(self.batches) - 1:
            self.write(unit, self._rows(wanted))

    def _is_wanted(self, tap: str) -> bool:
        """What leaves a block enters the next: only the last block's is described."""
        if tap.endswith("/routes"):
            return False
        return not tap.endswith("stream/after") or block_of(tap) == self.num_blocks - 1

    def _mask(self, tap: str, x: Array, taps: Mapping[str, Array], number: int) -> np.ndarray:
        mask = np.asarray(self.batches[number].attention_mask)
        if x.ndim == 2:  # a head that reads one vector a row
            return np.any(mask, axis=1)[:, None]
        routes = nn.routes_of(tap)
        return mask if routes is None else mask & (np.asarray(taps[routes[0]][..., routes[1]]) > 0)

    def _add(self, tap: str, x: Any, mask: np.ndarray, number: int) -> None:
        x = x[:, None] if x.ndim == 2 else x
        x = np.asarray(x.astype(np.float32)) if jax.default_backend() == "cpu" else x
        seen = self._seen.setdefault(tap, Seen())
        if nn.kind_of(tap) == "stream":
            seen.large = seen.large + np.asarray(((abs(x) >= LARGE) & mask[..., None]).sum((0, 1)))
        place = number * len(mask) + np.arange(len(mask))
        second = place >= sum((batch.row >= 0).sum() for batch in self.batches) / 2
        for half, rows in enumerate((~second, second)):
            if mask[rows].any():
                found, before = Distribution.of_rows(x[rows], mask[rows]), seen.halves[half]
                seen.halves[half] = found if before is None else before.merged(found)

    def _rows(self, taps: Mapping[str, Any]) -> Rows:
        rows: Rows = {"distributions": [], "dimensions": []}
        for tap in taps:
            seen = self._seen.pop(tap)
            rows["distributions"].append(row_of(WHAT[nn.kind_of(tap)], tap, seen.found))
            if nn.kind_of(tap) == "stream":
                rows["dimensions"] += dimension_rows(tap, seen)
        return rows


def dimension_rows(tap: str, seen: Seen) -> list[dict[str, Any]]:
    """Rows of `dimensions`, without what needs all blocks."""
    parts = seen.found.parts
    z = robust_z(parts)
    halves = [np.zeros(len(z), bool) if half is None else robust_z(half.parts) > THRESHOLD for half in seen.halves]
    large = seen.large / np.maximum(parts.count, 1)
    columns = {
        "count": parts.count.astype(int),
        **{"mean": parts.mean, "sd": parts.sd, "kurtosis": parts.kurtosis},
        **{"robust_z": z, "large": large, "outlier": z > THRESHOLD},
        **{"outlier_first": halves[0], "outlier_second": halves[1], "outlier_int8": large >= LEAST_LARGE},
    }
    about = {"tap": tap, "block": block_of(tap)}
    values = {name: column.tolist() for name, column in columns.items()}
    return [{**about, "dim": i, **{name: column[i] for name, column in values.items()}} for i in range(len(z))]
