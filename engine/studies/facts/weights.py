"""Distributions of a checkpoint's weights: matrices and tables, norm gains, biases."""

from collections.abc import Sequence
from typing import Any

from eigensweep.engine.spectral.distribution import Distribution
from eigensweep.engine.studies.facts.described import row_of, unit_of
from eigensweep.models import Checkpoint


def weight_units(checkpoint: Checkpoint) -> dict[str, list[tuple[str, Any]]]:
    """Unit -> (path, what can be read) of its tensors, in model order: the leaves, or else the matrices."""
    tensors: Sequence[Any] = checkpoint.leaves or checkpoint.matrices
    units: dict[str, list[tuple[str, Any]]] = {}
    for tensor in tensors:
        path = getattr(tensor, "path", "") or tensor.name
        units.setdefault(f"weights/{unit_of(path)}", []).append((path, tensor))
    return units


def kind_of(path: str) -> str:
    """Which kind of weight a leaf is: norm (a gain), bias, or weight.

    >>> [kind_of(f"blocks/0/{name}") for name in ("mlp_norm/scale", "mlp_norm/bias", "mlp/up/kernel")]
    ['norm', 'bias', 'weight']
    """
    return {"scale": "norm", "bias": "bias"}.get(path.split("/")[-1], "weight")


def weight_rows(tensors: Sequence[tuple[str, Any]]) -> list[dict[str, Any]]:
    """A row a tensor, read one at a time."""
    return [row_of(kind_of(path), path, Distribution.of(tensor.read())) for path, tensor in tensors]
