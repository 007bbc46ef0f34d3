"""Quantised checkpoints whose parts are missing, of other shapes or dtypes, or said to be what they are not."""

import json
import random
import struct

import numpy as np
import pytest

from eigensweep.models import CheckpointError, open_checkpoint

BYTES = {"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U8": 1, "I8": 1, "I32": 4, "I64": 8, "F16": 2, "BF16": 2, "F32": 4}
NAME = "model.layers.0.self_attn.q_proj"
PARTS = ("scale", "zero", "SCB", "absmax", "quant", "g_idx", "packed", "qweight", "blocks", "format", "shape")
NUMBERS = (4, 4, 8, 2, 0, -1, "4", None, True, [], 10**30, 2.5)
BLOCKS = ([8, 8], [128, 128], [0, 0], "x", None, [1], [10**30, 1])


def shapes(rng, *shape):
    """A shape, mostly as it should be."""
    shape = list(shape)
    while rng.random() < 0.12:
        match rng.randrange(4):
            case 0 if shape:
                shape[rng.randrange(len(shape))] = rng.choice([0, 1, 2, 3, 7, 33])
            case 1:
                shape.append(rng.choice([0, 1, 2]))
            case 2 if shape:
                shape.pop()
            case 3:
                shape.reverse()
    return shape


def state(rng):
    """What bitsandbytes says in JSON, mostly as it should be."""
    shape = rng.choice([[16, 32]] * 4 + [[16, 0], [512], [2**39, 2**39], [4, 4, 32], "ab", None])
    said = {"shape": shape, "blocksize": 64, "nested_blocksize": 256, "nested_offset": 0.1}
    if rng.random() < 0.3:
        said[rng.choice(list(said))] = rng.choice(NUMBERS)
    return json.dumps(said).encode()


def parts(rng):
    """The parts of one weight of some format, {name: (dtype, shape)}, and what config.json says of it."""
    bits, method = rng.choice(NUMBERS), rng.choice(["gptq", "awq", "x", 7])
    groups = {"a": {"weights": {"num_bits": bits, "block_structure": rng.choice(BLOCKS)}}}
    compressed = {"quant_method": "compressed-tensors", "config_groups": rng.choice([groups, {}, [], None, {"a": 7}])}
    scale = rng.choice([(), (1,), (16,), (16, 1), (2, 4), (4, 16)])
    four = {"weight": ("U8", (256, 1)), "weight.absmax": (rng.choice(["F32", "U8"]), (8,))}
    nested = {"weight.nested_absmax": ("F32", (1,)), "weight.nested_quant_map": ("F32", (256,))}
    packed = {"qzeros": ("I32", (2, 2)), "scales": ("F16", (2, 16))}
    return rng.choice(
        [
            (
                {"weight": ("F8_E4M3", (16, 32)), rng.choice(["weight_scale", "scale"]): ("F32", scale)},
                {"quant_method": "fp8", "weight_block_size": rng.choice(BLOCKS)},
            ),
            ({"weight": ("I8", (16, 32)), "weight_scale": ("F32", (16, 2))}, compressed),
            ({"w_blocks": ("U8", (2, 8, 2, 16)), "w_scales": ("U8", (2, 8, 2))}, {"quant_method": "mxfp4"}),
            (four | {"weight.quant_map": ("F32", (16,))}, {"quant_method": "bitsandbytes"}),
            (four | nested | {"weight.quant_map": ("F32", (16,))}, {"quant_method": "bitsandbytes"}),
            ({"weight": ("I8", (16, 32)), "SCB": ("F32", (16,)), "weight_format": ("U8", ())}, {"a": 1}),
            (
                packed | {"qweight": ("I32", (4, 16)), "g_idx": ("I32", (32,))},
                {"quant_method": method, "bits": bits, "checkpoint_format": rng.choice(["gptq", "gptq_v2", [], None])},
            ),
            (
                packed | {"qweight": ("I32", (32, 2))},
                {"quant_method": "awq", "bits": 4, "version": rng.choice(["gemm", [], None, "gemv"])},
            ),
            (
                {
                    "weight_packed": (rng.choice(["I32", "U8"]), (16, 4)),
                    "weight_scale": (rng.choice(["F32", "F8_E4M3", "U8"]), (16, 2)),
                    "weight_shape": ("I64", (2,)),
                    "weight_global_scale": ("F32", (1,)),
                },
                rng.choice([compressed, {"quant_method": "modelopt"}]),
            ),
        ]
    )


def write(folder, rng, numbers):
    """A checkpoint with one quantised weight, something about it wrong now and then."""
    found, settings = parts(rng)
    stored = {}
    for name, (dtype, shape) in found.items():
        if rng.random() > 0.06:
            dtype, shape = dtype if rng.random() > 0.1 else rng.choice(list(BYTES)), shapes(rng, *shape)
            most = 256 if rng.random() < 0.5 else 3
            data = numbers.integers(0, most, int(np.prod(shape)) * BYTES[dtype], np.uint8).tobytes()
            stored[f"{NAME}.{name}"] = (dtype, shape, data)
    if "weight.absmax" in found:
        said = state(rng)
        stored[f"{NAME}.weight.quant_state.bitsandbytes__nf4"] = ("U8", [len(said)], said)
    if f"{NAME}.weight_shape" in stored:
        said = np.array(rng.choice([[16, 32], [16, 32], [16, 0], [-1, 32], [2**62, 2**62]])).tobytes()
        stored[f"{NAME}.weight_shape"] = ("I64", [2], said)
    header, begin = {}, 0
    for name, (dtype, shape, data) in stored.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin := begin + len(data)]}
    text = json.dumps(header).encode()
    data = b"".join(data for _, _, data in stored.values())
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    config = {"model_type": rng.choice(["llama", "gpt2", "unheard-of"])}
    config |= {"quantization_config": settings} if rng.random() < 0.95 else {}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")
def test_parts_are_never_matrices_and_what_is_read_is_what_was_said(tmp_path):
    rng, numbers = random.Random(0), np.random.default_rng(0)
    seen = {"read": 0, "left out": 0, "refused": 0}
    for case in range(500):
        write(tmp_path, rng, numbers)
        try:
            checkpoint = open_checkpoint(tmp_path)
            for matrix in checkpoint.matrices:
                assert not any(part in matrix.name.removeprefix(NAME) for part in PARTS), (case, matrix.name)
                w = matrix.read()
                assert (w.shape, w.dtype.name) == (matrix.shape, matrix.dtype), case
                if matrix.grid:
                    grid = matrix.grid()
                    assert grid.blocks.shape == w.shape
                    assert not w.size or grid.blocks.max() < len(grid.steps) == len(grid.offsets), case
            seen["read" if checkpoint.matrices else "left out"] += 1
        except CheckpointError:
            seen["refused"] += 1
    assert seen["read"] > 60, seen
    assert seen["left out"] > 60, seen
