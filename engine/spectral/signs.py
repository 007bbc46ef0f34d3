"""Signflip parallel analysis at both ends: which singular values lie beyond what |W| with random signs reaches.

Independent symmetric noise keeps its law when its entries' signs are drawn anew, whatever the scales and the tails of
its entries. So the extremes of a few flips of W are draws of the noise's extremes, and flips_null.py says how far the
next one may lie from them at a level. A singular value beyond that is more than the size of the entries explains.

Signals raise |W|, and with it the flips: strong ones shadow weak ones. So what is found is taken out before the
next flips. With k right components (from the top) and l left ones (from the bottom) out, the flips are

    (I - U U^T) (signs * R) (I - V V^T),    R_ij = sqrt(r_i/v_i) sqrt(c_j/w_j) (W - sum_{k + l} s u v^T)_ij,

U the k long-side vectors, V the k + l short-side ones: a faint direction lowers the rank of the noise on the short
side, and on the long side takes nothing. v and w are the residual's mean squares by rows and columns, r and c those of
the noise before the projection (`_inflation`); for noise of one scale the product of both is what is lost with the
dimensions, ab/((a - k)(b - k - l)). So R has the noise's entries, and the flips the a - k times b - k - l dimensions
that the noise of W is left with. The dimensions taken out are given a value inside the bulk, so that the extremes of
one Gram matrix are those of the noise. All components of a round are taken out together; the rounds end when what is
still in moves the edges by less than a quarter of the flips' sd. Counts, z and p are the last round's.

What decides where the rounds end is where they begin: components that stay in hide others, and noise in which many
signals below its edge are left reads false left values. A single huge entry, taken out by `start`, counts as a
component: that |W| explains it is seen only while it is in.

Reference: D. Hong, Y. Sheng, E. Dobriban, Selecting the number of components in PCA via random signflips,
arXiv 2012.02985.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from eigensweep.engine.spectral import controls, extremes, flips_null
from eigensweep.engine.spectral.svd import on_cores

NUM_FLIPS = 7
LEAST_VALUES = 8  # fewer singular values have no bulk to speak of
NUM_ROUNDS = 3
_FLIPS = 3  # keeps the flips of a key apart from its controls
_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 1e-9  # least relative difference between flips' values that is not rounding of a Gram matrix
_RESOLVED = 1e-6  # of the largest value: a Gram matrix tells nothing about what is smaller
_STEPS = 10  # of the fixed point in `_inflation`
_MOST = 100.0  # most that a row's mean square is inflated
_TINY = 1e-300
_SETTLED = 0.25  # of the flips' sd


class Signs(NamedTuple):
    """The reading of B matrices, every field (B,) float64; NaN where there is none.

    Attributes:
      num_right, num_left: singular values beyond the level's quantile of the flips' largest and smallest one.
      p_right, p_left: of s_1 and s_b against the noise that the last round left; at least 5e-6.
      z_right, z_left: how many sd s_1 and s_b lie outside the flips' mean, in log s.
      taken_right, taken_left: components that were out when the last flips were made.
      rounds: how often flips were made.
    """

    num_right: NDArray
    num_left: NDArray
    p_right: NDArray
    p_left: NDArray
    z_right: NDArray
    z_left: NDArray
    taken_right: NDArray
    taken_left: NDArray
    rounds: NDArray


def read(
    w: Any,
    u: Any,
    s: Any,
    vt: Any,
    keys: Sequence[Array],
    num_flips: int = NUM_FLIPS,
    level: float = 0.01,
    start: Sequence[tuple[int, int]] | None = None,
    num_rounds: int = NUM_ROUNDS,
) -> Signs:
    """The reading of a batch of matrices of one shape. The same numbers whatever the batch.

    Args:
      w: (B, m, n), NumPy or JAX, any floating dtype.
      u, s, vt: (B, m, b), (B, b) descending, (B, b, n): their decomposition. Without u and vt (None) nothing is taken
        out: one round of plain flips.
      keys: B JAX random keys.
      num_flips: a round; 0 turns the reading off, else at least 3. Few cost power, not the level.
      level: of the first false value on a side of a matrix.
      start: B pairs (right, left), the numbers of components to take out before the first flips, say those of a
        reading with a level of its own; default none.
      num_rounds: at most; one is enough with a good start.

    Raises:
      ValueError: num_flips is 1 or 2, or negative.
    """
    if num_flips and num_flips < flips_null.LEAST_FLIPS:
        raise ValueError(f"num_flips is {num_flips}: expected 0 (no reading) or at least {flips_null.LEAST_FLIPS}")
    batch, m, n = w.shape
    values = np.asarray(s, np.float64)
    flips = _on_host if jax.default_backend() == "cpu" else _on_device

    def run(i: int) -> list[float]:
        found = values[i]
        if not num_flips or found.size < LEAST_VALUES or not np.isfinite(found).all() or found[0] == 0:
            return [np.nan] * len(Signs._fields)
        vectors = None if u is None or vt is None else (u[i], vt[i])
        first = (0, 0) if start is None or vectors is None else (int(start[i][0]), int(start[i][1]))
        draw = flips(w[i], found, vectors)
        rounds = 1 if vectors is None else num_rounds
        return _rounds(found, (max(m, n), min(m, n)), draw, keys[i], num_flips, level, first, rounds)

    rows = on_cores(run, batch, min(m, n)) if flips is _on_host else [run(i) for i in range(batch)]
    return Signs(*np.array(rows, np.float64).reshape(batch, len(Signs._fields)).T)


_Draw = Callable[[int, int, np.random.Generator, int], NDArray]  # (k, l, rng, num) -> (num, 2): log s_1, log s_b


def _rounds(
    s: NDArray,
    shape: tuple[int, int],
    draw: _Draw,
    key: Array,
    num_flips: int,
    level: float,
    start: tuple[int, int],
    num_rounds: int,
) -> list[float]:
    """The fields of `Signs` for one matrix; `shape` (a, b)."""
    a, b = shape
    rank = int(np.count_nonzero(s > s[0] * a * _EPS))
    k, l = start if start[0] < rank and sum(start) <= b // 2 else (0, 0)
    row: list[float] = []
    for number in range(1, num_rounds + 1):
        flips = draw(k, l, controls.generator(key, _FLIPS, number), num_flips)
        # A zero row of |W| makes both s_b and the flips' zero: neither is told from rounding.
        log_s = np.log(np.maximum(s, _RESOLVED * np.exp(np.mean(flips[:, 0]))))
        flips = np.maximum(flips, np.mean(flips[:, 0]) + np.log(_RESOLVED))
        spread = np.exp(2 * float(np.mean(flips[:, 0] - flips[:, 1])))  # of the Gram matrix's eigenvalues
        right = _End(flips[:, 0], flips_null.SOFT, _ROUNDING)
        left = _End(-flips[:, 1], flips_null.left_law(a - k, b - k - l), max(_ROUNDING, _EPS * spread))
        num_right, num_left = right.beyond(log_s, level), left.beyond(-log_s, level)
        (p_right, z_right), (p_left, z_left) = right.p_and_z(log_s[0]), left.p_and_z(-log_s[-1])
        row = [num_right, num_left, p_right, p_left, z_right, z_left, k, l, number]
        # Flips that right components still raise make false left ones: these are believed once the right side settles.
        if not _settled(s, (k, l), (num_right, l), right.sd):
            num_left = l
        elif _settled(s, (k, l), (num_right, num_left), right.sd):
            break
        if num_right >= rank or num_right + num_left > b // 2:
            break  # no bulk would be left to flip
        k, l = num_right, num_left
    return row


class _End(NamedTuple):
    """One end's flips, outward: log s_1 or -log s_b."""

    flips: NDArray
    law: int
    floor: float

    @property
    def sd(self) -> float:
        return max(float(np.std(self.flips, ddof=1)), self.floor)

    def beyond(self, x: NDArray, level: float) -> int:
        return int(np.count_nonzero(x > flips_null.threshold(self.flips, self.law, level, self.floor)))

    def p_and_z(self, x: float) -> tuple[float, float]:
        z = flips_null.z_value(x, self.flips, self.law, self.floor)
        return flips_null.p_value(z, self.law, len(self.flips)), z


