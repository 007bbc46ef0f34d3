"""The members of a fine-tuning study, one after the other: train, remove, measure."""

import dataclasses
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from eigensweep.bin.measured import with_matrices
from eigensweep.engine.run import finetune as table
from eigensweep.engine.run.ablation import edit
from eigensweep.engine.run.ablation_plan import AblationOptions, resolve_scopes
from eigensweep.engine.run.lock import locked
from eigensweep.engine.spectral.removal import Removal
from eigensweep.models import nn, open_checkpoint
from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.data import Rows
from eigensweep.models.nn.parameters import Params
from eigensweep.models.nn.save import write_trained
from eigensweep.models.nn.training import Progress, TrainOptions, train, with_classifier

VERSIONS = ("eigensweep", "jax", "jaxlib", "flax", "optax", "numpy")


@dataclass(frozen=True)
class Task:
    """Rows to learn from, to stop by, and held out; `labels` are the classes."""

    train: Rows
    validation: Rows
    test: Rows
    labels: tuple[str, ...]

    def sha256(self) -> str:
        """Over all rows."""
        total = hashlib.sha256()
        for rows in (self.train, self.validation, self.test):
            for array in rows:
                total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def majority(self) -> dict[str, float]:
        """What knowing only the shares of the labels gives on the held-out rows: accuracy, and loss in nats."""
        counts = np.bincount(self.train.targets, minlength=len(self.labels)) + 1.0
        loss = -np.log(counts / counts.sum())[self.test.targets].mean()
        return {"accuracy": float(np.mean(self.test.targets == counts.argmax())), "loss": float(loss)}


@dataclass(frozen=True)
class StudyOptions:
    """What determines a study besides checkpoint and data; no deciles: plain fine-tuning, a model a seed."""

    train: TrainOptions
    seeds: tuple[int, ...]
    deciles: tuple[int, ...]
    scopes: tuple[str, ...]
    orders: tuple[str, ...] = ("before", "after")
    dtype: str = "float32"
    devices: int = 1


@dataclass(frozen=True)
class Member:
    """One fine-tuned model, see `eigensweep.engine.run.finetune`."""

    seed: int
    order: str = "none"
    scope: str = ""
    decile: int = 0

    def __str__(self) -> str:
        removal = f" {self.scope} decile {self.decile}" if self.decile else ""
        return f"seed {self.seed} {self.order}{removal}"

    @property
    def unit(self) -> str:
        """Its part's name."""
        return str(self).replace(" ", "-")


def members_of(options: StudyOptions) -> list[Member]:
    """In the order of the work: a seed's baseline first, then the cheap ones that only measure it."""
    removals = [(scope, decile) for scope in options.scopes for decile in options.deciles]
    orders = sorted(options.orders)  # "after" comes first
    return [
        member
        for seed in options.seeds
        for member in (
            Member(seed),
            *(Member(seed, order, *removal) for order in orders for removal in removals),
        )
    ]


def run_study(
    checkpoint: Checkpoint, task: Task, options: StudyOptions, workdir: Path, tell: Callable[[str], None]
) -> table.Finetuning:
    """Do every member that is not done yet, and read the tables back.

    The models fine-tuned with nothing removed stay in `workdir`/models/seed-<seed>.

    Raises:
      CheckpointError, InputError, RunError: with the message for the user.
    """
    options = dataclasses.replace(options, scopes=tuple(resolve_scopes(checkpoint.matrices, options.scopes)))
    study = table.study_in(workdir)
    members = members_of(options)
    worker = _Worker(checkpoint, task, options, workdir, tell)
    with locked(workdir):
        if not study.begin(_identity(checkpoint, task, options)):
            finished = study.finished()
            for i, member in enumerate(members, 1):
                if member.unit in finished:
                    continue
                start = time.perf_counter()
                rows = worker.do(member)
                seconds = time.perf_counter() - start
                rows["members"][0]["seconds"] = seconds
                study.write(member.unit, rows)
                worker.forget(member)
                scored = rows["members"][0]
                tell(
                    f"{i} of {len(members)}: {member}: loss {scored['loss']:.4f}, accuracy {scored['accuracy']:.3f}, "
                    f"{seconds:.0f} s"
                )
            study.finish([member.unit for member in members], _record(task))
    return table.open_finetune(workdir)


def _identity(checkpoint: Checkpoint, task: Task, options: StudyOptions) -> dict[str, Any]:
    return {
        "checkpoint": checkpoint.identity["sha256"],
        "source": checkpoint.identity["source"],
        "data": task.sha256(),
        "labels": list(task.labels),
        **dataclasses.asdict(options),
    }


def _record(task: Task) -> dict[str, Any]:
    return {
        "majority": task.majority(),
        "rows": {name: len(getattr(task, name).row) for name in ("train", "validation", "test")},
        "versions": {name: version(name) for name in VERSIONS},
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
    }


