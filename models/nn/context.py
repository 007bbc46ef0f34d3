"""What the modules of a forward pass hand to one another, and the norm that they share."""

from typing import Any, NamedTuple

import numpy as np
from jax import Array

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.layers import Norm

Taps = dict[str, Array]
"""Activations by path: a kernel's is what enters this linear layer; see `taps` for the others."""


class Context(NamedTuple):
    """What every block of one forward pass shares."""

    mask: Array  # (B, T) bool, True for tokens, False for padding
    rope: tuple[Array, Array] | None  # cos, sin (K, B, T, dim/2), one for each kind of rotary positions
    dropout_key: Array | None  # None: no dropout


class Layer(NamedTuple):
    """What distinguishes one block from the next besides its parameters; traced, so that all share one compilation."""

    number: Any  # int32, which block
    window: Any  # int32, tokens seen backwards, itself included
    scale: Any  # float32, multiplies q . k
    rope: Any  # int32, which of the kinds of rotary positions


def layer(architecture: Architecture, index: int) -> Layer:
    """The settings of block `index`."""
    return Layer(
        np.int32(index),
        np.int32(architecture.windows[index]),
        np.float32(architecture.attention_scales[index]),
        np.int32(architecture.block_ropes[index] if architecture.block_ropes else 0),
    )


def norm(architecture: Architecture, width: int | None = None) -> Norm:
    """The architecture's norm over `width` entries (the residual stream's unless said)."""
    return Norm(architecture.norm, width or architecture.width, architecture.norm_eps)
