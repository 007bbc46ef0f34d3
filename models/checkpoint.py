"""A checkpoint as named, oriented matrices, none of them read yet."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eigensweep.models.converted import NOTES, open_orbax, plan_converted
from eigensweep.models.errors import CheckpointError
from eigensweep.models.families import family_of, family_of_names
from eigensweep.models.families.inferred import inferred_config
from eigensweep.models.generic import plan_generically
from eigensweep.models.known import plan_known
from eigensweep.models.lora import plan_lora
from eigensweep.models.matrix import Matrix, Skipped
from eigensweep.models.plan import Leaf, Plan
from eigensweep.models.sources import Source
from eigensweep.models.sources.arrays import open_arrays
from eigensweep.models.sources.folder import open_file, open_folder
from eigensweep.models.sources.hub import fetch, looks_like_hub_id
from eigensweep.models.sources.live import config_of, is_model, open_model


class Checkpoint:
    """An opened checkpoint.

    Attributes:
      source: the tensors behind it; `source.directory` is the folder where its tokenizer would lie.
      plan: what becomes of them.
      architecture: name of the family ("bert"), "generic" where it is unknown.
      config: config.json, None where there is none.
      matrices: what can be swept, in model order; nothing is read before `Matrix.read`.
      skipped: every tensor left out, with the reason.
      warnings: what the user should know.
    """

    def __init__(self, source: Source, plan: Plan, architecture: str):
        self.source, self.plan, self.architecture = source, plan, architecture
        self.config: dict[str, Any] | None = source.config
        self.matrices: tuple[Matrix, ...] = plan.matrices
        self.skipped: tuple[Skipped, ...] = plan.skipped
        self.warnings: tuple[str, ...] = (*source.warnings, *plan.warnings)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves of the Flax pytree, unread."""
        return self.plan.leaves

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this checkpoint from others, as JSON; the first use hashes every byte of it.

        `sha256` covers the content of all files that were taken and does not depend on where they lie.
        """
        return {
            "source": self.source.name,
            "kind": self.source.kind,
            "architecture": self.architecture,
            "files": dict(self.source.files),
            "sha256": self.source.sha256(),
        }

    def __repr__(self) -> str:
        return (
            f"Checkpoint({self.source.name!r}, {self.source.kind}, {self.architecture}, "
            f"{len(self.matrices)} matrices, {len(self.skipped)} tensors left out)"
        )


def _open_source(source: Any, config: dict[str, Any] | None) -> Source:
    """Whatever holds tensors: a folder, a file, a hub id, a dict of arrays or a live model."""
    if isinstance(source, Mapping):
        return open_arrays(source, config)
    if is_model(source):
        return open_model(source, config)
    if not isinstance(source, str | Path):
        raise TypeError(
            f"{type(source).__name__} is no checkpoint: expected a path, a hub id, a dict of arrays, a torch module or "
            "a flax.nnx module"
        )
    path, name = Path(source).expanduser(), str(source)
    if not path.exists() and looks_like_hub_id(name):
        path = fetch(name)
    if (path / NOTES).is_file():
        return open_orbax(path, name)
    if path.is_dir():
        return open_folder(path, name)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file or folder")
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a folder with a checkpoint or a .safetensors file was expected")
    return open_file(path, name, config)


def open_checkpoint(source: Any, *, config: Any = None) -> Checkpoint:
    """Opens a checkpoint without reading its tensors.

    Args:
      source: a folder in Hugging Face layout, a PEFT LoRA adapter's folder, a `.safetensors` file, a folder that
        eigensweep-convert wrote, a hub id ("owner/name" or "owner/name@revision"), a dict of arrays by name (a
        `state_dict`), a live model of transformers, or a flax.nnx module.
      config: what config.json would hold, for a dict of arrays or a single file, which bring none; a dict, or a
        config object of transformers.

    Raises:
      CheckpointError: no such checkpoint, or it is broken; names the file and the tensor.
      TypeError: a dict whose values are no arrays; a source of another kind.
    """
    opened = _open_source(source, config_of(config))
    if opened.notes is not None:
        return Checkpoint(opened, plan_converted(opened), str(opened.notes["identity"].get("architecture")))
    if opened.kind == "lora":
        plan = plan_lora(opened, f"{opened.directory}/adapter_config.json")
        base = family_of_names(matrix.name.split(":")[0] for matrix in plan.matrices)
        return Checkpoint(opened, plan, base.name if base else "generic")
    tensors = [
        *opened.tensors.values(),
        *(replace(opened.tensors[kept], name=name) for name, kept in opened.aliases.items()),
    ]
    if opened.config is None and (config := inferred_config({t.name: t.shape for t in tensors})):
        note = "no config.json: by names and shapes this is a GPT-2, whose layers are read as they lie there, (in, out)"
        known = tuple(text for text in opened.warnings if "is unknown" not in text)
        opened = replace(opened, config=config, warnings=(*known, note))
    family = family_of(opened.config)
    if family is not None and opened.config is not None:
        where = str(opened.directory / "config.json") if opened.directory else "config"
        plan = plan_known(family, opened.config, where, tensors, opened.aliases)
        return Checkpoint(opened, plan, family.name)
    plan = plan_generically(tensors, opened.aliases)
    if not plan.matrices and not plan.skipped:
        raise CheckpointError(f"{opened.name}: holds no tensors")
    reason = "" if opened.config is None else f"model_type {opened.config.get('model_type')!r} is not known: "
    note = f"{reason}every 2-D and stacked 3-D floating tensor is taken, roles are guessed from the names"
    return Checkpoint(opened, replace(plan, warnings=(*plan.warnings, note)), "generic")
