"""What all readers of config.json share: transformers' own class reads it, and its values are held to their ranges."""

import copy
from collections.abc import Mapping
from typing import Any

from eigensweep.models.data.text import one_line
from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn.architecture import FULL_ATTENTION
from eigensweep.models.nn.layers import ACTIVATIONS

Config = Mapping[str, Any]

MOST_BLOCKS = 10_000
MOST = 2**24  # of every other size: a slip, not a model
_USUAL = {
    "is_causal": True,
    "use_bidirectional_attention": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
    "do_layer_norm_before": True,
    "layer_norm_elementwise_affine": True,
    "_remove_final_layer_norm": False,
    "sinusoidal_pos_embds": None,
}
"""Settings that the forward pass knows in one value; None: any."""


def standardised(config: Config, families: tuple[str, ...]) -> Any:
    """The configuration as transformers' own class reads it.

    Raises:
      CheckpointError: no forward pass for the family, or the class refuses a value.
    """
    family = config.get("model_type")
    if family not in families:
        raise CheckpointError(
            f"config.json: no forward pass for model_type {family!r}; there is one for {', '.join(families)}"
        )
    names = config.get("architectures") or []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"config.json: architectures = {names!r}: expected a list of class names")
    for name in ("num_hidden_layers", "n_layer", "n_layers"):  # the classes make a list as long as this
        if isinstance(depth := config.get(name), int) and depth > MOST_BLOCKS:
            raise CheckpointError(f"config.json: {name} = {depth}: expected at most {MOST_BLOCKS} blocks")
    from transformers import AutoConfig

    given = {key: value for key, value in config.items() if key not in ("model_type", "dtype", "torch_dtype")}
    try:  # a wrong value makes the library raise whatever its code trips over
        c = AutoConfig.for_model(family, **copy.deepcopy(given))
        if hasattr(c, "rope_parameters"):
            c.standardize_rope_params()  # as its models do: settings that the first pass did not have yet
        return c
    except Exception as error:
        cause = error.__cause__ or error
        said = one_line(error) if str(cause) in str(error) else f"{one_line(error)}: {one_line(cause)}"
        raise CheckpointError(f"config.json: {said}") from error


def wrong(c: Any, name: str, expected: str) -> CheckpointError:
    """The error about a value, under the name that config.json gives it."""
    key = c.attribute_map.get(name, name)
    return CheckpointError(f"config.json: {key} = {getattr(c, name)!r}: expected {expected}")


def check_sizes(c: Any, *names: str, least: int = 1) -> None:
    """Whole numbers where they are given."""
    for name in names:
        value = getattr(c, name, None)
        if value is not None and (type(value) is not int or not least <= value <= MOST):
            raise wrong(c, name, f"a whole number from {least} to {MOST}")


def check_shares(c: Any, *names: str) -> None:
    """Numbers from 0 to 1 where they are given."""
    for name in names:
        value = getattr(c, name, None)
        if value is not None and not 0 <= value <= 1:  # NaN, too
            raise wrong(c, name, "a number from 0 to 1")


def check_activation(c: Any, name: str) -> None:
    """An activation that the forward pass has."""
    if getattr(c, name) not in ACTIVATIONS:
        raise wrong(c, name, f"one of {', '.join(sorted(ACTIVATIONS))}")


def check_heads_divide(c: Any) -> None:
    """The residual stream is cut into heads."""
    if c.hidden_size % c.num_attention_heads:
        raise wrong(c, "num_attention_heads", f"a divisor of the {c.hidden_size} entries")


def check_usual(c: Any, **other: Any) -> None:
    """Settings that are supported in one value only: those of `_USUAL`, and others that the family has."""
    for name, value in {**_USUAL, **other}.items():
        if value is not None and getattr(c, name, None) not in (None, value):
            raise CheckpointError(f"config.json: {name} = {getattr(c, name)!r} is not supported for {c.model_type}")
    if c.is_heterogeneous:
        raise CheckpointError("config.json: per_layer_config is not supported")


def full_windows(num_blocks: int) -> tuple[int, ...]:
    """Every block sees the whole text."""
    return (FULL_ATTENTION,) * num_blocks
