"""Weights of a few bits packed into 32-bit words: GPTQ, AWQ, and compressed-tensors' pack-quantized.

W = scale (code - zero), each scale and zero shared by a group of inputs of one output.

GPTQ (Frantar et al. 2022, https://arxiv.org/abs/2210.17323): `qweight` (in bits/32, out) packed along the inputs,
lowest bits first; `qzeros` (groups, out bits/32) along the outputs, one less than the zero (checkpoint_format gptq_v2:
the zero itself); `scales` (groups, out); `g_idx` (in,) gives the group of every input, in act-order any.
AWQ (Lin et al. 2023, https://arxiv.org/abs/2306.00978), version gemm: `qweight` (in, out/8) and `qzeros` (groups,
out/8) packed along the outputs, whose order within a word is 0, 2, 4, 6, 1, 3, 5, 7.
compressed-tensors: `weight_packed` (out, in bits/32) holds code + 2^(bits-1); zeros are packed along the outputs.
"""

import functools
from collections.abc import Callable

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Tensor
from eigensweep.models.quantised.weight import (
    Settings,
    Tensors,
    UnreadableError,
    Weight,
    parts_of,
    read_small,
    rounding,
    unpack_bits,
)

_GPTQ = ("qzeros", "scales", "g_idx")
_COMPRESSED = ("weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx")
_AWQ_ORDER = np.array([0, 2, 4, 6, 1, 3, 5, 7])
_FLOATS = ("float16", "bfloat16", "float32")


def find(name: str, tensors: Tensors, settings: Settings) -> Weight | None:
    """The weight whose packed codes `name` holds; None where it holds none.

    Raises:
      UnreadableError: a layout that is not read, or shapes that do not fit each other.
    """
    if name.endswith(".qweight") and f"{name.removesuffix('qweight')}scales" in tensors:
        found = parts_of(tensors, name.removesuffix("qweight"), ("qweight", *_GPTQ))
        parts = tuple(part.name for part in found.values())
        if settings.method not in ("gptq", "awq"):
            said = f"quant_method {settings.method!r}" if settings.method else "no quant_method"
            raise UnreadableError(parts, f"config.json gives {said}: only gptq and awq are known to pack like this")
        return (_gptq if settings.method == "gptq" else _awq)(found, settings, parts)
    if name.endswith(".weight_packed") and tensors[name].dtype == "int32" and settings.method == "compressed-tensors":
        return _compressed(name, tensors, settings)
    return None


def _check(found: dict[str, Tensor], parts: tuple[str, ...], key: str, shape: tuple[int, ...], *dtypes: str) -> None:
    tensor = found.get(key)
    if tensor is None:
        raise UnreadableError(parts, f"there is no {key}")
    if tensor.shape != shape or tensor.dtype not in dtypes:
        raise UnreadableError(
            parts, f"{key}: {list(shape)} {dtypes[0]} was expected, got {list(tensor.shape)} {tensor.dtype}"
        )


def _bits(settings: Settings, parts: tuple[str, ...], allowed: tuple[int, ...]) -> int:
    bits = settings.values.get("bits", settings.values.get("w_bit"))
    if type(bits) is not int or bits not in allowed:
        raise UnreadableError(parts, f"config.json: bits is {bits!r}, expected {' or '.join(map(str, allowed))}")
    return bits


