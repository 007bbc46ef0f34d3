"""The one exception for a checkpoint that cannot be read, understood or written."""


class CheckpointError(ValueError):
    """A checkpoint is unusable; the message names the file and, where there is one, the tensor."""
