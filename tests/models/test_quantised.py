"""Every format of quantised weights against its own library, or against the format written out."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from eigensweep.models import open_checkpoint

torch = pytest.importorskip("torch")
OUT, IN = 96, 192
BITS = {np.dtype(ml_dtypes.bfloat16): (np.uint16, torch.bfloat16)}


@pytest.fixture
def write(tmp_path):
    """write(tensors, quantization_config=None, **config) -> the checkpoint, opened."""

    def make(tensors, settings=None, **config):
        if any(isinstance(value, torch.Tensor) for value in tensors.values()):
            save_torch({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "model.safetensors")
        else:
            save_file(tensors, tmp_path / "model.safetensors")
        config = {"model_type": "unheard-of", **config} | ({"quantization_config": settings} if settings else {})
        (tmp_path / "config.json").write_text(json.dumps(config))
        return open_checkpoint(tmp_path)

    return make


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def only(checkpoint):
    (matrix,) = checkpoint.matrices
    return matrix


def check_grid(matrix):
    """The grid holds every entry, and every block has a step of its own."""
    grid, w = matrix.grid(), matrix.read().astype(np.float64)
    assert grid.blocks.shape == w.shape
    step, offset = grid.steps.astype(np.float64)[grid.blocks], grid.offsets.astype(np.float64)[grid.blocks]
    codes = (w - offset) / step
    nearest = grid.levels[np.clip(np.searchsorted(grid.levels, codes), 0, len(grid.levels) - 1)].astype(np.float64)
    below = grid.levels[np.clip(np.searchsorted(grid.levels, codes) - 1, 0, None)].astype(np.float64)
    away = np.minimum(np.abs(codes - nearest), np.abs(codes - below))
    assert away.max() <= 1e-5 * np.abs(grid.levels).max()


# --- FP8


def fp8_blocks(w, block, dtype):
    rows, columns = w.shape
    scale = torch.zeros(-(-rows // block[0]), -(-columns // block[1]))
    codes, exact = torch.empty_like(w), torch.empty_like(w)
    most = torch.finfo(dtype).max
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            part = slice(i * block[0], (i + 1) * block[0]), slice(j * block[1], (j + 1) * block[1])
            scale[i, j] = w[part].abs().max() / most
            codes[part] = (w[part] / scale[i, j]).to(dtype).float()
            exact[part] = codes[part] * scale[i, j]
    return codes.to(dtype), scale, exact


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("shape", [(256, 384), (192, 200)])  # the second: blocks that are cut off
def test_fp8_in_blocks_of_128(write, dtype, shape):
    codes, scale, exact = fp8_blocks(noise(*shape), (128, 128), dtype)
    name = "model.layers.0.self_attn.q_proj.weight"
    config = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    matrix = only(write({name: codes, f"{name}_scale_inv": scale}, config))
    assert (matrix.name, matrix.role, matrix.shape, matrix.dtype) == (name, "query", shape, "float32")
    assert matrix.quantised == f"fp8 {'e4m3' if dtype == torch.float8_e4m3fn else 'e5m2'}, 128x128 blocks"
    np.testing.assert_array_equal(matrix.read(), exact.numpy())
    check_grid(matrix)


def test_fp8_in_blocks_as_transformers_dequantises(write):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    codes, scale, _ = fp8_blocks(noise(256, 384), (128, 128), torch.float8_e4m3fn)
    matrix = only(write({"a.q_proj.weight": codes, "a.q_proj.weight_scale_inv": scale}, {"quant_method": "fp8"}))
    theirs = Fp8Dequantize(None)._dequantize_one(codes, scale, torch.float32)
    np.testing.assert_array_equal(matrix.read(), theirs.numpy())


@pytest.mark.parametrize(
    ("shape", "said"), [((), "one scale"), ((1,), "one scale"), ((OUT,), "a scale a row"), ((OUT, 1), "a scale a row")]
)
def test_fp8_with_a_scale_a_tensor_or_row(write, shape, said):
    w = noise(OUT, IN)
    scale = (w.abs().amax(1) / 448).reshape(shape) if shape[:1] == (OUT,) else (w.abs().max() / 448).reshape(shape)
    codes = (w / (scale.reshape(-1, 1) if scale.numel() > 1 else scale)).to(torch.float8_e4m3fn)
    matrix = only(write({"a.k_proj.weight": codes, "a.k_proj.weight_scale": scale}, {"quant_method": "fbgemm_fp8"}))
    assert matrix.quantised == f"fp8 e4m3, {said}"
    exact = codes.float() * (scale.reshape(-1, 1) if scale.numel() > 1 else scale)
    np.testing.assert_array_equal(matrix.read(), exact.numpy())
    check_grid(matrix)


def test_stacked_fp8_experts_with_a_scale_a_column(write):
    codes = noise(3, 16, 40).mul(1000).to(torch.float8_e4m3fn)
    scale = noise(3, 1, 40).abs() + 0.001
    name = "model.layers.1.feed_forward.experts.gate_up_proj"
    checkpoint = write({name: codes, f"{name}_scale": scale}, {"quant_method": "fbgemm_fp8"})
    assert [matrix.expert for matrix in checkpoint.matrices] == [0, 1, 2]
    for expert, matrix in enumerate(checkpoint.matrices):
        exact = (codes.float() * scale)[expert].numpy()
        np.testing.assert_array_equal(matrix.read(), exact if matrix.shape == exact.shape else exact.T)
        check_grid(matrix)


@pytest.mark.parametrize("strategy", ["tensor", "channel", "block", "group"])
@pytest.mark.parametrize("kind", ["float", "int"])
def test_compressed_tensors_of_8_bits(write, strategy, kind):
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize, quantize

    more = {"block": {"block_structure": [32, 64]}, "group": {"group_size": 48}}.get(strategy, {})
    args = QuantizationArgs(num_bits=8, type=kind, strategy=strategy, symmetric=True, **more)
    shape = {"tensor": (1,), "channel": (OUT, 1), "block": (OUT // 32, IN // 64), "group": (OUT, IN // 48)}[strategy]
    w, scale = noise(OUT, IN), noise(*shape, seed=1).abs() / 100 + 1e-4
    codes = quantize(w, scale, None, args, dtype=args.pytorch_dtype())
    weights = json.loads(args.model_dump_json())
    config = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    matrix = only(write({"a.v_proj.weight": codes, "a.v_proj.weight_scale": scale}, config))
    np.testing.assert_array_equal(matrix.read(), dequantize(codes, scale, None, args).numpy())
    check_grid(matrix)


# --- four-bit floats


def test_mxfp4_experts_as_transformers_converts_them(write):
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    rng = np.random.default_rng(0)
    blocks = torch.from_numpy(rng.integers(0, 256, (3, 40, 2, 16), np.uint8))
    scales = torch.from_numpy(rng.integers(110, 125, (3, 40, 2), np.uint8))
    name = "model.layers.0.mlp.experts.gate_up_proj"
    tensors = {f"{name}_blocks": blocks, f"{name}_scales": scales, f"{name}_bias": noise(3, 40).bfloat16()}
    checkpoint = write(tensors, {"quant_method": "mxfp4"})
    assert set(checkpoint.source.tensors) == {name, f"{name}_bias"}
    theirs = convert_moe_packed_tensors(blocks, scales)
    stored = checkpoint.source.tensors[name]
    assert (stored.shape, stored.dtype) == ((3, 64, 40), "bfloat16")
    np.testing.assert_array_equal(stored.read().view(np.uint16), theirs.view(torch.uint16).numpy())
    assert [(m.name, m.quantised) for m in checkpoint.matrices] == [
        (f"{name}[{e}]", "mxfp4, blocks of 32") for e in range(3)
    ]
    for matrix in checkpoint.matrices:
        check_grid(matrix)
    assert [s.name for s in checkpoint.skipped] == [f"{name}_bias"]


@pytest.mark.parametrize("kind", ["mxfp4", "nvfp4", "modelopt"])
def test_packed_four_bit_floats_written_out(write, kind):
    rng = np.random.default_rng(1)
    packed = rng.integers(0, 256, (OUT, IN // 2), np.uint8)
    size = 32 if kind == "mxfp4" else 16
    whole = np.array([1.7], np.float32)
    if kind == "mxfp4":
        scales = rng.integers(115, 125, (OUT, IN // 32), np.uint8)
        steps = 2.0 ** (scales.astype(np.float32) - 127)
    else:
        scales = torch.from_numpy(rng.uniform(1, 400, (OUT, IN // 16))).to(torch.float8_e4m3fn)
        steps = scales.float().numpy() * whole if kind == "modelopt" else scales.float().numpy() / whole
    values = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    exact = np.zeros((OUT, IN), np.float32)
    for i in range(OUT):
        for j in range(IN):
            code = packed[i, j // 2] >> 4 if j % 2 else packed[i, j // 2] & 15
            exact[i, j] = (-1 if code > 7 else 1) * values[code % 8] * steps[i, j // size]
    codes, shared = ("weight", "weight_scale_2") if kind == "modelopt" else ("weight_packed", "weight_global_scale")
    tensors = {f"a.v_proj.{codes}": torch.from_numpy(packed), "a.v_proj.weight_scale": torch.as_tensor(scales)}
    tensors |= {} if kind == "mxfp4" else {f"a.v_proj.{shared}": torch.from_numpy(whole)}
    method = "modelopt" if kind == "modelopt" else "compressed-tensors"
    matrix = only(write(tensors, {"quant_method": method}))
    assert matrix.name == "a.v_proj.weight"
    np.testing.assert_array_equal(matrix.read(), exact)
    check_grid(matrix)


# --- bitsandbytes


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize(
    ("shape", "storage"), [((OUT, IN), torch.uint8), ((50, 63), torch.uint8), ((OUT, IN), torch.bfloat16)]
)
def test_bitsandbytes_of_four_bits(write, kind, nested, shape, storage):
    functional = pytest.importorskip("bitsandbytes.functional")
    w = noise(*shape)
    packed, state = functional.quantize_4bit(
        w, blocksize=64, compress_statistics=nested, quant_type=kind, quant_storage=storage
    )
    name = "a.o_proj.weight"
    tensors = {name: packed} | {f"{name}.{key}": value for key, value in state.as_dict(packed=True).items()}
    matrix = only(write(tensors, {"quant_method": "bitsandbytes", "load_in_4bit": True}))
    assert matrix.quantised == f"{kind}, blocks of 64{', nested' if nested else ''}"
    assert (matrix.shape, matrix.dtype, matrix.role) == (shape, "float32", "attention_output")
    with torch.compiler.set_stance("force_eager"):  # bitsandbytes would compile C++ for half a minute
        theirs = functional.dequantize_4bit(packed, state).numpy()
    np.testing.assert_allclose(matrix.read(), theirs, rtol=2e-7, atol=0)
    check_grid(matrix)


def test_rows_of_a_bitsandbytes_weight_are_those_of_the_whole(write):
    functional = pytest.importorskip("bitsandbytes.functional")
    packed, state = functional.quantize_4bit(noise(50, 63), blocksize=64, compress_statistics=True, quant_type="nf4")
    tensors = {"a.weight": packed} | {f"a.weight.{key}": value for key, value in state.as_dict(packed=True).items()}
    stored = write(tensors, {"quant_method": "bitsandbytes"}).source.tensors["a.weight"]
    whole = stored.read()
    for start, stop in ((0, 1), (7, 8), (13, 50)):
        np.testing.assert_array_equal(stored.read(start, stop), whole[start:stop])


def test_bitsandbytes_int8(write):
    functional = pytest.importorskip("bitsandbytes.functional")
    codes, scales, _ = functional.int8_vectorwise_quant(noise(OUT, IN).half())
    tensors = {"a.up_proj.weight": codes, "a.up_proj.SCB": scales, "a.up_proj.weight_format": torch.tensor(0).byte()}
    checkpoint = write(tensors, {"quant_method": "bitsandbytes", "load_in_8bit": True})
    matrix = only(checkpoint)
    assert (matrix.quantised, matrix.role) == ("bitsandbytes int8, a scale a row", "mlp_up")
    np.testing.assert_array_equal(matrix.read(), functional.int8_vectorwise_dequant(codes, scales).numpy())
    check_grid(matrix)
    tensors["a.up_proj.weight_format"] += 2
    checkpoint = write(tensors, {"quant_method": "bitsandbytes", "load_in_8bit": True})
    assert not checkpoint.matrices
    assert {s.name for s in checkpoint.skipped} == set(tensors)


def test_a_square_conv1d_is_not_read_the_wrong_way_round(write, tiny):
    """bitsandbytes stores GPT-2's layers turned; transformers turns them back."""
    functional = pytest.importorskip("bitsandbytes.functional")
    model, folder = tiny("gpt2")
    state = {name.removeprefix("transformer."): value for name, value in model.state_dict().items()}
    del state["lm_head.weight"]
    for layer in ("attn.c_proj", "attn.c_attn", "mlp.c_fc"):
        name = f"h.0.{layer}.weight"
        codes, scales, _ = functional.int8_vectorwise_quant(state[name].T.contiguous().half())
        state |= {name: codes, f"h.0.{layer}.SCB": scales}
    config = json.loads((folder / "config.json").read_text())
    checkpoint = write(state, {"quant_method": "bitsandbytes"}, **config)
    assert not checkpoint.plan.mismatches
    plain = {matrix.name.removeprefix("transformer."): matrix for matrix in open_checkpoint(folder).matrices}
    read = [matrix for matrix in checkpoint.matrices if matrix.quantised]
    assert len(read) == 5
    for matrix in read:
        np.testing.assert_allclose(matrix.read(), plain[matrix.name].read(), atol=0.01)
        check_grid(matrix)


