"""What circuits and projections need to know of a checkpoint: its settings, its norms, its numbers."""

from collections.abc import Mapping

import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.circuits.folding import Fold
from eigensweep.models.errors import CheckpointError, shown
from eigensweep.models.families.inferred import is_inferred
from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.configs import architecture, families
from eigensweep.models.params import refuse_adapter
from eigensweep.models.plan import Leaf


def architecture_of(checkpoint: Checkpoint) -> Architecture:
    """The settings in a checkpoint's config.json.

    Raises:
      CheckpointError: no config.json, a family whose blocks are not known here, or an adapter.
    """
    refuse_adapter(checkpoint)
    name, config = checkpoint.source.name, checkpoint.config
    if config is None or is_inferred(config):
        raise CheckpointError(f"{name}: there is no config.json, which says how many heads its attention has")
    kind = config.get("model_type")
    if kind not in families():
        known = ", ".join(families())
        raise CheckpointError(f"{name}: model_type {shown(kind)} has no circuits that are known here; {known} have")
    return architecture(config)


def norm_at(arch: Architecture, leaves: Mapping[str, Leaf], path: str) -> Fold:
    """The linear part of the norm at a path of the tree; the identity where there is none."""
    if f"{path}/scale" not in leaves:
        return Fold()
    gain = values(leaves[f"{path}/scale"])
    shift = values(leaves[f"{path}/bias"]) if f"{path}/bias" in leaves else None
    return Fold(gain + 1 if arch.norm == "rms_plus_one" else gain, arch.norm == "layer", shift)


def values(leaf: Leaf, turned: bool = False) -> np.ndarray:
    """A leaf's numbers in float64; `turned`: a kernel (in, out) as W (out, in).

    Raises:
      CheckpointError: they are not finite; names file and tensor.
    """
    array = np.asarray(as_matrix(leaf) if turned else leaf.read(), np.float64)
    if not np.isfinite(array).all():
        raise CheckpointError(f"{leaf.tensor.file}: {leaf.tensor.name}: holds numbers that are not finite")
    return array


def as_matrix(leaf: Leaf) -> np.ndarray:
    """A kernel as W (out, in), in the stored dtype, without a copy where it lies so."""
    return leaf.cut.read_matrix() if leaf.cut else leaf.read().T
