"""The one exception for a run that cannot be done or read."""


class RunError(ValueError):
    """A run that cannot be done, continued or read; the message names the folder or option and what to do."""
