"""MPT (MosaicML 2023): query, key and value end to end in one tensor, no biases anywhere."""

from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.decoder_blocks import qkv
from eigensweep.models.families.rules import Dims, Family, Rule, embedding, flags, heads, linear, norm, unembedding


def _dims(config: Mapping[str, Any]) -> Dims:
    # transformers takes either name, and makes its MLP four times as wide whatever expansion_ratio says.
    d = config.get("hidden_size") or config["d_model"]
    return {
        **flags(config),
        "blocks": config.get("num_hidden_layers") or config["n_layers"],
        "vocab": config["vocab_size"],
        "d": d,
        "q": d,
        "kv": d,
        "3d": 3 * d,
        "mlp": 4 * d,
    }


MPT = Family(
    name="mpt",
    model_types=("mpt",),
    defaults={"vocab_size": 50368, "d_model": 2048, "n_heads": 16, "n_layers": 24},
    dims=_dims,
    rules=(
        *embedding("wte", "embedding", "embedding", "vocab", "d"),
        *norm("blocks.{b}.norm_1", "blocks/{b}/attention_norm", "d"),
        Rule("blocks.{b}.attn.Wqkv.weight", ("3d", "d"), qkv(), "linear"),
        *linear("blocks.{b}.attn.out_proj", "blocks/{b}/attention/output", "attention_output", "d", "d"),
        *norm("blocks.{b}.norm_2", "blocks/{b}/mlp_norm", "d"),
        *linear("blocks.{b}.ffn.up_proj", "blocks/{b}/mlp/up", "mlp_up", "mlp", "d"),
        *linear("blocks.{b}.ffn.down_proj", "blocks/{b}/mlp/down", "mlp_down", "d", "mlp"),
        *norm("norm_f", "final_norm", "d"),
        *unembedding(),
        *heads("score", "classifier", "qa_outputs"),
    ),
    renames=((r"transformer\.(.*)", r"\1"),),
)
