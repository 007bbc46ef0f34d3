"""Which removals go through the model in one pass, and what is measured of them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.run.memory import GIB
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.spectral.removal import LowRank, Removal
from eigensweep.engine.studies.edited_model import Measure
from eigensweep.models import nn

OF_ROW = ("loss", "weight", "correct", "count")
TOGETHER_BYTES = 2 * GIB  # of what removals hold that go through the model in one pass
MOST_TOGETHER = 8  # of them: what an interruption loses
Group = list[tuple[Removal, dict[str, LowRank]]]
"""Removals, and what each subtracts from every matrix."""


def groups(removals: Iterable[tuple[Removal, dict[str, LowRank]]], measure: Measure) -> Iterator[Group]:
    """Removals with what they subtract, made one after the other: as many together as TOGETHER_BYTES hold."""
    group: Group = []
    held = 0
    for taken, low in removals:
        size = measure.stream_bytes + sum(update.left.nbytes + update.right.nbytes for update in low.values())
        full = measure.together is None or len(group) == MOST_TOGETHER or held + size > TOGETHER_BYTES
        if group and full:
            yield group
            group, held = [], 0
        group.append((taken, low))
        held += size
    if group:
        yield group


def evaluated(measure: Measure, variants: Sequence[Mapping[str, np.ndarray]]) -> list[dict[str, Any]]:
    """The columns of measurements, of all variants in one pass where that can be."""
    if not variants:
        return []
    start = time.perf_counter()
    together = measure.together or (lambda variants: [measure.evaluate(replaced) for replaced in variants])
    found = [_columns(scores) for scores in together(variants)]
    seconds = (time.perf_counter() - start) / len(variants)
    return [columns | {"seconds": seconds} for columns in found]


def measured(evaluate: Callable[[], nn.Scores]) -> dict[str, Any]:
    """The columns of one measurement of another kind."""
    start = time.perf_counter()
    columns = _columns(evaluate())
    return columns | {"seconds": time.perf_counter() - start}


def _columns(scores: nn.Scores) -> dict[str, Any]:
    loss = float(np.sum(scores.weight * scores.loss) / np.sum(scores.weight))
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(loss))
    return {
        "loss": loss,
        "perplexity": perplexity,
        "accuracy": float(np.sum(scores.correct) / np.sum(scores.count)),
        **{f"row_{key}": np.asarray(getattr(scores, key), np.float64) for key in OF_ROW},
    }


def bootstrap_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `paired_interval` in a study's options."""
    return {name: options[name] for name in ("seed", "num_resamples", "confidence")}


def changes(row: Mapping[str, Any], baseline: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, float]:
    """The columns `change` to `accuracy_high` of a measurement against the baseline, from both their rows of data."""
    loss, before, correct, had = (
        np.asarray(r[key], np.float64) for key in ("row_loss", "row_correct") for r in (row, baseline)
    )
    weight, count = (np.asarray(baseline[key], np.float64) for key in ("row_weight", "row_count"))
    hits = (correct - had) / np.maximum(count, 1)
    numbers = (
        *paired_interval(loss - before, weight, **bootstrap_options(options)),
        *paired_interval(hits, count, **bootstrap_options(options)),
    )
    names = ("change", "change_low", "change_high", "accuracy_change", "accuracy_low", "accuracy_high")
    return dict(zip(names, numbers, strict=True))
