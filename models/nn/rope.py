"""What a config.json says about rotary positions (Su et al. 2021), read as transformers reads it."""

from collections.abc import Mapping
from dataclasses import dataclass

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn import settings as read
from eigensweep.models.nn.settings import Config


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021): the first `dim` entries of each head turn with the position."""

    dim: int
    theta: float
    kind: str = "default"  # default, linear, dynamic, llama3
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 0


def read_rope(config: Config, head_dim: int, max_positions: int) -> Rope:
    """As transformers reads it: `rope_scaling` replaces `rope_parameters`, what is missing there stands at the top.

    Raises:
      CheckpointError: a kind that the forward pass does not have, or settings that do not serve.
    """
    family = config["model_type"]
    neox = family == "gpt_neox"
    source = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    settings = config.get(source) or {}
    if not isinstance(settings, Mapping) or any(isinstance(value, Mapping) for value in settings.values()):
        raise read.wrong(source, settings, "one dictionary of settings for all blocks")
    needed = {
        "default": (),
        "linear": ("factor",),
        "dynamic": ("factor",),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor"),
    }
    kind = read.get(settings, "rope_type", read.get(settings, "type", "default"))
    known = ("default",) if family == "phi3" else tuple(needed)
    if not isinstance(kind, str) or kind not in known:
        raise CheckpointError(
            f"config.json: rope_type {kind!r} is not supported for {family}; supported: {', '.join(known)}"
        )
    missing = [name for name in needed[kind] if settings.get(name) is None]
    if missing:
        raise CheckpointError(f"config.json: rope_type {kind!r} needs {', '.join(missing)}")
    low, high = read.number(settings, "low_freq_factor", 1.0), read.number(settings, "high_freq_factor", 4.0)
    if high <= low:
        raise read.wrong("high_freq_factor", high, f"more than low_freq_factor, {low:g}")
    original = max_positions
    if kind == "llama3":
        original = read.integer(settings, "original_max_position_embeddings", max_positions)
        original = read.integer(config, "original_max_position_embeddings", original)
    theta = read.positive(config, "rotary_emb_base" if neox else "rope_theta", 10_000.0)
    rope = Rope(
        dim=_rotary_dim(config, settings, kind, head_dim),
        theta=read.positive(settings, "rope_theta", theta),
        kind=kind,
        factor=read.positive(settings, "factor", 1.0),
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_positions=original,
    )
    if rope.dim + rope.dim % 2 > head_dim or (kind == "dynamic" and rope.dim <= 2):
        raise CheckpointError(
            f"config.json: {rope.dim} rotary entries of {head_dim} a head are not supported for {family}"
        )
    return rope


def _rotary_dim(config: Config, settings: Config, kind: str, head_dim: int) -> int:
    """Entries of a head that turn: a part in GPT-NeoX and Phi-3, all in the others, whatever their config says."""
    name, default = (
        ("rotary_pct", 0.25) if config["model_type"] == "gpt_neox" else ("partial_rotary_factor", 1.0)
    )
    fraction = read.number(
        settings, "partial_rotary_factor", read.number(config, name, default, most=1), most=1
    )
    if config["model_type"] in ("gpt_neox", "phi3"):
        return int(head_dim * fraction)
    if kind != "default" and fraction != 1:  # in transformers the shapes do not fit
        raise read.wrong("partial_rotary_factor", fraction, f"none beside rope_type {kind!r}")
    return head_dim
