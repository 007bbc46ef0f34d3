"""The devices that a study's model runs on."""

import jax
from jax.sharding import Mesh

from eigensweep.engine.tables.errors import RunError
from eigensweep.models import nn


def mesh_of(devices: int) -> Mesh | None:
    """The mesh over which the rows of a batch are dealt out; None for a single device.

    Raises:
      RunError: there are fewer.
    """
    if devices > jax.device_count():
        raise RunError(f"devices is {devices}, and JAX sees {jax.device_count()}")
    return nn.make_mesh(data=devices) if devices > 1 else None