# --- packed integers: GPTQ and AWQ by their specifications written out, compressed-tensors by its own packing


def pack(codes, bits):
    """Codes (rows, columns) as words along the columns: one long number, the first code in the lowest bits."""
    words = []
    for row in codes.tolist():
        number = sum(code << (bits * place) for place, code in enumerate(row))
        words.append([number >> (32 * place) & 0xFFFFFFFF for place in range(len(row) * bits // 32)])
    return np.array(words, np.uint32).view(np.int32)


def gptq(bits, groups, rng, act_order=False, v2=False):
    codes = rng.integers(0, 2**bits, (IN, OUT))
    zeros = rng.integers(1, 2**bits, (groups, OUT))
    scales = rng.uniform(0.001, 0.002, (groups, OUT)).astype(np.float16)
    g_idx = np.arange(IN, dtype=np.int32) // (IN // groups)
    g_idx = rng.permutation(g_idx) if act_order else g_idx
    tensors = {
        "qweight": np.ascontiguousarray(pack(codes.T, bits).T),
        "qzeros": pack(zeros if v2 else zeros - 1, bits),
        "scales": scales,
        "g_idx": g_idx,
    }
    exact = np.empty((OUT, IN), np.float32)
    for i in range(IN):
        for o in range(OUT):
            group = g_idx[i]
            exact[o, i] = np.float32(scales[group, o]) * np.float32(codes[i, o] - zeros[group, o])
    return {f"model.layers.0.self_attn.q_proj.{key}": value for key, value in tensors.items()}, exact


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", ["plain", "act-order", "v2", "without g_idx"])
def test_gptq_written_out(write, bits, kind):
    tensors, exact = gptq(bits, 3, np.random.default_rng(bits), kind == "act-order", kind == "v2")
    if kind == "without g_idx":
        del tensors["model.layers.0.self_attn.q_proj.g_idx"]
    settings = {"quant_method": "gptq", "bits": bits, "group_size": 64, "desc_act": kind == "act-order"}
    settings |= {"checkpoint_format": "gptq_v2"} if kind == "v2" else {}
    matrix = only(write(tensors, settings))
    assert (matrix.name, matrix.role) == ("model.layers.0.self_attn.q_proj.weight", "query")
    assert matrix.quantised == f"gptq {bits} bits, groups of 64{', act-order' if kind == 'act-order' else ''}"
    np.testing.assert_array_equal(matrix.read(), exact)
    check_grid(matrix)


def test_awq_written_out(write):
    rng = np.random.default_rng(0)
    codes, zeros = rng.integers(0, 16, (IN, OUT)), rng.integers(0, 16, (IN // 64, OUT))
    scales = rng.uniform(0.001, 0.002, (IN // 64, OUT)).astype(np.float16)

    def packed(values):
        words = np.zeros((len(values), OUT // 8), np.uint32)
        for word in range(OUT // 8):
            for nibble, column in enumerate([0, 2, 4, 6, 1, 3, 5, 7]):
                words[:, word] |= values[:, 8 * word + column].astype(np.uint32) << (4 * nibble)
        return words.view(np.int32)

    name = "model.layers.3.mlp.down_proj"
    tensors = {f"{name}.qweight": packed(codes), f"{name}.qzeros": packed(zeros), f"{name}.scales": scales}
    matrix = only(write(tensors, {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}))
    exact = np.empty((OUT, IN), np.float32)
    for i in range(IN):
        for o in range(OUT):
            exact[o, i] = np.float32(scales[i // 64, o]) * np.float32(codes[i, o] - zeros[i // 64, o])
    assert (matrix.role, matrix.block, matrix.quantised) == ("mlp_down", 3, "awq 4 bits, groups of 64")
    np.testing.assert_array_equal(matrix.read(), exact)
    check_grid(matrix)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_pack_quantized_of_compressed_tensors(write, bits, symmetric):
    pytest.importorskip("compressed_tensors")
    from compressed_tensors.compressors.pack_quantized import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    args = QuantizationArgs(num_bits=bits, strategy="group", group_size=64, symmetric=symmetric)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    half = 2 ** (bits - 1)
    zeros = torch.randint(-half, half, (OUT, IN // 64), dtype=torch.int8)
    scales = noise(OUT, IN // 64, seed=1).abs() / half + 1e-3
    state = {"weight": noise(OUT, IN), "weight_scale": scales} | ({} if symmetric else {"weight_zero_point": zeros})
    packed = PackedQuantizationCompressor.compress(dict(state), scheme)
    exact = PackedQuantizationCompressor.decompress(dict(packed), scheme)["weight"].numpy()
    config = {"quant_method": "compressed-tensors", "config_groups": {"group_0": json.loads(scheme.model_dump_json())}}
    matrix = only(write({f"a.gate_proj.{key}": value for key, value in packed.items()}, config))
    assert (matrix.name, matrix.quantised) == ("a.gate_proj.weight", f"compressed-tensors int{bits}, groups of 64")
    np.testing.assert_array_equal(matrix.read(), exact)
    check_grid(matrix)


# --- what cannot be read, and what is said


def test_a_quantised_llama_is_the_family_it_is(write, tiny):
    model, folder = tiny("llama")
    state, exact = dict(model.state_dict()), {}
    for name in [name for name, value in state.items() if "proj" in name]:
        codes, scale, exact[name] = fp8_blocks(state[name], (16, 16), torch.float8_e4m3fn)
        state |= {name: codes, f"{name}_scale_inv": scale}
    config = json.loads((folder / "config.json").read_text())
    checkpoint = write(state, {"quant_method": "fp8", "weight_block_size": [16, 16]}, **config)
    assert (checkpoint.architecture, checkpoint.plan.mismatches) == ("llama", ())
    assert {m.name for m in checkpoint.matrices if m.quantised} == set(exact)
    for matrix in checkpoint.matrices:
        np.testing.assert_array_equal(
            matrix.read(),
            exact.get(matrix.name, state[matrix.name]).numpy()[...].T
            if matrix.role == "embedding"
            else exact.get(matrix.name, state[matrix.name]),
        )
    (said,) = [text for text in checkpoint.warnings if "quantised" in text]
    assert (
        said == f"{len(exact)} weights are stored quantised and read dequantised "
        f"({len(exact)} fp8 e4m3, 16x16 blocks): their noise includes rounding"
    )


def test_experts_of_gpt_oss(write):
    from transformers import GptOssConfig, GptOssForCausalLM
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    sizes = {"vocab_size": 24, "hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 3, "num_experts_per_tok": 2}
    model_config = GptOssConfig(**sizes, **heads, rope_parameters={"rope_type": "default"})
    state, exact, rng = dict(GptOssForCausalLM(model_config).state_dict()), {}, np.random.default_rng(0)
    for name in [name for name in state if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, inputs, out = state.pop(name).shape
        blocks = torch.from_numpy(rng.integers(0, 256, (experts, out, inputs // 32, 16), np.uint8))
        scales = torch.from_numpy(rng.integers(110, 125, (experts, out, inputs // 32), np.uint8))
        state |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        exact[name] = convert_moe_packed_tensors(blocks, scales).float().numpy()
    checkpoint = write(state, {"quant_method": "mxfp4"}, **model_config.to_dict())
    assert (checkpoint.architecture, checkpoint.plan.mismatches) == ("gpt_oss", ())
    read = [matrix for matrix in checkpoint.matrices if matrix.quantised]
    assert {matrix.role for matrix in read} == {"mlp_up", "mlp_gate", "mlp_down"}
    assert len(read) == 3 * len(exact) // 2 * next(iter(exact.values())).shape[0]
    for matrix in read:
        stored = exact[matrix.name.split("[")[0]][matrix.expert]
        share = {"mlp_gate": slice(0, None, 2), "mlp_up": slice(1, None, 2)}.get(matrix.role, slice(None))
        np.testing.assert_array_equal(matrix.read().astype(np.float32), stored[:, share].T)
        check_grid(matrix)


PACKED = {"qweight": np.zeros((24, 96), np.int32), "qzeros": np.zeros((3, 12), np.int32)}
GPTQ_PARTS = PACKED | {"scales": np.ones((3, 96), np.float16), "g_idx": np.zeros(192, np.int32)}


@pytest.mark.parametrize(
    ("settings", "parts", "reason"),
    [
        (None, GPTQ_PARTS, "no quant_method"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, GPTQ_PARTS, "'marlin' is not read"),
        ({"quant_method": "gptq", "bits": 5}, PACKED | {"scales": np.ones((3, 96), np.float16)}, "bits is 5"),
        ({"quant_method": "gptq", "bits": 4}, GPTQ_PARTS | {"scales": np.ones((3, 95), np.float16)}, "was expected"),
        ({"quant_method": "awq", "bits": 4, "version": "gemv"}, GPTQ_PARTS, "'gemv' is not read"),
        ({"quant_method": "aqlm"}, {"codes": np.zeros((12, 3, 2), np.int8), "codebooks": np.ones((2, 256, 1, 8), "f4"),
                                    "scales": np.ones((12, 1, 1, 1), "f4")}, "aqlm"),
        ({"quant_method": "hqq"}, {"W_q": np.zeros((48, 64), np.uint8), "scale": np.ones((96, 3), "f2"),
                                   "zero": np.ones((96, 3), "f2")}, "hqq"),
        ({"quant_method": "quanto"}, {"weight._data": np.zeros((8, 9), np.int8), "weight._scale": np.ones((8, 1), "f4"),
                                      "input_scale": np.ones((2, 2), "f4")}, "quanto"),
        ({"quant_method": "vptq"}, {"indices": np.zeros((4, 5, 6), np.int32), "centroids.weight": np.ones((9, 9), "f4"),
                                    "weight_scale": np.ones((9, 9), "f4")}, "vptq"),
        ({"quant_method": "bitnet"}, {"weight": np.zeros((8, 9), np.uint8), "weight_scale": np.ones((2, 2), "f4")},
         "bitnet"),
        ({"quant_method": "fp8"}, {"weight": np.zeros((8, 9), np.int8), "scale": np.ones((8, 3), "f4")}, "not known"),
        (None, {"weight": np.zeros((8, 9), np.int8), "SCB": np.ones((9,), "f4")}, "no scale a row"),
        (None, {"weight_scale_inv": np.ones((8, 9), "f4")}, "codes are not beside it"),
        ({"quant_method": "compressed-tensors", "format": "marlin-24"},
         {"weight_packed": np.zeros((8, 9), np.int32), "weight_scale": np.ones((8, 9), "f4")}, "'marlin-24' is not"),
        ({"quant_method": "compressed-tensors", "sparsity_config": {"format": "sparse-24-bitmask"}},
         {"compressed": np.ones((8, 9), "f4"), "bitmask": np.ones((8, 3), np.uint8)}, "not known"),
        ({"quant_method": "awq"}, {"scales": np.ones((8, 9), "f4")}, "codes are not beside it"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_left_out_with_all_of_its_parts(write, settings, parts, reason):
    name, bias = "model.layers.0.self_attn.q_proj", np.ones(96, np.float32)
    tensors = {f"{name}.{key}": value for key, value in parts.items()}
    plain = {f"{name}.bias": bias, "model.embed_tokens.weight": np.ones((7, 5), np.float32)}
    checkpoint = write(tensors | plain, settings)
    assert [matrix.name for matrix in checkpoint.matrices] == ["model.embed_tokens.weight"]
    reasons = {skipped.name: skipped.reason for skipped in checkpoint.skipped}
    assert reasons.keys() == {*tensors, f"{name}.bias"}
    assert reasons[f"{name}.bias"].startswith("1-D")
    assert all("quantised" in reasons[part] or "activations" in reasons[part] for part in tensors)
    assert any(reason in reasons[part] for part in tensors)
    assert any("left out" in text for text in checkpoint.warnings)


@pytest.mark.parametrize(
    "state",
    [b"{", b"[]", b'{"shape": [1e9], "blocksize": 64}', b'{"shape": [-4, 4], "blocksize": 64}',
     b'{"shape": [96, 192], "blocksize": 0}', b'{"shape": [96, 999999999999999999999], "blocksize": 64}',
     b'{"shape": [96, 200], "blocksize": 64}', b'{"shape": 7, "blocksize": 64}', b"[" * 9000],
)  # fmt: skip
def test_a_state_of_bitsandbytes_that_makes_no_sense(write, state):
    tensors = {"weight": np.zeros((96 * 96, 1), np.uint8), "weight.absmax": np.ones(288, np.float32),
               "weight.quant_map": np.ones(16, np.float32),
               "weight.quant_state.bitsandbytes__nf4": np.frombuffer(state, np.uint8)}  # fmt: skip
    checkpoint = write({f"a.{key}": value for key, value in tensors.items()}, {"quant_method": "bitsandbytes"})
    assert not checkpoint.matrices
    assert len(checkpoint.skipped) == 4


def test_fp8_without_a_scale_is_left_out_as_before(write):
    checkpoint = write({"a.weight": noise(8, 8).to(torch.float8_e4m3fn)}, {"quant_method": "fp8"})
    assert "mean nothing without their scales" in checkpoint.skipped[0].reason


def test_nothing_is_taken_from_models_that_are_not_quantised(write):
    tensors = {"a.scale": torch.ones(3, 4), "a.relative_position_index": torch.zeros(3, 3).long(),
               "b.codes": torch.ones(4, 5), "a.relative_position_bias_table": torch.ones(5, 4),
               "logit_scale": torch.ones(())}  # fmt: skip
    checkpoint = write(tensors)
    assert {matrix.name for matrix in checkpoint.matrices} == {"a.scale", "b.codes", "a.relative_position_bias_table"}
    assert not checkpoint.source.left_out


def test_a_quantised_weight_is_neither_replaced_nor_read_twice(write, tmp_path):
    from eigensweep.models.export import write_huggingface

    tensors, exact = gptq(4, 3, np.random.default_rng(0))
    checkpoint = write(tensors, {"quant_method": "gptq", "bits": 4})
    with pytest.raises(ValueError, match="gptq 4 bits, groups of 64, into which nothing is written back"):
        write_huggingface(checkpoint, tmp_path / "out", {only(checkpoint).name: exact})
    both = write(tensors | {"model.layers.0.self_attn.q_proj.weight": exact}, {"quant_method": "gptq", "bits": 4})
    assert not only(both).quantised
    assert "there a second time" in both.skipped[0].reason


def test_a_group_that_is_not_there_is_an_error_that_names_the_tensor(write):
    tensors, _ = gptq(4, 3, np.random.default_rng(0))
    tensors["model.layers.0.self_attn.q_proj.g_idx"][5] = 3
    with pytest.raises(ValueError, match=r"model.safetensors: model.layers.0.self_attn.q_proj.g_idx: groups 0 to 3"):
        only(write(tensors, {"quant_method": "gptq", "bits": 4})).read()


def test_a_converted_checkpoint_remembers_what_it_was(write, tmp_path):
    from eigensweep.models.orbax import convert

    tensors, exact = gptq(4, 3, np.random.default_rng(0))
    checkpoint = write(tensors, {"quant_method": "gptq", "bits": 4})
    convert(checkpoint, tmp_path / "converted")
    again = only(open_checkpoint(tmp_path / "converted"))
    assert again.quantised == only(checkpoint).quantised == "gptq 4 bits, groups of 64"
    np.testing.assert_array_equal(again.read(), exact)
