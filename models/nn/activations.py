"""The activations, by the names that config.json has for them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def _gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


def _gelu_tanh(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_python": _gelu,
    **dict.fromkeys(
        ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate"), _gelu_tanh
    ),
    **dict.fromkeys(("silu", "swish"), jax.nn.silu),
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}
