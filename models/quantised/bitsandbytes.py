"""Weights as bitsandbytes stores them: int8 with a scale a row, and four bits with a scale a block.

int8 (Dettmers et al. 2022, LLM.int8(), https://arxiv.org/abs/2208.07339): W = `weight` SCB / 127, row by row.
nf4 and fp4 (Dettmers et al. 2023, QLoRA, https://arxiv.org/abs/2305.14314): two codes a byte, the first in the high
half, look up `quant_map`, times the `absmax` of a run of `blocksize` entries; nested, absmax is quantised itself, with
8-bit codes and an offset. What is no tensor lies as JSON in the bytes of `quant_state.bitsandbytes__nf4`.
"""

import functools
import json
import math
from typing import Any

import numpy as np

from eigensweep.models.matrix import Tensor
from eigensweep.models.quantised.weight import (
    Rows,
    Settings,
    Tensors,
    UnreadableError,
    Weight,
    block_numbers,
    parts_of,
    read_small,
    rounding,
)

_KINDS = ("nf4", "fp4")
_STATE = "quant_state.bitsandbytes__"
_PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
_PER_127 = np.float32(7.874015718698502e-3)


def find(name: str, tensors: Tensors, settings: Settings) -> Weight | None:
    """The weight whose codes `name` is; None where it has no such parts beside it.

    Raises:
      UnreadableError: parts that are missing, or do not fit each other.
    """
    if any(f"{name}.{_STATE}{kind}" in tensors for kind in _KINDS):
        return _four_bits(name, tensors)
    if tensors[name].dtype == "int8" and name.endswith(".weight") and f"{name.removesuffix('weight')}SCB" in tensors:
        return _int8(name, tensors)
    return None


def _int8(name: str, tensors: Tensors) -> Weight:
    weight = tensors[name]
    found = parts_of(tensors, name.removesuffix("weight"), ("SCB", "weight_format"))
    parts = (name, *(part.name for part in found.values()))
    scales, kind = found["SCB"], found.get("weight_format")
    if len(weight.shape) != 2 or scales.shape != weight.shape[:1]:
        raise UnreadableError(parts, f"SCB {list(scales.shape)} is no scale a row of {list(weight.shape)}")
    if kind is not None and (math.prod(kind.shape) != 1 or int(read_small(kind).ravel()[0]) != 0):
        raise UnreadableError(parts, "weight_format is not that of rows: old bitsandbytes tiled it for one device")

    def rows(start: int, stop: int) -> np.ndarray:
        scale = scales.read(start, stop).astype(np.float32)[:, None]
        return weight.read(start, stop).astype(np.float32) * scale * _PER_127

    said = "bitsandbytes int8, a scale a row"
    numbers = block_numbers(weight.shape, (*scales.shape, 1), (1, weight.shape[1]))
    grid = rounding(said, range(-127, 128), numbers, lambda: (scales.read().astype(np.float32) * _PER_127, 0.0))
    return Weight(Tensor(name, weight.shape, "float32", weight.file, rows, grid), parts, turned=True)


def _state(tensor: Tensor, parts: tuple[str, ...]) -> dict[str, Any]:
    """The JSON in a tensor's bytes, of which the shape and block sizes are checked."""
    try:
        state = json.loads(read_small(tensor).tobytes())
        shape, offset = state["shape"], float(state.get("nested_offset", 0.0))
        numbers = [*shape, state["blocksize"], state.get("nested_blocksize", 1)]
    except UnreadableError as e:
        raise UnreadableError(parts, e.reason) from e
    except (KeyError, TypeError, ValueError, RecursionError, OverflowError, AttributeError) as e:
        raise UnreadableError(parts, f"{tensor.name} does not say shape and block size: {e!r}"[:200]) from e
    if any(type(n) is not int or not 0 < n < 2**40 for n in numbers) or len(shape) < 2 or not math.isfinite(offset):
        raise UnreadableError(parts, f"{tensor.name} says shape and block sizes {numbers}"[:200])
    return state | {"shape": tuple(shape), "nested_offset": offset, "nested_blocksize": numbers[-1]}


def _four_bits(name: str, tensors: Tensors) -> Weight:
    kind = next(kind for kind in _KINDS if f"{name}.{_STATE}{kind}" in tensors)
    found = parts_of(tensors, f"{name}.", (*_PARTS, _STATE + kind))
    parts = (name, *(part.name for part in found.values()))
    packed, state = tensors[name], _state(found[_STATE + kind], parts)
    shape, size = state["shape"], state["blocksize"]
    count = math.prod(shape)
    blocks = -(-count // size)
    nested = "nested_absmax" in found
    wanted = {"absmax": (blocks,), "quant_map": (16,)}
    if nested:
        wanted |= {"nested_absmax": (-(-blocks // state["nested_blocksize"]),), "nested_quant_map": (256,)}
    for key, expected in wanted.items():
        if key not in found or math.prod(found[key].shape) != expected[0]:
            got = list(found[key].shape) if key in found else "no such tensor"
            raise UnreadableError(parts, f"{key}: {expected[0]} numbers were expected, got {got}")
    if packed.nbytes < -(-count // 2) or not packed.shape:
        raise UnreadableError(parts, f"{packed.nbytes} bytes cannot hold {list(shape)} codes of four bits")
    if found["absmax"].dtype != ("uint8" if nested else "float32"):
        raise UnreadableError(parts, f"absmax is of dtype {found['absmax'].dtype}")

    def scales(first: int, last: int) -> np.ndarray:
        stored = _range(found["absmax"], first, last)
        if not nested:
            return stored
        group = np.arange(first, last) // state["nested_blocksize"]
        outer = found["nested_absmax"].read().ravel().astype(np.float32)[group]
        return found["nested_quant_map"].read().ravel().astype(np.float32)[stored] * outer + np.float32(
            state["nested_offset"]
        )

    reader = functools.partial(_rows, packed, found["quant_map"], scales, shape, size)
    said = f"{kind}, blocks of {size}" + (", nested" if nested else "")
    levels = read_small(found["quant_map"]).ravel().astype(np.float32)

    def numbers(start: int, stop: int) -> np.ndarray:
        row = count // shape[0]
        return (np.arange(start * row, stop * row) // size).astype(np.int32).reshape(stop - start, *shape[1:])

    grid = rounding(said, levels, numbers, lambda: (scales(0, blocks), 0.0))
    return Weight(Tensor(name, shape, "float32", packed.file, reader, grid), parts, turned=True)


def _range(tensor: Tensor, first: int, last: int) -> np.ndarray:
    """Entries of a tensor counted in C order, read by its rows."""
    row = max(1, math.prod(tensor.shape[1:]))
    start, stop = first // row, -(-last // row)
    return tensor.read(start, stop).ravel()[first - start * row : last - start * row]


def _rows(
    packed: Tensor, codes: Tensor, scales: Rows, shape: tuple[int, ...], size: int, start: int, stop: int
) -> np.ndarray:
    row = math.prod(shape[1:])
    begin, end = start * row, stop * row
    width = np.dtype(packed.dtype).itemsize  # the bytes may be declared as wider numbers
    first, last = begin // 2 // width, -(-end // (2 * width))
    raw = np.ascontiguousarray(_range(packed, first, last)).view(np.uint8)
    pairs = np.stack([raw >> 4, raw & 15], axis=-1).ravel()
    skipped = begin - first * width * 2
    values = codes.read().ravel().astype(np.float32)[pairs[skipped : skipped + end - begin]]
    block = np.arange(begin, end) // size
    low = begin // size
    values *= scales(low, -(-end // size))[block - low]
    return values.reshape(stop - start, *shape[1:])
