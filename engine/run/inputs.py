"""What a sweep takes: plain named, oriented arrays with a role, read when their turn comes.

`eigensweep.models` provides objects of these shapes; anything else with these attributes does as well.
"""

from typing import Any, Protocol

import numpy as np


class MatrixSource(Protocol):
    """One weight matrix, not read yet: W (m, n), y = W x."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def block(self) -> int | None: ...
    @property
    def expert(self) -> int | None: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def dtype(self) -> str: ...
    def read(self) -> np.ndarray: ...


class SkippedTensor(Protocol):
    """A tensor that is not swept, and why."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...
    @property
    def reason(self) -> str: ...


class MatrixCollection(Protocol):
    """A checkpoint: its matrices in model order, what was left out, and its identity (JSON-able)."""

    @property
    def identity(self) -> dict[str, Any]: ...
    @property
    def matrices(self) -> tuple[MatrixSource, ...]: ...
    @property
    def skipped(self) -> tuple[SkippedTensor, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
