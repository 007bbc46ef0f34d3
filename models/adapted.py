"""An adapter beside its base: W, W + delta W and delta W of every matrix that it changes.

LoRA: delta W = scale B A. DoRA (Liu et al. 2024): W + delta W has the direction of W + scale B A, output by output, and
the adapter's magnitude as its length.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from eigensweep.models.errors import CheckpointError, listed
from eigensweep.models.families import family_of
from eigensweep.models.lora import Update, read_adapter
from eigensweep.models.matrix import Cut, Matrix, Tensor
from eigensweep.models.plan import Plan
from eigensweep.models.sources import Source

_Read = Callable[[], np.ndarray]
KINDS = ("base", "merged", "delta")
"""W, W + delta W, delta W: what their names end in, and their tower (what stands in a tower, in a part of it)."""


def plan_adapted(source: Source, where: str, base: Source, plan: Plan) -> Plan:
    """What an adapter changes, beside what was there; the base's other matrices are left out.

    Args:
      source: the adapter, of kind "lora".
      where: the path of adapter_config.json, for messages.
      base, plan: the model that it was trained on.

    Raises:
      CheckpointError: as `read_adapter`; the base lacks a weight, has it in another shape, or is no model that can be
        merged into.
    """
    adapter = read_adapter(source, where)
    family = family_of(base.config)
    _check_base(source, where, base, plan, family is not None)
    canonical: Callable[[str], str] = family.rename if family else str
    updates = {canonical(name): update for name, update in adapter.updates.items()}
    full = {canonical(tensor.name): tensor for tensor in adapter.full}
    matrices: list[Matrix] = []
    found, untouched = set(), 0
    for matrix in plan.matrices:
        cut = plan.cuts[matrix.name]
        key = canonical(cut.tensor.name)
        change = updates.get(key, full.get(key))
        if change is None:
            untouched += 1
            continue
        found.add(key)
        matrices += _three(matrix, *_changed(change, matrix, cut, base), _dtype(matrix, change))
    if absent := [name for name in updates if name not in found]:
        raise CheckpointError(
            f"{source.name}: changes what {base.name} does not have, or has in no matrix: {listed(absent)}"
        )
    draft = adapter.draft
    for update in updates.values():
        for tensor in update.tensors:
            draft.skip(tensor, f"a part of {update.module}.weight:delta, analysed there")
    for key, tensor in full.items():
        if key not in found:
            draft.skip(tensor, "stored in full, and no matrix of the base")
    draft.warnings.append(
        f"{len(found)} weights of {base.name} are changed by the adapter, swept as :base, :merged and :delta; "
        f"{untouched} matrices that it leaves alone are not swept here"
    )
    return replace(draft.finish(), matrices=tuple(matrices), cuts={})


def _check_base(source: Source, where: str, base: Source, plan: Plan, known: bool) -> None:
    config = source.config or {}
    if base.kind == "lora":
        raise CheckpointError(f"{base.name}: an adapter, where the base model of {source.name} was expected")
    if not plan.cuts:
        raise CheckpointError(
            f"{base.name}: a converted checkpoint cannot be the base of an adapter: give what it was made of"
        )
    if config.get("layer_replication"):
        raise CheckpointError(
            f"{where}: layer_replication repeats blocks of the base, which is not supported beside it"
        )
    if config.get("fan_in_fan_out") and not known:
        raise CheckpointError(
            f"{where}: fan_in_fan_out says that the base stores weights as (in, out), and which ones is not known: "
            f"{base.name} has no config.json of a known architecture"
        )


def _three(matrix: Matrix, merged: _Read, delta: _Read, dtype: str) -> Iterator[Matrix]:
    """W, W + delta W and delta W as the sweep sees them."""
    rounded = (functools.partial(_rounded, read, dtype) for read in (merged, delta))
    readers: dict[str, _Read] = dict(zip(KINDS, (matrix.reader, *rounded), strict=True))
    changed = replace(matrix, dtype=dtype, tied=(), quantised="", grid=None)
    for kind in KINDS:
        yield replace(
            matrix if kind == "base" else changed,
            name=f"{matrix.name}:{kind}",
            path="",
            index=None,
            transposed=False,
            reader=readers[kind],
            tower=f"{matrix.tower}.{kind}" if matrix.tower else kind,
        )


def _changed(change: Update | Tensor, matrix: Matrix, cut: Cut, base: Source) -> tuple[_Read, _Read]:
    """How to read W + delta W, and delta W."""
    stored = cut.tensor
    if isinstance(change, Tensor):
        if change.shape != stored.shape:
            raise CheckpointError(_unlike(change.name, change.shape, base, stored.name, stored.shape))
        merged = functools.partial(_read_full, replace(cut, tensor=change))
        return merged, functools.partial(_difference, merged, matrix)
    shape = stored.shape if cut.layout == "linear" else stored.shape[::-1]
    if cut.expert is not None or change.shape != shape:
        raise CheckpointError(_unlike(change.b.name, change.shape, base, stored.name, shape))
    share = replace(cut, layout="linear")
    merged = functools.partial(_merge, change, matrix, share)
    if change.magnitude is None:  # not by a difference, whose rounding would pass for rank beyond r
        return merged, functools.partial(_share, share, change.rows, change.shape)
    return merged, functools.partial(_difference, merged, matrix)


def _unlike(name: str, shape: tuple[int, ...], base: Source, other: str, there: tuple[int, ...]) -> str:
    return f"{name}: changes a weight {list(shape)}, but {other} of {base.name} is {list(there)}"


def _dtype(matrix: Matrix, change: Update | Tensor) -> str:
    own = change.dtype if isinstance(change, Tensor) else change.tensor().dtype
    return "float64" if "float64" in (matrix.dtype, own) else "float32"


def _read_full(cut: Cut) -> np.ndarray:
    return cut.read_matrix().astype(np.float64)


def _share(cut: Cut, rows: Callable[[int, int], np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """What of a whole weight's rows belongs to the matrix that a cut takes from it."""
    return replace(cut, tensor=Tensor("", shape, "float64", "", rows)).read_matrix()


def _merge(update: Update, matrix: Matrix, cut: Cut) -> np.ndarray:
    """W + scale B A, or that with DoRA's lengths."""
    merged = matrix.read().astype(np.float64) + _share(cut, update.rows, update.shape)
    if update.magnitude is None:
        return merged
    magnitude = update.magnitude.read().astype(np.float64).reshape(-1, 1)
    lengths = _share(cut, lambda start, stop: magnitude[start:stop], magnitude.shape)
    with np.errstate(divide="ignore", invalid="ignore"):  # a row of zeros has no direction: NaN, which the sweep names
        return merged * (lengths / np.linalg.norm(merged, axis=1, keepdims=True))


def _rounded(read: _Read, dtype: str) -> np.ndarray:
    return read().astype(dtype)


def _difference(merged: _Read, matrix: Matrix) -> np.ndarray:
    return merged() - matrix.read().astype(np.float64)
