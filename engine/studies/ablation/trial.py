"""What single steps of a removal study take on this machine: tried on small arrays, asked of compiled programs."""

import math
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run.stream import cost
from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.svd import decompose
from eigensweep.models import Checkpoint, nn

SIDE, TOKENS = 1024, 128  # at most, of matrices and rows that are tried
WORK = 1e9  # multiplications and additions that take long enough to be timed


class Trial:
    """Seconds and bytes of single steps, by a block and the head of a model without its weights."""

    def __init__(
        self, checkpoint: Checkpoint, model: nn.Model, head: str, batch_size: int, length: int, param_dtype: str
    ):
        self._checkpoint, self._model, self._head = checkpoint, model, head
        self._rows, self._param_dtype = (batch_size, length), param_dtype
        self._decomposed: dict[tuple[int, int], float] = {}

    def decomposing(self, shape: tuple[int, int]) -> float:
        """A matrix's, by one of its proportions whose shorter side is at most SIDE, and the cost a b^2."""
        b, a = sorted(shape)
        shrink = min(1.0, SIDE / b)
        small = (max(2, round(a * shrink)), max(2, round(b * shrink)))
        if small not in self._decomposed:
            w = np.random.default_rng(0).standard_normal((1, *small)).astype(np.float32)
            self._decomposed[small] = _seconds(lambda: jax.block_until_ready(decompose(w)[:3]))
        return self._decomposed[small] * cost(shape) / cost(small)

    def replacing(self, shape: tuple[int, int], rank: int, kind: str) -> float:
        """W - L R: its product, its entries, and for random directions what makes L."""
        m, n = shape
        products = 2 if kind == "random" else 1
        return products * 2.0 * m * n * rank * self._seconds_of_product + 4 * 8.0 * m * n * self._seconds_of_copy

    @cached_property
    def _seconds_of_product(self) -> float:
        low = removal.LowRank(np.ones((SIDE, SIDE // 8)), np.ones((SIDE // 8, SIDE)), 0.0)
        w = np.ones((SIDE, SIDE))
        return _seconds(lambda: removal.remove(w, low)) / (2.0 * SIDE * SIDE * (SIDE // 8))

    @cached_property
    def _seconds_of_copy(self) -> float:
        x = np.ones(1 << 22)
        return _seconds(x.copy) / x.nbytes

    @cached_property
    def seconds_of_byte(self) -> float:
        """Of reading a checkpoint, by its largest leaf of at most 256 MiB."""
        leaf = max((leaf for leaf in self._checkpoint.leaves if leaf.nbytes <= 1 << 28), key=lambda leaf: leaf.nbytes)
        return _seconds(lambda: leaf.read(), 1) / leaf.nbytes

    @cached_property
    def seconds_of_work(self) -> float:
        """Of a multiplication or addition in a block, tried on one row of at most TOKENS tokens.

        Of a small model on as many rows of a batch as make WORK of them: calling a program takes a millisecond, too.
        """
        length = min(self._rows[1], TOKENS)
        kernels = sum(leaf.size for path, leaf in nn.walk(self._inputs((1, length))[0]) if path.endswith("kernel"))
        work = length * (2.0 * kernels + 4.0 * length * self._model.architecture.width)
        rows = min(self._rows[0], math.ceil(WORK / work))
        params, x, context = jax.tree.map(_zeros, self._inputs((rows, length)))
        spent = _seconds(lambda: jax.block_until_ready(self._model.block(params, 0, x, context)[0]))
        return spent / (rows * work)

    @cached_property
    def activation_bytes(self) -> int:
        """Temporary arrays and results of a block, or of the head with its losses: what their programs ask for."""
        model, rows = self._model, self._rows
        block, x, context = self._inputs(rows)
        targets = jax.ShapeDtypeStruct(rows if self._head != "classifier" else rows[:1], jnp.int32)

        def of_block(params: Any, x: Any, context: Any) -> Any:
            return model.block(params, 0, x, context)[0]

        def of_head(params: Any, x: Any, context: Any, targets: Any) -> Any:
            return model.unembed(params, x, context, self._head, targets=targets).losses

        last = self._abstract(nn.part_keys(model, "head"))
        return max(_needed(of_block, block, x, context), _needed(of_head, last, x, context, targets))

    def _inputs(self, rows: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Shapes: a block's parameters, the stream and the context."""
        ids, mask = jax.ShapeDtypeStruct(rows, jnp.int32), jax.ShapeDtypeStruct(rows, jnp.bool_)
        model, types = self._model, ids if self._model.architecture.type_rows else None

        def start(params: Any, ids: Any, mask: Any, types: Any) -> Any:
            return model.embed(params, ids, mask, type_ids=types)

        x, context = jax.eval_shape(start, self._abstract(nn.part_keys(model, "embed")), ids, mask, types)
        return self._abstract(("blocks/0/",))["blocks"]["0"], x, context

    def _abstract(self, keys: tuple[str, ...]) -> Any:
        """Shapes of the leaves under these keys, as they lie on the device."""
        stored = {leaf.path: leaf.dtype for leaf in self._checkpoint.leaves}
        tree: Any = {}
        for path, leaf in nn.walk(self._model.abstract()):
            if path.startswith(keys):
                *parents, name = path.split("/")
                node = tree
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[name] = jax.ShapeDtypeStruct(leaf.shape, self._param_dtype or stored.get(path, "float32"))
        return tree


def _needed(run: Callable[..., Any], *shapes: Any) -> int:
    size: Any = jax.jit(run).lower(*shapes).compile().memory_analysis()
    return size.temp_size_in_bytes + size.output_size_in_bytes


def _zeros(shape: Any) -> Any:
    return jnp.zeros(shape.shape, shape.dtype)


def _seconds(run: Callable[[], Any], times: int = 2) -> float:
    """Of the last of several runs: the first compiles."""
    for _ in range(times):
        began = time.perf_counter()
        run()
        spent = time.perf_counter() - began
    return spent
