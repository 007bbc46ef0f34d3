"""A checkpoint as named, oriented matrices, none of them read yet."""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from eigensweep.models.adapted import plan_adapted
from eigensweep.models.converted import NOTES, open_orbax, plan_converted
from eigensweep.models.errors import CheckpointError, printable, shown
from eigensweep.models.families import family_of, family_of_names
from eigensweep.models.families.gguf import gguf_family
from eigensweep.models.families.inferred import inferred_config
from eigensweep.models.generic import plan_generically
from eigensweep.models.known import plan_known
from eigensweep.models.lora import plan_lora
from eigensweep.models.matrix import Matrix, Skipped
from eigensweep.models.plan import Leaf, Plan
from eigensweep.models.quantised import dequantised
from eigensweep.models.sources import Source
from eigensweep.models.sources.arrays import open_arrays
from eigensweep.models.sources.files import is_there
from eigensweep.models.sources.folder import open_file, open_folder
from eigensweep.models.sources.gguf_file import open_gguf
from eigensweep.models.sources.hub import looks_like_hub_id, open_hub
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
      base: the model beside which an adapter was opened, None for all else.
    """

    def __init__(self, source: Source, plan: Plan, architecture: str, base: "Checkpoint | None" = None):
        self.source, self.plan, self.architecture, self.base = source, plan, architecture, base
        self.config: dict[str, Any] | None = source.config
        self.matrices: tuple[Matrix, ...] = plan.matrices
        self.skipped: tuple[Skipped, ...] = (*plan.skipped, *source.left_out)
        self.warnings: tuple[str, ...] = (*source.warnings, *plan.warnings)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The leaves of the Flax pytree, unread."""
        return self.plan.leaves

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """What tells this checkpoint from others, as JSON; the first use hashes every byte of it.

        `sha256` covers the content of all files that were taken, a base's included, and does not depend on where they
        lie.
        """
        identity = {
            "source": self.source.name,
            "kind": self.source.kind,
            "architecture": self.architecture,
            "files": dict(self.source.files),
            "sha256": self.source.sha256(),
            **({"hub": self.source.origin} if self.source.origin else {}),
        }
        if self.base is None:
            return identity
        both = f"{identity['sha256']}  adapter\n{self.base.identity['sha256']}  base\n"
        return identity | {"sha256": hashlib.sha256(both.encode()).hexdigest(), "base": self.base.identity}

    def fetch(self, matrices: Iterable[Matrix] | None = None) -> None:
        """Bring the files that hold these matrices, or all files, from the hub: several at once, not one a read.

        Raises:
          CheckpointError: one cannot be had.
        """
        if self.base is not None:
            self.base.fetch(self.matrices if matrices is None else matrices)
            matrices = None  # of the adapter, everything
        if self.source.fetch is not None:
            wanted = self.source.files if matrices is None else {matrix.file for matrix in matrices}
            self.source.fetch(wanted)

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
    name = str(source)
    try:
        path = Path(source).expanduser()
        there = "\0" not in name and path.exists()
    except (OSError, RuntimeError, ValueError) as e:  # too long a name; ~nobody
        raise CheckpointError(f"{shown(name)}: no such file or folder: {getattr(e, 'strerror', None) or e}") from e
    if not there and looks_like_hub_id(name):
        return open_hub(name, config)
    if path.is_dir():
        return open_orbax(path, name) if is_there(path / NOTES) else open_folder(path, name, config)
    if not there or not is_there(path):
        raise CheckpointError(f"{printable(str(path))}: no such file or folder")
    if path.suffix == ".gguf":
        return open_gguf(path, name)
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path}: a folder with a checkpoint, a .safetensors or a .gguf file was expected")
    return open_file(path, name, config)


def open_checkpoint(source: Any, *, config: Any = None, base: Any = None) -> Checkpoint:
    """Opens a checkpoint without reading its tensors.

    Args:
      source: a folder in Hugging Face layout, a PEFT LoRA adapter's folder, a `.safetensors` or `.gguf` file, a folder
        that eigensweep-convert wrote, a hub id ("owner/name" or "owner/name@revision"), a dict of arrays by name (a
        `state_dict`), a live model of transformers, or a flax.nnx module.
      config: what config.json would hold, for a dict of arrays or a single file, which bring none; for a folder, in
        place of its own (of an adapter's: adapter_config.json), and then a part of the identity. A dict, or a config
        object of transformers.
      base: for an adapter, the model that it was trained on, as `source` or an opened Checkpoint: W, W + delta W and
        delta W of every matrix that the adapter changes (`:base`, `:merged`, `:delta`) in place of delta W alone.

    Raises:
      CheckpointError: no such checkpoint, or it is broken; names the file and the tensor.
      TypeError: a dict whose values are no arrays; a source of another kind.
    """
    opened = dequantised(_open_source(source, config_of(config)))
    folder = opened.directory if config is None else None
    if base is not None:
        return _beside(opened, base if isinstance(base, Checkpoint) else open_checkpoint(base))
    if opened.notes is not None:
        return Checkpoint(opened, plan_converted(opened), str(opened.notes["identity"].get("architecture")))
    if opened.kind == "lora":
        plan = plan_lora(opened, str(folder / "adapter_config.json") if folder else "config")
        named = family_of_names(matrix.name.split(":")[0] for matrix in plan.matrices)
        return Checkpoint(opened, plan, named.name if named else "generic")
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
        where = str(folder / "config.json") if folder else "config"
        plan = plan_known(family, opened.config, where, tensors, opened.aliases)
        return Checkpoint(opened, plan, family.name)
    if opened.sizes is not None and (family := gguf_family(opened.sizes)):
        plan = plan_known(family, opened.sizes, opened.name, tensors, opened.aliases)
        return Checkpoint(opened, plan, family.name)
    plan = plan_generically(tensors, opened.aliases)
    if not plan.matrices and not plan.skipped and not opened.left_out:
        raise CheckpointError(f"{opened.name}: holds no tensors")
    reason = "" if opened.config is None else f"model_type {shown(opened.config.get('model_type'))} is not known: "
    note = f"{reason}every 2-D and stacked 3-D floating tensor is taken, roles are guessed from the names"
    return Checkpoint(opened, replace(plan, warnings=(*plan.warnings, note)), "generic")


def _beside(adapter: Source, base: Checkpoint) -> Checkpoint:
    """An adapter and the model that it changes."""
    if adapter.kind != "lora":
        raise CheckpointError(f"{adapter.name}: no adapter; a base is for adapters alone")
    plan = plan_adapted(adapter, f"{adapter.directory}/adapter_config.json", base.source, base.plan)
    return Checkpoint(adapter, plan, base.architecture, base)
