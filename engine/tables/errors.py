"""Runs that cannot be done or read."""


class RunError(ValueError):
    """A run that cannot be done, continued or read; the message names the folder or option and what to do."""


class InUse(RunError):
    """Another process is working in the run directory."""
