"""Varimax: the rotation inside a span that makes its scores sparse.

Where singular values lie closer together than noise moves them, their vectors are any rotation of one another and only
the span is determined. Which of its bases is easiest to read is a choice, not a property of the matrix: varimax takes
the one whose squared scores vary most.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_TOLERANCE = 1e-10  # radians: a plane turned by less is at rest
_MOST_SWEEPS = 200  # a few dozen suffice


def varimax(scores: ArrayLike) -> NDArray[np.float64]:
    """The rotation Q that maximises sum_j var_i (X Q)_ij^2, by planes in turn (Kaiser's).

    In the plane of two columns x, y the criterion is largest at the angle phi with

        tan 4 phi = (D - 2 A B/n)/(C - (A^2 - B^2)/n),
        u = x^2 - y^2,  v = 2 x y,  A = sum u,  B = sum v,  C = sum (u^2 - v^2),  D = 2 sum u v.

    Args:
      scores: X (n, g): of n tokens, in g directions of a span.

    Returns:
      (g, g) orthogonal of determinant 1: directions V (d, g) become V Q, scores X Q.

    Reference: H. F. Kaiser, Psychometrika 23 (1958) 187.
    """
    x = np.array(scores, np.float64)
    n, g = x.shape
    turned = np.eye(g)
    for _ in range(_MOST_SWEEPS):
        largest = 0.0
        for i in range(g):
            for j in range(i + 1, g):
                u, v = x[:, i] ** 2 - x[:, j] ** 2, 2 * x[:, i] * x[:, j]
                a, b = u.sum(), v.sum()
                top = 2 * (u @ v) - 2 * a * b / n
                bottom = u @ u - v @ v - (a * a - b * b) / n
                if top == 0 and bottom == 0:
                    continue
                angle = np.arctan2(top, bottom) / 4
                c, s = np.cos(angle), np.sin(angle)
                plane = np.array([[c, -s], [s, c]])
                x[:, [i, j]] = x[:, [i, j]] @ plane
                turned[:, [i, j]] = turned[:, [i, j]] @ plane
                largest = max(largest, abs(angle))
        if largest < _TOLERANCE:
            break
    return turned