def _gptq(found: dict[str, Tensor], settings: Settings, parts: tuple[str, ...]) -> Weight:
    kind = settings.values.get("checkpoint_format") or "gptq"
    if kind not in ("gptq", "gptq_v2"):
        raise UnreadableError(parts, f"checkpoint_format {kind!r} is not read, only gptq and gptq_v2 are")
    packed, scales, index = found["qweight"], found["scales"], found.get("g_idx")
    if len(packed.shape) != 2 or len(scales.shape) != 2 or 0 in packed.shape or 0 in scales.shape:
        raise UnreadableError(parts, f"qweight {list(packed.shape)} and scales {list(scales.shape)} are no matrices")
    words, (groups, out) = packed.shape[0], scales.shape
    bits = _bits(settings, parts, (2, 3, 4, 8))
    if index is not None and len(index.shape) == 1 and index.shape[0] and words * 32 % index.shape[0] == 0:
        own = words * 32 // index.shape[0]  # a module may have bits of its own
        bits = own if own in (2, 3, 4, 8) else bits
    inputs = words * 32 // bits
    _check(found, parts, "qweight", (inputs * bits // 32, out), "int32", "uint32")
    _check(found, parts, "scales", (groups, out), *_FLOATS)
    _check(found, parts, "qzeros", (groups, out * bits // 32), "int32", "uint32")
    if index is not None:
        _check(found, parts, "g_idx", (inputs,), "int32", "int64")
    elif inputs % groups:
        raise UnreadableError(parts, f"{groups} groups do not divide {inputs} inputs, and there is no g_idx")
    mask, more = (1 << bits) - 1, 1 if kind == "gptq" else 0

    def group_of() -> np.ndarray:
        return _groups(index, inputs, groups)

    def zeros() -> np.ndarray:
        stored = unpack_bits(found["qzeros"].read(), bits, out).astype(np.int32)
        return ((stored + more) & mask).astype(np.float32)

    def codes(start: int, stop: int) -> np.ndarray:
        return unpack_bits(packed.read()[:, start:stop].T, bits, inputs)

    said = f"gptq {bits} bits, " + (f"groups of {-(-inputs // groups)}" if groups > 1 else "a scale a row")
    if settings.values.get("desc_act") is True and index is not None:
        said += ", act-order"
    return _weight(parts, packed.file, (out, inputs), said, codes, scales, zeros, group_of, range(mask + 1))


def _awq(found: dict[str, Tensor], settings: Settings, parts: tuple[str, ...]) -> Weight:
    version = settings.values.get("version", "gemm")
    if not isinstance(version, str) or version.lower() != "gemm":
        raise UnreadableError(parts, f"AWQ version {version!r} is not read, only gemm is")
    packed, scales = found["qweight"], found["scales"]
    bits = _bits(settings, parts, (4,))
    if len(packed.shape) != 2 or len(scales.shape) != 2 or 0 in packed.shape or 0 in scales.shape:
        raise UnreadableError(parts, f"qweight {list(packed.shape)} and scales {list(scales.shape)} are no matrices")
    inputs, (groups, out) = packed.shape[0], scales.shape
    _check(found, parts, "qweight", (inputs, out // 8), "int32", "uint32")
    _check(found, parts, "scales", (groups, out), *_FLOATS)
    _check(found, parts, "qzeros", (groups, out // 8), "int32", "uint32")
    if out % 8 or inputs % groups:
        raise UnreadableError(parts, f"{out} outputs in words of 8, {groups} groups of {inputs} inputs do not come out")

    def unpacked(words: np.ndarray) -> np.ndarray:
        nibbles = unpack_bits(words, 4, out).reshape(len(words), -1, 8)
        codes = np.empty_like(nibbles)
        codes[:, :, _AWQ_ORDER] = nibbles
        return codes.reshape(len(words), out)

    def codes(start: int, stop: int) -> np.ndarray:
        return unpacked(packed.read())[:, start:stop].T

    def zeros() -> np.ndarray:
        return unpacked(found["qzeros"].read()).astype(np.float32)

    said = f"awq {bits} bits, " + (f"groups of {inputs // groups}" if groups > 1 else "a scale a row")
    group_of = functools.partial(_groups, None, inputs, groups)
    return _weight(parts, packed.file, (out, inputs), said, codes, scales, zeros, group_of, range(16))


def _compressed(name: str, tensors: Tensors, settings: Settings) -> Weight:
    stem = name.removesuffix("weight_packed")
    found = parts_of(tensors, stem, ("weight_packed", *_COMPRESSED))
    parts = tuple(part.name for part in found.values())
    packed, scales, zero, index = (found.get(key) for key in ("weight_packed", *_COMPRESSED[:2], "weight_g_idx"))
    if (kind := settings.values.get("format")) not in (None, "pack-quantized", "mixed-precision"):
        raise UnreadableError(parts, f"format {kind!r} is not read, only pack-quantized is")
    asked = [weights.get("num_bits") for weights in settings.groups()]
    _check(found, parts, "weight_shape", (2,), "int64", "int32")
    out, inputs = (int(n) for n in read_small(found["weight_shape"]))
    shape = found["weight_packed"].shape
    fitting = [bits for bits in (4, 8, 2) if bits in asked and shape == (out, -(-inputs * bits // 32))]
    if packed is None or scales is None or len(scales.shape) != 2 or len(fitting) != 1 or inputs < 1 or out < 1:
        raise UnreadableError(parts, f"weight_packed holds no {out} x {inputs} codes of the bits in config.json")
    (bits,), groups = fitting, scales.shape[1]
    _check(found, parts, "weight_scale", (out, groups), *_FLOATS)
    if zero is not None:
        _check(found, parts, "weight_zero_point", (-(-out * bits // 32), groups), "int32")
    if groups < 1 or inputs % groups:
        raise UnreadableError(parts, f"{groups} groups do not divide {inputs} inputs")
    if index is not None:
        _check({"weight_g_idx": index}, parts, "weight_g_idx", (inputs,), "int32", "int64")
    half = 1 << (bits - 1)

    def zeros() -> np.ndarray:
        if zero is None:
            return np.full((groups, out), half, np.float32)
        return unpack_bits(zero.read().T, bits, out).astype(np.float32)

    def codes(start: int, stop: int) -> np.ndarray:
        return unpack_bits(packed.read(start, stop), bits, inputs)

    turned = Tensor(scales.name, (groups, out), scales.dtype, scales.file, lambda *_: scales.read().T)
    said = f"compressed-tensors int{bits}, " + (f"groups of {inputs // groups}" if groups > 1 else "a scale a row")
    group_of = functools.partial(_groups, index, inputs, groups)
    found_weight = _weight(parts, packed.file, (out, inputs), said, codes, turned, zeros, group_of, range(2 * half))
    return Weight(found_weight.tensor, parts)


def _groups(index: Tensor | None, inputs: int, groups: int) -> np.ndarray:
    """The group of every input."""
    if index is None:
        return np.arange(inputs) // (inputs // groups)
    found = index.read().astype(np.int64)
    if found.min() < 0 or found.max() >= groups:
        raise CheckpointError(f"{index.file}: {index.name}: groups {found.min()} to {found.max()}, of {groups}")
    return found


def _weight(
    parts: tuple[str, ...],
    file: str,
    shape: tuple[int, int],
    said: str,
    codes: Callable[[int, int], np.ndarray],
    scales: Tensor,
    zeros: Callable[[], np.ndarray],
    group_of: Callable[[], np.ndarray],
    levels: range,
) -> Weight:
    """A weight (out, in) from its codes (rows of it), and from scales and zeros (groups, out)."""

    def rows(start: int, stop: int) -> np.ndarray:
        group = group_of()
        weight = codes(start, stop).astype(np.float32)
        weight -= zeros()[:, start:stop].T[:, group]
        weight *= scales.read().astype(np.float32)[:, start:stop].T[:, group]
        return weight

    def numbers(start: int, stop: int) -> np.ndarray:
        return (np.arange(start, stop)[:, None] * scales.shape[0] + group_of()).astype(np.int32)

    def steps() -> tuple[np.ndarray, np.ndarray]:
        step = np.ascontiguousarray(scales.read().astype(np.float32).T)
        return step, -step * zeros().T

    stem = parts[0].rpartition(".")[0]
    grid = rounding(said, levels, numbers, steps)
    return Weight(Tensor(f"{stem}.weight", shape, "float32", file, rows, grid), parts, turned=True)
