"""Stretched positions, Gemma 2 and 3, mixtures of experts, small encoders: against transformers' own in torch."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from eigensweep.models import CheckpointError, convert, nn, open_checkpoint
from eigensweep.models.data import Rows
from eigensweep.models.nn import rope as rope_module

spec = importlib.util.spec_from_file_location("parity", Path(__file__).with_name("parity.py"))
parity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parity)

jax.config.update("jax_enable_x64", True)

LLAMA = {**parity.BASE, "num_attention_heads": 3, "max_position_embeddings": 128}
HEADS = {**parity.BASE, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 12}
MOE = {**parity.BASE, "num_attention_heads": 6, "num_key_value_heads": 2, "num_experts_per_tok": 2}
YARN = {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 32}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 100.0,
    "short_factor": [1.0 + i / 8 for i in range(8)],
    "long_factor": [2.0 + i / 2 for i in range(8)],
}
GEMMA3 = {
    **HEADS,
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "sliding_window": 5,
    "query_pre_attn_scalar": 20,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0},
    },
}

# name: (class, config class, config, tokens a row)
CASES = {
    "longrope-long": (
        "Phi3ForCausalLM",
        "Phi3Config",
        {**LLAMA, "original_max_position_embeddings": 32, "rope_parameters": LONG},
        40,
    ),
    "gemma2": (
        "Gemma2ForCausalLM",
        "Gemma2Config",
        {
            **HEADS,
            "sliding_window": 6,
            "query_pre_attn_scalar": 20,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 3.0,
        },
        24,
    ),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", {**GEMMA3, "final_logit_softcapping": 5.0}, 24),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**MOE, "num_local_experts": 5, "sliding_window": 9}, 24),
    "qwen2-moe": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {
            **MOE,
            "num_experts": 4,
            "moe_intermediate_size": 20,
            "shared_expert_intermediate_size": 28,
            "mlp_only_layers": [0],
        },
        24,
    ),
    "qwen3-moe": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        {**MOE, "head_dim": 10, "num_experts": 12, "moe_intermediate_size": 20, "norm_topk_prob": True},
        24,
    ),
}

DISTILBERT = {
    "vocab_size": 97,
    "dim": 48,
    "hidden_dim": 80,
    "n_layers": 2,
    "n_heads": 3,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
}
ELECTRA = {**parity.BASE, "num_attention_heads": 3, "embedding_size": 20}
CASES |= {
    "olmo2": (
        "Olmo2ForCausalLM",
        "Olmo2Config",
        {**parity.BASE, "num_attention_heads": 6, "num_key_value_heads": 2, "attention_bias": True},
        24,
    ),
    "olmo3-yarn": (
        "Olmo3ForCausalLM",
        "Olmo3Config",
        {
            **parity.BASE,
            "num_attention_heads": 3,
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                "full_attention": YARN,
            },
        },
        80,
    ),
    "distilbert-masked-lm": ("DistilBertForMaskedLM", "DistilBertConfig", {**DISTILBERT, "activation": "relu"}, 24),
    "distilbert-classifier": (
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        {**DISTILBERT, "num_labels": 3},
        24,
    ),
    "electra-generator": ("ElectraForMaskedLM", "ElectraConfig", {**ELECTRA, "hidden_act": "relu"}, 24),
    "electra-discriminator": (
        "ElectraForSequenceClassification",
        "ElectraConfig",
        {**ELECTRA, "embedding_size": 48, "num_labels": 3},
        24,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_pass_is_that_of_transformers(name):
    parity.check(*CASES[name])


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        (YARN, 24),
        ({**YARN, "beta_fast": 4.0, "beta_slow": 0.5, "mscale": 1.5, "mscale_all_dim": 0.7}, 24),
        ({**YARN, "factor": 2.0, "truncate": False}, 24),
        ({**YARN, "attention_factor": 1.7, "rope_theta": 1e6}, 24),
        ({**YARN, "factor": 1.0}, 24),
        ({**LONG, "factor": 3.0, "original_max_position_embeddings": 32}, 32),
        ({**LONG, "attention_factor": 1.3, "original_max_position_embeddings": 32}, 33),
        ({**LONG, "original_max_position_embeddings": 128}, 64),
    ],
)
def test_stretched_positions(settings, length):
    """Cosines and sines of a text of this length, from the functions that transformers' models call."""
    torch = parity.torch
    config = parity.transformers.LlamaConfig(**LLAMA, rope_parameters=settings)
    compute = parity.transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS[settings["rope_type"]]
    frequencies, scale = compute(config, "cpu", seq_len=length)
    angles = torch.arange(length)[:, None] * frequencies
    (rope,) = nn.architecture({**config.to_dict(), "model_type": "llama"}).ropes
    cos, sin = rope_module.angles((rope,), np.arange(length)[None])
    np.testing.assert_allclose(cos[0, 0], angles.cos() * scale, atol=1e-5)
    np.testing.assert_allclose(sin[0, 0], angles.sin() * scale, atol=1e-5)


@pytest.fixture(scope="module")
def mixture():
    """A mixture of experts in torch, its checkpoint, the model and its parameters, rows of random tokens."""
    reference, config = parity.torch_model(*CASES["qwen2-moe"][:3])
    checkpoint = open_checkpoint({k: v.numpy() for k, v in reference.state_dict().items()}, config=config)
    rng = np.random.default_rng(0)
    ids = rng.integers(2, 97, (4, 12)).astype(np.int32)
    mask = np.arange(12) < np.array([12, 9, 5, 2])[:, None]
    targets = np.where(mask, np.roll(ids, -1, 1), -100).astype(np.int32)
    rows = Rows(ids, mask, np.zeros_like(ids), targets, np.arange(4, dtype=np.int32))
    return reference, checkpoint, *nn.load(checkpoint), rows