def _settled(s: NDArray, taken: tuple[int, int], found: tuple[int, int], sd: float) -> bool:
    """Would taking out what was found, and not what was taken, leave the edges of the flips where they are?

    An edge moves like half of the change in log |R|^2, beyond the mean square that a dimension takes with it.
    """
    squares, b = (s * _scale(s)) ** 2, s.size
    (low, high), (few, many) = sorted((taken[0], found[0])), sorted((taken[1], found[1]))
    bulk = np.sum(squares[high : b - many])
    mean = bulk / max(b - high - many, 1)
    moved = np.sum(squares[low:high] - mean) + np.sum(mean - squares[b - many : b - few])
    return bool(moved <= 2 * _SETTLED * sd * bulk)


def _on_host(w: Any, s: NDArray, vectors: tuple[Any, Any] | None) -> _Draw:
    scale = _scale(s)
    x, s = np.asarray(w, np.float64) * scale, s * scale
    x, vectors = _tall(x, vectors)

    def draw(k: int, l: int, rng: np.random.Generator, num: int) -> NDArray:
        residual, long, short = x, None, None
        if k + l and vectors is not None:
            out = np.r_[:k, s.size - l : s.size]
            long, short = (np.asarray(side)[:, out] for side in vectors)
            residual = x - (long * s[out]) @ short.T
            long = long[:, :k]
            residual *= _inflation(long, residual)[:, None] * _inflation(short, residual.T)
        evals = np.empty((num, 2))
        for i in range(num):
            flip = controls.flip(residual, controls.packed_bits(rng, residual.size))
            low, high = extremes.ends(_noise_gram(flip, long, short, k + l), len(x) / s.size)
            evals[i] = high, low
        return _log_values(evals, scale)

    return draw


