"""GGUF files that the package gguf wrote, against what went in, its own dequantiser, and two formats written out."""

import struct

import numpy as np
import pytest

from eigensweep.models import CheckpointError, open_checkpoint
from eigensweep.models.params import load_params

gguf = pytest.importorskip("gguf")
T = gguf.GGMLQuantizationType


def llama_cpp(name, w, heads, groups):
    """A tensor as llama.cpp's converter writes it: rows of query and key in another order."""
    count = {"q_proj": heads, "k_proj": groups}.get(name.split(".")[-2])
    if count is None:
        return w
    return w.reshape(count, 2, w.shape[0] // count // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate.": "ffn_gate_inp.",
}  # fmt: skip
SANDWICH = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
            "post_feedforward_layernorm": "post_ffw_norm"}  # fmt: skip
PHI3 = {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"}


def written(path, architecture, tensors, **metadata):
    """A GGUF file; tensors are float arrays, or (packed bytes, type)."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        key = f"{architecture}.{key.replace('__', '.')}"
        writer.add_uint32(key, value)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "long word"])
    writer.add_array("tokenizer.ggml.scores", [0.0, 1.0])
    for name, tensor in tensors.items():
        array, kind = tensor if isinstance(tensor, tuple) else (tensor, None)
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def renamed(name, more):
    for ours, theirs in {**NAMES, **more}.items():
        name = name.replace(ours, theirs)
    return name.replace("model.layers.", "blk.")


@pytest.mark.parametrize(
    ("model", "architecture", "more"),
    [("llama", "llama", {}), ("qwen2", "qwen2", {}), ("qwen3", "qwen3", {}), ("gemma", "gemma", {}),
     ("gemma2", "gemma2", SANDWICH), ("gemma3", "gemma3", SANDWICH), ("phi3", "phi3", PHI3)],
)  # fmt: skip
def test_every_leaf_is_that_of_the_original(tiny, tmp_path, model, architecture, more):
    torch_model, folder = tiny(model)
    config = torch_model.config
    tensors = {}
    for name, value in torch_model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        w = value.numpy() + (1 if architecture.startswith("gemma") and "norm" in name else 0)
        w = llama_cpp(name, w, 4, config.num_key_value_heads) if architecture == "llama" else w
        tensors[renamed(name, more)] = np.ascontiguousarray(w)
    tensors["rope_freqs.weight"] = np.ones(4, np.float32)
    path = written(
        tmp_path / "model.gguf", architecture, tensors, embedding_length=32, block_count=2, feed_forward_length=48,
        attention__head_count=4, attention__head_count_kv=2,
        attention__key_length=getattr(config, "head_dim", None) or 8,
    )  # fmt: skip
    checkpoint, original = open_checkpoint(path), open_checkpoint(folder)
    assert (checkpoint.source.kind, checkpoint.config) == ("gguf", None)
    assert checkpoint.plan.mismatches == ()
    theirs = {leaf.path: leaf.read() for leaf in original.leaves}
    ours = {leaf.path: leaf.read() for leaf in checkpoint.leaves}
    assert ours.keys() == theirs.keys()
    for leaf in ours:
        np.testing.assert_allclose(ours[leaf], theirs[leaf], atol=3e-7 if "norm" in leaf else 0, rtol=0, err_msg=leaf)
    assert [(m.role, m.block, m.shape) for m in checkpoint.matrices] == [
        (m.role, m.block, m.shape) for m in original.matrices
    ]
    assert {s.name for s in checkpoint.skipped} >= {"rope_freqs.weight", "output_norm.weight"}
    assert load_params(checkpoint)


def test_stacked_experts(tiny, tmp_path):
    torch_model, folder = tiny("qwen3-moe")
    tensors = {}
    for name, value in torch_model.state_dict().items():
        w = value.numpy()
        if name.endswith("experts.gate_up_proj"):
            tensors[renamed(name, {}).replace("mlp.experts.gate_up_proj", "ffn_gate_exps.weight")] = w[:, :24].copy()
            tensors[renamed(name, {}).replace("mlp.experts.gate_up_proj", "ffn_up_exps.weight")] = w[:, 24:].copy()
        elif name.endswith("experts.down_proj"):
            tensors[renamed(name, {}).replace("mlp.experts.down_proj", "ffn_down_exps.weight")] = w
        else:
            tensors[renamed(name, {})] = w
    path = written(
        tmp_path / "model.gguf", "qwen3moe", tensors, embedding_length=32, block_count=2, feed_forward_length=48,
        attention__head_count=4, attention__head_count_kv=2, attention__key_length=16, expert_count=3,
        expert_feed_forward_length=24,
    )  # fmt: skip
    checkpoint, original = open_checkpoint(path), open_checkpoint(folder)
    assert checkpoint.plan.mismatches == ()
    theirs = {leaf.path: leaf.read() for leaf in original.leaves}
    for leaf in checkpoint.leaves:
        np.testing.assert_array_equal(leaf.read(), theirs.pop(leaf.path))
    assert not theirs
    assert {m.expert for m in checkpoint.matrices if "exps" in m.name} == {0, 1, 2}


def random_blocks(kind, rows, columns, rng):
    """Random bytes as blocks of a type, its scales (float16) ordinary numbers."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    packed = rng.integers(0, 256, (rows * columns // block, size), np.uint8)
    scales = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,), "TQ1_0": (52,),
              "TQ2_0": (64,), "MXFP4": (), "NVFP4": ()}  # fmt: skip
    for place in scales.get(kind.name, (0, 2) if kind.name in ("Q4_1", "Q5_1") else (0,)):
        packed[:, place : place + 2] = rng.uniform(0.001, 0.002, len(packed)).astype(np.float16)[:, None].view(np.uint8)
    if kind == T.MXFP4:
        packed[:, 0] = rng.integers(118, 122, len(packed))
    return packed.reshape(rows, -1)


