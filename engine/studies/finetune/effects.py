"""The table of a fine-tuning study: what each member scored, and what removing singular values did to it.

A member is one fine-tuned model, measured on the same held-out rows:

    order "none"     fine-tuned, nothing removed; the baseline of its seed
    order "before"   a decile removed from the pretrained model, then fine-tuned
    order "after"    fine-tuned (the baseline's weights), then the decile removed

Effects are changes against the baseline of the same seed, whose head, order of rows and dropout are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eigensweep.engine.run.bootstrap import paired_interval
from eigensweep.engine.run.study import Study

if TYPE_CHECKING:
    import pandas as pd

NAME = "finetune"
ORDERS = ("none", "before", "after")
MEMBERS = pa.schema(
    [
        ("seed", pa.int64()),
        ("order", pa.string()),
        ("scope", pa.string()),
        ("decile", pa.int64()),
        ("num_matrices", pa.int64()),
        ("energy", pa.float64()),
        ("loss", pa.float64()),
        ("accuracy", pa.float64()),
        ("validation_loss", pa.float64()),
        ("best_step", pa.int64()),
        ("steps", pa.int64()),
        ("seconds", pa.float64()),
    ]
)
ROWS = pa.schema(
    [
        ("seed", pa.int64()),
        ("order", pa.string()),
        ("scope", pa.string()),
        ("decile", pa.int64()),
        ("row_loss", pa.list_(pa.float64())),
        ("row_correct", pa.list_(pa.float64())),
    ]
)
HISTORY = pa.schema(
    [
        ("seed", pa.int64()),
        ("order", pa.string()),
        ("scope", pa.string()),
        ("decile", pa.int64()),
        ("step", pa.int64()),
        ("train_loss", pa.float64()),
        ("validation_loss", pa.float64()),
        ("validation_accuracy", pa.float64()),
    ]
)
EFFECTS = pa.schema(
    [("measure", pa.string()), ("scope", pa.string()), ("decile", pa.int64()), ("order", pa.string())]
    + [(name, pa.float64()) for name in ("change", "low", "high", "seed_low", "seed_high")]
    + [("seeds", pa.list_(pa.float64()))]
)
MEASURES = {"loss": "row_loss", "accuracy": "row_correct"}


def study_in(directory: str | Path) -> Study:
    """The study of a run directory: finetune.parquet, finetune_rows and finetune_history.parquet, finetune.json."""
    return Study(directory, NAME, {"members": MEMBERS, "rows": ROWS, "history": HISTORY})


@dataclass(frozen=True)
class Finetuning:
    """A finished study.

    Attributes:
      tables: "members", "rows", "history" as Arrow tables.
      manifest: identity (checkpoint, data, options), the majority baseline, versions.
      directory: the run directory.
    """

    tables: dict[str, pa.Table]
    manifest: dict[str, Any]
    directory: Path

    @cached_property
    def members(self) -> "pd.DataFrame":
        """One row a member. Columns: engine.report.columns."""
        return self.tables["members"].to_pandas()

    @cached_property
    def _per_row(self) -> dict[tuple[int, str, str, int], dict[str, Any]]:
        return {
            (row["seed"], row["order"], row["scope"], row["decile"]): row
            for row in self.tables["rows"].to_pylist()
        }

    def changes(self, order: str, scope: str, decile: int, measure: str = "loss") -> np.ndarray:
        """(seeds, rows): a member's measure less that of the same seed's baseline, row by row.

        Raises:
          KeyError: there is no such member.
        """
        column = MEASURES[measure]
        seeds = [s for s, o, *_ in self._per_row if o == "none"]
        return np.array(
            [
                np.subtract(
                    self._per_row[seed, order, scope, decile][column],
                    self._per_row[seed, "none", "", 0][column],
                )
                for seed in seeds
            ]
        )

    def scopes(self) -> list[str]:
        """Of the removals, in the order of the study."""
        return list(dict.fromkeys(self.members.loc[self.members["order"] != "none", "scope"]))

    def orders(self) -> list[str]:
        """Of the removals: "before", "after" or both."""
        return [order for order in ORDERS[1:] if (self.members["order"] == order).any()]

    def deciles(self) -> list[int]:
        """That were removed, ascending."""
        return sorted({int(d) for d in self.members["decile"] if d})


def open_finetune(directory: str | Path) -> Finetuning:
    """Read what a fine-tuning study left.

    Raises:
      RunError: if `directory` holds no finished one.
    """
    study = study_in(directory)
    tables = {table: study.read(table) for table in study.schemas}
    return Finetuning(tables, study.manifest() or {}, Path(directory))


def effects(run: Finetuning, measure: str = "loss", seed: int = 0) -> list[dict[str, Any]]:
    """What each removal changed, in either order, and by how much the orders differ.

    Returns:
      A row a scope, decile and order; order "after - before" is the contrast, where both were done. `change` is the
      mean over seeds and rows; `low`, `high` its 95 % bootstrap interval over rows (for these trained models);
      `seed_low`, `seed_high` the 95 % interval of Student's t over seeds (for any seed; infinite with a single one);
      `seeds` each seed's change.
    """
    rows = []
    for scope in run.scopes():
        for decile in run.deciles():
            changes = {order: run.changes(order, scope, decile, measure) for order in run.orders()}
            if len(changes) == 2:
                changes["after - before"] = changes["after"] - changes["before"]
            for order, change in changes.items():
                rows.append({"scope": scope, "decile": decile, "order": order} | _interval(change, seed))
    return rows


def _interval(change: np.ndarray, seed: int) -> dict[str, Any]:
    mean, low, high = paired_interval(change.mean(axis=0), np.ones(change.shape[1]), seed)
    by_seed = change.mean(axis=1)
    half = _student_half_width(by_seed)
    return {
        "change": mean,
        "low": low,
        "high": high,
        "seed_low": mean - half,
        "seed_high": mean + half,
        "seeds": by_seed.tolist(),
    }


def _student_half_width(values: Sequence[float] | np.ndarray) -> float:
    from scipy import stats

    num = len(values)
    if num < 2:
        return float("inf")
    return float(stats.t.ppf(0.975, num - 1) * np.std(values, ddof=1) / np.sqrt(num))
