"""Every architecture against Hugging Face's torch implementation in float32, layer by layer, padded on either side."""

import json

import numpy as np
import pytest

from eigensweep.models import open_checkpoint
from eigensweep.models.nn import load

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 2e-4
BATCH = 4
BASE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": None,
    "eos_token_id": None,
}
GPT2 = {"vocab_size": 97, "n_embd": 45, "n_layer": 2, "n_positions": 64, "bos_token_id": None, "eos_token_id": None}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
LINEAR = {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0}
DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 3.0}
HALF = {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}

# name: (class, config class, config, tokens a row)
CASES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**BASE, "num_attention_heads": 6, "num_key_value_heads": 2}, 24),
    "llama-odd-heads-tied-biases": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {
            **BASE,
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "head_dim": 10,
            "tie_word_embeddings": True,
            "attention_bias": True,
            "mlp_bias": True,
        },
        24,
    ),
    "llama3-beyond-its-original-context": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**BASE, "max_position_embeddings": 256, "num_attention_heads": 3, "rope_parameters": LLAMA3},
        150,
    ),
    "llama-linear-scaling": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**BASE, "num_attention_heads": 3, "rope_parameters": LINEAR},
        24,
    ),
    "llama-dynamic-scaling": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**BASE, "num_attention_heads": 3, "rope_parameters": DYNAMIC},
        100,
    ),
    "mistral-sliding-window": (
        "MistralForCausalLM",
        "MistralConfig",
        {**BASE, "num_attention_heads": 6, "num_key_value_heads": 2, "sliding_window": 7},
        24,
    ),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", {**BASE, "num_attention_heads": 6, "num_key_value_heads": 3}, 24),
    "qwen2-window-in-last-block-tied": (
        "Qwen2ForCausalLM",
        "Qwen2Config",
        {
            **BASE,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "use_sliding_window": True,
            "sliding_window": 9,
            "max_window_layers": 1,
            "tie_word_embeddings": True,
        },
        24,
    ),
    "qwen3": (
        "Qwen3ForCausalLM",
        "Qwen3Config",
        {**BASE, "num_attention_heads": 5, "num_key_value_heads": 1, "head_dim": 16, "attention_bias": True},
        24,
    ),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {**GPT2, "n_head": 5}, 24),
    "gpt2-untied-scaled-by-depth": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {
            **GPT2,
            "n_head": 3,
            "n_inner": 70,
            "scale_attn_by_inverse_layer_idx": True,
            "tie_word_embeddings": False,
            "activation_function": "gelu",
        },
        24,
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {**BASE, "num_attention_heads": 3}, 24),
    "gpt-neox-sequential-no-bias": (
        "GPTNeoXForCausalLM",
        "GPTNeoXConfig",
        {
            **BASE,
            "num_attention_heads": 4,
            "use_parallel_residual": False,
            "attention_bias": False,
            "rope_parameters": HALF,
        },
        24,
    ),
    "opt": (
        "OPTForCausalLM",
        "OPTConfig",
        {**BASE, "ffn_dim": 80, "num_attention_heads": 3, "word_embed_proj_dim": 48},
        24,
    ),
    "phi3-window": (
        "Phi3ForCausalLM",
        "Phi3Config",
        {**BASE, "num_attention_heads": 6, "num_key_value_heads": 2, "sliding_window": 11},
        24,
    ),
    "gemma": (
        "GemmaForCausalLM",
        "GemmaConfig",
        {**BASE, "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 12},
        24,
    ),
    "bert": ("BertModel", "BertConfig", {**BASE, "num_attention_heads": 3}, 24),
    "bert-masked-lm": ("BertForMaskedLM", "BertConfig", {**BASE, "num_attention_heads": 3}, 24),
    "bert-classifier": (
        "BertForSequenceClassification",
        "BertConfig",
        {**BASE, "num_attention_heads": 3, "num_labels": 3},
        24,
    ),
    "roberta-masked-lm": ("RobertaForMaskedLM", "RobertaConfig", {**BASE, "num_attention_heads": 3}, 24),
    "roberta-classifier": (
        "RobertaForSequenceClassification",
        "RobertaConfig",
        {**BASE, "num_attention_heads": 3, "num_labels": 5, "type_vocab_size": 1},
        24,
    ),
}


def torch_model(class_name, config_name, settings):
    """A random model with weights large enough that every part of it matters."""
    torch.manual_seed(0)
    config = getattr(transformers, config_name)(**settings)
    model = getattr(transformers, class_name)._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.3 if parameter.ndim == 1 else 0.15) * torch.randn_like(parameter))
    return model, {**config.to_dict(), "architectures": [class_name]}


