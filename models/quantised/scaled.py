"""Weights of 8 bits times a scale: one a tensor, one a row, or one a block.

FP8 as DeepSeek-V3 stores it (`weight_scale_inv`, blocks of 128 x 128, which despite the name is multiplied by), as
compressed-tensors, FBGEMM and ModelOpt do (`weight_scale`); int8 as compressed-tensors does. The formulas are those of
transformers' `Fp8Dequantize` and of compressed-tensors' `dequantize`, in float32 and not rounded to bfloat16.
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

FP8 = {"float8_e4m3fn": "e4m3", "float8_e5m2": "e5m2", "float8_e4m3fnuz": "e4m3fnuz", "float8_e5m2fnuz": "e5m2fnuz"}
_SCALES = ("_scale_inv", "_scale")
_ZERO = "_zero_point"
_SCALE_DTYPES = ("float32", "bfloat16", "float16", "float64", "float8_e8m0fnu", "uint8")


def find(name: str, tensors: Tensors, settings: Settings) -> Weight | None:
    """The weight whose 8-bit numbers `name` is; None where it has no scale beside it.

    Raises:
      UnreadableError: scales whose shape fits no blocks of this weight.
    """
    tensor = tensors[name]
    is_int8 = tensor.dtype == "int8" and settings.method == "compressed-tensors"
    if (tensor.dtype not in FP8 and not is_int8) or len(tensor.shape) < 2:
        return None
    found = parts_of(tensors, name, (*_SCALES, _ZERO))
    if name.endswith(".weight"):  # DeepSeek's own files
        found |= parts_of(tensors, name.removesuffix("weight"), ("scale",))
    scales = [part for key, part in found.items() if key != _ZERO]
    if not scales:
        return None
    parts = (name, *(part.name for part in found.values()))
    if len(scales) > 1:
        raise UnreadableError(parts, f"has two scales, {scales[0].name} and {scales[1].name}")
    scale, zero = scales[0], found.get(_ZERO)
    if scale.dtype not in _SCALE_DTYPES:
        raise UnreadableError(parts, f"its scale {scale.name} is of dtype {scale.dtype}")
    if zero is not None and (zero.shape != scale.shape or zero.dtype not in ("int8", *FP8)):
        raise UnreadableError(parts, f"{zero.name} {list(zero.shape)} {zero.dtype} fits no scale {list(scale.shape)}")
    count, size = _blocks(tensor, scale, settings, parts)
    said = f"{FP8.get(tensor.dtype, '')}".strip()
    said = f"{'fp8 ' + said if said else 'int8'}, {_said(tensor.shape, count, size)}"
    reader = functools.partial(_rows, tensor, scale, zero, count, size)
    levels = np.arange(256, dtype=np.uint8).view(np.dtype(getattr(ml_dtypes, tensor.dtype, np.int8))).astype(np.float32)
    grid = rounding(
        said,
        levels[np.isfinite(levels)],
        block_numbers(tensor.shape, count, size),
        functools.partial(_steps, scale, zero),
    )
    return Weight(Tensor(name, tensor.shape, "float32", tensor.file, reader, grid), parts)


def _block_size(settings: Settings) -> tuple[int, int] | None:
    """The size of blocks that the config names."""
    asked = [settings.values.get("weight_block_size"), *(w.get("block_structure") for w in settings.groups())]
    for size in asked:
        if isinstance(size, list | tuple) and len(size) == 2 and all(type(i) is int and i > 0 for i in size):
            return size[0], size[1]
    return None


def _blocks(
    tensor: Tensor, scale: Tensor, settings: Settings, parts: tuple[str, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many blocks there are along each axis, and of how many entries.

    The config's block size comes first, then 128 x 128: 192 rows with two scales are 128 + 64, not 96 + 96.
    """
    shape, given = tensor.shape, scale.shape
    ones = (1,) * len(shape)
    if math.prod(given) == 1:
        return ones, shape
    if len(given) == 1:  # one a row; of a stack, one a matrix
        given = (*given, *ones[1:])
    if len(given) == len(shape) and given[:-2] in (shape[:-2], ones[2:]):
        stack = tuple(1 if n > 1 else length for n, length in zip(given, shape[:-2], strict=False))
        for size in (_block_size(settings), (128, 128)):
            if size and given[-2:] == tuple(-(-n // k) for n, k in zip(shape[-2:], size, strict=True)):
                return given, (*stack, *size)
        if all(k and n % k == 0 for n, k in zip(shape, given, strict=True)):
            return given, tuple(n // k for n, k in zip(shape, given, strict=True))
    raise UnreadableError(parts, f"its scale {scale.name} {list(scale.shape)} fits no blocks of {list(shape)}")


def _said(shape: tuple[int, ...], count: tuple[int, ...], size: tuple[int, ...]) -> str:
    if math.prod(count) == 1:
        return "one scale"
    rows, columns = (min(k, n) for k, n in zip(size[-2:], shape[-2:], strict=True))
    match rows == shape[-2], columns == shape[-1]:
        case True, True:
            return "a scale a matrix"
        case False, True if rows == 1:
            return "a scale a row"
        case True, False if columns == 1:
            return "a scale a column"
    return f"groups of {columns}" if rows == 1 else f"{size[-2]}x{size[-1]} blocks"


def _wide(scale: np.ndarray) -> np.ndarray:
    """Scales in float32; bytes are exponents of 2, biased by 127."""
    scale = scale.view(ml_dtypes.float8_e8m0fnu) if scale.dtype == np.uint8 else scale
    return scale.astype(np.float32)


def _rows(
    tensor: Tensor,
    scale: Tensor,
    zero: Tensor | None,
    count: tuple[int, ...],
    size: tuple[int, ...],
    start: int,
    stop: int,
) -> np.ndarray:
    weight = tensor.read(start, stop).astype(np.float32)

    def spread(values: np.ndarray) -> np.ndarray:
        values = values.reshape(count)
        for axis, length in enumerate(tensor.shape):
            first, last = (start, stop) if axis == 0 else (0, length)
            if count[axis] > 1:
                values = np.take(values, np.arange(first, last) // size[axis], axis=axis)
        return values

    if zero is not None:
        weight -= spread(zero.read().astype(np.float32))
    weight *= spread(_wide(scale.read()))
    return weight


def _steps(scale: Tensor, zero: Tensor | None) -> tuple[np.ndarray, np.ndarray | float]:
    steps = _wide(scale.read())
    return steps, 0.0 if zero is None else -steps * zero.read().astype(np.float32)
