"""Models from config.json, and which heads a model has."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flax import nnx

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.configs import architecture
from eigensweep.models.nn.configs.checks import Config
from eigensweep.models.nn.heads import HEADS
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.modules import Transformer
from eigensweep.models.nn.parameters import Params

DTYPES = ("float32", "bfloat16")


def build(config: Config, dtype: str = "float32", heads: tuple[str, ...] | None = None) -> Model:
    """The model of a config.json. Nothing is allocated.

    Args:
      config: the dictionary of config.json.
      dtype: "float32" or "bfloat16", of the computation.
      heads: which of HEADS the tree has; None: what config["architectures"] says. For a checkpoint at hand,
        `heads_of(params)` is certain.

    Raises:
      CheckpointError: the family or a setting is not supported.
      ValueError: an unknown dtype or head.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    arch = architecture(config)
    heads = _heads_of_config(config, arch) if heads is None else heads
    unknown = sorted(set(heads) - set(HEADS))
    if unknown:
        raise ValueError(f"heads: expected some of {', '.join(HEADS)}, got {', '.join(unknown)}")
    return Model(arch, tuple(head for head in HEADS if head in heads), dtype)


def params_of(module: Transformer) -> Params:
    """The canonical tree of a `Model.module`; layers that were put around others (nnx.LoRA) add their own leaves."""
    parts = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    blocks = {str(i): block for i, block in parts.get("blocks", {}).items()}
    return {**parts.get("embed", {}), "blocks": blocks, **parts.get("head", {})}


def heads_of(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Which heads a tree of parameters has."""
    return tuple(head for head in HEADS if head in params)


def add_heads(model: Model, params: Params, heads: tuple[str, ...], seed: int) -> tuple[Model, Params]:
    """The model with further heads, those that `params` lacks drawn from `seed`; all other leaves are shared."""
    wider = replace(model, heads=tuple(head for head in HEADS if head in heads or head in model.heads))
    fresh = wider.init(seed)
    return wider, params | {head: fresh[head] for head in wider.heads if head not in params}


def _heads_of_config(config: Config, arch: Architecture) -> tuple[str, ...]:
    name = (config.get("architectures") or [""])[0]
    if arch.causal:
        base = name.endswith("Model") and not name.endswith("LMHeadModel")
        return () if arch.tied or base else ("unembedding",)
    pooler = ("pooler",) if arch.pooler else ()
    by_suffix = {
        "ForMaskedLM": ("mlm",),
        "ForPreTraining": (*pooler, "mlm") if arch.pooler else (),  # ELECTRA's tells replaced tokens from others
        "ForSequenceClassification": ("classifier",) if arch.classifier_dense else (*pooler, "classifier"),
        "Model": pooler,
    }
    return next((heads for suffix, heads in by_suffix.items() if name.endswith(suffix)), ())
