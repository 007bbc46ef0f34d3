"""What a sweep takes: plain named, oriented arrays with a role, read when their turn comes.

`eigensweep.models` provides objects of these shapes; anything else with these attributes does as well.
"""

from typing import Any, Protocol

import numpy as np


class MatrixSource(Protocol):
    """One weight matrix, not read yet: W (m, n), y = W x.

    Two further attributes are read where a matrix has them: `tower` ("encoder", "decoder", "vision", ...), the stack
    that it stands in, and `guessed`, whether its role was guessed from its name.
    A source may also have `quantised`, what it was stored as ("" for nothing special), and `grid`, which is None or
    reads what its entries were rounded to, as `eigensweep.engine.spectral.controls.grid` wants it.
    """

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


class MatrixCollection(Protocol):
    """A checkpoint: its matrices in model order, what was left out, and its identity (JSON-able).

    Every entry of `skipped` has a name, a shape, a dtype and the reason.
    """

    @property
    def identity(self) -> dict[str, Any]: ...
    @property
    def matrices(self) -> tuple[MatrixSource, ...]: ...
    @property
    def skipped(self) -> tuple[Any, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