def _on_device(w: Any, s: NDArray, vectors: tuple[Any, Any] | None) -> _Draw:
    scale = _scale(s)

    def draw(k: int, l: int, rng: np.random.Generator, num: int) -> NDArray:
        packed = np.stack([controls.packed_bits(rng, np.size(w)) for _ in range(num)])
        out = vectors if k + l else None
        return _log_values(np.asarray(_device_evals(jnp.asarray(w), s * scale, out, k, l, packed, scale)), scale)

    return draw


@jax.jit
def _device_evals(
    w: Array, s: Array, vectors: tuple[Array, Array] | None, k: Array, l: Array, packed: Array, scale: Array
) -> Array:
    """What `_on_host` computes, compiled once a shape: what stays in is masked. One flip after the other."""
    with jax.default_matmul_precision("highest"):
        x, vectors = _tall(w.astype(s.dtype) * scale, vectors)
        residual, long, short = x, None, None
        if vectors is not None:
            index = jnp.arange(s.size)
            long, short = (jnp.where((index < k) | (index >= s.size - l), side, 0) for side in vectors)
            residual = x - (long * s) @ short.T
            long = jnp.where(index < k, long, 0)
            residual = residual * _inflation(long, residual)[:, None] * _inflation(short, residual.T)

        def extremes(bits: Array) -> Array:
            signs = 1.0 - 2.0 * jnp.unpackbits(bits, count=x.size).reshape(x.shape)
            return jnp.linalg.eigvalsh(_noise_gram(residual * signs, long, short, k + l))[jnp.array([-1, 0])]

        return lax.map(extremes, packed)


def _tall(x: Any, vectors: Any) -> tuple[Any, Any]:
    """X as (a, b), a >= b, and its vectors as columns, the long side's first."""
    if x.shape[0] >= x.shape[1]:
        return x, None if vectors is None else (vectors[0], vectors[1].T)
    return x.T.copy(), None if vectors is None else (vectors[1].T, vectors[0])


def _inflation(vectors: Any, residual: Any) -> Any:
    """sqrt(r_i/v_i) by rows i of the residual, v_i its mean square, r_i the noise's: v = M r, M_ij = (I - U U^T)_ij^2.

    With one scale of all rows r/v = 1/(1 - h), h_i = sum_k u_ik^2. A row of larger scale draws the vectors to itself.
    """
    found = (residual * residual).mean(axis=1)
    found = found + _TINY + 1e-12 * found.mean()
    kept = 1 - 2 * (vectors * vectors).sum(axis=1)
    own = found
    for _ in range(_STEPS):
        inner = vectors.T @ (vectors * own[:, None])
        lost = kept + ((vectors @ inner) * vectors).sum(axis=1) / own
        own = found / lost.clip(1 / _MOST, _MOST)  # a row that is all component has lost everything
    return (own / found) ** 0.5


def _noise_gram(x: Any, long: Any, short: Any, num_out: Any) -> Any:
    """The Gram matrix of (I - U U^T) X (I - V V^T) + V of its mean eigenvalue: U = long, V = short, orthonormal."""
    gram = x.T @ x
    if short is None:
        return gram
    part = long.T @ x
    gram = gram - part.T @ part
    image = gram @ short
    inner = short.T @ image
    fill = (gram.trace() - inner.trace()) / (x.shape[1] - num_out)
    image = image - short @ inner / 2 - short * (fill / 2)
    return gram - short @ image.T - image @ short.T


def _scale(s: NDArray) -> float:
    """A power of two that keeps squares from overflow and underflow; 1 for matrices of ordinary size."""
    exponent = int(np.frexp(s[0])[1])
    return 1.0 if abs(exponent) < 64 else 2.0 ** -max(min(exponent, 1000), -1000)


def _log_values(evals: NDArray, scale: float) -> NDArray:
    """log s of eigenvalues (num, 2) of the scaled Gram matrix; what is below its rounding reads as its rounding."""
    return np.log(np.maximum(evals, evals[:, :1] * _EPS)) / 2 - np.log(scale)
