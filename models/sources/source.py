"""What every source of tensors gives: the tensors under their own names, the config, the files, a content hash."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from eigensweep.models.tensors import Tensor


@dataclass(frozen=True)
class Source:
    """An opened checkpoint before anything is known about its architecture.

    Attributes:
      name: what the user gave, for messages and the manifest.
      kind: huggingface, lora, orbax, safetensors, torch or dict.
      tensors: by name, in the order of the files.
      config: config.json (adapter_config.json for LoRA), None where there is none.
      files: size in bytes of every file that was taken, by its name inside the checkpoint.
      sha256: computes the content hash: over every byte of the files, whatever the folder is called.
      aliases: names that the file gives as second names of a tensor it holds, e.g. tied weights.
      warnings: what the user should know.
      directory: the folder, where there is one.
      notes: what eigensweep-convert noted beside the leaves, for converted checkpoints.
    """

    name: str
    kind: str
    tensors: dict[str, Tensor]
    config: dict | None
    files: dict[str, int]
    sha256: Callable[[], str]
    aliases: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    directory: Path | None = None
    notes: dict | None = None
