"""Fine-tuning of a language model on answers, kept at chosen steps, each held against the start.

A step of AdamW takes rate * weight_decay of every weight away, besides what the gradient does: alone, that would leave
c W of a matrix W, the same shape at another scale. What is not c W the gradients put there, and that alone can change
the shape of a spectrum. With `undecayed` the same training is done once more without weight decay.
"""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.studies.causal.tables import LAYOUT, MATRIX, SERIES, Causal, folder_of, open_causal, snapshot_of
from eigensweep.engine.studies.causal.task import Task, read_task, steps_of
from eigensweep.engine.studies.devices import mesh_of
from eigensweep.engine.studies.finetune.looks import telling
from eigensweep.engine.studies.finetune.options import SWEPT, FinetuneOptions
from eigensweep.engine.studies.fleet.options import SeriesOptions
from eigensweep.engine.studies.series.study import run_series
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.matrices import identity_row
from eigensweep.engine.tables.parts import Work
from eigensweep.models import Checkpoint, nn, open_checkpoint
from eigensweep.models.export import write_parameters

_HEAD = "unembedding"


def run_causal(
    checkpoint: Checkpoint, options: FinetuneOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Causal:
    """Do every training and measurement that is not done yet, and read the tables back.

    The models stay in `workdir`/snapshots/weight-decay-*/step-*, and with `options.spectra` a series of their sweeps
    in `workdir`/series/weight-decay-*.

    Raises:
      RunError, CheckpointError, DataError: with the message for the user. Of a training that diverges the models kept
        until then stay.
    """
    mesh = mesh_of(options.devices)
    task, workdir = read_task(checkpoint, options), Path(workdir)
    total, steps = steps_of(options, len(task.train.row))
    resolved = replace(options, save_at=steps)
    identity = {"checkpoint": checkpoint.identity, "options": resolved.to_json(), "data": {"sha256": task.sha256()}}
    record: dict[str, Any] = {"rows": task.sizes(), "steps": total, "warnings": list(checkpoint.warnings)}
    with claimed(workdir, LAYOUT, identity, record) as work:
        if not work.done:
            _Worker(checkpoint, task, resolved, total, work, on_progress, mesh).run()
    if options.spectra:
        _follow(checkpoint, resolved, workdir, on_progress)
    return open_causal(workdir)


def _follow(checkpoint: Checkpoint, options: FinetuneOptions, workdir: Path, on_progress: OnProgress) -> None:
    """A series of sweeps of each training's models."""
    roles = tuple(role for role in SWEPT if role in {matrix.role for matrix in checkpoint.matrices})
    for decay in decays_of(options):
        sources = [str(snapshot_of(workdir, decay, step)) for step in options.save_at]
        swept = SeriesOptions(roles=roles, control="none")
        run_series(sources, swept, workdir / SERIES / folder_of(decay), on_progress=on_progress)


def decays_of(options: FinetuneOptions) -> tuple[float, ...]:
    """The weight decay of every training."""
    return (options.weight_decay, 0.0) if options.undecayed else (options.weight_decay,)


@dataclass
class _Worker:
    checkpoint: Checkpoint
    task: Task
    options: FinetuneOptions
    total: int
    work: Work
    on_progress: OnProgress
    mesh: Mesh | None

    def run(self) -> None:
        """Do what is still to do, and merge."""
        trainings = {f"weight decay {decay:g}": decay for decay in decays_of(self.options)}
        measured = {
            f"{name}, step {step}": (decay, step) for name, decay in trainings.items() for step in self.options.save_at
        }
        units = [*trainings, *measured]
        todo = self.work.todo(units)
        for done, unit in enumerate(todo, len(units) - len(todo) + 1):
            start = time.perf_counter()
            rows = self._train(trainings[unit]) if unit in trainings else self._measure(*measured[unit])
            seconds = time.perf_counter() - start
            for row in rows.get("causal", ()):
                row["seconds"] = seconds
            self.work.write({unit: rows}, {"total": seconds})
            self.on_progress(Progress(done, len(units), done, len(units), unit, "measured"))
        shutil.rmtree(self.work.directory / "training", ignore_errors=True)
        self.work.finish(units)

    def _train(self, decay: float) -> dict[str, list[dict[str, Any]]]:
        """Train, keep the models; the looks at the validation rows."""
        model, params = nn.load(self.checkpoint, self.options.dtype, mesh=self.mesh, param_dtype="float32")
        self.task.tokenizer.save_pretrained(self.work.directory / "tokenizer")
        _, progress = nn.train(
            model,
            params,
            self.task.train,
            self.task.validation,
            self._recipe(decay),
            self.options.seeds[0],
            directory=self.work.directory / "training" / folder_of(decay),
            mesh=self.mesh,
            on_look=telling(self.on_progress, f"weight decay {decay:g}"),
            head=_HEAD,
            save_at=self.options.save_at,
            on_save=partial(self._keep, decay),
        )
        return {"causal_history": [{"weight_decay": decay} | look for look in progress.history]}

    def _keep(self, decay: float, step: int, params: Any) -> None:
        """Write the model of a step; one that is there is of an earlier start: the same, or half written."""
        folder = snapshot_of(self.work.directory, decay, step)
        shutil.rmtree(folder, ignore_errors=True)
        stored = {"quantization_config", "dtype", "torch_dtype"}
        config = {key: value for key, value in (self.checkpoint.config or {}).items() if key not in stored}
        leaves = {path: np.asarray(leaf) for path, leaf in nn.walk(params)}
        write_parameters(config | {"dtype": "float32"}, leaves, folder, self.work.directory / "tokenizer")

    def _measure(self, decay: float, step: int) -> dict[str, list[dict[str, Any]]]:
        """What the model of a step makes of answers and text, and how far its matrices are from those of step 0."""
        kept, start = (open_checkpoint(snapshot_of(self.work.directory, decay, at)) for at in (step, 0))
        model, params = nn.load(kept, self.options.dtype, mesh=self.mesh)
        alone = nn.decay_alone(self._recipe(decay), self.total, step)
        key = {"weight_decay": decay, "step": step}
        row = key | {"decay_alone": alone}
        for name, rows in (("answer", self.task.test), ("text", self.task.text)):
            scores = None
            if rows is not None:
                scores = nn.score(model, params, rows, self.options.batch_size, _HEAD, self.mesh)
            row |= {f"{name}_loss": scores.mean if scores else np.nan}
            row |= {f"{name}_accuracy": scores.accuracy if scores else np.nan}
        return {"causal": [row], "causal_matrices": [key | moved for moved in distances(start, kept, alone)]}

    def _recipe(self, decay: float) -> nn.TrainOptions:
        return replace(self.options.train_options(len(self.task.train.row)), weight_decay=decay)


def distances(start: Checkpoint, kept: Checkpoint, alone: float) -> Iterator[dict[str, Any]]:
    """A row a matrix: what it has become of W, beside `alone` W, which decay without a gradient would leave."""
    others = {matrix.name: matrix for matrix in kept.matrices}
    for matrix in start.matrices:
        w, now = (np.asarray(each.read(), np.float64) for each in (matrix, others[matrix.name]))
        row = {name: value for name, value in identity_row(matrix).items() if name in MATRIX}
        norm, norm_now = np.linalg.norm(w), np.linalg.norm(now)
        with np.errstate(divide="ignore", invalid="ignore"):
            yield row | {
                "norm": float(norm_now),
                "norm_ratio": float(norm_now / norm),
                "cosine": float(np.vdot(w, now) / (norm * norm_now)),
                "added": float(np.linalg.norm(now - alone * w) / norm_now),
            }
