"""Files that must not change while a checkpoint is open: what is read is what was opened, and what was hashed.

A file's size, time of change and inode are noted before its first byte is read, and compared after every read: whoever
writes to it or puts another in its place meanwhile ends the run with one line, before a number comes of a mix of two.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.matrix import Tensor
from eigensweep.models.sources.files import stat_regular

Opener = Callable[[Path, str], tuple[dict[str, Tensor], dict[str, str]]]
"""Opens one weights file: its tensors, and second names of them."""


def _stamp(path: Path) -> tuple[int, int, int]:
    now = stat_regular(path)
    return now.st_size, now.st_mtime_ns, now.st_ino


class Watch:
    """The files of one opened checkpoint, as they were at their opening."""

    def __init__(self) -> None:
        self._stamps: dict[Path, tuple[int, int, int]] = {}

    def add(self, path: Path) -> Path:
        """Note how a file is now; what was noted before stays. Returns the path, to be read."""
        if path not in self._stamps:
            self._stamps[path] = _stamp(path)
        return path

    def check(self, *paths: Path) -> None:
        """Hold files against what was noted, all of them where none is named.

        Raises:
          CheckpointError: one has changed or gone since; names it.
        """
        for path in paths or tuple(self._stamps):
            if _stamp(path) != self._stamps[path]:
                raise CheckpointError(
                    f"{path}: has changed since it was opened; start again when nothing writes to it any more"
                )

    def opened(self, opener: Opener) -> Opener:
        """The same opener, of tensors that hold their file against what was noted whenever they are read."""

        def watched(path: Path, file: str) -> tuple[dict[str, Tensor], dict[str, str]]:
            tensors, aliases = opener(self.add(path), file)
            return {name: self.tensor(tensor, path) for name, tensor in tensors.items()}, aliases

        return watched

    def tensor(self, tensor: Tensor, *paths: Path) -> Tensor:
        """The same tensor, which fails to be read once one of these files has changed."""
        reader = tensor.reader

        def read(start: int, stop: int) -> np.ndarray:
            array = reader(start, stop)
            self.check(*paths)
            return array

        return replace(tensor, reader=read)

    def hashed(self, sha256: Callable[[], str]) -> Callable[[], str]:
        """The same hash, which fails once a file has changed."""

        def checked() -> str:
            found = sha256()
            self.check()
            return found

        return checked
