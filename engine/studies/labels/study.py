"""The labels of a tokens run: what judges said of its lists of tokens, in one table beside it.

Models are asked through an endpoint and keep their answers in `labels/answers.jsonl`; persons mark lists in the page
and hand in a file. Every start writes the whole table anew from what it knows, under the lock of the run directory.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eigensweep.engine.run.progress import OnProgress, silent
from eigensweep.engine.studies.labels import prompts
from eigensweep.engine.studies.labels.answers import Answers
from eigensweep.engine.studies.labels.hand import read_marks
from eigensweep.engine.studies.labels.labelling import Labelled, TokenList, check_lists, label_lists
from eigensweep.engine.studies.labels.options import LabelOptions
from eigensweep.engine.studies.labels.tables import (
    BY_HAND,
    INTERPRETABLE,
    KEYS,
    LABELS,
    LAYOUT,
    NOTHING,
    PLACE,
    Labels,
    directions_sum,
    open_labels,
)
from eigensweep.engine.tables.claim import locked
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import read_table, write_json, write_table

ANSWERS = Path("labels") / "answers.jsonl"


@dataclass(frozen=True)
class Chosen:
    """The lists of tokens of a run that options choose, and the tokens of all its lists, each once."""

    lists: list[TokenList]
    pool: list[str]


def chosen_lists(directory: Path, options: LabelOptions) -> Chosen:
    """What is to be labelled in a tokens run.

    Raises:
      RunError: no finished run, no text of tokens, nothing chosen, or too few tokens to verify a label with.
    """
    directions_sum(directory)
    table = read_table(directory / "directions.parquet").select([*PLACE, "tokens"])
    if table["tokens"].null_count:
        raise RunError(f"{directory}: its directions have no text of tokens (ids_only), so there is nothing to label")
    pool = pc.unique(pc.list_flatten(table["tokens"])).sort().to_pylist()
    asked = {"label_kinds": "kind", "label_blocks": "block", "label_indices": "index"}
    for name, column in asked.items():
        if wanted := getattr(options, name):
            there = set(table[column].unique().to_pylist())
            if absent := [each for each in wanted if each not in there]:
                raise RunError(f"{directory}: {name}: there is no {absent[0]} among its directions")
            table = table.filter(pc.is_in(table[column], pa.array(wanted, table.schema.field(column).type)))
    lists = [TokenList(f"{row['circuit']}:{row['index']}", tuple(row.pop("tokens")), row) for row in table.to_pylist()]
    if not lists:
        raise RunError(f"{directory}: no direction is of these kinds, blocks and indices at once")
    check_lists(lists, pool)
    return Chosen(lists, pool)


def label(directory: str | Path, options: LabelOptions, on_progress: OnProgress = silent) -> Labels:
    """Label directions of a tokens run through the endpoint of the options.

    Raises:
      RunError: no finished tokens run, another process is working there, the endpoint refuses or fails for good. Every
        answer that came is kept, and the next start asks only for the rest.
    """
    directory = Path(directory)
    directions_sum(directory)  # before a lock would make the directory
    with locked(directory):
        chosen = chosen_lists(directory, options)
        found = label_lists(chosen.lists, chosen.pool, Answers.open(directory / ANSWERS), options, on_progress)
        rows = [{**chosen.lists[i].place, **row} for i, row in sorted(found.rows.items())]
        return _write(directory, options.label_model, rows, _record(options, chosen, found))


def import_marks(directory: str | Path, paths: Sequence[str | Path]) -> Labels:
    """Take over labels that persons gave in the page; a person's earlier ones are replaced.

    Raises:
      RunError: a file is no such file, or of other directions.
    """
    directory = Path(directory)
    known = directions_sum(directory)
    with locked(directory):
        table = read_table(directory / "directions.parquet").select(PLACE)
        places = {tuple(row[key] for key in KEYS): row for row in table.to_pylist()}
        read = [read_marks(Path(path), known, places.keys()) for path in paths]
        for marks in read:
            rows = [
                {**places[key], "status": INTERPRETABLE if mark.shared else NOTHING, "label": mark.label}
                for key, mark in marks.marks.items()
            ]
            _write(directory, BY_HAND + marks.person, rows, {"kind": "person", "lists": len(rows)})
        return open_labels(directory)


def _record(options: LabelOptions, chosen: Chosen, found: Labelled) -> dict[str, Any]:
    """What the manifest says of a model: whatever its answers depend on, never the key."""
    asked = json.dumps([prompts.label_prompt([]), prompts.verify_prompt("", [])])
    return {
        "kind": "model",
        "url": options.label_url,
        "parameters": options.parameters,
        "prompts_sha256": hashlib.sha256(asked.encode()).hexdigest(),
        "level": options.label_level,
        "seed": options.label_seed,
        "lists": len(chosen.lists),
        "calls": found.calls,
        "open": len(found.open),
        "without_answer": len(found.failed),
        "failures": sorted(set(found.failed.values()))[:5],
    }


_SAME = ("kind", "parameters", "prompts_sha256", "level", "seed")  # rows of two starts may stand side by side


def _write(directory: Path, judge: str, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> Labels:
    """The table with a judge's rows new: those of other judges stay, and a model's of lists not chosen this time."""
    manifest = LAYOUT.read_manifest(directory)
    there: list[dict[str, Any]] = []
    judges: dict[str, Any] = {}
    if manifest is not None:
        before = open_labels(directory)
        there, judges = before.tables["labels"].to_pylist(), dict(before.manifest["judges"])
    old, new = judges.get(judge, {}), {tuple(row[key] for key in KEYS) for row in rows}
    keep = record["kind"] == "model" and all(old.get(key) == record[key] for key in _SAME)
    there = [row for row in there if row["judge"] != judge or (keep and tuple(row[key] for key in KEYS) not in new)]
    table = to_table(LABELS, [*there, *({"judge": judge, **row} for row in rows)])
    content = {
        "eigensweep": version("eigensweep"), "study": LAYOUT.study, "status": "done", "joins": list(LAYOUT.joins),
        "of": directions_sum(directory), "judges": {**judges, judge: dict(record)},
    }  # fmt: skip
    # no sum of the table: whatever is killed between the two files, each is whole and the pair can be read
    write_table(directory / "labels.parquet", table)
    write_json(directory / LAYOUT.manifest, content)
    return Labels({"labels": table}, content, directory)
