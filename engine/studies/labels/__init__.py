"""Labels of singular directions read as tokens: by a language model behind an endpoint, and by hand."""

from typing import Any

import numpy as np

from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.studies.labels import summary
from eigensweep.engine.studies.labels.tables import KEYS, LAYOUT, Labels, open_labels


def view_of(found: Labels) -> View:
    """What the page shows of labels: shares and agreement as tables, and the labels beside their lists of tokens."""
    tables = []
    for heading, columns, frame in (
        ("Lists of tokens that are interpretable", summary.SHARES, summary.shares_table(found)),
        ("Agreement of judges", summary.AGREEMENT, summary.agreement_table(found)),
    ):
        if len(frame):
            rows = [summary.cells(row, columns) for row in frame.to_dict("records")]
            tables.append(Table(heading, [*columns.values()], rows))
    return View("Labels of directions", tables=tables, warnings=summary.open_lines(found), data=_labels(found))


def _labels(found: Labels) -> dict[str, Any]:
    """The labels of those lists that the page keeps, by their number there (`tokens.page`)."""
    from eigensweep.engine.studies.tokens.page import kept
    from eigensweep.engine.studies.tokens.study import open_tokens

    if found.directory is None:
        return {}
    directions = open_tokens(found.directory).tables["directions"]
    rows = directions.take(kept(directions).rows.ravel()).select(KEYS).to_pylist()
    place = {tuple(row.values()): i for i, row in enumerate(rows)}
    shown = [(place[key], row) for row in found.tables["labels"].to_pylist() if (key := _key(row)) in place]
    judges, statuses = (list(dict.fromkeys(row[name] for _, row in shown)) for name in ("judge", "status"))
    words = list(dict.fromkeys(row["label"] for _, row in shown if row["label"]))
    number = {word: i for i, word in enumerate(words, 1)}
    labels = {
        "judges": judges, "statuses": statuses, "words": words,
        "list": np.array([i for i, _ in shown], np.uint32),
        "judge": np.array([judges.index(row["judge"]) for _, row in shown], np.uint16),
        "status": np.array([statuses.index(row["status"]) for _, row in shown], np.uint8),
        "label": np.array([number.get(row["label"], 0) for _, row in shown], np.uint32),
    }  # fmt: skip
    return {"labels": labels}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in KEYS)


REPORTED = register(Reported(LAYOUT, open_labels, view_of, lambda found: {}))
