"""N runs as one table: key columns run, checkpoint, revision and step in front of `matrices`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigensweep.engine.tables.columns import COUNT, TEXT, Column
from eigensweep.engine.tables.result import Result

if TYPE_CHECKING:
    import pandas as pd

KEYS: dict[str, Column] = {
    "run": Column(TEXT, "", "the run's name: its directory's, with as many parents as tell the runs apart"),
    "checkpoint": Column(TEXT, "", "where the checkpoint came from: folder, file, or hub id"),
    "revision": Column(TEXT, "", "of a hub id, what stands behind its @; null where nothing does"),
    "step": Column(COUNT, "", "training step, read from the revision or the last folder's name; null without one"),
}
_STEP = re.compile(r"(?:^|[^a-z])(?:step|steps|checkpoint|ckpt|iter|iteration)[-_=.]?(\d{1,18})(?!\d)", re.I)


def stack(runs: Sequence[Result], table: str = "matrices", labels: Sequence[str] | None = None) -> "pd.DataFrame":
    """The rows of `table` of all runs, the KEYS of each run in front of them; counts are nullable integers.

    Args:
      runs: finished runs, in the order in which their rows are wanted.
      table: one of their tables; columns that a run has not are null in its rows.
      labels: names of the runs; by default `labels_of`.

    Raises:
      ValueError: no runs, or labels that are not one a run.
    """
    import pandas as pd

    if not runs:
        raise ValueError("there are no runs to stack")
    names = list(labels_of(runs) if labels is None else labels)
    if len(names) != len(runs):
        raise ValueError(f"there are {len(runs)} runs and {len(names)} labels")
    frames = []
    for name, run in zip(names, runs, strict=True):
        keys = key_of(run) | {"run": name}
        front = pd.DataFrame({key: pd.Series([keys[key]] * len(run.frame(table))) for key in KEYS})
        front = front.astype({"step": "Int64"} | {key: object for key in ("run", "checkpoint", "revision")})
        frames.append(pd.concat([front, run.frame(table).reset_index(drop=True)], axis=1))
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def key_of(run: Result) -> dict[str, Any]:
    """The KEYS of one run, but for its name, which depends on its neighbours."""
    source = str(run.manifest.get("checkpoint", {}).get("source", ""))
    hub = run.manifest.get("checkpoint", {}).get("hub")
    revision = source.rpartition("@")[2] if hub and "@" in source else None
    return {"checkpoint": source, "revision": revision, "step": step_of(source)}


def step_of(source: str) -> int | None:
    """The training step that a checkpoint's name tells: `step-00500`, `checkpoint-500`, `owner/name@step1000`.

    Read from what stands behind the @, else from the last part of the path; None where it tells none.

    >>> step_of("runs/roberta/step-00500"), step_of("EleutherAI/pythia-160m@step1000"), step_of("gpt2")
    (500, 1000, None)
    """
    last = source.rstrip("/").rpartition("@")[2].rpartition("/")[2]
    found = _STEP.search(last)
    return int(found[1]) if found else None


def labels_of(runs: Sequence[Result]) -> list[str]:
    """A name a run: its directory's, with as many parents as tell them apart."""
    return tails([run.directory or run.manifest["checkpoint"].get("source", "run") for run in runs])


def tails(places: Sequence[str | Path]) -> list[str]:
    """The last parts of paths or hub ids, as many as tell them apart; numbers where nothing does.

    >>> tails(["runs/a/step-1", "runs/b/step-1"])
    ['a/step-1', 'b/step-1']
    """
    paths = [Path(place).resolve() for place in places]
    for depth in range(1, max(len(p.parts) for p in paths) + 1):
        labels = ["/".join(p.parts[-depth:]) for p in paths]
        if len(set(labels)) == len(paths):
            return labels
    return [f"{label} ({i})" for i, label in enumerate(labels, 1)]