def test_an_experts_taps_are_what_torch_feeds_it(mixture):
    reference, _, model, params, rows = mixture
    taps = model.apply(params, rows.input_ids, rows.attention_mask, taps=True).taps
    seen = {}
    block = reference.model.layers[1].mlp
    handles = [
        block.gate.register_forward_hook(lambda module, args, out: seen.update(x=args[0], which=out[2], share=out[1])),
        block.shared_expert.down_proj.register_forward_hook(lambda module, args, out: seen.update(shared=args[0])),
    ]
    with parity.torch.no_grad():
        reference(
            input_ids=parity.torch.tensor(rows.input_ids.astype(int)),
            attention_mask=parity.torch.tensor(rows.attention_mask.astype(int)),
        )
    for handle in handles:
        handle.remove()
    kept = rows.attention_mask.reshape(-1)

    def flat(path):
        return np.asarray(taps[f"blocks/1/moe/{path}"]).reshape(48, -1)[kept]

    np.testing.assert_allclose(flat("router/kernel"), seen["x"][kept], atol=1e-4)
    np.testing.assert_allclose(flat("shared/down/kernel"), seen["shared"].reshape(48, -1)[kept], atol=1e-4)
    routes = np.zeros((48, 4), np.float32)
    np.put_along_axis(routes, seen["which"].numpy(), seen["share"].numpy(), axis=1)
    np.testing.assert_allclose(flat("routes"), routes[kept], atol=1e-5)
    weights = block.experts
    for expert in range(4):
        x = seen["x"]
        gate, up = (x @ weights.gate_up_proj[expert].T).detach().chunk(2, dim=-1)
        inner = (parity.torch.nn.functional.silu(gate) * up).numpy()
        np.testing.assert_allclose(flat(f"experts/{expert}/up/kernel"), x[kept], atol=1e-4)
        np.testing.assert_allclose(flat(f"experts/{expert}/down/kernel"), inner[kept], atol=1e-3)
    assert nn.tap_of("blocks/1/moe/experts/3/gate/kernel") == "blocks/1/moe/experts/3/up/kernel"


def test_a_mixture_is_edited_streamed_and_traced_like_any_other_model(mixture):
    _, checkpoint, model, params, rows = mixture
    rng = np.random.default_rng(1)
    chosen = [m for m in checkpoint.matrices if m.block == 1 and (m.expert == 1 or "gate.weight" in m.name)]
    assert {m.role for m in chosen} >= {"mlp_gate", "mlp_up", "mlp_down"}
    replaced = {matrix.name: rng.standard_normal(matrix.shape) / 4 for matrix in chosen}
    edited = nn.with_matrices(params, checkpoint, replaced)
    for matrix in chosen:
        np.testing.assert_array_equal(
            np.asarray(nn.get(edited, matrix.path)).T, replaced[matrix.name].astype(np.float32)
        )
    inputs = rows.input_ids, rows.attention_mask
    whole = model.apply(edited, *inputs)
    assert np.abs(np.asarray(whole.logits - model.apply(params, *inputs).logits)[rows.attention_mask]).max() > 1e-2
    loss, count, _ = nn.score_logits(whole.logits, rows.targets)
    streamed = nn.streamed_scores(checkpoint, model, replaced, rows, 4)
    np.testing.assert_allclose(streamed.loss, loss / np.maximum(count, 1), rtol=1e-5)
    traced = jax.jit(lambda p: model.apply(p, *inputs).logits)(edited)  # no loop over blocks that differ
    np.testing.assert_allclose(traced, whole.logits, atol=1e-4)


def test_a_converted_mixture_gives_the_same_logits(mixture, tmp_path):
    _, checkpoint, model, params, rows = mixture
    convert(checkpoint, tmp_path / "out")
    again, stored = nn.load(open_checkpoint(tmp_path / "out"))
    assert again == model
    expected = model.apply(params, rows.input_ids, rows.attention_mask).logits
    np.testing.assert_array_equal(again.apply(stored, rows.input_ids, rows.attention_mask).logits, expected)


def test_the_experts_run_one_after_the_other(mixture):
    """What is compiled for 8 experts holds the activations of one of them, not of all."""
    config = {**mixture[1].config, "num_experts": 8, "moe_intermediate_size": 512, "mlp_only_layers": []}
    model = nn.build(config)
    ids = np.zeros((8, 64), np.int32)
    params = model.abstract()
    x, context = jax.eval_shape(lambda p: model.embed(p, ids), params)
    compiled = jax.jit(lambda p, x, context: model.block(p, 0, x, context)[0]).lower(params["blocks"]["0"], x, context)
    used = compiled.compile().memory_analysis().temp_size_in_bytes
    weights = sum(leaf.size * 4 for leaf in jax.tree.leaves(params["blocks"]["0"]["moe"]))
    one = 8 * 64 * 512 * 4
    assert used - weights < 6 * one


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_experts_per_tok": 5}, "num_experts_per_tok = 5: expected at most the 4 experts"),
        ({"num_experts": 0}, "num_experts = 0: expected a whole number"),
        ({"mlp_only_layers": ["a"]}, "mlp_only_layers"),
        ({"decoder_sparse_step": 0}, "decoder_sparse_step = 0: expected a whole number"),
    ],
)
def test_settings_of_experts_that_are_refused(mixture, change, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        nn.build({**mixture[1].config, **change})
    assert str(caught.value).startswith("config.json: ")


@pytest.mark.parametrize("cap", [0, -1.0, float("nan"), float("inf")])
def test_caps_that_are_refused(cap):
    with pytest.raises(CheckpointError, match="final_logit_softcapping"):
        nn.build({"model_type": "gemma2", **HEADS, "final_logit_softcapping": cap})
