"""Singular value decomposition of a batch of matrices in JAX, for accelerators: gram, polar and direct routes.

All three work on tall matrices X (a, b), a >= b (a wide W is transposed), scaled by a power of two so that a Gram
matrix neither overflows nor underflows, and all end with the same check of residual and orthogonality.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from eigensweep.engine.spectral.svd.accuracy import NUM_PROBES, gaussian_probes

HIGHEST = lax.Precision.HIGHEST  # TF32 is the default for float32 products on Hopper, bfloat16 on TPU

Arrays = tuple[Array | None, Array, Array | None, Array, Array]  # u, s, vt, residual, orthogonality


def svd(w: Any, strategy: str, vectors: bool) -> Arrays:
    """Thin SVD of w (B, m, n), no dimension zero, by `strategy` ("gram", "polar" or "direct").

    The batch is dealt out over all local devices (the last matrix is repeated where it does not divide).

    Returns:
      u (B, m, b), s (B, b) descending, vt (B, b, n), residual (B,), orthogonality (B,). Without vectors u and vt are
      None and the errors NaN. NaN throughout where a matrix is not finite or an iteration did not converge.
    """
    batch = w.shape[0]
    num_devices = min(jax.local_device_count(), batch)
    if num_devices == 1:
        return _jitted(strategy, vectors, None)(jnp.asarray(w))
    devices = jax.local_devices()[:num_devices]
    mesh = jax.make_mesh((num_devices,), ("batch",), axis_types=(AxisType.Auto,), devices=devices)
    index = np.minimum(np.arange(-(-batch // num_devices) * num_devices), batch - 1)
    shards = jax.device_put(w[index], NamedSharding(mesh, PartitionSpec("batch")))
    return jax.tree.map(lambda x: x[:batch], _jitted(strategy, vectors, mesh)(shards))


@lru_cache(maxsize=16)
def _jitted(strategy: str, vectors: bool, mesh: Mesh | None) -> Callable[..., Any]:
    run = partial(_svd, strategy=strategy, vectors=vectors)
    if mesh is None:
        return jax.jit(run)
    split = PartitionSpec("batch")
    return jax.jit(jax.shard_map(run, mesh=mesh, in_specs=split, out_specs=split, check_vma=False))


def _svd(w: Array, strategy: str, vectors: bool) -> Arrays:
    if jax.default_backend() == "cpu" and len(w) > 1:
        # One matrix a step: the fastest there, and a batched eigh on two CPU devices at once hangs for ever.
        found = lax.map(partial(_svd_batch, strategy=strategy, vectors=vectors), w[:, None])
        return jax.tree.map(lambda x: x[:, 0], found)
    return _svd_batch(w, strategy, vectors)


def _svd_batch(w: Array, strategy: str, vectors: bool) -> Arrays:
    dtype = jnp.float32 if jax.default_backend() == "tpu" else jnp.float64
    x = w.astype(dtype)
    finite = jnp.all(jnp.isfinite(x), axis=(1, 2))
    x = jnp.where(finite[:, None, None], x, 0.0)
    _, exponent = jnp.frexp(jnp.max(jnp.abs(x), axis=(1, 2)))  # squares then neither overflow nor underflow
    x = _times_two_to(x, -exponent[:, None, None])
    wide = w.shape[1] < w.shape[2]
    tall = x.mT if wide else x
    unit = jnp.where(finite, 1.0, jnp.nan)  # puts NaN where the input was not finite
    if not vectors:
        s = _times_two_to(_values(tall, strategy), exponent[:, None])
        return None, s * unit[:, None], None, *jnp.full((2, len(w)), jnp.nan)
    left, s, right = {"gram": _gram, "polar": _polar, "direct": _direct}[strategy](tall)
    residual, orthogonality = _errors(tall, left, s, right) * unit
    left, right = left * unit[:, None, None], right * unit[:, None, None]
    u, vt = (right, left.mT) if wide else (left, right.mT)
    return u, _times_two_to(s, exponent[:, None]) * unit[:, None], vt, residual, orthogonality


def _times_two_to(x: Array, exponent: Array) -> Array:
    """x 2^exponent, exact but for subnormal results: `jnp.ldexp` takes a power, whose rounding is the device's own."""
    integers, bits, bias = (jnp.int64, 52, 1023) if x.dtype == jnp.float64 else (jnp.int32, 23, 127)
    half = exponent // 2  # 2^exponent itself may overflow
    for part in (half, exponent - half):
        x = x * lax.bitcast_convert_type((part.astype(integers) + bias) << bits, x.dtype)
    return x


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=HIGHEST)


