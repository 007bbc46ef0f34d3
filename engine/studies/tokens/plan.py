"""What a tokens study would take: how many circuits, how much memory, how much time by a trial on this machine."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from eigensweep.engine.report.style import aligned, duration
from eigensweep.engine.run.memory import GIB
from eigensweep.engine.spectral.factored import product_svd, product_values, side_svd
from eigensweep.engine.spectral.top_scores import SLAB_BYTES, top_scores
from eigensweep.engine.studies.tokens.directions import MOST_FLIPPED
from eigensweep.engine.studies.tokens.options import NONE, TokensOptions
from eigensweep.engine.studies.tokens.study import Subject, open_subject
from eigensweep.engine.studies.tokens.testing import is_uniform
from eigensweep.models import Checkpoint
from eigensweep.models.circuits import Outline

TRIAL_HEADS, TRIAL_SIDE, TRIAL_ROWS, TRIAL_VECTORS = 2, 1024, 8192, 1024


def describe_plan(checkpoint: Checkpoint, options: TokensOptions) -> str:
    """The plan as text: a row a kind of circuit, memory, time, and what is worth saying.

    Raises:
      CheckpointError, DataError, RunError: as `open_subject`.
    """
    subject = open_subject(checkpoint, options)
    outlines = [o for block in subject.blocks for o in subject.reader.outlines(block) if o.kind in subject.kinds]
    lines = [["kind", "circuits", "shape", "rank", "directions a circuit"]]
    for kind in subject.kinds:
        of = [o for o in outlines if o.kind == kind]
        if of:
            count, first = sum(len(o.heads) for o in of), of[0]
            rank = min(first.m, first.n, first.r)
            lines.append([kind, str(count), f"{first.m} x {first.n}", str(rank), str(_count(rank, options))])
    seconds = estimate(subject, outlines, options)
    spent = ", ".join(f"{what} {duration(of)}" for what, of in seconds.items())
    return "\n".join([
        f"{sum(len(o.heads) for o in outlines)} circuits in {len(subject.blocks)} blocks, {options.tokens} tokens of "
        f"{next(iter(subject.projections.values())).vocab_size} for both signs of every direction",
        "",
        aligned(lines),
        "",
        f"memory: about {memory(subject, outlines) / GIB:.2f} GiB, tables of tokens and one kind of circuit",
        f"time: about {duration(sum(seconds.values()))} on this machine, by a trial: {spent}",
        *(f"note: {note}" for note in subject.reader.notes),
    ])  # fmt: skip


def memory(subject: Subject, outlines: list[Outline]) -> float:
    """Peak bytes: the tables of tokens as stored, and of the largest kind factors, their decomposition and scores."""
    tables = sum(p.table.nbytes for p in {p.name: p for p in subject.projections.values()}.values())

    def of(o: Outline) -> float:
        if o.factored:
            return 8 * 5 * len(o.heads) * o.r * (o.m + o.n)
        return 8 * (3 * len(o.heads) * o.m * o.n + 6 * min(o.m, o.n) ** 2)

    return tables + max(of(o) for o in outlines) + 3 * SLAB_BYTES


def estimate(subject: Subject, outlines: list[Outline], options: TokensOptions) -> dict[str, float]:
    """Seconds by what they are spent on: a trial of each on smaller arrays, scaled by its arithmetic."""
    rng = np.random.default_rng(0)
    found = dict.fromkeys(("decomposing", "random signs", "searching the vocabulary"), 0.0)
    trials: dict[Any, float] = {}

    def timed(run: Callable[..., Any], *shapes: tuple[int, ...]) -> float:
        """Seconds of run(arrays of these shapes), tried once."""
        if (run, shapes) not in trials:
            arrays = [rng.standard_normal(shape) for shape in shapes]
            began = time.perf_counter()
            run(*arrays)
            trials[run, shapes] = time.perf_counter() - began
        return trials[run, shapes]

    for o in outlines:
        if o.factored:
            share, factors = len(o.heads) / TRIAL_HEADS, ((TRIAL_HEADS, o.m, o.r), (TRIAL_HEADS, o.r, o.n))
            found["decomposing"] += 2 * share * timed(product_svd, *factors)  # and once more for the fit of the noise
            found["random signs"] += options.num_flips * share * timed(product_values, *factors)
        else:
            b, a = sorted((o.m, o.n))
            shrink = min(1.0, TRIAL_SIDE / b)
            seconds = len(o.heads) * timed(_side, (1, round(a * shrink), round(b * shrink))) / shrink**3
            found["decomposing"] += seconds
            found["random signs"] += options.num_flips * seconds / 2 if b <= MOST_FLIPPED else 0.0
    table = next(iter(subject.projections.values())).table
    rows = table[: min(len(table), TRIAL_ROWS)]
    count = sum(len(o.heads) * _count(min(o.m, o.n, o.r), options) * sum(map(bool, o.sides)) for o in outlines)
    vectors = min(count, TRIAL_VECTORS)
    seconds = timed(lambda x: top_scores(rows, x, options.tokens), (vectors, table.shape[1]))
    one = seconds / max(vectors, 1) * len(table) / len(rows)
    found["searching the vocabulary"] = one * count
    if options.description != NONE:
        again = found["decomposing"] + found["searching the vocabulary"]
        drawn = one * options.num_draws * _num_laws(subject, outlines)
        found["tests of coherence"] = again * len(options.controls) + drawn
    return found


def _num_laws(subject: Subject, outlines: list[Outline]) -> int:
    """How many nulls are drawn: two uniform ones a table of tokens, and one of each side and neuron behind a gain."""
    folded = [
        (o.block, o.kind, side)
        for o in outlines
        for side, fold in zip(o.sides, subject.reader.folds(o), strict=True)
        if side and not is_uniform(fold) and o.kind != "mlp_gate"
    ]
    neurons = [o for o in outlines if o.kind in ("mlp_in", "mlp_gate") and not is_uniform(subject.reader.folds(o)[1])]
    return len(folded) + len(neurons) + 2 * len({p.name for p in subject.projections.values()})


def _side(w: np.ndarray) -> Any:
    return side_svd(w, "right")


def _count(rank: int, options: TokensOptions) -> int:
    return min(rank, options.first + options.last)
