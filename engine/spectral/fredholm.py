"""Fredholm determinants of smooth kernels by Gauss-Legendre quadrature (Bornemann 2010, Math. Comp. 79, 871)."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Nodes = NDArray[np.float64]


def determinant(kernel: Callable[[Nodes, Nodes], Nodes], start: float, length: float, num_nodes: int) -> float:
    """det(I - K) on (start, start + length) as det(delta_ij - K(u_i, u_j) w_j), clipped to [0, 1].

    Args:
      kernel: symmetric, of pairs of nodes u and v (k,), gives (k,); asked for i <= j alone, as it is what takes time.
    """
    nodes, weights = _rule(num_nodes)
    i, j = np.triu_indices(num_nodes)
    u = start + length * nodes
    matrix = np.empty((num_nodes, num_nodes))
    matrix[i, j] = matrix[j, i] = kernel(u[i], u[j])
    return float(np.clip(np.linalg.det(np.eye(num_nodes) - matrix * (length * weights)), 0, 1))


@lru_cache
def _rule(n: int) -> tuple[Nodes, Nodes]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2
