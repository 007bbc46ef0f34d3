"""What most decoders share: sizes, and rules for attention with grouped queries, gated MLPs and norms."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.rules import Part, Rule, embedding, flags, heads, linear, norm, unembedding

PREFIXES = ((r"(?:model|transformer)\.(.*)", r"\1"),)
ATTENTION, MLP = "layers.{b}.self_attn", "layers.{b}.mlp"


def decoder_dims(
    config: Mapping[str, Any], *, reads: tuple[str, ...] = (), qkv_bias: bool = False, qk_norm: bool = False
) -> dict[str, Any]:
    """Sizes and flags of a decoder with grouped queries and a gated MLP.

    Args:
      config: complete.
      reads: which of "attention_bias" and "mlp_bias" the family's class in transformers knows. Where it knows them
        not, it ignores them in config.json, and so do we.
      qkv_bias: query, key and value always have biases, the output has none.
      qk_norm: query and key are normed.
    """
    d, num_heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or d // num_heads
    groups = config.get("num_key_value_heads") or num_heads
    biased = {name: name in reads and bool(config.get(name)) for name in ("attention_bias", "mlp_bias")}
    return {
        **flags(config),
        **biased,
        "blocks": config["num_hidden_layers"],
        "vocab": config["vocab_size"],
        "d": d,
        "head": head,
        "heads": num_heads,
        "q": num_heads * head,
        "kv": groups * head,
        "mlp": config["intermediate_size"],
        "qkv_bias": qkv_bias or biased["attention_bias"],
        "qk_norm": qk_norm,
    }


def blocks_of(config: Mapping[str, Any]) -> range:
    """The indices of the blocks."""
    return range(config["num_hidden_layers"])


def qk_norms(query: str = "head", key: str = "head", when: str = "qk_norm") -> tuple[Rule, ...]:
    """Norms of query and key, over a head or over all of them."""
    return (
        *norm(f"{ATTENTION}.q_norm", "blocks/{b}/attention/query_norm", query, when=when),
        *norm(f"{ATTENTION}.k_norm", "blocks/{b}/attention/key_norm", key, when=when),
    )


def attention_rules(
    when: str = "always", bias: str = "qkv_bias", output_bias: str = "attention_bias"
) -> tuple[Rule, ...]:
    """Attention with separate projections; biases where the flags say so."""
    path = "blocks/{b}/attention"
    return (
        *linear(f"{ATTENTION}.q_proj", f"{path}/query", "query", "q", "d", bias, when=when),
        *linear(f"{ATTENTION}.k_proj", f"{path}/key", "key", "kv", "d", bias, when=when),
        *linear(f"{ATTENTION}.v_proj", f"{path}/value", "value", "kv", "d", bias, when=when),
        *linear(f"{ATTENTION}.o_proj", f"{path}/output", "attention_output", "d", "q", output_bias, when=when),
    )


def mlp_rules(
    source: str = MLP,
    path: str = "blocks/{b}/mlp",
    size: str = "mlp",
    bias: str | None = "mlp_bias",
    when: str = "always",
    role: str = "mlp",
) -> tuple[Rule, ...]:
    """A gated MLP: down(act(gate x) * up x)."""
    return (
        *linear(f"{source}.gate_proj", f"{path}/gate", f"{role}_gate", size, "d", bias, when=when),
        *linear(f"{source}.up_proj", f"{path}/up", f"{role}_up", size, "d", bias, when=when),
        *linear(f"{source}.down_proj", f"{path}/down", f"{role}_down", "d", size, bias, when=when),
    )


def gate_up(path: str, size: str, leaf: str = "kernel", role: str = "mlp") -> tuple[Part, ...]:
    """Gate and up in one tensor; without roles where the leaf is no kernel."""
    return tuple(
        Part(f"{path}/{share}/{leaf}", f"{role}_{share}" if leaf == "kernel" else "", share, size)
        for share in ("gate", "up")
    )


def fused_mlp_rules(source: str = MLP) -> tuple[Rule, ...]:
    """A gated MLP whose gate and up lie end to end in one tensor."""
    return (
        Rule(f"{source}.gate_up_proj.weight", ("2mlp", "d"), gate_up("blocks/{b}/mlp", "mlp"), "linear"),
        *linear(f"{source}.down_proj", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp"),
    )


def qkv(leaf: str = "kernel", path: str = "blocks/{b}/attention") -> tuple[Part, ...]:
    """Query, key and value in one tensor; without roles where the leaf is no kernel."""
    sizes = (("query", "q"), ("key", "kv"), ("value", "kv"))
    return tuple(
        Part(f"{path}/{share}/{leaf}", share if leaf == "kernel" else "", share, size) for share, size in sizes
    )


BEFORE = embedding("embed_tokens", "embedding", "embedding", "vocab", "d")
BLOCK_NORMS = (
    *norm("layers.{b}.input_layernorm", "blocks/{b}/attention_norm", "d"),
    *norm("layers.{b}.post_attention_layernorm", "blocks/{b}/mlp_norm", "d"),
)
AFTER = (*norm("norm", "final_norm", "d"), *unembedding(), *heads("score", "classifier", "qa_outputs"))
RULES = (*BEFORE, *attention_rules(), *qk_norms(), *mlp_rules(), *BLOCK_NORMS, *AFTER)