def _eigh_descending(gram: Array) -> tuple[Array, Array]:
    evals, v = jnp.linalg.eigh(gram, symmetrize_input=False)
    return evals[:, ::-1], v[:, :, ::-1]


def _gram(x: Array) -> tuple[Array, Array, Array]:
    """V from the Gram matrices, a batch at once; then one matrix after another, so that none depends on the others."""
    _, v = _eigh_descending(_product(x.mT, x))
    return lax.map(lambda pair: _from_right_vectors(*pair), (x, v))


def _from_right_vectors(x: Array, v: Array) -> tuple[Array, Array, Array]:
    """P = X V, s_i = |P_i|, U = P / s, made orthonormal again where it is not.

    U's error E = U^T U - I has entries of eps s_1^2 / (s_i s_j). A Newton-Schulz step U (I - E / 2) squares it and
    leaves a residual of eps * cond. Where E is too large for that (condition beyond about 1e6, rank deficiency), U is
    the orthonormal factor of P's QR decomposition: orthonormal whatever P is, and with P's columns in descending
    order R differs from diag(s) by sqrt(eps) at worst, by rounding if the spectrum has a gap there.
    """
    p = _product(x, v)
    s = jnp.sqrt(jnp.sum(p * p, axis=0))
    u = p / jnp.where(s > 0, s, 1.0)
    error = _product(u.T, u) - jnp.eye(len(s), dtype=x.dtype)
    worst = jnp.max(jnp.abs(error))
    tiny = 1e3 * jnp.finfo(x.dtype).eps

    def newton(_: Array) -> Array:
        return u - 0.5 * _product(u, error)

    def by_qr(_: Array) -> Array:
        q, r = jnp.linalg.qr(p)
        return q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)

    branch = jnp.where(worst <= tiny, 0, jnp.where(worst * len(s) < 1e-3, 1, 2))
    return _sorted(lax.switch(branch, (lambda _: u, newton, by_qr), worst), s, v)


def _polar(x: Array) -> tuple[Array, Array, Array]:
    """X = U_p H by QDWH, H = V S V^T, U = U_p V. QDWH wants full rank; the caller's check finds where it failed."""

    def one(x: Array) -> tuple[Array, Array, Array]:
        up, h, _, _ = lax.linalg.qdwh(x)
        evals, v = jnp.linalg.eigh(h)
        return _sorted(_product(up, v[:, ::-1]), jnp.abs(evals[::-1]), v[:, ::-1])

    return lax.map(one, x)


def _direct(x: Array) -> tuple[Array, Array, Array]:
    u, s, vt = jnp.linalg.svd(x, full_matrices=False)
    return u, s, vt.mT


def _values(x: Array, strategy: str) -> Array:
    if strategy == "gram":
        evals = jnp.linalg.eigvalsh(_product(x.mT, x), symmetrize_input=False)
        return jnp.sqrt(jnp.maximum(evals[:, ::-1], 0.0))
    if strategy == "polar":
        return _polar(x)[1]
    return jnp.linalg.svd(x, compute_uv=False)


def _sorted(u: Array, s: Array, v: Array) -> tuple[Array, Array, Array]:
    """Descending order, which recomputed norms may have left by a rounding error."""

    def by_sorting(_: Array) -> tuple[Array, Array, Array]:
        order = jnp.argsort(-s)
        return u[:, order], s[order], v[:, order]

    return lax.cond(jnp.any(s[1:] > s[:-1]), by_sorting, lambda _: (u, s, v), s)


def _errors(x: Array, u: Array, s: Array, v: Array) -> Array:
    """(2, B): relative residual and orthogonality of X = U S V^T by probes, as accuracy.measure_errors."""
    z = jnp.asarray(gaussian_probes(x.shape[2]), x.dtype)
    difference = _product(x, z) - _product(u, s[:, :, None] * _product(v.mT, z))
    norm = jnp.sqrt(jnp.sum(s * s, axis=1))
    residual = jnp.sqrt(jnp.sum(difference**2, axis=(1, 2)) / NUM_PROBES) / jnp.where(norm > 0, norm, 1.0)
    left = jnp.max(jnp.abs(_product(u.mT, _product(u, z)) - z), axis=(1, 2))
    right = jnp.max(jnp.abs(_product(v.mT, _product(v, z)) - z), axis=(1, 2))
    return jnp.stack([residual, jnp.maximum(left, right)])
