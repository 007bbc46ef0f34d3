"""Controls: a matrix without structure that goes the same way as the real one. Made on the host.

The numbers come from NumPy's Philox generator, keyed by a JAX key and the kind of control: the same on every device and
in every batch, and much faster on a CPU than XLA's sort.
"""

from typing import Protocol

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

_GAUSSIAN, _PERMUTATION, _SIGNS, _GRID = 0, 1, 2, 3  # keep the controls of one key apart
_CHUNK = 1 << 22  # entries summed at a time in float64
_IN_CACHE = 1 << 15  # entries whose powers are summed at a time


def gaussian(key: Array, w: NDArray) -> NDArray:
    """A matrix of w's shape with independent N(0, sigma^2) entries, sigma the standard deviation of w's entries.

    Args:
      key: a JAX random key (typed, or raw uint32).
      w: any floating dtype, bfloat16 included.

    Returns:
      float64 for a float64 w, else float32: rounding it to 16 bits would itself add noise.
    """
    dtype = np.float64 if w.dtype == np.float64 else np.float32
    draws = generator(key, _GAUSSIAN).standard_normal(w.shape, dtype=dtype)
    draws *= dtype(standard_deviation(w))
    return draws


def permutation(key: Array, w: NDArray) -> NDArray:
    """The entries of w in a uniformly random order: same shape, same dtype, the same values bit for bit."""
    bits = np.ascontiguousarray(w).view(f"u{w.dtype.itemsize}")  # NumPy shuffles integers faster than bfloat16
    return generator(key, _PERMUTATION).permutation(bits.ravel()).view(w.dtype).reshape(w.shape)


def signs(key: Array, w: NDArray) -> NDArray:
    """The entries of w with independent random signs: same shape, same dtype, |w| bit for bit, NaN stays NaN.

    Entries that are independent and symmetric, of whatever scales and tails, keep their law (Hong, Sheng and Dobriban,
    arXiv 2012.02985); what is not noise of that kind is destroyed. The scales of rows and columns stay, which a
    permutation mixes.
    """
    return flip(w, packed_bits(generator(key, _SIGNS), w.size))


class Grid(Protocol):
    """What the entries of a quantised (m, n) matrix were rounded to: offsets[g] + steps[g] levels in its block g."""

    @property
    def blocks(self) -> NDArray: ...
    @property
    def steps(self) -> NDArray: ...
    @property
    def offsets(self) -> NDArray: ...
    @property
    def levels(self) -> NDArray: ...


def grid(key: Array, w: NDArray, rounded: Grid) -> NDArray:
    """Gaussian noise on a grid as fine as that of a quantised matrix: what rounding alone makes of noise. float32.

    The entries of each block that shares a step are turned to a random direction: that of a Gaussian block is uniform,
    and independent of its length. They are rounded to the block's own levels, stretched so that the block reaches as
    far towards the ends of its grid as w's does, because quantisers choose steps by the largest entries (a grid whose
    ends lie unequally far has a block the way round that fits it better); and they are brought back to the block's sum
    of squares, to which rounding adds. So of Gaussian weights, whatever the scales of their blocks,
    this is about another draw from the same law, rounded as they were.
    """
    draws = generator(key, _GRID).standard_normal(w.shape, dtype=np.float32)
    blocks, count = rounded.blocks, len(rounded.steps)

    def lengths(x: NDArray) -> NDArray:
        return np.sqrt(np.bincount(blocks.ravel(), np.square(x, dtype=np.float64).ravel(), count))

    draws *= _ratio(lengths(w), lengths(draws))[blocks]
    low, high = _extremes(draws, blocks, count)
    one, other = _reach(low, high, rounded), _reach(-high, -low, rounded)
    draws *= np.where(other < one, np.float32(-1), np.float32(1))[blocks]
    stretch = _ratio(np.minimum(one, other), _reach(*_extremes(w, blocks, count), rounded))
    draws = round_to(draws, blocks, rounded.steps * stretch, rounded.offsets * stretch, rounded.levels)
    draws *= _ratio(lengths(w), lengths(draws))[blocks]
    return draws


def round_to(x: NDArray, blocks: NDArray, steps: NDArray, offsets: NDArray, levels: NDArray) -> NDArray:
    """Every entry of x (m, n) at the nearest number of its block's grid, see `Grid`; float32."""
    step, offset, levels = steps[blocks], offsets[blocks], np.asarray(levels, np.float32)
    codes = np.divide(x - offset, step, out=np.zeros(x.shape, np.float32), where=step != 0)
    codes = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, codes)]
    codes *= step
    codes += offset
    return codes


def _extremes(x: NDArray, blocks: NDArray, count: int) -> tuple[NDArray, NDArray]:
    """(G,) least and largest entry of each block, or 0 where that is beyond them."""
    flat, places = np.ravel(x).astype(np.float32), blocks.ravel().astype(np.intp)  # what is fast in `at`
    low, high = np.zeros(count, np.float32), np.zeros(count, np.float32)
    np.minimum.at(low, places, flat)
    np.maximum.at(high, places, flat)
    return low, high


