"""One stream of decompositions: whoever needs singular vectors draws from here.

Matrices are read ahead, put into batches of one shape and dtype within the memory of all devices, decomposed (in halves
where a batch does not fit after all), the largest ones streamed through the host, and every residual is checked. What
comes out are NumPy arrays on the host.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run import entries
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.memory import GIB, default_budget
from eigensweep.engine.spectral.ks import ks_statistic
from eigensweep.engine.spectral.svd import decompose, is_streamed
from eigensweep.engine.spectral.svd.auto import working_bytes
from eigensweep.engine.spectral.svd.streamed import streamed_svd
from eigensweep.engine.tables.errors import RunError

HOST_BYTES = GIB
Vectors = bool | Literal["right"]
"""Which singular vectors are kept: both sides', none, or the right ones."""
# beyond it a decomposition is marked: published numbers should not hang on it. TPUs compute in float32.
RESIDUAL_TOLERANCE = {np.dtype(np.float64): 1e-6, np.dtype(np.float32): 1e-4}


@dataclass(frozen=True)
class Decomposed:
    """B matrices (m, n) of one shape and dtype, b = min(m, n); NumPy arrays, NaN where `status` is not "ok".

    Attributes:
      names: of the matrices.
      w: as stored, B arrays.
      status: "ok", or why there are no numbers.
      sigma, kurtosis: (B,) standard deviation and excess kurtosis of the entries.
      s: (B, b) singular values, descending.
      u, vt: (B, m, b) and (B, b, n) singular vectors; None where not asked for.
      ks_right, ks_left: (B, b) KS statistics of the right and left singular vectors; None where not asked for.
      residual, orthogonality: (B,), see `eigensweep.engine.spectral.svd`.
      strategy: what gave each.
    """

    names: tuple[str, ...]
    w: Sequence[np.ndarray]
    status: tuple[str, ...]
    sigma: np.ndarray
    kurtosis: np.ndarray
    s: np.ndarray
    u: Any
    vt: Any
    ks_right: Any
    ks_left: Any
    residual: np.ndarray
    orthogonality: np.ndarray
    strategy: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """(m, n)."""
        return self.w[0].shape  # type: ignore[return-value]

    @property
    def eps(self) -> float:
        """Machine epsilon of the numerical rank, see `rank_eps`."""
        return max(rank_eps(self.w[0].dtype), float(np.finfo(self.s.dtype).eps))


@dataclass(frozen=True)
class Batch:
    """Matrices of one shape and dtype that are decomposed together."""

    shape: tuple[int, int]
    sources: tuple[MatrixSource, ...]


def rank_eps(dtype: Any) -> float:
    """eps of the numerical rank: the stored dtype's, but at most float32's.

    bfloat16 and float16 values are exact numbers in float32; their own eps times max(m, n) exceeds 1.
    """
    return float(np.finfo(np.float64 if dtype == np.float64 else np.float32).eps)


