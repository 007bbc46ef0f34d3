"""What the formats of quantised weights share: how they are found, and how blocks of entries share a scale."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigensweep.models.matrix import Rounding, Tensor

Tensors = Mapping[str, Tensor]
Rows = Callable[[int, int], np.ndarray]
MOST_SMALL = 1 << 16  # bytes of a part that is read when the checkpoint is opened


class UnreadableError(Exception):
    """A quantised weight that cannot be dequantised: the names of all its parts, and why."""

    def __init__(self, parts: Iterable[str], reason: str):
        super().__init__(reason)
        self.parts, self.reason = tuple(parts), reason


@dataclass(frozen=True)
class Weight:
    """A quantised weight that was found: the tensor it is, and the names of the stored tensors it is made of.

    `turned`: it is (out, in) even where the architecture stores this weight (in, out).
    """

    tensor: Tensor
    parts: tuple[str, ...]
    turned: bool = False


@dataclass(frozen=True)
class Settings:
    """config.json's quantization_config; `method` is its quant_method."""

    method: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> "Settings":
        """The settings in a config.json, {} where there are none."""
        config = config or {}
        inner = config.get("text_config")
        places = [config, inner] if isinstance(inner, Mapping) else [config]
        keys = ("quantization_config", "compression_config")
        found = [place[key] for key in keys for place in places if isinstance(place.get(key), Mapping)]
        values = found[0] if found else {}
        method = values.get("quant_method")
        return cls(method.lower() if isinstance(method, str) else "", values)

    def groups(self) -> list[Mapping[str, Any]]:
        """What compressed-tensors says of weights: the `weights` of every group in config_groups."""
        groups = self.values.get("config_groups")
        groups = list(groups.values()) if isinstance(groups, Mapping) else []
        inner = [group.get("weights") for group in groups if isinstance(group, Mapping)]
        return [weights for weights in inner if isinstance(weights, Mapping)]


def parts_of(tensors: Tensors, stem: str, names: Iterable[str]) -> dict[str, Tensor]:
    """The tensors `stem` + name that there are, by name."""
    return {name: tensors[stem + name] for name in names if stem + name in tensors}


def read_small(tensor: Tensor) -> np.ndarray:
    """The whole of a small tensor; UnreadableError where it is not small."""
    if tensor.nbytes > MOST_SMALL:
        raise UnreadableError((), f"{tensor.name} has {tensor.nbytes} bytes, too many for what it should say")
    return tensor.read()


def rounding(said: str, levels: Iterable[float], blocks: Rows, steps: Callable[[], tuple[np.ndarray, Any]]) -> Rounding:
    """A `Rounding` from all blocks' steps and offsets (a number where all have the same)."""

    def some(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        step, offset = steps()
        step = np.asarray(step, np.float32).ravel()
        offset = np.broadcast_to(np.asarray(offset, np.float32).ravel(), step.shape)
        return step[first:last], offset[first:last]

    return Rounding(said, np.unique(np.asarray(list(levels), np.float32)), blocks, some)


def block_numbers(shape: tuple[int, ...], count: tuple[int, ...], size: tuple[int, ...]) -> Rows:
    """The rows of an array that numbers blocks of a size in C order.

    Args:
      shape: of the tensor.
      count: blocks along every axis.
      size: entries of a block along every axis.
    """

    def rows(start: int, stop: int) -> np.ndarray:
        number = np.zeros((1,) * len(shape), np.int32)
        for axis, length in enumerate(shape):
            first, last = (start, stop) if axis == 0 else (0, length)
            along = np.arange(first, last, dtype=np.int32) // size[axis]
            along = along.reshape((-1,) + (1,) * (len(shape) - axis - 1))
            number = number + along * np.int32(math.prod(count[axis + 1 :]))
        return np.broadcast_to(number, (stop - start, *shape[1:]))

    return rows


def unpack_bits(words: np.ndarray, bits: int, count: int) -> np.ndarray:
    """(..., count) uint8 codes of `bits` bits each, lowest first, from little-endian words along the last axis."""
    raw = np.ascontiguousarray(words).view(np.uint8)
    if bits == 8:
        return raw[..., :count]
    if bits in (2, 4):
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (raw[..., None] >> shifts) & np.uint8((1 << bits) - 1)
        return codes.reshape(*raw.shape[:-1], -1)[..., :count]
    flat = np.unpackbits(raw, axis=-1, bitorder="little")
    flat = flat[..., : flat.shape[-1] // bits * bits].reshape(*raw.shape[:-1], -1, bits)
    return np.packbits(flat, axis=-1, bitorder="little")[..., :count, 0]
