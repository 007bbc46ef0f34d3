"""Checkpoints to named, oriented matrices and to Flax pytrees. Knows no statistics."""

from eigensweep.models.errors import CheckpointError

__all__ = ["CheckpointError"]
