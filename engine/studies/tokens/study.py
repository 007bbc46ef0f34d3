"""The tokens study: singular directions of every circuit of a model, as the tokens that they write or read.

One block after the other: its circuits are read, decomposed, held against random signs and projected. The memory is
that of one kind of circuit of one block and of the tables of tokens.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.run.stream import rank_eps
from eigensweep.engine.studies.data import tokenizer_of
from eigensweep.engine.studies.tokens.directions import (
    circuit_rows,
    decompose,
    direction_rows,
    directions_of,
    flipped_values,
)
from eigensweep.engine.studies.tokens.judging import Judge
from eigensweep.engine.studies.tokens.opening import described_by, description_of, frequency_of, text_ids
from eigensweep.engine.studies.tokens.options import AUTO, NONE, TokensOptions
from eigensweep.engine.studies.tokens.tables import LAYOUT
from eigensweep.engine.studies.tokens.tested_rows import EMBEDDING_UNIT, embedding_rows, tested_rows, with_rejections
from eigensweep.engine.studies.tokens.testing import Tester
from eigensweep.engine.tables.check import check_lengths
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.result import Result, frame_of
from eigensweep.models import Checkpoint
from eigensweep.models.circuits import KINDS, Projection, Reader, open_circuits, open_projection
from eigensweep.models.data import DataError, check_vocabulary, token_texts

WRITTEN = "written"


class Tokens(Result):
    """A finished tokens study."""

    layout: ClassVar = LAYOUT
    options: ClassVar[type[TokensOptions]] = TokensOptions

    def check(self, directory: Path) -> None:
        """Every direction is of a circuit that is there."""
        circuits, directions = self.tables["circuits"], self.tables["directions"]
        path = directory / "directions.parquet"
        if unknown := set(directions["circuit"].unique().to_pylist()) - set(circuits["circuit"].to_pylist()):
            raise RunError(f"{path}: is damaged: the table of circuits beside it has no {min(unknown)}")
        check_lengths(path, directions, ["scores"], pc.list_value_length(directions["token_ids"]).to_pylist())

    circuits = frame_of("circuits", "One row a circuit.")
    directions = frame_of("directions", "One row a direction, side and sign.")
    units = frame_of("units", "One row a tested unit and sign: neurons, directions of the embedding, and controls.")
    sides = frame_of("sides", "One row a circuit, side and kind of weights: how its directions hang together.")


open_tokens = Tokens.read


@dataclass(frozen=True)
class Subject:
    """What a study is of: the circuits, the tables of tokens by side, and the tokens' texts.

    Attributes:
      reader: of the circuits.
      kinds, blocks: those asked for.
      projections: by side.
      text: of every token; None where only their numbers are wanted.
    """

    reader: Reader
    kinds: tuple[str, ...]
    blocks: tuple[int, ...]
    projections: Mapping[str, Projection]
    text: list[str] | None

    @property
    def eps(self) -> float:
        """Of the numerical rank: that of the weights as they are stored, at most float32's."""
        return rank_eps(np.dtype(self.reader.leaves["blocks/0/attention/query/kernel"].dtype))


def open_subject(checkpoint: Checkpoint, options: TokensOptions) -> Subject:
    """Everything that a study needs besides the blocks, held against the options.

    Raises:
      CheckpointError: the checkpoint has no circuits or no such table, see `models.circuits`.
      DataError: no tokenizer, or another model's.
      RunError: blocks or kinds that the model has not.
    """
    reader = open_circuits(checkpoint, options.fold)
    arch, source = reader.architecture, checkpoint.source.name
    if beyond := [str(block) for block in options.blocks if block >= arch.num_blocks]:
        raise RunError(f"blocks: {', '.join(beyond)} not in {source}, which has blocks 0 to {arch.num_blocks - 1}")
    there = {outline.kind for outline in reader.outlines(0)}
    if absent := [kind for kind in options.kinds if kind not in there]:
        having = ", ".join(kind for kind in KINDS if kind in there)
        raise RunError(f"kinds: {', '.join(absent)} not in {source}, which has {having}")
    names = {side: options.projection for side in ("read", "query", "key", WRITTEN)}
    if options.projection == AUTO:
        names = dict.fromkeys(names, "embedding") | ({WRITTEN: "unembedding"} if arch.causal else {})
    checkpoint.fetch()
    opened = {name: open_projection(checkpoint, name, options.fold) for name in sorted(set(names.values()))}
    text = None if options.ids_only else _texts(checkpoint, options, next(iter(opened.values())).vocab_size)
    return Subject(
        reader,
        tuple(kind for kind in KINDS if kind in (options.kinds or there)),
        options.blocks or tuple(range(arch.num_blocks)),
        {side: opened[name] for side, name in names.items()},
        text,
    )


