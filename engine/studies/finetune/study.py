"""A fine-tuning study: train classifiers, remove singular values before or after, measure all on the same rows.

A member is one fine-tuned model:

    order "none"     fine-tuned, nothing removed; the baseline of its seed
    order "before"   a decile removed from the pretrained model, then fine-tuned
    order "after"    fine-tuned (the baseline's weights), then the decile removed
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from eigensweep.engine.run.options import MatrixOptions
from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.spectral.removal import Removal
from eigensweep.engine.studies.ablation.factors import Decompositions, Removed
from eigensweep.engine.studies.ablation.scopes import resolve_scopes
from eigensweep.engine.studies.devices import mesh_of
from eigensweep.engine.studies.factors import factor_folder, factor_store
from eigensweep.engine.studies.finetune.effects import LAYOUT, Finetuning, open_finetune
from eigensweep.engine.studies.finetune.looks import telling
from eigensweep.engine.studies.finetune.options import SWEPT, FinetuneOptions
from eigensweep.engine.studies.finetune.projected import SCOPE, projected, scopes_of
from eigensweep.engine.studies.finetune.task import Task, read_task
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.sweep.study import sweep
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.parts import Work
from eigensweep.models import Checkpoint, nn, open_checkpoint


@dataclass(frozen=True)
class Member:
    """One fine-tuned model."""

    seed: int
    order: str = "none"
    scope: str = ""
    decile: int = 0

    def __str__(self) -> str:
        taken = f" {self.scope} decile {self.decile}" if self.decile else ""
        return f"seed {self.seed} {self.order}{taken}"

    @property
    def folder(self) -> str:
        """The name of its folder while it is trained."""
        return str(self).replace(" ", "-").replace("/", "+")


def members_of(options: FinetuneOptions, scopes: Mapping[str, Any]) -> list[Member]:
    """In the order of the work: a seed's baseline first, then the cheap ones that only measure it."""
    removals = [(scope, decile) for scope in scopes for decile in options.deciles]
    orders = sorted(options.orders)  # "after" comes first
    return [
        member
        for seed in options.seeds
        for member in (Member(seed), *(Member(seed, order, *taken) for order in orders for taken in removals))
    ]