KINDS = [
    kind for kind in T if gguf.GGML_QUANT_SIZES[kind][0] > 1 and kind.name not in ("Q8_1", "Q8_K", "Q1_0", "IQ1_M")
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_type_as_its_library_dequantises_it(tmp_path, kind):
    packed = random_blocks(kind, 24, 512, np.random.default_rng(int(kind)))
    path = written(tmp_path / "model.gguf", "unheard-of", {"blk.7.attn_output.weight": (packed, kind)})
    checkpoint = open_checkpoint(path)
    (matrix,) = checkpoint.matrices
    assert (matrix.role, matrix.block, matrix.shape) == ("attention_output", 7, (24, 512))
    assert (matrix.dtype, matrix.quantised) == ("float32", kind.name)
    exact = gguf.quants.dequantize(packed, kind)
    np.testing.assert_array_equal(matrix.read(), exact)
    np.testing.assert_array_equal(checkpoint.source.tensors[matrix.name].read(5, 7), exact[5:7])
    if matrix.grid:
        grid = matrix.grid()
        steps, offsets = grid.steps[grid.blocks], grid.offsets[grid.blocks]
        assert (exact[steps == 0] == offsets[steps == 0]).all()
        codes = np.divide(exact - offsets, steps, out=np.zeros_like(exact), where=steps != 0)
        apart = np.abs(codes[..., None] - grid.levels).min(axis=-1)
        assert apart.max() < 1e-3
        assert len(np.unique(np.round(codes))) > len(grid.levels) / 2
    else:
        assert kind.name.startswith(("IQ", "TQ", "MXFP4", "NVFP4"))
    assert any(f"1 {kind.name}" in text for text in checkpoint.warnings)


def test_q4_k_and_q6_k_written_out(tmp_path):
    rng = np.random.default_rng(0)
    four, six = random_blocks(T.Q4_K, 2, 256, rng), random_blocks(T.Q6_K, 2, 256, rng)
    tensors = {"blk.0.attn_q.weight": (four, T.Q4_K), "blk.0.ffn_down.weight": (six, T.Q6_K)}
    read = {m.role: m.read() for m in open_checkpoint(written(tmp_path / "m.gguf", "unheard-of", tensors)).matrices}
    for row in range(2):
        d, dmin = (float(x) for x in four[row, :4].view(np.float16))
        scales = four[row, 4:16].astype(int)
        for i in range(256):
            j, place = i // 32, i % 32
            if j < 4:
                scale, least = scales[j] & 63, scales[j + 4] & 63
            else:
                scale = (scales[j + 4] & 15) | (scales[j - 4] >> 6 << 4)
                least = (scales[j + 4] >> 4) | (scales[j] >> 6 << 4)
            byte = int(four[row, 16 + 32 * (j // 2) + place])
            code = byte >> 4 if j % 2 else byte & 15
            assert read["query"][row, i] == pytest.approx(d * scale * code - dmin * least, rel=1e-6, abs=1e-7)
        d = float(six[row, 208:210].view(np.float16)[0])
        low, high, scales = six[row, :128].astype(int), six[row, 128:192].astype(int), six[row, 192:208].view(np.int8)
        for i in range(256):
            half, quarter, place = i // 128, i % 128 // 32, i % 32
            nibble = low[64 * half + 32 * (quarter % 2) + place]
            nibble = nibble >> 4 if quarter > 1 else nibble & 15
            code = (nibble | (high[32 * half + place] >> (2 * quarter) & 3) << 4) - 32
            assert read["mlp_down"][row, i] == pytest.approx(d * int(scales[i // 16]) * code, rel=1e-6)


def test_what_the_package_cannot_dequantise_is_left_out(tmp_path):
    packed = np.zeros((4, 292), np.uint8)
    path = written(tmp_path / "m.gguf", "unheard-of", {"a.weight": (packed, T.Q8_K), "b.weight": np.ones((3, 4), "f2")})
    checkpoint = open_checkpoint(path)
    assert [(m.name, m.dtype, m.quantised) for m in checkpoint.matrices] == [("b.weight", "float16", "")]
    (skipped,) = checkpoint.skipped
    assert (skipped.name, skipped.dtype, skipped.shape) == ("a.weight", "Q8_K", (4, 256))
    assert "does not dequantise" in skipped.reason


def test_a_model_in_several_files(tmp_path):
    for part in (1, 2):
        writer = gguf.GGUFWriter(tmp_path / f"m-0000{part}-of-00002.gguf", "unheard-of")
        writer.add_uint16("split.count", 2)
        writer.add_tensor(f"blk.{part}.attn_q.weight", np.full((3, 4), part, np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    checkpoint = open_checkpoint(tmp_path / "m-00002-of-00002.gguf")
    assert [(m.block, m.read()[0, 0]) for m in checkpoint.matrices] == [(1, 1), (2, 2)]
    assert len(checkpoint.source.files) == 2
    assert checkpoint.identity["sha256"] == open_checkpoint(tmp_path / "m-00001-of-00002.gguf").identity["sha256"]
    (tmp_path / "m-00001-of-00002.gguf").unlink()
    with pytest.raises(CheckpointError, match=r"m-00001-of-00002.gguf is not there"):
        open_checkpoint(tmp_path / "m-00002-of-00002.gguf")
    with pytest.raises(CheckpointError, match=r"of its GGUF files \(m-00002-of-00002.gguf\) give one"):
        open_checkpoint(tmp_path)


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    packed = random_blocks(T.Q4_0, 4, 32, np.random.default_rng(0))
    quantised = written(tmp_path / "q.gguf", "unheard-of", {"a.weight": (packed, T.Q4_0)})
    plain = written(tmp_path / "p.gguf", "unheard-of", {"a.weight": np.ones((3, 4), np.float32)})
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(CheckpointError, match=r"'a.weight' is quantised; .* pip install 'eigensweep\[gguf\]'"):
        open_checkpoint(quantised)
    assert open_checkpoint(plain).matrices


HEAD = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
KEY = struct.pack("<Q", 1) + b"k"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b"GGUX" + bytes(40), "begin with GGUF"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(40), "version"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "cannot be in"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "cannot be in"),
        (HEAD + struct.pack("<Q", 2**63), "a name of"),
        (HEAD + KEY + struct.pack("<I", 77), "unknown type 77"),
        (HEAD + KEY + struct.pack("<IQ", 8, 2**62), "truncated"),
        (HEAD + KEY + struct.pack("<IIQ", 9, 0, 2**62), "truncated"),
        (HEAD + KEY + struct.pack("<IIQ", 9, 8, 2**62), "an array"),
        (HEAD + KEY + struct.pack("<IIQIQIQ", 9, 9, 1, 9, 1, 9, 1), "unknown type 9"),
        (HEAD + struct.pack("<Q", 2) + b"\xff\xfe" + bytes(20), "no UTF-8"),
    ],
)  # fmt: skip
def test_a_header_that_lies(tmp_path, content, message):
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(path)
    assert str(path) in str(error.value)


def test_every_truncation_and_flipped_byte_is_an_error_or_a_table(tmp_path):
    rng = np.random.default_rng(0)
    packed = random_blocks(T.Q4_0, 4, 64, rng)
    tensors = {"blk.0.attn_q.weight": (packed, T.Q4_0), "output.weight": np.ones((3, 4), np.float32)}
    good = written(tmp_path / "good.gguf", "llama", tensors, embedding_length=4, block_count=1).read_bytes()
    path, refused = tmp_path / "bad.gguf", 0
    cases = [good[:end] for end in range(0, len(good), 7)]
    for place in range(min(len(good), 400)):
        cases.append(good[:place] + bytes([rng.integers(0, 256)]) + good[place + 1 :])
    for case in cases:
        path.write_bytes(case)
        try:
            for matrix in open_checkpoint(path).matrices:
                assert matrix.read().shape == matrix.shape
        except CheckpointError:
            refused += 1
    assert refused > len(good) // 7