@dataclass
class _Worker:
    checkpoint: Checkpoint
    task: Task
    options: StudyOptions
    workdir: Path
    tell: Callable[[str], None]

    def do(self, member: Member) -> dict[str, list[dict[str, Any]]]:
        """The member's rows of every table."""
        if member.order == "after":
            return self._after(member)
        model, params, taken = self._start(member)
        params, progress = train(
            model,
            params,
            self.task.train,
            self.task.validation,
            self.options.train,
            member.seed,
            directory=self._training(member),
            mesh=self._mesh,
            on_look=partial(self._on_look, member),
        )
        if member.order == "none":
            target = self._model(member.seed)
            shutil.rmtree(target, ignore_errors=True)  # of a start that was killed before it noted the member
            write_trained(self.checkpoint, model, params, target)
        return self._measure(member, model, params, progress, taken)

    def forget(self, member: Member) -> None:
        """Remove the states of a training that is noted."""
        shutil.rmtree(self._training(member), ignore_errors=True)

    def _start(self, member: Member) -> tuple[nn.Model, Params, dict[str, Any]]:
        """The model to train: the checkpoint's, with a head, without the decile that the member says."""
        model, params = nn.load(self.checkpoint, self.options.dtype, mesh=self._mesh, param_dtype="float32")
        model, params = with_classifier(model, params, len(self.task.labels), member.seed)
        if self._mesh is not None:
            params = jax.device_put(params, nn.shardings(model.abstract(), self._mesh))
        if not member.decile:
            return model, params, {"num_matrices": 0, "energy": 0.0}
        params, taken = _without(self.checkpoint, params, member)
        return model, params, taken

    def _after(self, member: Member) -> dict[str, list[dict[str, Any]]]:
        trained = open_checkpoint(self._model(member.seed))
        model, params = nn.load(trained, self.options.dtype, mesh=self._mesh)
        params, taken = _without(trained, params, member)
        return self._measure(member, model, params, None, taken)

    def _measure(
        self,
        member: Member,
        model: nn.Model,
        params: Params,
        progress: Progress | None,
        taken: dict[str, Any],
    ) -> dict[str, list[dict[str, Any]]]:
        size = self.options.train.batch_size
        scores = nn.score(model, params, self.task.test, size, "classifier", self._mesh)
        name = dataclasses.asdict(member)
        row = name | taken | {"loss": scores.mean, "accuracy": scores.accuracy}
        if progress is not None:
            row |= {
                "validation_loss": progress.best_loss,
                "best_step": progress.best_step,
                "steps": progress.step,
            }
        history = progress.history if progress is not None else []
        return {
            "members": [row],
            "rows": [name | {"row_loss": scores.loss, "row_correct": scores.correct.astype(np.float64)}],
            "history": [name | look for look in history],
        }

    def _on_look(self, member: Member, progress: Progress, total: int) -> None:
        look = progress.history[-1]
        self.tell(
            f"  {member}: step {progress.step} of {total}: train {look['train_loss']:.4f}, "
            f"validation {look['validation_loss']:.4f}, accuracy {look['validation_accuracy']:.3f}"
        )

    @property
    def _mesh(self) -> Any:
        return nn.make_mesh(data=self.options.devices) if self.options.devices > 1 else None

    def _training(self, member: Member) -> Path:
        return self.workdir / "training" / member.unit

    def _model(self, seed: int) -> Path:
        return self.workdir / "models" / f"seed-{seed}"


def _without(checkpoint: Checkpoint, params: Params, member: Member) -> tuple[Params, dict[str, Any]]:
    """The parameters without the member's decile, and what went; matrices are the checkpoint's."""
    edited = edit(checkpoint, member.scope, Removal("decile", str(member.decile)), AblationOptions())
    before = {matrix.name: matrix for matrix in checkpoint.matrices if matrix.name in edited}
    gone = total = 0.0
    for name, matrix in before.items():
        w = matrix.read().astype(np.float64)
        gone, total = gone + float(np.sum((w - edited[name]) ** 2)), total + float(np.sum(w**2))
    return with_matrices(params, checkpoint, edited), {"num_matrices": len(edited), "energy": gone / total}


def seeds_and_deciles(on_accelerator: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A study's defaults: on CPU two seeds, the largest, a middle and the smallest decile; else five and all ten."""
    if on_accelerator:
        return tuple(range(5)), tuple(range(1, 11))
    return (0, 1), (1, 5, 10)


def split(rows: Rows, num_train: int, validation: float, num_test: int, seed: int) -> Iterator[Rows]:
    """Rows to learn from, to stop by, and held out, in a fixed random order.

    Raises:
      ValueError: one of them would be empty.
    """
    num = len(rows.row)
    order = np.random.default_rng(seed).permutation(num)
    looks = round(num_train * validation)
    if not 0 < looks < num_train < num:
        raise ValueError(
            f"{num} rows cannot be split: num_train {num_train} (validation rows among them: {looks}) must leave rows "
            "to learn from, to validate on and to hold out"
        )
    end = num if num_test < 1 else min(num, num_train + num_test)
    for part in (order[looks:num_train], order[:looks], order[num_train:end]):
        yield rows.take(part)._replace(row=np.arange(len(part), dtype=np.int32))
