"""Mathematics that is written once, for NumPy's arrays and for JAX's: NumPy in, NumPy out, and nothing is compiled.

What follows from the singular values of one matrix is a few small sums. On the host a compiled program for them costs
more to trace, lower and fetch, a second a shape, than it ever saves; on an accelerator and over thousands of matrices
it pays. So these functions take what `namespace` tells them: the functions that NumPy and jax.numpy share.
"""

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

P = ParamSpec("P")
T = TypeVar("T")


def namespace(*values: Any) -> ModuleType:
    """jax.numpy where any of the values is JAX's (traced ones included), else numpy."""
    return jnp if any(isinstance(value, jax.Array) for value in values) else np


def compiled(*static: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator: `jax.jit` with these static arguments for JAX's arrays; on NumPy's the function as it is.

    0/0 is NaN and 1/0 infinite on both, without a warning.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        program = jax.jit(function, static_argnames=static)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if namespace(*args, *kwargs.values()) is jnp:
                return program(*args, **kwargs)
            with np.errstate(all="ignore"):
                return function(*args, **kwargs)

        return call

    return decorate


def iterate(num: int, step: Callable[[Any], Any], start: Any) -> Any:
    """step(step(... start)), `num` times; on the host no longer than it changes anything."""
    if namespace(start) is jnp:
        return lax.fori_loop(0, num, lambda _, x: step(x), start)
    for _ in range(num):
        after = step(start)
        if after == start:
            break
        start = after
    return start


def over_rows(function: Callable[[Any], Any], rows: Any) -> Any:
    """What `function` gives of every row of an array, stacked: one row in memory at a time."""
    if namespace(rows) is jnp:
        return lax.map(function, rows)
    return tuple(np.stack(part) for part in zip(*map(function, rows), strict=True))
