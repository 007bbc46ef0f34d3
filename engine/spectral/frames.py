"""Random directions as the null needs them: frames of singular vectors of Gaussian matrices that were folded.

Where nothing is folded into a side of a Gaussian matrix its singular vectors are a uniformly random orthonormal frame,
whatever the index. Where a norm's gain g is, W diag(g), the first ones lean towards the large gains and the last ones
towards the small ones, so each index has its own law. Those frames come from decompositions, which cost; but the sign
of any column of a Gaussian matrix may be changed, so V and diag(s) V, s random signs, have the same law: one
decomposition gives as many draws as wanted, and only the sizes of a vector's entries are shared by its draws.
"""

import numpy as np
from numpy.typing import NDArray


def uniform_frames(rng: np.random.Generator, count: int, n: int, d: int, centred: bool = False) -> NDArray[np.float64]:
    """`count` uniformly random orthonormal frames of n vectors in R^d: (count, n, d).

    Args:
      centred: in the space of vectors whose entries sum to 0, as behind a LayerNorm.

    Raises:
      ValueError: that space has fewer than n dimensions.
    """
    if n > d - centred:
        raise ValueError(f"{n} orthonormal vectors in {d - centred} dimensions")
    x = rng.standard_normal((count, d, n))
    if centred:
        x -= x.mean(axis=1, keepdims=True)
    return np.linalg.qr(x)[0].swapaxes(1, 2)


def flipped_frames(rng: np.random.Generator, frames: NDArray, count: int, centred: bool = False) -> NDArray[np.float64]:
    """`count` draws from given frames by random signs of the coordinates, one sign for all vectors of a frame.

    Args:
      frames: (F, n, d) orthonormal rows; draw i takes frame i mod F.
      centred: take the mean of the entries away afterwards, where the frames have none: a LayerNorm's projection
        does not commute with the signs, so that draws are from the null's law up to 1/d.

    Returns:
      (count, n, d) unit rows.
    """
    signs = rng.integers(0, 2, (count, 1, frames.shape[-1])) * 2.0 - 1
    drawn = frames[np.arange(count) % len(frames)] * signs
    if centred:
        drawn -= drawn.mean(axis=-1, keepdims=True)
        drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    return drawn