def _reach(low: NDArray, high: NDArray, rounded: Grid) -> NDArray:
    """(G,) how far blocks with these extremes reach towards the ends of their grids: 1 at an end."""
    ends = np.stack([rounded.offsets + rounded.steps * rounded.levels[i] for i in (0, -1)])
    return np.maximum(_ratio(low, np.minimum(ends.min(axis=0), 0)), _ratio(high, np.maximum(ends.max(axis=0), 0)))


def _ratio(x: NDArray, y: NDArray) -> NDArray:
    """x/y in float32, 0 where y is 0."""
    return np.divide(x, y, out=np.zeros(np.shape(y)), where=y != 0).astype(np.float32)


def packed_bits(rng: np.random.Generator, count: int) -> NDArray[np.uint8]:
    """At least `count` random bits, eight a byte: what `flip` takes, or a device that unpacks them there."""
    return np.frombuffer(rng.bytes(-(-count // 8)), np.uint8)


def flip(w: NDArray, packed: NDArray[np.uint8]) -> NDArray:
    """w, of any floating dtype, with the sign of entry i (in C order) changed where bit i of `np.unpackbits` is 1."""
    kind = np.dtype(f"u{w.dtype.itemsize}")
    bits = np.unpackbits(packed, count=w.size).astype(kind)
    bits <<= kind.type(8 * kind.itemsize - 1)
    bits ^= np.ascontiguousarray(w).view(kind).ravel()
    return bits.view(w.dtype).reshape(w.shape)


def generator(key: Array, *purpose: int) -> np.random.Generator:
    """NumPy's Philox generator, keyed by one JAX random key (typed, or raw uint32) and numbers that say what for."""
    words = np.asarray(jax.random.key_data(key))
    if words.ndim != 1:
        raise ValueError(f"expected one random key, got an array of keys of shape {words.shape[:-1]}")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([*purpose, *words.tolist()])))


def standard_deviation(w: NDArray) -> float:
    """About the mean, in float64, without a float64 copy of w; squares neither overflow nor underflow."""
    flat = np.ravel(w, order="K")
    chunks = [slice(i, i + _CHUNK) for i in range(0, flat.size, _CHUNK)]
    wide = w.dtype == np.float64  # squares of anything narrower are numbers in float64
    largest = max((float(np.max(np.abs(flat[c]))) for c in chunks), default=0.0) if wide else 1.0
    unit = np.float64(2.0 ** np.clip(np.frexp(largest)[1] - 1, -1000, 1000))  # a power of two: nothing is rounded
    mean = sum(np.sum(flat[c] / unit, dtype=np.float64) for c in chunks) / max(flat.size, 1)
    square = sum(np.sum((flat[c] / unit - mean) ** 2) for c in chunks) / max(flat.size, 1)
    return float(np.sqrt(square) * unit)


def excess_kurtosis(w: NDArray, sigma: float | None = None) -> float:
    """mean z^4/(mean z^2)^2 - 3 of the entries' deviations z from their mean, in float64, without a float64 copy of w.

    0 for Gaussian entries, -1.2 for uniform ones, 3 for Laplace's. Entries of a deviation of at least
    sigma (m n)^(1/4) are left out: each makes a singular value of its own, while hardly any other vector feels it. One
    such entry in 590,000 gives a matrix of MiniLM a kurtosis of 1582, the others have 3. NaN if all are equal.

    Args:
      w: any floating dtype.
      sigma: its `standard_deviation`, where it is known.
    """
    flat, sigma = np.ravel(w, order="K"), standard_deviation(w) if sigma is None else sigma
    if not sigma > 0:
        return float("nan")
    mean = sum(np.sum(flat[i : i + _CHUNK], dtype=np.float64) for i in range(0, flat.size, _CHUNK)) / flat.size
    sums, most = np.zeros(5), np.sqrt(flat.size)  # of 1, z, z^2, z^3, z^4
    for i in range(0, flat.size, _IN_CACHE):
        z = flat[i : i + _IN_CACHE].astype(np.float64)
        z -= mean
        z /= sigma
        square = z * z
        if square.max() >= most:
            z, square = z[square < most], square[square < most]
        # no BLAS: callers have threads of their own, one a matrix
        sums += z.size, z.sum(), square.sum(), np.einsum("i,i", z, square), np.einsum("i,i", square, square)
    return kurtosis_of_sums(sums)


def kurtosis_of_sums(sums: NDArray) -> float:
    """Excess kurtosis of N numbers from the sums of their powers 0 to 4."""
    mean, second, third, fourth = sums[1:] / sums[0]
    variance = second - mean**2
    return float((fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4) / variance**2 - 3)