def padded(num_tokens, side):
    """Masks with rows of four lengths, padded on one side."""
    lengths = np.array([num_tokens, num_tokens - 1, num_tokens // 2, 2])
    mask = np.arange(num_tokens) < lengths[:, None]
    return mask if side == "right" else mask[:, ::-1].copy()


def worst(ours, theirs, mask=None):
    difference = np.abs(np.asarray(ours) - theirs.numpy())
    return float((difference if mask is None else difference[mask]).max())


def inputs(config, num_tokens, side):
    """The same batch for torch (positions spelled out) and for us."""
    rng = np.random.default_rng(0)
    mask = padded(num_tokens, side)
    ids = np.where(mask, rng.integers(2, 97, mask.shape), config["pad_token_id"] or 0).astype(np.int32)
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
    theirs = {"input_ids": ids, "attention_mask": mask.astype(int), "position_ids": positions}
    types = None
    if config["model_type"] in ("bert", "roberta"):
        types = rng.integers(0, config["type_vocab_size"], mask.shape).astype(np.int32)
        theirs["token_type_ids"] = types.astype(int)
    if config["model_type"] == "roberta":
        theirs["position_ids"] = positions + config["pad_token_id"] + 1
    return (ids, mask, types), {name: torch.tensor(array) for name, array in theirs.items()}


@pytest.mark.parametrize("name", CASES)
def test_forward_pass_is_that_of_transformers(name):
    *what, num_tokens = CASES[name]
    reference, config = torch_model(*what)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    model, params = load(open_checkpoint(state, config=config))
    for side in ("right", "left"):
        (ids, mask, types), theirs = inputs(config, num_tokens, side)
        with torch.no_grad():
            expected = reference(**theirs, output_hidden_states=True)
        output = model.apply(params, ids, mask, type_ids=types, hidden_states=True)
        assert len(output.hidden_states) == len(expected.hidden_states)
        for ours, layer in zip(output.hidden_states, expected.hidden_states, strict=True):
            assert worst(ours, layer, mask) < TOLERANCE
        whole = slice(None if side == "right" else 1)  # elsewhere transformers pools a padding token
        if what[0] == "BertModel":
            assert worst(output.pooled[whole], expected.pooler_output[whole]) < TOLERANCE
        elif "Classification" in what[0]:
            assert worst(output.logits[whole], expected.logits[whole]) < TOLERANCE
            assert output.logits.shape == (
                BATCH,
                config["num_labels"] if "num_labels" in config else len(config["id2label"]),
            )
        else:
            assert worst(output.logits, expected.logits, mask) < TOLERANCE


ROPE = {"rope_type": "linear", "factor": 2.0}
ABSENT = object()

# name: the case above that it starts from, and what config.json says otherwise
CHANGES = {
    "llama-never-slides": ("llama", {"use_sliding_window": True, "sliding_window": 4}),
    "llama-turns-whole-heads": ("llama", {"partial_rotary_factor": 0.5, "rope_parameters": ABSENT}),
    "llama-old-scaling-replaces-new": (
        "llama",
        {"rope_scaling": ROPE, "rope_parameters": {**DYNAMIC, "rope_theta": 5.0}, "rope_theta": 50.0},
    ),
    "llama3-original-context-at-the-top": (
        "llama3-beyond-its-original-context",
        {"original_max_position_embeddings": 16},
    ),
    "llama3-original-context-absent": (
        "llama3-beyond-its-original-context",
        {"rope_parameters": {k: v for k, v in LLAMA3.items() if k != "original_max_position_embeddings"}},
    ),
    "llama-dynamic-without-length": ("llama-dynamic-scaling", {"max_position_embeddings": ABSENT}),
    "mistral-slides-everywhere": (
        "mistral-sliding-window",
        {"use_sliding_window": False, "layer_types": ["full_attention"] * 2, "max_window_layers": 1},
    ),
    "mistral-without-window": ("mistral-sliding-window", {"sliding_window": None}),
    "phi3-slides-everywhere": ("phi3-window", {"use_sliding_window": False, "max_window_layers": 1}),
    "phi3-default-eps": ("phi3-window", {"rms_norm_eps": ABSENT}),
    "phi3-partial": ("phi3-window", {"partial_rotary_factor": 0.5, "rope_parameters": ABSENT}),
    "qwen2-by-layer-types": (
        "qwen2-window-in-last-block-tied",
        {"layer_types": ["sliding_attention", "full_attention"]},
    ),
    "qwen2-by-depth": ("qwen2-window-in-last-block-tied", {"layer_types": ABSENT}),
    "gemma-gelu-is-its-approximation": ("gemma", {"hidden_act": "gelu"}),
    "gemma-reads-hidden-act": ("gemma", {"hidden_act": "relu", "hidden_activation": "silu"}),
    "gpt-neox-own-names": (
        "gpt-neox",
        {"rope_parameters": ABSENT, "rotary_pct": 0.5, "rotary_emb_base": 50, "rope_theta": 9.0},
    ),
    "gpt-neox-ignores-other-names": (
        "gpt-neox",
        {"rope_parameters": ABSENT, "partial_rotary_factor": 1.0, "rope_theta": 9.0},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_config_json_is_read_as_transformers_reads_it(name, tmp_path):
    start, changes = CHANGES[name]
    class_name, config_name, settings, num_tokens = CASES[start]
    reference, _ = torch_model(class_name, config_name, settings)
    reference.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ABSENT}))
    reference = type(reference).from_pretrained(tmp_path, attn_implementation="eager").eval()
    model, params = load(open_checkpoint(tmp_path))
    (ids, mask, _), theirs = inputs(config, num_tokens, "right")
    with torch.no_grad():
        expected = reference(**theirs).logits
    assert worst(model.apply(params, ids, mask).logits, expected, mask) < TOLERANCE
    assert model.architecture.max_positions == reference.config.max_position_embeddings
