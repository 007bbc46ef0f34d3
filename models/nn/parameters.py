"""The tree of parameters: a nested dictionary with string keys, leaves arrays, kernels (in, out).

Paths are the keys joined by '/', for example "blocks/3/attention/query/kernel".
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import jax
import numpy as np

from eigensweep.models.errors import CheckpointError, listed

Params = dict[str, Any]

_SHARED_INPUT = {"key": "query", "value": "query", "gate": "up"}


def walk(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf) of every leaf, in the tree's own order."""
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from walk(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", value


def get(params: Mapping[str, Any], path: str) -> Any:
    """The leaf or subtree at a path.

    Raises:
      KeyError: the path, and what stands where it ends.
    """
    node: Any = params
    for depth, key in enumerate(path.split("/")):
        if not isinstance(node, Mapping) or key not in node:
            there = "a leaf" if not isinstance(node, Mapping) else f"{', '.join(map(str, node))}"
            raise KeyError(f"no parameter {path!r}: under {'/'.join(path.split('/')[:depth])!r} there is {there}")
        node = node[key]
    return node


def replace(params: Mapping[str, Any], path: str, value: Any) -> Params:
    """A tree with another leaf at `path`; every other leaf is shared, none copied.

    A leaf of the same shape and dtype reuses the compiled forward pass.

    Raises:
      KeyError: no such path.
      ValueError: another shape.
    """
    old = get(params, path)
    if np.shape(old) != np.shape(value):
        raise ValueError(f"{path}: expected an array {np.shape(old)}, got {np.shape(value)}")
    return _replaced(params, path.split("/"), value)


def _replaced(node: Mapping[str, Any], keys: list[str], value: Any) -> Params:
    if len(keys) == 1:
        return {**node, keys[0]: value}
    return {**node, keys[0]: _replaced(node[keys[0]], keys[1:], value)}


def check(params: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Hold a tree against the model's own.

    Raises:
      CheckpointError: missing leaves, extra leaves and wrong shapes; the first few are named.
    """
    have, want = dict(walk(params)), dict(walk(expected))
    lines = [f"missing {path} {tuple(leaf.shape)}" for path, leaf in want.items() if path not in have]
    lines += [f"not in the model: {path} {tuple(np.shape(leaf))}" for path, leaf in have.items() if path not in want]
    for path, leaf in want.items():
        if path in have and tuple(np.shape(have[path])) != tuple(leaf.shape):
            lines.append(f"{path} is {tuple(np.shape(have[path]))}, the model has {tuple(leaf.shape)}")
    if lines:
        raise CheckpointError(f"the parameters do not fit the model: {listed(lines)}")


def place(
    params: MutableMapping[str, Any], shardings: Mapping[str, Any] | None = None, dtype: Any = None, keep: bool = False
) -> Params:
    """Put a tree on the devices leaf by leaf.

    Each host leaf is let go of as soon as it lies on the device (`params` is emptied, unless `keep`), so that no
    moment sees two copies of more than one leaf.

    Args:
      params: arrays of the host or of a device.
      shardings: a tree of the same form with a jax.sharding.Sharding a leaf; None: the default device.
      dtype: cast to it, on the device; None: as stored.
      keep: leave `params` as it is.

    Returns:
      The tree of JAX arrays.
    """
    placed: Params = {}
    for key in list(params):
        value = params[key] if keep else params.pop(key)
        where = None if shardings is None else shardings[key]
        if isinstance(value, MutableMapping):
            placed[key] = place(value, where, dtype, keep)
        else:
            array = jax.device_put(value, where)
            del value
            placed[key] = array if dtype is None else array.astype(dtype)
            placed[key].block_until_ready()
    return placed


def map_with_path(function: Callable[[str, Any], Any], params: Mapping[str, Any], prefix: str = "") -> Params:
    """A tree of function(path, leaf)."""
    return {
        key: map_with_path(function, value, f"{prefix}{key}/")
        if isinstance(value, Mapping)
        else function(f"{prefix}{key}", value)
        for key, value in params.items()
    }


def tap_of(path: str) -> str:
    """The tap that holds a linear layer's input: query, key and value share one, and so do up and gate.

    >>> tap_of("blocks/3/attention/value/kernel")
    'blocks/3/attention/query/kernel'
    """
    *parts, name, leaf = path.split("/")
    if "blocks" not in parts:
        return path
    return "/".join((*parts, _SHARED_INPUT.get(name, name), leaf))


def routes_of(tap: str) -> tuple[str, int] | None:
    """The tap that says which tokens go to this tap's expert, and the expert's number; None where all tokens enter.

    >>> routes_of("blocks/3/moe/experts/5/up/kernel")
    ('blocks/3/moe/routes', 5)
    """
    parts = tap.split("/")
    if "experts" not in parts:
        return None
    at = parts.index("experts")
    return "/".join((*parts[:at], "routes")), int(parts[at + 1])
