"""Which files of a checkpoint hold its weights: one decision over their names, for a folder and for a repository."""

from collections.abc import Collection
from dataclasses import dataclass

from eigensweep.models.errors import CheckpointError, listed

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TORCH_WEIGHTS, TORCH_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ADAPTER_TORCH_WEIGHTS = "adapter_model.bin"
_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Choice:
    """What is read.

    Attributes:
      kind: huggingface, torch or lora.
      weights: the one file with the weights, "" where an index names several.
      index: the index of the shards, "" where there is one file.
      config: what tells the architecture, or the scale of an adapter's update; "" where it is missing.
      warnings: what the user should know.
    """

    kind: str
    weights: str
    index: str
    config: str
    warnings: tuple[str, ...] = ()

    @property
    def pickled(self) -> bool:
        """Whether torch reads the weights."""
        return self.weights.endswith(".bin") or self.index == TORCH_INDEX


def choose(names: Collection[str], where: str, configured: bool = False) -> Choice:
    """An adapter where no whole model lies beside it, a model otherwise; safetensors before pickles.

    A single .safetensors file of another name is taken where nothing else says which to take.

    Args:
      names: of all files, with `/` between folders.
      where: the folder or repository, for messages.
      configured: a config is given, which stands in for the one that may be missing.

    Raises:
      CheckpointError: no weights, several files of which none is named, an adapter without its config.
    """
    there = set(names)
    whole = there & {INDEX, WEIGHTS, TORCH_INDEX, TORCH_WEIGHTS}
    if not whole and there & {ADAPTER_CONFIG, ADAPTER_WEIGHTS, ADAPTER_TORCH_WEIGHTS}:
        return _adapter(there, where, configured)
    warnings = []
    config = CONFIG if CONFIG in there else ""
    if not config and not configured:
        warnings.append(f"{where}/{CONFIG} is missing: the architecture is unknown")
    if ADAPTER_CONFIG in there:
        warnings.append(f"{where} also holds an adapter, which is left out: the whole model is read")
    weights, index = _model(there, where)
    kind = "torch" if {weights, index} & {TORCH_WEIGHTS, TORCH_INDEX} else "huggingface"
    return Choice(kind, weights, index, config, tuple(warnings))


def _model(there: set[str], where: str) -> tuple[str, str]:
    """The one file, or the index."""
    if INDEX in there:
        return "", INDEX
    if WEIGHTS in there:
        return WEIGHTS, ""
    others = sorted(name for name in there if name.endswith(_SUFFIX) and "/" not in name and name != ADAPTER_WEIGHTS)
    if len(others) == 1:
        return others[0], ""
    if others:
        raise CheckpointError(
            f"{where}: several .safetensors files ({listed(others)}), but neither {WEIGHTS} nor {INDEX} to say "
            f"which to take; give one of the files"
        )
    if TORCH_INDEX in there:
        return "", TORCH_INDEX
    if TORCH_WEIGHTS in there:
        return TORCH_WEIGHTS, ""
    below = [name.split("/")[0] for weights in (WEIGHTS, ADAPTER_WEIGHTS) for name in sorted(there)
             if name.count("/") == 1 and name.endswith(f"/{weights}")]  # fmt: skip
    hint = f"; but there are some in {listed(below)}" if below else ""
    if files := sorted(name for name in there if name.endswith(".gguf")):
        hint += f"; of its GGUF files ({listed(files)}) give one"
    raise CheckpointError(f"{where}: no weights: none of {WEIGHTS}, {INDEX}, {ADAPTER_WEIGHTS}, {TORCH_WEIGHTS}{hint}")


def _adapter(there: set[str], where: str, configured: bool) -> Choice:
    if ADAPTER_CONFIG not in there and not configured:
        raise CheckpointError(f"{where}/{ADAPTER_CONFIG}: missing, and without it the scale of the update is unknown")
    for weights in (ADAPTER_WEIGHTS, ADAPTER_TORCH_WEIGHTS):
        if weights in there:
            return Choice("lora", weights, "", ADAPTER_CONFIG)
    raise CheckpointError(f"{where}: no weights: neither {ADAPTER_WEIGHTS} nor {ADAPTER_TORCH_WEIGHTS}")
