"""Forward passes: Flax NNX modules as pure, jit-compiled functions of the canonical tree of parameters."""

from eigensweep.models.nn.architecture import Architecture, architecture, families
from eigensweep.models.nn.model import Model, add_heads, build, heads_of, tap_of
from eigensweep.models.nn.parameters import check, get, place, replace, walk
from eigensweep.models.nn.stages import Output

__all__ = [
    "Architecture",
    "Model",
    "Output",
    "add_heads",
    "architecture",
    "build",
    "check",
    "families",
    "get",
    "heads_of",
    "place",
    "replace",
    "tap_of",
    "walk",
]
