"""Controls: a matrix without structure that goes the same way as the real one. Made on the host.

The numbers come from NumPy's Philox generator, keyed by a JAX key and the kind of control: the same on every device and
in every batch, and much faster on a CPU than XLA's sort.
"""

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

_GAUSSIAN, _PERMUTATION, _SIGNS = 0, 1, 2  # keep the controls of one key apart
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
