"""Weights of four-bit floats (E2M1), two a byte, the first in the low half.

MXFP4 (https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf): 32 numbers share a power
of two. gpt-oss stores `X_blocks` (E, out, G, 16) and `X_scales` (E, out, G), which transformers turns into X (E, in,
out); compressed-tensors `weight_packed` (out, in/2) and `weight_scale`. NVFP4: 16 numbers share an e4m3 scale, a whole
tensor a float32 one, by which compressed-tensors divides (`weight_global_scale`) and ModelOpt multiplies
(`weight_scale_2`).
"""

import functools
import math

import ml_dtypes
import numpy as np

from eigensweep.models.matrix import Tensor
from eigensweep.models.quantised.weight import (
    Settings,
    Tensors,
    UnreadableError,
    Weight,
    block_numbers,
    parts_of,
    rounding,
)

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
_PAIRS = np.stack([E2M1[np.arange(256) & 15], E2M1[np.arange(256) >> 4]], axis=-1)  # what a byte holds
_BIAS = 127  # of the exponents of 2
_PACKED = {".weight_packed": ("weight_scale", "weight_global_scale"), ".weight": ("weight_scale", "weight_scale_2")}


def find(name: str, tensors: Tensors, settings: Settings) -> Weight | None:
    """The weight whose four-bit floats `name` holds; None where it holds none.

    Raises:
      UnreadableError: shapes that do not fit each other.
    """
    if name.endswith("_blocks") and f"{name.removesuffix('blocks')}scales" in tensors:
        return _stacked(name, tensors)
    suffix = ".weight_packed" if name.endswith(".weight_packed") else ".weight"
    method = "compressed-tensors" if suffix == ".weight_packed" else "modelopt"
    if tensors[name].dtype == "uint8" and name.endswith(suffix) and settings.method == method:
        return _flat(name, suffix, tensors)
    return None


def _stacked(name: str, tensors: Tensors) -> Weight:
    stem = name.removesuffix("_blocks")
    blocks, scales = tensors[name], tensors[f"{stem}_scales"]
    parts = (name, scales.name)
    is_bytes = blocks.dtype == "uint8" and scales.dtype in ("uint8", "float8_e8m0fnu")
    if len(blocks.shape) != 4 or blocks.shape[:-1] != scales.shape or not is_bytes:
        shapes = f"{list(blocks.shape)} {blocks.dtype} and {list(scales.shape)} {scales.dtype}"
        raise UnreadableError(parts, f"blocks and scales do not fit each other: {shapes}")
    experts, out, groups, half = blocks.shape
    shape = (experts, groups * half * 2, out)

    def rows(start: int, stop: int) -> np.ndarray:
        values = _PAIRS[blocks.read(start, stop)].reshape(stop - start, out, groups, 2 * half)
        exponents = scales.read(start, stop).view(np.uint8).astype(np.int32) - _BIAS
        wide = np.ldexp(values, exponents[..., None]).reshape(stop - start, out, -1)
        return wide.swapaxes(1, 2).astype(ml_dtypes.bfloat16)  # which holds every such number

    def numbers(start: int, stop: int) -> np.ndarray:
        return np.swapaxes(
            block_numbers((experts, out, shape[1]), (experts, out, groups), (1, 1, 2 * half))(start, stop), 1, 2
        )

    said = f"mxfp4, blocks of {2 * half}"
    grid = rounding(said, E2M1, numbers, lambda: (_powers(scales.read()), 0.0))
    return Weight(Tensor(stem, shape, "bfloat16", blocks.file, rows, grid), parts)


def _powers(exponents: np.ndarray) -> np.ndarray:
    return np.ldexp(np.float32(1), exponents.view(np.uint8).astype(np.int32) - _BIAS)


def _flat(name: str, suffix: str, tensors: Tensors) -> Weight | None:
    packed, stem = tensors[name], name.removesuffix(suffix)
    scale_name, whole_name = _PACKED[suffix]
    found = parts_of(tensors, f"{stem}.", (scale_name, whole_name))
    if scale_name not in found:
        return None
    scale, whole = found[scale_name], found.get(whole_name)
    parts = (name, *(part.name for part in found.values()))
    size = 16 if scale.dtype == "float8_e4m3fn" else 32 if scale.dtype in ("uint8", "float8_e8m0fnu") else 0
    if len(packed.shape) != 2:
        raise UnreadableError(parts, f"packed four-bit floats of shape {list(packed.shape)} are no matrix")
    rows_columns = (packed.shape[0], packed.shape[1] * 2)
    if not size or scale.shape != (rows_columns[0], rows_columns[1] // size):
        shapes = f"{list(packed.shape)} and {list(scale.shape)} {scale.dtype}"
        raise UnreadableError(parts, f"packed four-bit floats and their scales do not fit each other: {shapes}")
    if rows_columns[1] % size or (size == 16 and (whole is None or math.prod(whole.shape) != 1)):
        raise UnreadableError(
            parts, f"{list(rows_columns)} numbers, {size} a scale, do not come out, or no {whole_name}"
        )

    def wide(start: int, stop: int) -> np.ndarray:
        if size == 32:
            return _powers(scale.read(start, stop))
        assert whole is not None
        shared = whole.read().astype(np.float32).ravel()[0]
        steps = scale.read(start, stop).astype(np.float32)
        return steps * shared if suffix == ".weight" else steps / shared

    def rows(start: int, stop: int) -> np.ndarray:
        values = _PAIRS[packed.read(start, stop)].reshape(stop - start, -1, size)
        return (values * wide(start, stop)[..., None]).reshape(stop - start, -1)

    said = f"{'nvfp4' if size == 16 else 'mxfp4'}, blocks of {size}"
    numbers = block_numbers(rows_columns, scale.shape, (1, size))
    grid = rounding(said, E2M1, numbers, functools.partial(lambda: (wide(0, rows_columns[0]), 0.0)))
    return Weight(Tensor(f"{stem}.weight", rows_columns, "float32", packed.file, rows, grid), parts)
