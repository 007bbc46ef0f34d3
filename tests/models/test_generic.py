"""Checkpoints of unknown architecture: what is guessed, what is said about it, and what is no weight."""

import numpy as np
import pytest

from eigensweep.models import convert, open_checkpoint

D, MLP, VOCAB = 12, 20, 30


def arrays(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def found(state):
    return {m.name: m for m in open_checkpoint(state).matrices}


def test_transformer_lens_names_and_stacks_of_heads():
    """Its weights act from the right, x W; heads are stacked, (heads, d, head) into them and (heads, head, d) out."""
    state = arrays({
        "embed.W_E": (VOCAB, D), "pos_embed.W_pos": (9, D), "unembed.W_U": (D, VOCAB), "unembed.b_U": (VOCAB,),
        "blocks.0.attn.W_Q": (3, D, 4), "blocks.0.attn._W_K": (3, D, 4), "blocks.0.attn.W_V": (3, D, 4),
        "blocks.0.attn.W_O": (3, 4, D), "blocks.0.attn.b_Q": (3, 4), "blocks.0.attn._b_K": (3, 4),
        "blocks.0.mlp.W_in": (D, MLP), "blocks.0.mlp.W_out": (MLP, D), "blocks.0.attn.mask": (9, 9),
        "blocks.0.attn.rotary_cos": (9, 4),
    })  # fmt: skip
    checkpoint = open_checkpoint(state)
    matrices = {m.role: m for m in checkpoint.matrices}
    x, z = np.random.default_rng(1).standard_normal((2, D))
    for role, name in (("query", "W_Q"), ("key", "_W_K"), ("value", "W_V")):
        heads = np.einsum("d,hdk->hk", x, state[f"blocks.0.attn.{name}"]).reshape(-1)
        np.testing.assert_allclose(matrices[role].read() @ x, heads, atol=1e-5)
    out = np.einsum("hk,hkd->d", z.reshape(3, 4), state["blocks.0.attn.W_O"])
    np.testing.assert_allclose(matrices["attention_output"].read() @ z, out, atol=1e-5)
    for role, name in (("mlp_up", "blocks.0.mlp.W_in"), ("unembedding", "unembed.W_U")):
        np.testing.assert_allclose(matrices[role].read() @ x, x @ state[name], atol=1e-5)
    np.testing.assert_array_equal(matrices["mlp_down"].read(), state["blocks.0.mlp.W_out"].T)
    assert matrices["embedding"].shape == (D, VOCAB)
    assert matrices["position_embedding"].shape == (D, 9)
    assert all(m.guessed for m in checkpoint.matrices)
    assert len(checkpoint.matrices) == 9
    reasons = {s.name: s.reason for s in checkpoint.skipped}
    assert "biases" in reasons["blocks.0.attn.b_Q"]
    assert "biases" in reasons["blocks.0.attn._b_K"]
    assert "mask" in reasons["blocks.0.attn.mask"]
    assert "rotary" in reasons["blocks.0.attn.rotary_cos"]


def test_llamas_original_names():
    names = {"wq": "query", "wk": "key", "wv": "value", "wo": "attention_output"}
    state = arrays({f"layers.1.attention.{name}.weight": (D, D + 1) for name in names})
    state |= arrays({f"layers.1.feed_forward.w{i}.weight": (MLP, D) for i in (1, 3)})
    state |= arrays({"tok_embeddings.weight": (VOCAB, D), "output.weight": (VOCAB, D)}, 2)
    roles = {name.split(".")[-2]: (m.role, m.block) for name, m in found(state).items()}
    assert roles == {name: (role, 1) for name, role in names.items()} | {
        "w1": ("mlp_gate", 1), "w3": ("mlp_up", 1), "tok_embeddings": ("embedding", None),
        "output": ("unembedding", None),
    }  # fmt: skip


def test_without_a_w3_w1_is_no_gate():
    state = arrays({"tok_emb.weight": (VOCAB, D), "h.0.ffn.w1.weight": (MLP, D), "h.0.ffn.w2.weight": (D, MLP)})
    roles = {m.role for m in found(state).values()}
    assert roles == {"embedding", "mlp_up", "mlp_down"}


def test_case_does_not_matter():
    state = arrays({"Encoder.Layers.2.SELF_ATTN.Q_Proj.Weight": (D, D + 1), "Tok_Emb.Weight": (VOCAB, D)})
    assert {(m.role, m.block) for m in found(state).values()} == {("query", 2), ("embedding", None)}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("layers.0.attn.rope_cos", "rotary"),
        ("rope.freqs", "rotary"),
        ("freqs_cis", "rotary"),
        ("layers.0.attn.rotary_emb.inv_freq", "rotary"),
        ("h.0.attn.causal_mask", "mask"),
        ("attn.tril", "mask"),
        ("embeddings.position_ids", "indices"),
        ("bn.running_mean", "statistics"),
        ("layers.0.attn.relative_position_index", "indices"),
    ],
)
def test_buffers_are_no_weights(name, what):
    checkpoint = open_checkpoint(arrays({name: (8, 8), "head.weight": (3, 8)}))
    assert [m.name for m in checkpoint.matrices] == ["head.weight"]
    (skipped,) = checkpoint.skipped
    assert what in skipped.reason
    assert "no parameter" in skipped.reason


