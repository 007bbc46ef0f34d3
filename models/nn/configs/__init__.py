"""config.json -> Architecture: one reader a kin of families.

The configuration classes of transformers read config.json, in every spelling that they know, and fill in their
defaults; nothing of the checkpoint is executed. The readers refuse what they let through and the forward pass would
silently get wrong.
"""

from eigensweep.models.nn.architecture import Architecture
from eigensweep.models.nn.configs.checks import Config, standardised
from eigensweep.models.nn.configs.decoders import DECODERS, read_decoder
from eigensweep.models.nn.configs.encoders import ENCODERS, read_encoder
from eigensweep.models.nn.configs.gpt import GPTS, read_gpt

_READERS = {
    **dict.fromkeys(DECODERS, read_decoder),
    **dict.fromkeys(ENCODERS, read_encoder),
    **dict.fromkeys(GPTS, read_gpt),
}
_FAMILIES = tuple(sorted(_READERS))


def families() -> tuple[str, ...]:
    """The values of `model_type` that have a forward pass."""
    return _FAMILIES


def architecture(config: Config) -> Architecture:
    """Read config.json.

    Args:
      config: the dictionary of config.json; `model_type` names the family.

    Raises:
      CheckpointError: the family has no forward pass here, or a setting is not usable or not supported.
    """
    c = standardised(config, _FAMILIES)
    return _READERS[c.model_type](c)
