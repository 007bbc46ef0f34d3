"""Several variants of a model scored in one pass over its parts.

Up to the first part in which a variant differs from the model as it is, its residual stream is the model's own: that is
computed once for all. Every part is read once, and one part of one variant at a time has its changed parameters on the
device.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh

from eigensweep.models.data.batches import Rows
from eigensweep.models.nn.context import Context
from eigensweep.models.nn.devices import shard_batch
from eigensweep.models.nn.load import Read
from eigensweep.models.nn.model import Model
from eigensweep.models.nn.parameters import Params, place

States = list[tuple[Any, Context]]
"""The residual stream of every batch, and what all blocks share."""
Found = list[tuple[np.ndarray, tuple[Array, ...]]]
"""Of every batch its rows, and their losses."""


class Variant(Protocol):
    """A model of which some parts are changed."""

    parts: frozenset[str]

    def changed(self, part: str, params: Params) -> Params:
        """The parameters of one of its parts, from those of the model as it is."""
        ...


def parts_of(model: Model) -> list[str]:
    """The parts of a model in their order."""
    return ["embed", *(f"blocks/{i}" for i in range(model.architecture.num_blocks)), "head"]


def read_ahead(model: Model, read: Read) -> Iterator[tuple[str, Params]]:
    """Every part, in order and on the host; the next is read while one is worked on."""
    parts = parts_of(model)
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(read, parts[0])
        for index, part in enumerate(parts):
            host = ahead.result()
            if index + 1 < len(parts):
                ahead = pool.submit(read, parts[index + 1])
            yield part, host
            del host


def score_variants(
    model: Model,
    read: Read,
    variants: Sequence[Variant],
    data: Sequence[Rows],
    head: str,
    mesh: Mesh | None = None,
    dtype: str | None = None,
    keep: Callable[[Any], Any] = jax.device_get,
) -> list[Found]:
    """The losses of every variant, batch by batch.

    Args:
      model: its functions.
      read: where the parts come from; called once each.
      variants: what is changed; one that changes nothing gives the model's own losses.
      data: the batches, all of one shape.
      head: see Model.apply.
      mesh: deals the rows of a batch out over its axis "data".
      dtype: of the parameters on the device; None: as read.
      keep: what to hold of a residual stream between two parts; by default it waits on the host.
    """
    run = _Pass(model, data, head, mesh, keep)
    trunk: Any = []
    own: dict[int, Any] = {}
    for part, host in read_ahead(model, read):
        params = place(host, dtype=dtype, keep=True)
        del host
        branching = [i for i, variant in enumerate(variants) if part in variant.parts]
        for i in branching:
            own[i] = run(part, variants[i].changed(part, params), own.get(i, trunk))
        for i in own.keys() - set(branching):
            own[i] = run(part, params, own[i])
        if len(own) < len(variants):
            trunk = run(part, params, trunk)
        del params  # before the next is placed
    return [own.get(i, trunk) for i in range(len(variants))]


class _Pass:
    """One part after the other on all batches."""

    def __init__(
        self, model: Model, data: Sequence[Rows], head: str, mesh: Mesh | None, keep: Callable[[Any], Any]
    ) -> None:
        self._model, self._data, self._head, self._mesh, self._keep = model, data, head, mesh, keep

    def __call__(self, part: str, params: Params, states: States) -> Any:
        """The states behind a part; behind the head what was found."""
        if part == "embed":
            found = [self._keep(self._embed(params, batch)) for batch in self._data]
        elif part == "head":
            found = [self._losses(params, batch, *state) for batch, state in zip(self._data, states, strict=True)]
        else:
            index = int(part.split("/")[1])
            found = [(self._keep(self._model.block(params, index, x, context)[0]), context) for x, context in states]
        return jax.block_until_ready(found)  # the device lets go of the parameters

    def _embed(self, params: Params, batch: Rows) -> tuple[Array, Context]:
        placed = shard_batch(batch, self._mesh)
        types = placed.type_ids if self._model.architecture.type_rows else None
        return self._model.embed(params, placed.input_ids, placed.attention_mask, type_ids=types)

    def _losses(self, params: Params, batch: Rows, x: Any, context: Context) -> tuple[np.ndarray, Any]:
        targets = shard_batch(batch, self._mesh).targets
        output = self._model.unembed(params, x, context, self._head, targets=targets)
        return batch.row, jax.device_get(output.losses)