def test_what_looks_fused_is_taken_whole_and_said():
    state = arrays({
        "embed.weight": (VOCAB, D), "layers.0.attn.qkv.weight": (3 * D, D),
        "layers.0.mlp.gate_up_proj.weight": (MLP, D), "layers.0.attn.query_key_value.weight": (3 * D, D),
    })  # fmt: skip
    checkpoint = open_checkpoint(state)
    assert sorted(m.role for m in checkpoint.matrices) == ["embedding", "other", "other", "other"]
    (warning,) = [w for w in checkpoint.warnings if "hold several" in w]
    assert warning.startswith("3 tensors")
    assert "layers.0.mlp.gate_up_proj.weight" in warning


def test_torchs_own_attention_is_split(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.MultiheadAttention(D, 3, bias=False)
    state = {"visual.transformer.resblocks.0.attn." + key: value for key, value in module.state_dict().items()}
    checkpoint = open_checkpoint(state)
    matrices = {m.role: m for m in checkpoint.matrices}
    assert set(matrices) == {"query", "key", "value", "attention_output"}
    assert not [w for w in checkpoint.warnings if "several" in w]
    x = torch.randn(5, D)
    shares = torch.nn.functional._in_projection_packed(x, x, x, module.in_proj_weight)
    for role, y in zip(("query", "key", "value"), shares, strict=True):
        np.testing.assert_allclose(matrices[role].read() @ x.numpy().T, y.detach().numpy().T, atol=1e-5)
    convert(checkpoint, tmp_path / "out")
    again = {m.name: m for m in open_checkpoint(tmp_path / "out").matrices}
    for matrix in checkpoint.matrices:
        np.testing.assert_array_equal(again[matrix.name].read(), matrix.read())


def test_convolutions_and_heads_survive_a_conversion(tmp_path):
    state = arrays({
        "patch_embed.proj.weight": (6, 3, 2, 2), "conv1.weight": (6, 5, 3), "blocks.0.attn.W_Q": (3, D, 4),
        "blocks.0.attn.W_O": (3, 4, D), "flax.conv.kernel": (3, 5, 6),
    })  # fmt: skip
    checkpoint = open_checkpoint(state)
    shapes = {m.name: (m.role, m.shape) for m in checkpoint.matrices}
    assert shapes["patch_embed.proj.weight"] == ("convolution", (6, 12))
    assert shapes["conv1.weight"] == ("convolution", (6, 15))
    assert [s.name for s in checkpoint.skipped] == ["flax.conv.kernel"]
    np.testing.assert_array_equal(found(state)["conv1.weight"].read(), state["conv1.weight"].reshape(6, 15))
    convert(checkpoint, tmp_path / "out")
    again = {m.name: m for m in open_checkpoint(tmp_path / "out").matrices}
    for matrix in checkpoint.matrices:
        np.testing.assert_array_equal(again[matrix.name].read(), matrix.read())


def layers(turned):
    shapes = {"q": (D, D), "k": (6, D), "up_proj": (MLP, D), "down_proj": (D, MLP)}
    return {f"layers.0.x.{name}.weight": shape[::-1] if turned else shape for name, shape in shapes.items()}


def test_shapes_tell_which_way_matrices_lie():
    state = arrays({"embed.weight": (VOCAB, D), **layers(turned=False)})
    checkpoint = open_checkpoint(state)
    assert not [w for w in checkpoint.warnings if "(in, out)" in w or "which way" in w]
    state = arrays({"embed.weight": (VOCAB, D), **layers(turned=True)})
    checkpoint = open_checkpoint(state)
    (warning,) = [w for w in checkpoint.warnings if "(in, out)" in w]
    assert warning.startswith("3 matrices lie (in, out)")
    assert "and 1 whose shapes do not tell the same way" in warning
    for matrix in checkpoint.matrices:
        np.testing.assert_array_equal(matrix.read(), state[matrix.name].T, err_msg=matrix.name)
        assert matrix.transposed


def test_square_matrices_alone_are_said_not_to_tell():
    state = arrays({"embed.weight": (VOCAB, D), "layers.0.q.weight": (D, D), "layers.0.k.weight": (D, D)})
    (warning,) = [w for w in open_checkpoint(state).warnings if "which way" in w]
    assert warning.startswith("which way 2 matrices lie")


def test_a_tower_of_another_width_turns_nothing():
    state = arrays({"embed.weight": (VOCAB, D), **layers(turned=False), "layers.0.y.fc1.weight": (D, 5)})
    checkpoint = open_checkpoint(state)
    (warning,) = [w for w in checkpoint.warnings if "(in, out)" in w]
    assert warning.startswith(
        "1 matrices have shapes that fit (in, out), 3 others (out, in): all are read as (out, in)"
    )
    assert found(state)["layers.0.y.fc1.weight"].shape == (D, 5)


def test_stacked_experts_lie_as_their_shapes_tell():
    state = arrays({
        "embed.weight": (VOCAB, D), **layers(turned=False), "layers.0.experts.up_proj": (3, D, MLP),
        "layers.0.experts.down_proj": (3, MLP, D),
    })  # fmt: skip
    matrices = found(state)
    for e in range(3):
        up, down = (matrices[f"layers.0.experts.{name}[{e}]"] for name in ("up_proj", "down_proj"))
        assert (up.role, up.expert, down.role, down.expert) == ("mlp_up", e, "mlp_down", e)
        np.testing.assert_array_equal(up.read(), state["layers.0.experts.up_proj"][e].T)
        np.testing.assert_array_equal(down.read(), state["layers.0.experts.down_proj"][e].T)
    assert matrices["layers.0.x.up_proj.weight"].shape == (MLP, D)


def test_identical_tensors_are_analysed_once():
    state = arrays({f"layers.{b}.q.weight": (D, D) for b in range(4)} | {"embed.weight": (VOCAB, D)})
    state["layers.2.q.weight"] = state["layers.0.q.weight"].copy()
    state["layers.3.q.weight"] = state["layers.0.q.weight"].copy()
    state["layers.3.q.weight"][-1, -1] += 1
    state["a_head.weight"] = state["embed.weight"].copy()
    checkpoint = open_checkpoint(state)
    matrices = {m.name: m for m in checkpoint.matrices}
    assert set(matrices) == {"layers.0.q.weight", "layers.1.q.weight", "layers.3.q.weight", "embed.weight"}
    assert matrices["layers.0.q.weight"].tied == ("layers.2.q.weight",)
    assert matrices["embed.weight"].tied == ("a_head.weight",)
    reasons = {s.name: s.reason for s in checkpoint.skipped}
    assert reasons["layers.2.q.weight"] == "the same weights as layers.0.q.weight, analysed there"


def test_towers_are_guessed_where_there_are_several():
    both = arrays({
        f"model.{tower}.layers.{b}.{kind}.q_proj.weight": (D, D)
        for b in range(2)
        for tower, kind in (("encoder", "self_attn"), ("decoder", "self_attn"), ("decoder", "encoder_attn"))
    })  # fmt: skip
    assert {m.tower for m in found(both).values()} == {"encoder", "decoder", "decoder.cross"}
    order = [m.tower.split(".")[0] for m in open_checkpoint(both).matrices]
    assert order == sorted(order, key=["encoder", "decoder"].index)
    one = {name: value for name, value in both.items() if "encoder.layers" in name}
    assert {m.tower for m in found(one).values()} == {""}
    seeing = arrays({"vision_tower.encoder.layers.0.q.weight": (D, D), "model.layers.0.q_proj.weight": (D, D + 1)})
    assert {m.tower for m in found(seeing).values()} == {"vision", ""}
