"""Checkpoints to named, oriented matrices and to Flax pytrees. Knows no statistics."""

from eigensweep.models.checkpoint import Checkpoint, open_checkpoint
from eigensweep.models.errors import CheckpointError
from eigensweep.models.export import write_huggingface
from eigensweep.models.matrix import Matrix, Skipped
from eigensweep.models.orbax import Converted, convert
from eigensweep.models.params import load_params
from eigensweep.models.roles import ROLES, guess_role

__all__ = [
    "ROLES",
    "Checkpoint",
    "CheckpointError",
    "Converted",
    "Matrix",
    "Skipped",
    "convert",
    "guess_role",
    "load_params",
    "open_checkpoint",
    "write_huggingface",
]
