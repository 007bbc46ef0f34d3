"""What a fine-tuning study found: its tables, and the changes against the baseline of the same seed.

Effects compare models of one seed, whose head, order of rows and dropout are the same.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eigensweep.engine.run.factors import FOLDER
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.spectral.student import mean_interval
from eigensweep.engine.studies.ablation.columns import BOOTSTRAP
from eigensweep.engine.studies.finetune.looks import LOOK
from eigensweep.engine.tables.check import check_lengths, check_same_rows
from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result, frame_of

NAME = "finetune"
ORDERS = ("none", "before", "after")
_MEMBER = {
    "seed": Column(COUNT, "", "of head, order of the rows and dropout"),
    "order": Column(TEXT, "", "removed `before` or `after` fine-tuning; `none`: the baseline of the seed"),
    "scope": Column(TEXT, "", "role, matrix or group that loses the decile; stream: what norms read; empty: baseline"),
    "decile": Column(COUNT, "", "1 holds the largest singular values, 10 the smallest; 0 nothing"),
}
FINETUNE = {
    **_MEMBER,
    "num_matrices": Column(COUNT, "", "matrices that lose values"),
    "energy": Column(FLOAT, "", "sum |W - W'|_F^2 / sum |W|_F^2 over them; stream: mean |x - x'|^2/|x|^2 over norms"),
    "loss": Column(FLOAT, "nats", "mean cross-entropy of the held-out rows"),
    "accuracy": Column(FLOAT, "", "share of the held-out rows with the right class"),
    "validation_loss": Column(FLOAT, "nats", "lowest of the training; null for `after`, which trains nothing"),
    "best_step": Column(COUNT, "", "steps done at that look, whose weights are measured"),
    "steps": Column(COUNT, "", "steps of the training"),
    "seconds": Column(FLOAT, "s", "of training, removal and measurement; since the last start"),
}
ROWS = {
    **_MEMBER,
    "row_loss": Column(LIST, "nats", "cross-entropy of every held-out row"),
    "row_correct": Column(LIST, "", "1 where its class is right, else 0"),
}
HISTORY = {**_MEMBER, **LOOK}
EFFECTS = {
    "measure": Column(TEXT, "", "what changes: loss (nats) or accuracy; [y] is its unit"),
    "scope": _MEMBER["scope"],
    "decile": _MEMBER["decile"],
    "order": Column(TEXT, "", "before, after, or `after - before`: the change by one less that by the other"),
    "change": Column(FLOAT, "[y]", "mean over seeds and rows of y less that of the same seed's baseline"),
    "low": Column(FLOAT, "[y]", "lower end of its 95 % bootstrap interval over rows", BOOTSTRAP),
    "high": Column(FLOAT, "[y]", "upper end", BOOTSTRAP),
    "seed_low": Column(FLOAT, "[y]", "change - t_0.975 sd(seeds) / sqrt(#seeds); -infinite for one seed"),
    "seed_high": Column(FLOAT, "[y]", "change + the same"),
    "seeds": Column(LIST, "[y]", "each seed's change"),
}
_TABLES = {"finetune": FINETUNE, "finetune_rows": ROWS, "finetune_history": HISTORY}
LAYOUT = Layout(
    NAME,
    _TABLES,
    "finetune.json",
    keys={"finetune": tuple(_MEMBER), "finetune_rows": tuple(_MEMBER), "finetune_history": (*_MEMBER, "step")},
    needed={
        "finetune": ("loss", "accuracy"),
        "finetune_rows": ("row_loss", "row_correct"),
        "finetune_history": ("train_loss", "validation_loss"),
    },
    record=("majority",),
    unfinished=("training", FOLDER),
)
MEASURES = {"loss": "row_loss", "accuracy": "row_correct"}


class Finetuning(Result):
    """A finished study; the manifest has the majority baseline, too."""

    layout: ClassVar[Layout] = LAYOUT

    def check(self, directory: Path) -> None:
        """Every member has its rows of data, as many as the others, and its seed's baseline."""
        members, rows = self.tables["finetune"], self.tables["finetune_rows"]
        path = directory / "finetune_rows.parquet"
        check_same_rows(path, rows, members, tuple(_MEMBER))
        count = len(rows["row_loss"][0])
        check_lengths(path, rows, ("row_loss", "row_correct"), [count] * rows.num_rows)
        named = [tuple(row.values()) for row in members.select(list(_MEMBER)).to_pylist()]
        if lacking := sorted({seed for seed, *_ in named} - {seed for seed, *rest in named if rest == ["none", "", 0]}):
            raise RunError(f"{directory / 'finetune.parquet'}: is damaged: seed {lacking[0]} has no baseline")

    members = frame_of("finetune", "One row a member.")
    history = frame_of("finetune_history", "One row a look at the validation rows.")

    def changes(self, order: str, scope: str, decile: int, measure: str = "loss") -> np.ndarray:
        """(seeds, rows): a member's measure less that of the same seed's baseline, row by row.

        Raises:
          KeyError: there is no such member.
        """
        column = MEASURES[measure]
        rows = {
            (r["seed"], r["order"], r["scope"], r["decile"]): r[column]
            for r in self.tables["finetune_rows"].select([*_MEMBER, column]).to_pylist()
        }
        seeds = [s for s, o, *_ in rows if o == "none"]
        return np.array([np.subtract(rows[s, order, scope, decile], rows[s, "none", "", 0]) for s in seeds])

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
    run = Finetuning.read(directory)
    if "checkpoint" not in run.manifest:  # version 0.1
        old = run.manifest.get("identity", {})
        run.manifest["checkpoint"] = {"source": old.get("source"), "sha256": old.get("checkpoint")}
    return run


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
    seed_low, seed_high = mean_interval(by_seed)[1:] if len(by_seed) > 1 else (-np.inf, np.inf)
    return {
        "change": mean,
        "low": low,
        "high": high,
        "seed_low": seed_low,
        "seed_high": seed_high,
        "seeds": by_seed.tolist(),
    }
