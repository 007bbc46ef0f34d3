"""A removal study: take chosen singular values out of chosen matrices, measure the model, hold it against the baseline.

The engine knows no models: it hands replaced matrices to `evaluate`, which gives the losses of every row of the data.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from eigensweep.engine.run.ablation_factors import factored, low_rank, matrix_row
from eigensweep.engine.run.ablation_plan import AblationOptions, Scopes, check_bands, resolve_scopes
from eigensweep.engine.run.ablation_store import BASELINE, STUDY, Ablation, Parts, open_ablation
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.run.inputs import MatrixCollection
from eigensweep.engine.run.lock import locked
from eigensweep.engine.run.store import read_manifest, write_manifest
from eigensweep.engine.run.sweep import VERSIONS
from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.removal import Factors, Removal


class Measured(Protocol):
    """What one evaluation gives: an entry a row of the data, (N,) each."""

    @property
    def loss(self) -> np.ndarray: ...  # mean loss over the row's targets, nats
    @property
    def weight(self) -> np.ndarray: ...  # the row's weight in the mean loss
    @property
    def correct(self) -> np.ndarray: ...  # targets that were predicted
    @property
    def count(self) -> np.ndarray: ...  # targets


Evaluate = Callable[[Mapping[str, np.ndarray]], Measured]
"""Measures the model with these matrices, (m, n) by name, in place of its own; {} is the model as it is."""


@dataclass(frozen=True)
class AblationProgress:
    """What `on_progress` is told after every removal: how many are done, and which one was the last."""

    done: int
    total: int
    scope: str = ""
    removal: str = ""


def ablate(
    checkpoint: MatrixCollection,
    evaluate: Evaluate,
    evaluation: Mapping[str, Any],
    options: AblationOptions,
    workdir: str | Path,
    on_progress: Callable[[AblationProgress], None] | None = None,
) -> Ablation:
    """Measure the model without the chosen singular values, removal by removal.

    The matrices of a scope are decomposed once, and kept while a later scope needs them.

    Args:
      checkpoint: what `eigensweep.models.open_checkpoint` gives.
      evaluate: see `Evaluate`; called once for the baseline and once a removal that takes something.
      evaluation: what it measures on which data, JSON-able: tells this study from others.
      options: see `AblationOptions`.
      workdir: directory of the study; an unfinished one is continued after its last finished removal.
      on_progress: called at the start and after every removal.

    Raises:
      RunError: unknown scopes; a matrix that cannot be decomposed; a band that a matrix has not; a `workdir` that holds
        something else, is in use, or cannot be written.
    """
    scopes = resolve_scopes(checkpoint.matrices, options.scopes)
    removals = removal.expand(options.removals, options.num_draws)
    check_bands(scopes, removals)
    names = list(dict.fromkeys(source.name for sources in scopes.values() for source in sources))
    tasks = [(scope, str(taken)) for scope in scopes for taken in removals]
    report = on_progress or (lambda progress: None)
    directory = Path(workdir)
    with locked(directory):
        manifest = _claim(directory, checkpoint, evaluation, options)
        if manifest["status"] == "done":
            return open_ablation(directory)
        parts, start = Parts(directory), time.perf_counter()
        parts.prepare()
        todo = [task for task in tasks if not parts.has("removal", task)]
        done = len(tasks) - len(todo)
        report(AblationProgress(done, len(tasks)))
        if not parts.has("removal", BASELINE):
            baseline = _measure(evaluate, {})
            if not np.isfinite(baseline["loss"]):
                raise RunError(
                    f"the model's loss is {baseline['loss']}: there is nothing to measure changes by"
                )
            parts.write("removal", BASELINE, baseline | dict.fromkeys(_COUNTS, 0) | _named(*BASELINE))
        for row in _work(scopes, removals, set(todo), parts, evaluate, options):
            parts.write("removal", (row["scope"], row["removal"]), row)
            done += 1
            report(AblationProgress(done, len(tasks), row["scope"], row["removal"]))
        parts.merge(tasks, names, options.to_json())
        seconds = round(time.perf_counter() - start, 3)
        write_manifest(directory, manifest | {"status": "done", "timings": {"last_start": seconds}})
        parts.remove()
    return open_ablation(directory)


def edit(
    checkpoint: MatrixCollection, scope: str, taken: Removal, options: AblationOptions
) -> dict[str, np.ndarray]:
    """The matrices that one removal replaces, float64 (m, n) by name: what `ablate` evaluates with these options.

    Raises:
      RunError: see `ablate`.
    """
    scopes = resolve_scopes(checkpoint.matrices, (scope,))
    check_bands(scopes, (taken,))
    edited = {}
    for source, found in (item for sources in scopes.values() for item in factored(sources, options)):
        low = low_rank(taken, source, {source.name: found}, options)
        if low.rank:
            edited[source.name] = removal.remove(found.w, low)
    return edited


_COUNTS = ("matrices", "values", "removed", "energy")


def _named(scope: str, taken: str) -> dict[str, Any]:
    return {"scope": scope, "removal": taken, "kind": taken.split(":")[0], "draw": 0}


def _claim(
    directory: Path, checkpoint: MatrixCollection, evaluation: Mapping[str, Any], options: AblationOptions
) -> dict[str, Any]:
    """The manifest of the study in `directory`: the one there if it is this very study, else a new one."""
    there = read_manifest(directory)
    if there is None:
        if (directory / "finetune.json").exists():
            raise RunError(f"{directory}: holds a fine-tuning study; take a new workdir")
        manifest = {
            "eigensweep": version("eigensweep"),
            "study": STUDY,
            "status": "running",
            "checkpoint": checkpoint.identity,
            "evaluation": dict(evaluation),
            "options": options.to_json(),
            "versions": {name: version(name) for name in VERSIONS},
            "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
            "warnings": list(checkpoint.warnings),
        }
        write_manifest(directory, manifest)
        return manifest
    if there.get("study") != STUDY:
        raise RunError(f"{directory}: holds a run of another kind; take a new workdir")
    differences = options.differences(there["options"])
    differences += [
        f"{name}: {there['evaluation'].get(name)!r} there, {value!r} now"
        for name, value in evaluation.items()
        if there["evaluation"].get(name) != value
    ]
    if there["checkpoint"].get("sha256") != checkpoint.identity.get("sha256"):
        differences.insert(0, f"checkpoint: {there['checkpoint'].get('source')} there, its contents differ")
    if differences:
        raise RunError(
            f"{directory}: holds another study ({'; '.join(differences)}). Take a new workdir, or start it with what "
            "is there."
        )
    return there


def _work(
    scopes: Scopes,
    removals: Sequence[Removal],
    todo: set[tuple[str, str]],
    parts: Parts,
    evaluate: Evaluate,
    options: AblationOptions,
) -> Iterator[dict[str, Any]]:
    """The row of every removal still to do, scope by scope."""
    factors: dict[str, Factors] = {}
    for position, (scope, sources) in enumerate(scopes.items()):
        mine = [taken for taken in removals if (scope, str(taken)) in todo]
        needed = [s for s in sources if mine or not parts.has("matrix", (s.name,))]
        for source, found in factored([s for s in needed if s.name not in factors], options):
            factors[source.name] = found
            if not parts.has("matrix", (source.name,)):
                parts.write("matrix", (source.name,), matrix_row(source, found, options))
        for taken in mine:
            low = {s.name: low_rank(taken, s, factors, options) for s in sources}
            replaced = {n: removal.remove(factors[n].w, update) for n, update in low.items() if update.rank}
            # nothing to take out (a matrix without outliers): the baseline, known already
            row = _measure(evaluate, replaced) if replaced else parts.read("removal", BASELINE)
            squares = {name: float(np.sum(factors[name].s ** 2)) for name in low}
            yield (
                row
                | _named(scope, str(taken))
                | {
                    "draw": taken.draw,
                    "matrices": len(sources),
                    "values": sum(min(s.shape) for s in sources),
                    "removed": sum(update.rank for update in low.values()),
                    "energy": sum(squares[n] * u.energy for n, u in low.items()) / sum(squares.values()),
                }
            )
        later = {s.name for others in list(scopes.values())[position + 1 :] for s in others}
        factors = {name: found for name, found in factors.items() if name in later}


def _measure(evaluate: Evaluate, replaced: Mapping[str, np.ndarray]) -> dict[str, Any]:
    start = time.perf_counter()
    scores = evaluate(replaced)
    loss = float(np.sum(scores.weight * scores.loss) / np.sum(scores.weight))
    with np.errstate(over="ignore"):
        perplexity = float(np.exp(loss))
    return {
        "loss": loss,
        "perplexity": perplexity,
        "accuracy": float(np.sum(scores.correct) / np.sum(scores.count)),
        "seconds": time.perf_counter() - start,
        "row_loss": np.asarray(scores.loss, np.float64),
        "row_weight": np.asarray(scores.weight, np.float64),
        "row_correct": np.asarray(scores.correct, np.float64),
        "row_count": np.asarray(scores.count, np.float64),
    }
