"""Tiny checkpoints of every architecture, made by transformers' own torch classes."""

import pytest

LONG = {"test_nn_real"}  # real models, whose passes would take longer than their compilation

_SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_GPT2 = {
    "vocab_size": 96,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_OPT = {key: value for key, value in _SIZES.items() if key != "intermediate_size"} | {"ffn_dim": 48}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}

TINY = {
    "bert": ("BertForMaskedLM", "BertConfig", _SIZES),
    "bert-model": ("BertModel", "BertConfig", _SIZES),
    "bert-pretraining": ("BertForPreTraining", "BertConfig", _SIZES),
    "bert-classifier": ("BertForSequenceClassification", "BertConfig", {**_SIZES, "num_labels": 3}),
    "bert-qa": ("BertForQuestionAnswering", "BertConfig", _SIZES),
    "roberta": ("RobertaForMaskedLM", "RobertaConfig", _SIZES),
    "roberta-classifier": ("RobertaForSequenceClassification", "RobertaConfig", _SIZES),
    "roberta-tokens": ("RobertaForTokenClassification", "RobertaConfig", _SIZES),
    "xlm-roberta": ("XLMRobertaForMaskedLM", "XLMRobertaConfig", _SIZES),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "gpt2-model": ("GPT2Model", "GPT2Config", _GPT2),
    "gpt2-classifier": ("GPT2ForSequenceClassification", "GPT2Config", _GPT2),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _GROUPED),
    "llama-model": ("LlamaModel", "LlamaConfig", _GROUPED),
    "llama-tied-biased": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**_GROUPED, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "head_dim": 10},
    ),
    "llama-classifier": ("LlamaForSequenceClassification", "LlamaConfig", _GROUPED),
    "mistral": ("MistralForCausalLM", "MistralConfig", _GROUPED),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {**_GROUPED, "head_dim": 16}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", {**_GROUPED, "head_dim": 16}),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", {**_GROUPED, "head_dim": 16}),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", {**_GROUPED, "head_dim": 16}),
    "gemma3-images": (
        "Gemma3ForConditionalGeneration",
        "Gemma3Config",
        {"text_config": {**_GROUPED, "head_dim": 16}, "vision_config": _VISION},
    ),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _SIZES),
    "opt": ("OPTForCausalLM", "OPTConfig", {**_OPT, "word_embed_proj_dim": 32}),
    "opt-narrow": ("OPTForCausalLM", "OPTConfig", {**_OPT, "word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", _GROUPED),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", {**_GROUPED, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "qwen2-moe": (
        "Qwen2MoeForCausalLM",
        "Qwen2MoeConfig",
        {
            **_GROUPED,
            "num_experts": 3,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "shared_expert_intermediate_size": 40,
            "mlp_only_layers": [0],
        },
    ),
    "qwen3-moe": (
        "Qwen3MoeForCausalLM",
        "Qwen3MoeConfig",
        {**_GROUPED, "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "head_dim": 16},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly(request):
    if request.path.stem not in LONG:
        request.getfixturevalue("compiled_quickly")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """tiny(name) -> (torch model, folder of its checkpoint); every weight is random, biases and norms included."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made = {}

    def make(name, dtype="float32"):
        if (name, dtype) not in made:
            model_class, config_class, config = TINY[name]
            torch.manual_seed(0)
            model = getattr(transformers, model_class)(getattr(transformers, config_class)(**config)).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0.5, 0.2)
            model = model.to(getattr(torch, dtype))
            folder = tmp_path_factory.mktemp(name)
            model.save_pretrained(folder)
            made[name, dtype] = (model, folder)
        return made[name, dtype]

    make.names = tuple(TINY)
    return make
