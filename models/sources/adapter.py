"""A PEFT LoRA adapter's folder: adapter_config.json and adapter_model.safetensors."""

from pathlib import Path

from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.folder import INDEX, WEIGHTS, from_files, read_json
from eigensweep.models.sources.safetensors_file import open_safetensors
from eigensweep.models.sources.source import Source
from eigensweep.models.sources.torch_file import ADAPTER_TORCH_WEIGHTS, TORCH_INDEX, TORCH_WEIGHTS, open_torch

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no whole model beside it."""
    if any((folder / weights).is_file() for weights in (INDEX, WEIGHTS, TORCH_INDEX, TORCH_WEIGHTS)):
        return False
    return any((folder / file).is_file() for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_TORCH_WEIGHTS))


def open_adapter(folder: Path, name: str) -> Source:
    """An adapter's folder as a source; the tensors keep PEFT's names.

    Raises:
      CheckpointError: the config or the weights are missing or broken.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        raise CheckpointError(
            f"{folder / ADAPTER_CONFIG}: missing, and without it the scale of the update is unknown"
        )
    config = read_json(folder / ADAPTER_CONFIG)
    if (folder / ADAPTER_WEIGHTS).is_file():
        weights = ADAPTER_WEIGHTS
        tensors, aliases = open_safetensors(folder / weights, weights)
    elif (folder / ADAPTER_TORCH_WEIGHTS).is_file():
        weights = ADAPTER_TORCH_WEIGHTS
        tensors, aliases = open_torch(folder / weights, weights)
    else:
        raise CheckpointError(f"{folder}: no weights: neither {ADAPTER_WEIGHTS} nor {ADAPTER_TORCH_WEIGHTS}")
    return from_files(name, "lora", folder, [weights, ADAPTER_CONFIG], tensors, aliases, config, [])
