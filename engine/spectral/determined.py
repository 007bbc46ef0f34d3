"""Which singular vectors a matrix determines, and whose p-values speak of directions at all.

W determines v_i and u_i if s_i is above rounding (within the numerical rank) and stands apart from its neighbours.
An error E of W turns them into those of s_j by about u_i^T E v_j / |s_i - s_j|. Two errors count: that of the
decomposition, about b eps s_1 in float64, and that of storing W, whose independent entries eps |W_ij| give
u_i^T E v_j a size of eps |W|_F / sqrt(m n). An orthogonal matrix, the identity and a Hadamard matrix determine none.

The entries of a determined vector u_i = W v_i / s_i (length L) are sums over the O entries of a row (O the other side),
so they inherit about 3/O of the entries' excess kurtosis kappa: KS sees it where x = |kappa| sqrt(L) / O is not small,
and then tests the entries of W, whatever its directions.

Measured on pure noise (kinds of `ensembles.noise`; kappa by `controls.excess_kurtosis`): the share of matrices with a
rejection by Benjamini-Hochberg at 0.01. Up to x = 0.5, over 400 to 4000 matrices of 16 x 16 to 256 x 64: at most .0145
of uniform, Laplace, t10 and Gaussian entries; t5 .015 and .016 (64 x 64), .0175 +- .0065 (256 x 64, short side); sparse
.003 (256 x 16, short side). Beyond: t5 .025 (64 x 8, x < 1), .058 (256 x 64, x < 1); sparse .095 (256 x 64, short side,
x = 0.8), .40 (64 x 64, x = 3.3); uniform .12 (256 x 2, x = 9.6). Uniform and Laplace entries keep the level to x = 2.
Of Gaussian matrices 74 % of 64 x 2 and 2 % of 64 x 8 have x > 0.5 by chance and abstain, too.

What no kurtosis tells: a few vectors that large entries of a heavy tail draw to their own row and column. They are
rejected, and are no random directions: t5 .040 and .033 +- .016 (192 x 192, 150 matrices).
"""

import numpy as np

MOST_KURTOSIS = 0.5  # of |kappa| sqrt(L) / O


def determined(s: np.ndarray, rank: np.ndarray, shape: tuple[int, int], eps: float, working_eps: float) -> np.ndarray:
    """Which singular vectors W determines: i <= rank and a gap to both neighbours beyond

        b eps_d s_1 + eps |W|_F / sqrt(m n),

    eps_d of the decomposition's dtype, eps of the stored one.

    Args:
      s: (B, b) singular values, descending.
      rank: (B,) numerical rank.
      shape: (m, n).
      eps: of the dtype that W was rounded to.
      working_eps: of the dtype of the decomposition.

    Returns:
      (B, b) bool.
    """
    b = s.shape[1]
    size = s[:, :1] * np.linalg.norm(s / s[:, :1], axis=1, keepdims=True)  # |W|_F, whatever the scale of W
    tolerance = b * working_eps * s[:, :1] + eps * size / np.sqrt(shape[0] * shape[1])
    apart = -np.diff(s, axis=1) > tolerance
    edge = np.ones((len(s), 1), bool)
    standing_apart = np.concatenate([edge, apart], axis=1) & np.concatenate([apart, edge], axis=1)
    return standing_apart & (np.arange(b) < rank[:, None])


def entries_decide(kurtosis: np.ndarray, length: int, other: int) -> np.ndarray:
    """Whether the KS p-values of vectors of `length` test the entries of W: |kurtosis| sqrt(length) / other > 0.5.

    Args:
      kurtosis: excess kurtosis of the entries of W, any shape; NaN decides nothing.
      length: of the vectors, the side of W that they live on.
      other: the other side.
    """
    return np.abs(kurtosis) * np.sqrt(length) / other > MOST_KURTOSIS
