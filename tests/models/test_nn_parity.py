"""Every architecture against Hugging Face's torch implementation in float32, layer by layer, padded on either side."""

import importlib.util
import json
from pathlib import Path

import pytest

from eigensweep.models import open_checkpoint
from eigensweep.models.nn import load

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

spec = importlib.util.spec_from_file_location("parity", Path(__file__).with_name("parity.py"))
parity = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parity)
BASE = parity.BASE
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


@pytest.mark.parametrize("name", CASES)
def test_forward_pass_is_that_of_transformers(name):
    parity.check(*CASES[name])


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
    reference, _ = parity.torch_model(class_name, config_name, settings)
    reference.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ABSENT}))
    reference = type(reference).from_pretrained(tmp_path, attn_implementation="eager").eval()
    model, params = load(open_checkpoint(tmp_path))
    (ids, mask, _), theirs = parity.inputs(config, num_tokens, "right")
    with torch.no_grad():
        expected = reference(**theirs).logits
    assert parity.worst(model.apply(params, ids, mask).logits, expected, mask) < parity.TOLERANCE
    assert model.architecture.max_positions == reference.config.max_position_embeddings
