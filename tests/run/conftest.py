"""A checkpoint in memory: what the engine takes, without the models room."""

from dataclasses import dataclass, field

import numpy as np
import pytest


@dataclass(frozen=True)
class FakeMatrix:
    name: str
    role: str
    block: int | None
    array: np.ndarray
    expert: int | None = None
    reads: list = field(default_factory=list, compare=False)

    @property
    def shape(self):
        return self.array.shape

    @property
    def dtype(self):
        return str(self.array.dtype)

    def read(self):
        self.reads.append(self.name)
        return self.array


@dataclass(frozen=True)
class FakeSkipped:
    name: str
    shape: tuple
    dtype: str
    reason: str


@dataclass(frozen=True)
class FakeCheckpoint:
    matrices: tuple
    skipped: tuple = (FakeSkipped("norm.weight", (8,), "float32", "not a matrix (1-D)"),)
    warnings: tuple = ()
    sha256: str = "0" * 64

    @property
    def identity(self):
        return {
            "source": "fake",
            "kind": "dict",
            "architecture": "generic",
            "files": {},
            "sha256": self.sha256,
        }


@pytest.fixture
def make_checkpoint():
    """make_checkpoint(extra=(), seed=0): 2 blocks of query (40 x 40), up (80 x 40), down (40 x 80), float32 Gaussian,
    a spike of 8 sigma sqrt(max(m, n)) in each `up`; plus `extra` (name, role, array) matrices."""

    def make(extra=(), seed=0, sha256="0" * 64):
        rng = np.random.default_rng(seed)
        matrices = []
        for block in range(2):
            for role, shape in (("query", (40, 40)), ("mlp_up", (80, 40)), ("mlp_down", (40, 80))):
                w = 0.02 * rng.standard_normal(shape)
                if role == "mlp_up":
                    u, v = rng.standard_normal(shape[0]), rng.standard_normal(shape[1])
                    w += 8 * 0.02 * np.sqrt(80) * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
                matrices.append(FakeMatrix(f"blocks.{block}.{role}", role, block, w.astype(np.float32)))
        matrices += [FakeMatrix(name, role, None, array) for name, role, array in extra]
        return FakeCheckpoint(tuple(matrices), sha256=sha256)

    return make
