"""llama.cpp's names for the tensors of architectures that are known here under transformers' names.

What its converter (https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py) changed besides is told by
`Heads`: rows of query and key of Llama, one added to Gemma's norms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from eigensweep.models.families import family_of
from eigensweep.models.families.rules import Family

WARNING = (
    "a GGUF file of an architecture that is not known: roles are guessed from the names. llama.cpp reorders the rows "
    "of query and key of some; they are read as they lie, which changes neither spectra nor tests"
)
_MODEL_TYPES = {
    "llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "gemma": "gemma", "gemma2": "gemma2",
    "gemma3": "gemma3_text", "qwen2moe": "qwen2_moe", "qwen3moe": "qwen3_moe",
}  # fmt: skip
_BLOCK, _END = r"blk\.(\d+)\.", r"\.(weight|bias)"
_SUBSTITUTES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate", "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj", "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "ffn_gate_exps": "mlp.stacked.gate_proj", "ffn_up_exps": "mlp.stacked.up_proj",
    "ffn_down_exps": "mlp.stacked.down_proj",
}  # fmt: skip
_SANDWICH = {
    "ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip
_OWN = {
    "phi3": {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"},
    "gemma2": _SANDWICH,
    "gemma3_text": _SANDWICH,
}
_OUTSIDE = (
    (r"token_embd\.(.*)", r"model.embed_tokens.\1"),
    (r"output_norm\.(.*)", r"model.norm.\1"),
    (r"output\.(.*)", r"lm_head.\1"),
    (rf"{_BLOCK}ffn_(gate|up|down)\.(\d+)\.weight", r"model.layers.\1.mlp.experts.\3.\2_proj.weight"),
)
_SKIPS = ((r"rope_freqs\.weight|rope_factors_(?:long|short)\.weight", "rotary frequencies, no parameter"),)


@dataclass(frozen=True)
class Heads:
    """What llama.cpp's converter changed in an architecture: the numbers of heads where rows are reordered."""

    architecture: str
    queries: int
    keys: int

    def reordered(self, name: str) -> int:
        """The heads whose rows are reordered in a tensor; 0 where none are."""
        if self.architecture != "llama":
            return 0
        return {"attn_q": self.queries, "attn_k": self.keys}.get(name.split(".")[-2] if "." in name else "", 0)

    def raised(self, name: str) -> bool:
        """Whether one was added to a tensor."""
        return self.architecture.startswith("gemma") and name.endswith("norm.weight")


def config_of(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, Any] | None, Heads | None]:
    """The sizes of a known architecture as config.json would give them, and what was changed; (None, None) if unknown.

    It is enough to tell the matrices, and too little for a forward pass.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or architecture not in _MODEL_TYPES:
        return None, None
    keys = {
        "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
        "intermediate_size": "feed_forward_length",
        "num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
        "head_dim": "attention.key_length", "num_experts": "expert_count",
        "moe_intermediate_size": "expert_feed_forward_length",
        "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    }  # fmt: skip
    said = {key: metadata.get(f"{architecture}.{theirs}") for key, theirs in keys.items()}
    config: dict[str, Any] = {key: value for key, value in said.items() if type(value) is int and value > 0}
    needed = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    table = shapes.get("token_embd.weight", ())
    if len(table) != 2 or any(key not in config for key in needed):
        return None, None
    model_type = _MODEL_TYPES[architecture]
    if "num_experts" in config and model_type == "llama":
        model_type, config["num_local_experts"] = "mixtral", config["num_experts"]
    config |= {
        "model_type": model_type,
        "vocab_size": table[0],
        "tie_word_embeddings": "output.weight" not in shapes,
        "attention_bias": "blk.0.attn_output.bias" in shapes or "blk.0.attn_q.bias" in shapes,
        "architectures": ["ForCausalLM"],
    }
    stack = shapes.get("blk.0.ffn_gate_exps.weight", ())
    if "moe_intermediate_size" not in config and len(stack) == 3:
        config["moe_intermediate_size"] = stack[1]
    queries = config["num_attention_heads"]
    return config, Heads(architecture, queries, config.get("num_key_value_heads", queries))


def gguf_family(config: Mapping[str, Any]) -> Family | None:
    """The family of a config, for tensors under llama.cpp's names."""
    family = family_of(config)
    if family is None:
        return None
    names = _SUBSTITUTES | _OWN.get(str(config["model_type"]), {})
    inside = ((rf"{_BLOCK}{theirs}{_END}", rf"model.layers.\1.{ours}.\2") for theirs, ours in names.items())
    one = "layers.{b}.mlp.experts.{e}."
    stacks = (
        replace(rule, pattern=f"layers.{{b}}.mlp.stacked.{rule.pattern.removeprefix(one)}",
                shape=("experts", *rule.shape), stacked=True)
        for rule in family.rules if rule.pattern.startswith(one)
    )  # fmt: skip
    return replace(
        family,
        renames=(*_OUTSIDE, *inside, *family.renames),
        rules=(*family.rules, *stacks),
        skips=(*_SKIPS, *family.skips),
    )
