"""Bad input from outside: what entry points tell in one line, with exit status 2."""


class InputError(Exception):
    """Something from outside the program is unusable; the message alone tells the user what and where."""


class CheckpointError(InputError, ValueError):
    """A checkpoint is unusable; the message names the file and, where there is one, the tensor."""
