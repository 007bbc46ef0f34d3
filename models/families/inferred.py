"""A config for weights that came without one, where names and shapes leave no doubt.

Only GPT-2 needs it: its linear layers lie (in, out) and hold query, key and value side by side, which nothing in the
arrays tells. Every other family stores them as torch does, so a generic reading has the orientation right.
"""

import re
from collections.abc import Mapping
from typing import Any

from eigensweep.models.families.gpt import GPT2

_HEADS = 1  # their number does not matter for reading
_KEYS = {"model_type", "n_head", "vocab_size", "n_embd", "n_positions", "n_layer", "n_inner"}
_BLOCK = re.compile(r"h\.([0-9]{1,4})\..*")


def inferred_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """GPT-2's config, if that is what the tensors are; None otherwise.

    Args:
      shapes: of the stored tensors by name.
    """
    named = {GPT2.rename(name): shape for name, shape in shapes.items()}
    known = {name for name in named if GPT2.matching(name)}
    others = [name for name in named if name not in known and GPT2.skip_reason(name) is None]
    blocks = {int(found[1]) for name in known if (found := _BLOCK.fullmatch(name))}
    tables = [named.get("wte.weight", ()), named.get("wpe.weight", ()), named.get("h.0.mlp.c_fc.weight", ())]
    if others or not blocks or any(len(shape) != 2 for shape in tables):
        return None
    (vocab, d), (positions, _), (_, mlp) = tables
    if named.get("h.0.attn.c_attn.weight") != (d, 3 * d):
        return None
    sizes = {"vocab_size": vocab, "n_embd": d, "n_positions": positions, "n_layer": max(blocks) + 1, "n_inner": mlp}
    return {"model_type": "gpt2", "n_head": _HEADS} | sizes


def is_inferred(config: Mapping[str, Any]) -> bool:
    """Whether a config is of `inferred_config`, which does not know the number of heads."""
    return set(config) == _KEYS and config["n_head"] == _HEADS
