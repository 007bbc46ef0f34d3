"""Configurations of tiny decoders: (model class, config class, config), by name."""

_SIZES = {
    "vocab_size": 40,
    "hidden_size": 24,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_SIZES, "num_key_value_heads": 2}
_HEADS = {**_GROUPED, "head_dim": 10}
_EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 14}
_LATENT = {
    **_SIZES,
    "kv_lora_rank": 9,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 6,
    "v_head_dim": 5,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 14,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
_LINEAR = {
    **_HEADS,
    "num_hidden_layers": 4,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 3,
    "linear_value_head_dim": 5,
}
_FALCON = {key: value for key, value in _SIZES.items() if key != "intermediate_size"}
_BLOOM = {"vocab_size": 40, "hidden_size": 24, "n_layer": 2, "n_head": 4}
_GRANITE4 = {
    **_GROUPED,
    "shared_intermediate_size": 18,
    "layer_types": ["linear_attention", "full_attention"],
    "mamba_n_heads": 6,
    "mamba_n_groups": 2,
    "mamba_d_state": 3,
}
_VISION = {
    "hidden_size": 16,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_CLIP = {**_VISION, "model_type": "clip_vision_model"}
_QWEN_VISION = {
    "depth": 1,
    "hidden_size": 16,
    "embed_dim": 16,
    "num_heads": 2,
    "out_hidden_size": 24,
    "intermediate_size": 12,
    "mlp_ratio": 1,
    "patch_size": 4,
    "deepstack_visual_indexes": [0],
    "num_position_embeddings": 16,
}
_QWEN_ROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 1], "rope_theta": 10000.0}}
_MAMBA = {"vocab_size": 40, "hidden_size": 24, "num_hidden_layers": 2, "state_size": 3, "time_step_rank": 4}


def _causal(name, config, of="Config"):
    return f"{name}ForCausalLM", name + of, config


def _images(name, text, vision):
    return f"{name}ForConditionalGeneration", f"{name}Config", {"text_config": text, "vision_config": vision}


