"""A checkpoint as a Flax pytree: nested dicts with string keys, Dense kernels (in, out), fused weights split.

The kernel of a convolution is unfolded, (in * taps, out): what it applies to the patch beneath it.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from eigensweep.models.errors import CheckpointError, listed
from eigensweep.models.plan import Leaf

if TYPE_CHECKING:
    from eigensweep.models.checkpoint import Checkpoint

T = TypeVar("T")


def nest(leaves: Mapping[str, T]) -> dict[str, Any]:
    """Nested dicts from values by path.

    Raises:
      CheckpointError: a path ends where another goes on.

    >>> nest({"a/b": 1, "a/c": 2})
    {'a': {'b': 1, 'c': 2}}
    """
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, last = path.split("/")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise CheckpointError(f"leaf {path} lies below another leaf: the names cannot be nested")
        if last in node:
            raise CheckpointError(f"leaf {path} has others below it: the names cannot be nested")
        node[last] = value
    return tree


def refuse_adapter(checkpoint: "Checkpoint") -> None:
    """CheckpointError for a LoRA adapter, which is no whole model."""
    if checkpoint.source.kind == "lora":
        raise CheckpointError(
            f"{checkpoint.source.name}: a LoRA adapter is no whole model; merge it into its base model first"
        )


def checked_leaves(checkpoint: "Checkpoint") -> Iterable[Leaf]:
    """The leaves of the whole model.

    Raises:
      CheckpointError: the checkpoint is no whole model, or does not fit the architecture in its config; the message
        counts the missing, unexpected and misshapen tensors and lists the first.
    """
    refuse_adapter(checkpoint)
    name = checkpoint.source.name
    if mismatches := checkpoint.plan.mismatches:
        raise CheckpointError(
            f"{name}: {len(mismatches)} mismatches between the checkpoint and its config "
            f"({checkpoint.architecture}): {listed(mismatches)}"
        )
    return checkpoint.leaves


def load_params(checkpoint: "Checkpoint") -> dict[str, Any]:
    """The whole checkpoint as a Flax pytree in memory.

    Args:
      checkpoint: of a known architecture, for the canonical tree (`blocks/0/attention/query/kernel`, ...); of an
        unknown one, for the tensors as stored, nested by splitting their names at the dots.

    Returns:
      Nested dicts of NumPy arrays in the stored dtypes. A tied unembedding is absent.

    Raises:
      CheckpointError: mismatches between the checkpoint and its config, see `checked_leaves`.
    """
    return nest({leaf.path: leaf.read() for leaf in checked_leaves(checkpoint)})
