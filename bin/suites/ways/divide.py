"""Symmetric eigenproblems by spectral divide and conquer, in products, Cholesky factors and few QR decompositions.

A symmetric H is split at a point sigma inside its spectrum: the sign S of H - sigma I, by QDWH, gives the projector
(I - S)/2 onto the eigenvectors below sigma, and with orthonormal bases Q = (Q1, Q2) of its range and of the rest,
Q^T H Q has two diagonal blocks, each an eigenproblem of its own. Blocks that are small end in one batched `eigh`.

Shapes are static, sizes are not: a block is worked on inside the smallest window of a few sizes that holds it, and
whatever else the window holds is given a value beyond the block's spectrum, which keeps its place. JAX has the same
algorithm for TPUs (jax/_src/tpu/linalg/eigh.py), which no other device may use: it wants an `eigh` that does not sort.

sigma is the median of the spectrum as a Lanczos run from a random vector sees it (Gauss quadrature): the mean, or the
median of the diagonal, cuts a few values off a matrix of strong spikes and leaves the rest whole.

Reference: Y. Nakatsukasa, N. J. Higham, Stable and efficient spectral divide and conquer algorithms for the symmetric
eigenvalue decomposition and the SVD, SIAM J. Sci. Comput. 35 (2013), A1325-A1349.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

CUTOFF = 100.0  # the source's: up to here a Cholesky factor is as good as a QR decomposition
_WINDOW = 0.5625  # a half, and what an estimated median is off by
_GRAIN = 32
_QUADRATURE = 48  # Lanczos steps
_COUPLED = 1e5  # times epsilon, of H: more between two halves and they are none
_HALLEY = 80  # each makes the smallest value 3 times as large: 1e-38 becomes 1

State = tuple[Array, Array, Array, Array]  # H in blocks, vectors, where blocks begin or end (n + 1,), steps taken


@partial(jax.jit, static_argnames=("least", "smallest", "cutoff"))
def eigh(h: Array, *, least: int = 256, smallest: float | None = None, cutoff: float = CUTOFF) -> tuple[Array, Array]:
    """Eigenvalues (n,), ascending to rounding, and eigenvectors as columns (n, n) of a symmetric H (n, n).

    Args:
      h: float32 or float64, finite.
      least: side up to which a block is left to `jnp.linalg.eigh`.
      smallest: |lambda - sigma| over the largest of them that the weighted steps expect; the machine's epsilon by
        default. Smaller ones cost further steps, a factor of 3 each.
      cutoff: weights up to which a step goes by Cholesky; infinite: all do, and err by epsilon times the weight.

    Returns:
      NaN throughout where the blocks were not all small after 4 n / least + 64 splits.
    """
    n = len(h)
    least = min(least, n)
    sides = [least]
    while sides[-1] < n:
        sides.append(_next(sides, n, least))
    sides = sides[1:]
    weights = _weights(float(jnp.finfo(h.dtype).eps) if smallest is None else smallest)
    norm = jnp.linalg.norm(h)
    # behind a barrier, or XLA draws it while it compiles
    gaussian = jax.random.normal(jax.random.key(lax.optimization_barrier(jnp.zeros((), jnp.uint32))), h.shape, h.dtype)
    fixed = {"norm": norm, "gaussian": gaussian, "weights": weights, "cutoff": cutoff}
    with jax.default_matmul_precision("highest"):
        branches = [partial(_split, side=side, **fixed) for side in sides]

        def step(state: State) -> State:
            place, size = _largest(state[2])
            choice = jnp.sum(jnp.asarray(sides) < size)
            return lax.switch(choice, branches, state, place, size)

        def unfinished(state: State) -> Array:
            return (_largest(state[2])[1] > least) & (state[3] < 4 * n // least + 64)

        cut = jnp.zeros(n + 1, bool).at[jnp.array([0, n])].set(True)
        state = (h, jnp.eye(n, dtype=h.dtype), cut, jnp.zeros((), jnp.int32))
        if sides:
            state = lax.while_loop(unfinished, step, state)
        values, rotation = _leaves(state[0], state[2], least)
        failed = _largest(state[2])[1] > least
        return jnp.where(failed, jnp.nan, values), jnp.where(failed, jnp.nan, state[1] @ rotation)


def sign(x: Array, weights: Any, cutoff: float) -> Array:
    """S = V sign(Lambda) V^T of a symmetric X = V Lambda V^T whose values lie within -1 and 1, by QDWH.

    X <- (b/c) X + (a - b/c) X (I + c X^2)^-1 with weights a, b, c that follow from the smallest value expected, then
    a, b, c = 3, 1, 3 until X^2 is nearly I (that X hardly changes tells nothing: values far below the smallest expected
    grow slowly at first), then a Newton-Schulz step.
    """
    steps: tuple[tuple[Callable[[Array, Array], Array], bool], ...] = ((_qr_step, True), (_cholesky_step, False))
    for step, above in steps:
        if chosen := [w for w in weights if (w[2] > cutoff) == above]:
            x, _ = lax.scan(partial(_scanned, step), x, jnp.asarray(chosen, x.dtype))
    halley = jnp.array([3.0, 1.0, 3.0], x.dtype)
    small = float(jnp.finfo(x.dtype).eps) ** 0.5  # squared by the last step
    eye = jnp.eye(len(x), dtype=x.dtype)

    def more(state: tuple[Array, Array, Array]) -> Array:
        return (jnp.linalg.norm(state[1] - eye) > small) & (state[2] < _HALLEY)

    def again(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        found = _cholesky_step(state[0], halley, state[1])
        return found, found @ found, state[2] + 1

    x, square, _ = lax.while_loop(more, again, (x, x @ x, jnp.zeros((), jnp.int32)))
    return 1.5 * x - 0.5 * x @ square


def _weights(smallest: float) -> list[tuple[float, float, float]]:
    """(a, b, c) of the dynamically weighted Halley steps that bring the interval [smallest, 1] to 1."""
    low = smallest
    found: list[tuple[float, float, float]] = []
    while low < 1 - 1e-8 and len(found) < 10:
        d = (4 * (1 - low**2) / low**4) ** (1 / 3)
        a = (1 + d) ** 0.5 + 0.5 * (8 - 4 * d + 8 * (2 - low**2) / (low**2 * (1 + d) ** 0.5)) ** 0.5
        b = (a - 1) ** 2 / 4
        c = a + b - 1
        found.append((a, b, c))
        low = min(low * (a + b * low**2) / (1 + c * low**2), 1.0)
    return found


def _scanned(step: Callable[[Array, Array], Array], x: Array, weights: Array) -> tuple[Array, None]:
    return step(x, weights), None


def _cholesky_step(x: Array, weights: Array, square: Array | None = None) -> Array:
    a, b, c = weights
    square = x @ x if square is None else square
    factor = jnp.linalg.cholesky(jnp.eye(len(x), dtype=x.dtype) + c * square, symmetrize_input=False)
    found = b / c * x + (a - b / c) * jax.scipy.linalg.cho_solve((factor, True), x)
    return (found + found.T) / 2


def _qr_step(x: Array, weights: Array) -> Array:
    a, b, c = weights
    n = len(x)
    q, _ = jnp.linalg.qr(jnp.concatenate([jnp.sqrt(c) * x, jnp.eye(n, dtype=x.dtype)]))
    found = b / c * x + (a - b / c) / jnp.sqrt(c) * q[:n] @ q[n:].T
    return (found + found.T) / 2


def _next(sides: list[int], n: int, least: int) -> int:
    """The window sizes, ascending: n, and what its halves want, and theirs, as far as they exceed `least`."""
    wanted, side = [n], n
    while (side := -(-int(side * _WINDOW) // _GRAIN) * _GRAIN) > least and side < wanted[-1]:
        wanted.append(side)
    return min(s for s in wanted if s > sides[-1])


def _largest(cut: Array) -> tuple[Array, Array]:
    """Where the largest block begins, and its side."""
    index = jnp.arange(len(cut))
    following = lax.cummin(jnp.where(cut, index, len(cut)), reverse=True)
    sizes = jnp.where(cut[:-1], following[1:] - index[:-1], 0)
    return jnp.argmax(sizes), jnp.max(sizes)


def _split(
    state: State, place: Array, size: Array, *, side: int, norm: Array, gaussian: Array, weights: Any, cutoff: float
) -> State:
    """One block in two; into single values where it is its mean times I, to rounding.

    As it was where the halves would not be apart: sigma, from another random vector, is then another one.
    """
    h, v, cut, steps = state
    n = len(h)
    begin = jnp.minimum(place, n - side)
    where = jnp.arange(side) + begin
    active = (where >= place) & (where < place + size)
    both = active[:, None] & active[None, :]
    window = lax.dynamic_slice(h, (begin, begin), (side, side))
    block = jnp.where(both, window, 0)
    mean = jnp.trace(block) / size
    eps = float(jnp.finfo(h.dtype).eps)
    flat = jnp.linalg.norm(block - jnp.diag(jnp.where(active, mean, 0))) <= 16 * eps * norm

    eye = jnp.eye(side, dtype=h.dtype)

    def whole() -> tuple[Array, Array, Array]:
        return block, eye, place

    def halves() -> tuple[Array, Array, Array]:
        sigma, radius = _middle(block, jnp.where(active, gaussian[steps % n, :side], 0))
        beyond = jnp.where(where < place, -radius, radius)
        shifted = (block + jnp.diag(jnp.where(active, -sigma, beyond))) / radius
        q, first = _bases(sign(shifted, weights, cutoff), jnp.where(both, gaussian[:side, :side], eye))
        q = jnp.where(both, q, eye)
        turned = q.T @ block @ q
        alike = (jnp.arange(side) < first)[:, None] == (jnp.arange(side) < first)[None, :]
        apart = jnp.linalg.norm(jnp.where(alike, 0, turned)) <= _COUPLED * eps * norm
        turned = jnp.where(alike, (turned + turned.T) / 2, 0)
        return jnp.where(apart, turned, block), jnp.where(apart, q, eye), jnp.where(apart, begin + first, place)

    block, q, middle = lax.cond(flat, whole, halves)
    window = jnp.where(both, block, window)
    h = lax.dynamic_update_slice(h, window, (begin, begin))
    columns = lax.dynamic_slice(v, (0, begin), (n, side))
    v = lax.dynamic_update_slice(v, columns @ q, (0, begin))
    index = jnp.arange(n + 1)
    split = (middle > place) & (middle < place + size)
    inside = (index >= place) & (index < place + size)
    return h, v, cut | jnp.where(flat, inside, split & (index == middle)), steps + 1


def _bases(s: Array, start: Array) -> tuple[Array, Array]:
    """Q (n, n) whose first k columns span the eigenvectors of the value -1 of S and the others the rest; k.

    A random matrix `start` goes through both projectors, and what it gives once more, after which the columns are
    orthonormal enough for a Cholesky factor.
    """
    n = len(s)
    eye = jnp.eye(n, dtype=s.dtype)
    low = (eye - s) / 2
    first = jnp.round(jnp.trace(low)).astype(jnp.int32)

    def project(x: Array) -> Array:
        below = low @ x
        return jnp.where(jnp.arange(n) < first, below, x - below)

    x = project(jnp.linalg.qr(project(start))[0])
    factor = jnp.linalg.cholesky(x.T @ x, symmetrize_input=False)
    return lax.linalg.triangular_solve(factor, x, left_side=False, lower=True, transpose_a=True), first


def _middle(block: Array, start: Array) -> tuple[Array, Array]:
    """sigma near the median of a block's spectrum, and a bound of |lambda - sigma|, by Lanczos from the vector `start`.

    The Ritz values are the nodes and the squares of their vectors' first entries the weights of the spectral density.
    """
    steps = min(_QUADRATURE, len(block))
    tiny = float(jnp.finfo(block.dtype).eps) * jnp.linalg.norm(block)

    def step(i: int, state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        basis, diagonal, beside, v = state
        basis = basis.at[i].set(v)
        w = block @ v
        diagonal = diagonal.at[i].set(v @ w)
        for _ in range(2):
            w = w - basis.T @ (basis @ w)
        length = jnp.linalg.norm(w)
        ended = length <= tiny
        beside = beside.at[i].set(jnp.where(ended, 0, length))
        return basis, diagonal, beside, jnp.where(ended, 0, w / jnp.where(ended, 1, length))

    empty = jnp.zeros(steps, block.dtype)
    state = (jnp.zeros((steps, len(block)), block.dtype), empty, empty, start / jnp.linalg.norm(start))
    _, diagonal, beside, _ = lax.fori_loop(0, steps, step, state)
    nodes, vectors = jnp.linalg.eigh(jnp.diag(diagonal) + jnp.diag(beside[:-1], 1) + jnp.diag(beside[:-1], -1))
    weights = vectors[0] ** 2
    known = weights > 1e-30  # what follows an early end has none
    low, high = jnp.min(jnp.where(known, nodes, jnp.inf)), jnp.max(jnp.where(known, nodes, -jnp.inf))
    # between two nodes of some weight: never inside values that are one to rounding, whatever their share
    nodes = jnp.sort(jnp.where(weights > 1e-8, nodes, jnp.inf))
    shares = jnp.cumsum(weights[jnp.argsort(jnp.where(weights > 1e-8, 0, 1), stable=True)])
    best = jnp.argmin(jnp.where(jnp.isfinite(nodes[1:]), jnp.abs(shares[:-1] - 0.5), 2))
    sigma = jnp.where(jnp.isfinite(nodes[best + 1]), (nodes[best] + nodes[best + 1]) / 2, nodes[best])
    return sigma, 1.1 * jnp.maximum(high - sigma, sigma - low) + tiny


def _leaves(h: Array, cut: Array, least: int) -> tuple[Array, Array]:
    """Eigenvalues (n,) and the block-diagonal eigenvectors (n, n) of H in blocks, neighbours together up to `least`."""
    n = len(h)
    index = jnp.arange(n + 1)
    count = 2 * (n // least) + 2

    def group(begin: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        end = jnp.max(jnp.where(cut & (index <= begin + least), index, 0))
        return end, (begin, end)

    _, (begins, ends) = lax.scan(group, jnp.zeros((), index.dtype), None, length=count)
    places = jnp.minimum(begins, n - least)

    def window(place: Array, begin: Array, end: Array) -> tuple[Array, Array]:
        block = lax.dynamic_slice(h, (place, place), (least, least))
        where = jnp.arange(least) + place
        active = (where >= begin) & (where < end)
        block = jnp.where(active[:, None] & active[None, :], block, 0)
        size = jnp.linalg.norm(block)
        beyond = jnp.where(size > 0, 2 * size, 1)
        return block + jnp.diag(jnp.where(active, 0, jnp.where(where < begin, -beyond, beyond))), active

    blocks, active = jax.vmap(window)(places, begins, ends)
    values, vectors = jnp.linalg.eigh(blocks)

    def place(i: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        both = active[i][:, None] & active[i][None, :]
        corner = (places[i], places[i])
        old = lax.dynamic_slice(state[1], corner, (least, least))
        rotation = lax.dynamic_update_slice(state[1], jnp.where(both, vectors[i], old), corner)
        old = lax.dynamic_slice(state[0], (places[i],), (least,))
        return lax.dynamic_update_slice(state[0], jnp.where(active[i], values[i], old), (places[i],)), rotation

    return lax.fori_loop(0, count, place, (jnp.zeros(n, h.dtype), jnp.zeros((n, n), h.dtype)))