DECODERS = {
    "granite": _causal("Granite", {**_GROUPED, "attention_bias": True, "mlp_bias": True}),
    "smollm3": _causal("SmolLM3", _GROUPED),
    "olmo": _causal("Olmo", _GROUPED),
    "olmo2": _causal("Olmo2", _GROUPED),
    "olmo3": _causal("Olmo3", _GROUPED),
    "cohere": _causal("Cohere", {**_GROUPED, "use_qk_norm": True}),
    "cohere2": _causal("Cohere2", _GROUPED),
    "glm": _causal("Glm", _HEADS),
    "glm4": _causal("Glm4", {**_HEADS, "attention_bias": False}),
    "phi": _causal("Phi", {**_GROUPED, "hidden_size": 32, "qk_layernorm": True}),
    "stablelm": _causal("StableLm", {**_GROUPED, "hidden_size": 32, "use_qkv_bias": True, "qk_layernorm": True}),
    "stablelm-parallel": _causal("StableLm", {**_GROUPED, "hidden_size": 32, "use_parallel_residual": True}),
    "falcon-multi-query": _causal("Falcon", {**_FALCON, "alibi": False, "bias": True}),
    "falcon-grouped": _causal("Falcon", {**_FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-by-head": _causal("Falcon", {**_FALCON, "multi_query": False, "parallel_attn": False, "alibi": True}),
    "bloom": _causal("Bloom", _BLOOM),
    "mpt": _causal("Mpt", {"vocab_size": 40, "d_model": 24, "n_layers": 2, "n_heads": 4}),
    "olmoe": _causal("Olmoe", {**_GROUPED, "num_experts": 3, "num_experts_per_tok": 2}),
    "deepseek-v2": _causal("DeepseekV2", {**_LATENT, "q_lora_rank": 7, "mlp_bias": True, "attention_bias": True}),
    "deepseek-v2-lite": _causal("DeepseekV2", {**_LATENT, "q_lora_rank": None}),
    "deepseek-v3": _causal("DeepseekV3", {**_LATENT, "q_lora_rank": 7, "rope_interleave": False}),
    "glm4-moe": _causal("Glm4Moe", {**_LATENT, **_HEADS, "n_routed_experts": 4, "use_qk_norm": True}),
    "gpt-oss": _causal(
        "GptOss",
        {**_HEADS, "num_local_experts": 3, "num_experts_per_tok": 2, "rope_parameters": {"rope_type": "default"}},
    ),
    "llama4": _causal(
        "Llama4",
        {**_HEADS, "intermediate_size_mlp": 28, "num_local_experts": 3, "interleave_moe_layer_step": 2},
        "TextConfig",
    ),
    "qwen3-next": _causal("Qwen3Next", {**_LINEAR, **_EXPERTS, "shared_expert_intermediate_size": 18}),
    "qwen3.5": _causal("Qwen3_5", _LINEAR, "TextConfig"),
    "qwen3.5-moe": _causal("Qwen3_5Moe", {**_LINEAR, **_EXPERTS, "shared_expert_intermediate_size": 18}, "TextConfig"),
    "mamba": _causal("Mamba", {**_MAMBA, "use_bias": True}),
    "falcon-mamba": _causal("FalconMamba", _MAMBA),
    "mamba2": _causal("Mamba2", {**_MAMBA, "num_heads": 6, "head_dim": 8, "n_groups": 2, "tie_word_embeddings": False}),
    "jamba": _causal(
        "Jamba",
        {
            **_GROUPED,
            "num_hidden_layers": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 0,
            "num_experts": 3,
            "mamba_d_state": 3,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    "granite-moe": _causal("GraniteMoe", {**_GROUPED, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "granite-moe-shared": _causal(
        "GraniteMoeShared",
        {**_GROUPED, "num_local_experts": 3, "num_experts_per_tok": 2, "shared_intermediate_size": 18},
    ),
    "granite4": _causal("GraniteMoeHybrid", {**_GRANITE4, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "granite4-dense": _causal("GraniteMoeHybrid", {**_GRANITE4, "num_local_experts": 0, "attention_bias": True}),
    "phi-moe": _causal("Phimoe", {**_GROUPED, "num_local_experts": 3, "attention_bias": True, "lm_head_bias": True}),
    "gemma3-images": _images("Gemma3", _HEADS, _VISION),
    "mistral3-images": _images("Mistral3", {**_HEADS, "model_type": "mistral"}, {**_VISION, "model_type": "pixtral"}),
    "llama4-images": _images(
        "Llama4",
        {**_HEADS, "intermediate_size_mlp": 28, "num_local_experts": 3, "interleave_moe_layer_step": 2},
        {**_VISION, "vision_output_dim": 16, "projector_input_dim": 12, "projector_output_dim": 12},
    ),
    "qwen2-images": _images("Qwen2VL", {**_GROUPED, **_QWEN_ROPE}, _QWEN_VISION),
    "qwen2.5-images": _images("Qwen2_5_VL", {**_GROUPED, **_QWEN_ROPE}, {**_QWEN_VISION, "fullatt_block_indexes": [0]}),
    "qwen3-images": _images("Qwen3VL", {**_HEADS, **_QWEN_ROPE}, _QWEN_VISION),
    "qwen3-moe-images": _images("Qwen3VLMoe", {**_HEADS, **_QWEN_ROPE, **_EXPERTS}, _QWEN_VISION),
    "qwen3.5-images": _images("Qwen3_5", {**_LINEAR, **_QWEN_ROPE}, _QWEN_VISION),
    "llava": _images("Llava", {**_GROUPED, "model_type": "llama"}, _CLIP),
    "llava-next": _images("LlavaNext", {**_GROUPED, "model_type": "mistral"}, _CLIP),
    "llava-onevision": _images(
        "LlavaOnevision", {**_GROUPED, "model_type": "qwen2"}, {**_VISION, "model_type": "siglip_vision_model"}
    ),
    "vipllava": _images("VipLlava", {**_GROUPED, "model_type": "llama"}, _CLIP),
    "paligemma": _images(
        "PaliGemma",
        {**_HEADS, "model_type": "gemma"},
        {**_VISION, "model_type": "siglip_vision_model", "projection_dim": 24},
    ),
    "internvl": _images("InternVL", {**_GROUPED, "model_type": "qwen2"}, _VISION),
    "aya-vision": _images(
        "AyaVision", {**_GROUPED, "model_type": "cohere2"}, {**_VISION, "model_type": "siglip_vision_model"}
    ),
    "idefics3": _images("Idefics3", {**_GROUPED, "model_type": "llama"}, _VISION),
    "smolvlm": _images("SmolVLM", {**_GROUPED, "model_type": "llama"}, _VISION),
}