def batches(sources: Sequence[MatrixSource], memory_bytes: int | None = None) -> list[Batch]:
    """Buckets by shape and dtype, cut so that a batch's working memory stays within `memory_bytes`.

    As stored, a batch stays within `HOST_BYTES`: the host holds it, the next one, and a copy. A matrix that alone
    exceeds the budget is a batch of one: it is never left out. The largest matrices come first: a run that will not fit
    fails at once, not after an hour.
    """
    budget = memory_bytes or default_budget()
    buckets: dict[tuple[tuple[int, int], str], list[MatrixSource]] = {}
    for source in sources:
        buckets.setdefault((tuple(source.shape), source.dtype), []).append(source)  # type: ignore[arg-type]
    result = []
    for (shape, dtype), members in buckets.items():
        stored = math.prod(shape) * jnp.dtype(dtype).itemsize
        fitting = min(budget // max(1, working_bytes(shape)), HOST_BYTES // max(1, stored))
        size = 1 if is_streamed(shape) else max(1, min(len(members), fitting))
        size = math.ceil(len(members) / math.ceil(len(members) / size))  # even batches: fewer shapes to compile
        result += [Batch(shape, tuple(members[i : i + size])) for i in range(0, len(members), size)]
    return sorted(result, key=lambda batch: -cost(batch.shape))


def cost(shape: tuple[int, int]) -> float:
    """Work that a decomposition takes: max(m, n) min(m, n)^2."""
    return float(max(shape)) * min(shape) ** 2


def read_ahead(todo: Iterable[Batch]) -> Iterator[tuple[Batch, list[np.ndarray], float]]:
    """Each batch with its arrays and the seconds that reading took; the next is read while this one is worked on."""

    def read(batch: Batch) -> tuple[list[np.ndarray], float]:
        began = time.perf_counter()
        return [source.read() for source in batch.sources], time.perf_counter() - began

    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        pending: list[tuple[Batch, Any]] = []
        for batch in todo:
            pending.append((batch, reader.submit(read, batch)))
            if len(pending) == 2:
                ready, future = pending.pop(0)
                yield ready, *future.result()
        for ready, future in pending:
            yield ready, *future.result()


def decomposed(
    sources: Sequence[MatrixSource],
    strategy: str = "auto",
    *,
    ks: bool = False,
    memory_bytes: int | None = None,
    vectors: Vectors = True,
) -> Iterator[tuple[MatrixSource, Decomposed]]:
    """Every matrix with its singular vectors, a `Decomposed` of one; in the order of `batches`, not of `sources`.

    Args:
      vectors: both sides', or the right ones alone.

    Raises:
      RunError: a matrix that cannot be decomposed, naming it; even one matrix does not fit into the memory.
    """
    for batch, ws, _ in read_ahead(batches(sources, memory_bytes)):
        found = decompose_batch([s.name for s in batch.sources], ws, strategy, vectors=vectors, ks=ks)
        for i, source in enumerate(batch.sources):
            if found.status[i] != "ok":
                raise RunError(f"{source.name}: has no singular vectors ({found.status[i]})")
            yield source, _one(found, i)


def decompose_batch(
    names: Sequence[str], ws: Sequence[np.ndarray], strategy: str, *, vectors: Vectors = False, ks: bool = False
) -> Decomposed:
    """Decompose matrices of one shape and dtype, in halves where the devices have no room for all.

    Args:
      names: of the matrices, for messages.
      ws: B arrays (m, n), any floating dtype.
      strategy: see `eigensweep.engine.spectral.svd`.
      vectors: keep u and vt, or vt alone ("right").
      ks: take the KS statistics of the singular vectors.

    Raises:
      RunError: not even one matrix fits.
    """
    try:
        return _decompose(names, ws, strategy, vectors, ks)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        if len(ws) == 1:
            device = jax.local_devices()[0].device_kind
            raise RunError(
                f"{names[0]}: out of memory on {device}; strategy=streamed works on the host, matrix by matrix"
            ) from error
    half = len(ws) // 2
    first, second = (
        decompose_batch(names[part], ws[part], strategy, vectors=vectors, ks=ks)
        for part in (slice(None, half), slice(half, None))
    )
    return _joined(first, second)


def _decompose(names: Sequence[str], ws: Sequence[np.ndarray], strategy: str, vectors: Vectors, ks: bool) -> Decomposed:
    """`decompose_batch` of what fits: unusable matrices have a status and NaN."""
    m, n = ws[0].shape
    shape_status = entries.status_of_shape((m, n))
    if shape_status != "ok":
        nothing = _nothing(names, ws, [shape_status] * len(ws), vectors, ks)
        return replace(nothing, sigma=np.array([entries.sigma_if_finite(w) for w in ws]))
    batch = _stack(ws)
    seen = entries.describe(batch)
    status = entries.statuses(seen)
    good = np.flatnonzero([word == "ok" for word in status])
    result = replace(_nothing(names, ws, status, vectors, ks), sigma=seen.sigma, kurtosis=seen.kurtosis)
    if not good.size:
        return result
    fields = _fields(batch[good] if good.size < len(ws) else batch, strategy, vectors, ks)
    strategies, statuses = list(result.strategy), list(status)
    tolerance = RESIDUAL_TOLERANCE[fields["s"].dtype]
    for place, i in enumerate(good):
        strategies[i], residual = fields["strategy"][place], fields["residual"][place]
        if not residual <= tolerance:
            statuses[i] = f"inaccurate decomposition: residual {residual:.1e}"
    arrays: dict[str, Any] = {key: _spread(value, good, len(ws)) for key, value in fields.items() if key != "strategy"}
    return replace(result, **arrays, strategy=tuple(strategies), status=tuple(statuses))


def _fields(batch: Any, strategy: str, vectors: Vectors, ks: bool) -> dict[str, Any]:
    """The fields of `Decomposed` that a decomposition of usable matrices (B, m, n) gives."""
    if not vectors and is_streamed(batch.shape[1:], strategy):
        parts = [_streamed(w) for w in np.asarray(batch)]
        names = ("s", "ks_right", "ks_left", "residual", "orthogonality")
        found = {name: np.stack(part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}
        return found | {"strategy": ("streamed",) * len(parts)}
    result = decompose(batch, strategy)
    right, left = result.vt, result.u.swapaxes(1, 2)
    if jax.default_backend() == "cpu":  # XLA's sort is slow there; elsewhere the vectors stay on their device
        right, left = np.asarray(right), np.asarray(left)
    fields = {key: np.asarray(getattr(result, key)) for key in ("s", "residual", "orthogonality")}
    if ks:
        fields |= {"ks_right": np.asarray(ks_statistic(right)), "ks_left": np.asarray(ks_statistic(left))}
    if vectors:
        fields["vt"] = np.asarray(result.vt)
    if vectors is True:
        fields["u"] = np.asarray(result.u)
    return fields | {"strategy": result.strategy}


def _streamed(w: np.ndarray) -> tuple[Any, ...]:
    """Singular values, KS statistics and errors of one matrix whose long vectors are forgotten group by group."""
    long = np.empty(min(w.shape))

    def take(group: slice, vectors: np.ndarray) -> None:
        long[group] = ks_statistic(vectors)

    try:
        found = streamed_svd(w, take)
    except np.linalg.LinAlgError:  # did not converge: a row of NaN, and the others go on
        nothing = np.full(min(w.shape), np.nan)
        return nothing, nothing, nothing, np.nan, np.nan
    short = ks_statistic(found.short)
    right, left = (short, long) if w.shape[0] >= w.shape[1] else (long, short)
    return found.s, right, left, found.residual, found.orthogonality


def _stack(ws: Sequence[np.ndarray]) -> Any:
    """The batch where it will be worked on: on the host if streamed, and on CPU, whose own routines are fastest."""
    batch = ws[0][None] if len(ws) == 1 else np.stack(ws)
    on_host = jax.default_backend() == "cpu" or is_streamed(batch.shape[1:])
    return batch if on_host else jax.device_put(batch)


def _nothing(
    names: Sequence[str], ws: Sequence[np.ndarray], status: Sequence[str], vectors: Vectors, ks: bool
) -> Decomposed:
    """Matrices without any numbers yet."""
    count, (m, n) = len(ws), ws[0].shape
    b = min(m, n)
    rows, single = np.full((count, b), np.nan), np.full(count, np.nan)
    return Decomposed(
        names=tuple(names), w=ws, status=tuple(status), sigma=single, kurtosis=single, s=rows,
        u=np.full((count, m, b), np.nan) if vectors is True else None,
        vt=np.full((count, b, n), np.nan) if vectors else None,
        ks_right=rows if ks else None, ks_left=rows if ks else None,
        residual=single, orthogonality=single, strategy=("",) * count,
    )  # fmt: skip


def _spread(values: np.ndarray, places: np.ndarray, count: int) -> np.ndarray:
    """(B, ...) with `values` in its places and NaN elsewhere."""
    if len(places) == count:
        return values
    result = np.full((count, *values.shape[1:]), np.nan, values.dtype)
    result[places] = values
    return result


def _one(found: Decomposed, i: int) -> Decomposed:
    """The i-th matrix alone."""
    parts: dict[str, Any] = {key: x[i : i + 1] for key, x in vars(found).items() if x is not None}
    return replace(found, **parts)


def _joined(first: Decomposed, second: Decomposed) -> Decomposed:
    parts: dict[str, Any] = {}
    for key, value in vars(first).items():
        other = getattr(second, key)
        if isinstance(value, np.ndarray):
            parts[key] = np.concatenate([value, other])
        elif value is not None:
            parts[key] = (*value, *other)
    return replace(first, **parts)
