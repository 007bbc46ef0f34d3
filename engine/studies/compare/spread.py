"""How steady a model is: the spread of every measure over its blocks, role by role."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import block_of, grouped, scalar

FEWEST = 6  # blocks that an interval is taken of


def spread_rows(
    rows: Sequence[Mapping[str, Any]], measures: Sequence[str], seed: int, num_resamples: int
) -> list[dict[str, Any]]:
    """Rows of the table `spread`, without its run.

    Args:
      rows: of `matrices`; those whose status is not ok and those outside blocks are left out.
      measures: columns.
      seed: of the bootstrap.
      num_resamples: bootstrap samples of the blocks.
    """
    inside = [dict(row) for row in rows if row["status"] == "ok" and block_of(row) is not None]
    found = []
    for role, members in grouped(inside).items():
        blocks = sorted({block_of(row) for row in members})  # type: ignore[type-var]
        for measure in measures:
            by_block: dict[Any, list[float]] = {block: [] for block in blocks}
            for row in members:
                if np.isfinite(value := scalar(row, measure)):
                    by_block[block_of(row)].append(value)
            values = np.array([np.median(x) for x in by_block.values() if x])
            if values.size:
                found.append({"role": role, "measure": measure, **_of(values, seed, num_resamples)})
    return found


def _of(values: np.ndarray, seed: int, num_resamples: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "num_blocks": int(values.size),
        "median": float(np.median(values)),
        "iqr": float(np.subtract(*np.quantile(values, [0.75, 0.25]))),
        "sd": float(values.std(ddof=1)) if values.size > 1 else float("nan"),
        "spread": float("nan"), "spread_low": float("nan"), "spread_high": float("nan"),
    }  # fmt: skip
    if (values > 0).all() and values.size > 1:
        row["spread"] = float(relative_iqr(values))
        if values.size >= FEWEST:
            chosen = np.random.default_rng(seed).integers(0, values.size, (num_resamples, values.size))
            row["spread_low"], row["spread_high"] = np.quantile(relative_iqr(values[chosen]), [0.025, 0.975]).tolist()
    return row


def relative_iqr(values: np.ndarray) -> np.ndarray:
    """(75 % point - 25 % point)/median over the last axis."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=-1)
    return (high - low) / middle