def run_finetune(
    checkpoint: Checkpoint, options: FinetuneOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Finetuning:
    """Do every member that is not done yet, and read the tables back.

    The models fine-tuned with nothing removed stay in `workdir`/models/seed-<seed>; the sweeps before and after, with
    `options.spectra`, in `workdir`/sweeps.

    Raises:
      RunError, CheckpointError, DataError: with the message for the user.
    """
    mesh = mesh_of(options.devices)
    sizes = (options.num_train, options.validation, options.num_test)
    task, workdir = read_task(checkpoint, options, *sizes, options.split_seed), Path(workdir)
    scopes = scopes_of(checkpoint, options.scopes)
    resolved = replace(options, scopes=tuple(scopes)) if scopes else options
    identity = {
        "checkpoint": checkpoint.identity,
        "options": resolved.to_json(),
        "data": {"sha256": task.sha256(), "labels": list(task.labels)},
    }
    record: dict[str, Any] = {"majority": task.majority(), "rows": task.sizes(), "warnings": list(checkpoint.warnings)}
    if task.num_duplicates:
        record["warnings"].append(
            f"{task.num_duplicates} rows share their passage with another; each passage is in one part of the split"
        )
    members = members_of(resolved, scopes)
    store = factor_store(checkpoint.identity, resolved, workdir)
    decomposed = {checkpoint.identity["sha256"]: Decompositions(store, MatrixOptions())}
    with claimed(workdir, LAYOUT, identity, record) as work:
        if not work.done:
            with factor_folder(resolved, workdir):
                _Worker(checkpoint, task, resolved, work, on_progress, mesh, decomposed).run(members)
    if options.spectra:
        trained = open_checkpoint(workdir / "models" / f"seed-{options.seeds[0]}")
        roles = tuple(role for role in SWEPT if role in {m.role for m in checkpoint.matrices})
        for name, opened in (("before", checkpoint), ("after", trained)):
            sweep(opened, SweepOptions(roles=roles, control="none"), workdir / "sweeps" / name)
    return open_finetune(workdir)


@dataclass
class _Worker:
    checkpoint: Checkpoint
    task: Task
    options: FinetuneOptions
    work: Work
    on_progress: OnProgress
    mesh: Mesh | None
    decomposed: dict[str, Decompositions]  # by the digest of their checkpoint

    def run(self, members: list[Member]) -> None:
        """Do what is still to do, and merge."""
        names = [str(member) for member in members]
        todo = set(self.work.todo(names))
        for done, member in enumerate(members, 1):
            if str(member) not in todo:
                continue
            start = time.perf_counter()
            rows = self._do(member)
            seconds = time.perf_counter() - start
            scored = rows["finetune"][0] | {"seconds": seconds}
            self.work.write({str(member): rows | {"finetune": [scored]}}, {"total": seconds})
            shutil.rmtree(self._training(member), ignore_errors=True)
            what = f"{member}: loss {scored['loss']:.4f}, accuracy {scored['accuracy']:.3f}, {seconds:.0f} s"
            self.on_progress(Progress(done, len(members), done, len(members), what, "trained"))
        shutil.rmtree(self.work.directory / "training", ignore_errors=True)
        said = [word for decomposed in self.decomposed.values() for word in decomposed.store.said]
        self.work.finish(names, warnings=[*self.work.manifest.get("warnings", ()), *said])

    def _do(self, member: Member) -> dict[str, list[dict[str, Any]]]:
        """The member's rows of every table."""
        if member.order == "after":
            trained = open_checkpoint(self._model(member.seed))
            model, params = nn.load(trained, self.options.dtype, mesh=self.mesh)
            if member.scope == SCOPE:
                model, params, change, taken = self._projected(model, params, member)
                return self._measure(member, model, params, None, taken, change)
            params, taken = self._without(trained, params, member)
            return self._measure(member, model, params, None, taken)
        model, params, taken, change = self._start(member)
        params, progress = nn.train(
            model,
            params,
            self.task.train,
            self.task.validation,
            self.options.train_options(),
            member.seed,
            directory=self._training(member),
            mesh=self.mesh,
            on_look=telling(self.on_progress, str(member)),
            intervention=change,
        )
        if member.order == "none":
            target = self._model(member.seed)
            shutil.rmtree(target, ignore_errors=True)  # of a start that was killed before it noted the member
            nn.write_trained(self.checkpoint, model, params, target)
        return self._measure(member, model, params, progress, taken, change)

    def _start(self, member: Member) -> tuple[nn.Model, Any, dict[str, Any], nn.Intervention | None]:
        """The model to train: the checkpoint's, with a head, without the decile that the member says."""
        model, params = nn.load(self.checkpoint, self.options.dtype, mesh=self.mesh, param_dtype="float32")
        model, params = nn.with_classifier(model, params, len(self.task.labels), member.seed)
        if self.mesh is not None:
            params = jax.device_put(params, nn.shardings(model.abstract(), self.mesh))
        if not member.decile:
            return model, params, {"num_matrices": 0, "energy": 0.0}, None
        if member.scope == SCOPE:
            model, params, change, taken = self._projected(model, params, member)
            return model, params, taken, change
        params, taken = self._without(self.checkpoint, params, member)
        return model, params, taken, None

    def _projected(self, model: nn.Model, params: Any, member: Member) -> tuple[nn.Model, Any, Any, dict[str, Any]]:
        """The model whose norms read the stream without the member's decile of eigenvectors."""
        return projected(model, params, member.decile, self.task.train, self.options.batch_size, self.mesh)

    def _without(self, checkpoint: Checkpoint, params: Any, member: Member) -> tuple[Any, dict[str, Any]]:
        """The parameters without the member's decile, and what went; matrices are the checkpoint's."""
        sources = resolve_scopes(checkpoint.matrices, (member.scope,))[member.scope]
        decomposed = self._decompositions(checkpoint)
        for _ in decomposed.needed(sources):  # once for all deciles, and those of the start for all seeds
            pass
        taken = Removal("decile", str(member.decile))
        low = {source.name: decomposed.low_rank(taken, source) for source in sources}
        replaced = Removed(sources, low)
        squares = {name: decomposed.squares[name] for name in replaced}
        energy = sum(low[name].energy * square for name, square in squares.items()) / sum(squares.values())
        return nn.with_matrices(params, checkpoint, replaced), {"num_matrices": len(replaced), "energy": energy}

    def _decompositions(self, checkpoint: Checkpoint) -> Decompositions:
        digest = checkpoint.identity["sha256"]
        if digest not in self.decomposed:
            store = factor_store(checkpoint.identity, self.options, self.work.directory)
            self.decomposed[digest] = Decompositions(store, MatrixOptions())
        return self.decomposed[digest]

    def _measure(
        self,
        member: Member,
        model: nn.Model,
        params: Any,
        progress: nn.Progress | None,
        taken: dict[str, Any],
        change: nn.Intervention | None = None,
    ) -> dict[str, list[dict[str, Any]]]:
        scores = nn.score(model, params, self.task.test, self.options.batch_size, "classifier", self.mesh, change)
        name = asdict(member)
        row = name | taken | {"loss": scores.mean, "accuracy": scores.accuracy}
        if progress is not None:
            row |= {"validation_loss": progress.best_loss, "best_step": progress.best_step, "steps": progress.step}
        history = progress.history if progress is not None else []
        of_rows = name | {"row_loss": scores.loss, "row_correct": scores.correct.astype(np.float64)}
        return {"finetune": [row], "finetune_rows": [of_rows], "finetune_history": [name | look for look in history]}

    def _training(self, member: Member) -> Path:
        return self.work.directory / "training" / member.folder

    def _model(self, seed: int) -> Path:
        return self.work.directory / "models" / f"seed-{seed}"