def _texts(checkpoint: Checkpoint, options: TokensOptions, vocab_size: int) -> list[str]:
    try:
        tokenizer = tokenizer_of(checkpoint, options.tokenizer)
    except DataError as error:
        raise DataError(
            f"{error}; give --config.tokenizer=FOLDER_OR_HUB_ID, or --config.ids_only for numbers of tokens alone"
        ) from error
    fewest = {"fewest": 0.0} if options.any_tokenizer else {}
    check_vocabulary(tokenizer, vocab_size, checkpoint.source.name, **fewest)
    return token_texts(tokenizer, vocab_size)


def run_tokens(
    checkpoint: Checkpoint, options: TokensOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Tokens:
    """The tokens study of a checkpoint.

    Raises:
      RunError: `workdir` holds another study, is in use, or cannot be written; the options do not serve.
      CheckpointError, DataError: as `open_subject`.
    """
    subject = open_subject(checkpoint, options)
    identity = {
        "checkpoint": checkpoint.identity,
        "options": options.to_json(),
        "tokenizer_sha256": None if subject.text is None else _digest(subject.text),
    }
    ids = text_ids(checkpoint, options)
    identity |= described_by(checkpoint, options, ids)
    used = {side for kind in subject.kinds for o in subject.reader.outlines(0) if o.kind == kind for side in o.sides}
    projections = {side: projection for side, projection in subject.projections.items() if side in used}
    record = {
        "projections": {side: projection.name for side, projection in projections.items()},
        "vocab_size": next(iter(projections.values())).vocab_size,
        "warnings": _notes(subject, projections),
        "frequency": "the text" if options.data else "the order of tokens' numbers",
    }
    with claimed(workdir, LAYOUT, identity, record) as work:
        blocks = {f"block.{block}": block for block in subject.blocks}
        units = [*blocks, *([] if options.description == NONE else [EMBEDDING_UNIT])]
        todo = set(work.todo(units))
        placed = {p.name: _placed(p.table) for p in projections.values()} if todo else {}
        searched = {side: (projection, placed.get(projection.name)) for side, projection in projections.items()}
        tested = bool(todo) and options.description != NONE
        tester = _tester(checkpoint, subject, searched, options, ids) if tested else None
        for number, unit in enumerate(units):
            on_progress(Progress(number, len(units), number, len(units), unit, "directions of"))
            if unit in todo:
                began = time.perf_counter()
                if unit in blocks:
                    rows = rows_of(subject, blocks[unit], searched, options, tester)
                else:
                    assert tester is not None
                    rows = {"units": embedding_rows(tester.judge, searched, options, subject.text)}
                work.write({unit: rows}, {"total": time.perf_counter() - began})
        if not work.done:
            on_progress(Progress(len(units), len(units), len(units), len(units), "", "writing the tables"))
            work.finish(units, partial(with_rejections, level=options.coherence_level))
    return open_tokens(workdir)


def rows_of(
    subject: Subject,
    block: int,
    projections: Mapping[str, tuple[Projection, Any]],
    options: TokensOptions,
    tester: Tester | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The rows of one block by table; without a tester nothing is tested."""
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in LAYOUT.tables}
    flips = flipped_values(subject.reader, block, subject.kinds, options.num_flips, options.seed)
    for circuits in subject.reader.read(block, subject.kinds):
        decomposed = decompose(circuits, subject.eps)
        found = directions_of(decomposed, projections, options)
        decays, columns, more = tested_rows(tester, decomposed, found, subject.text)
        of_circuits = circuit_rows(decomposed, flips.get(circuits.kind), options)
        rows["circuits"] += [row | decay for row, decay in zip(of_circuits, decays, strict=True)]
        for side, tested in zip(found, columns, strict=True):
            rows["directions"] += direction_rows(side, decomposed, options, subject.text, tested)
        for table, of in more.items():
            rows[table] += of
    if tester is not None:
        tester.judge.forget(1 + block)
    return rows


def _tester(
    checkpoint: Checkpoint,
    subject: Subject,
    tables: Mapping[str, tuple[Projection, Any]],
    options: TokensOptions,
    ids: np.ndarray | None,
) -> Tester:
    """What tests the directions; describes the tokens, which may take a forward pass of every one."""
    projections = [projection for projection, _ in tables.values()]
    description = description_of(checkpoint, options, subject.text, ids, projections[0].vocab_size)
    judge = Judge(description, frequency_of(projections, ids), options.tokens, options.num_draws, options.seed)
    return Tester(subject.reader, tables, judge, options, subject.eps)


def _placed(table: np.ndarray) -> Any:
    """The table where it is searched: on an accelerator once and for all, else where it is."""
    return table if jax.default_backend() == "cpu" else jnp.asarray(table)


def _notes(subject: Subject, projections: Mapping[str, Projection]) -> list[str]:
    notes = [*subject.reader.notes, *(note for p in projections.values() for note in p.notes)]
    if subject.text is None:
        notes.append("tokens are given by their numbers alone, as asked for")
    return list(dict.fromkeys(notes))


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()
