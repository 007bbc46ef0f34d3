"""Scalar measures of a spectrum, all from the singular values s; eigenvalues are lambda = s^2, without 1/N."""

from __future__ import annotations

from typing import Any

from jax import Array

from eigensweep.engine.spectral.arrays import compiled, namespace


@compiled()
def measures(s: Any, m: Any, n: Any, eps: Any) -> dict[str, Array]:
    """Measures of one matrix (m, n) from its singular values s (b,), in any order; jittable, vmappable.

    m, n and eps need not be static: one compilation then serves every shape with the same b.

    hard_rank        #{s > s_max max(m, n) eps}, eps the machine epsilon of the dtype the weights are stored in (int)
    norm             sum lambda = |W|_F^2; frobenius_norm = sqrt(norm)
    spectral_norm    lambda_max (WeightWatcher's use of the word: the square of the largest singular value)
    log_norm, log_spectral_norm   their base-10 logarithms
    stable_rank      sum lambda / lambda_max
    entropy          -sum p ln p / ln(hard_rank), p = lambda / sum lambda; in [0, 1], 0 for rank one
    effective_rank   exp H(s / sum s) (Roy & Vetterli 2007)
    participation    (sum lambda)^2 / sum lambda^2
    condition        s_max / s_min; inf where hard_rank < b: the smallest value is 0, or rounding

    An all-zero matrix has rank 0, norm 0, infinite negative logarithms and NaN for every ratio.
    """
    xp = namespace(s, m, n, eps)
    s = xp.asarray(s)
    assert s.ndim == 1, f"singular values of one matrix, not {s.shape}"
    largest = xp.max(s)
    unit = s / largest  # relative to s_max, so that no square overflows
    evals = unit**2
    total = xp.sum(evals)
    hard_rank = xp.sum(s > largest * xp.maximum(m, n) * eps)
    spectral_norm = largest**2
    norm = total * spectral_norm
    zero = largest == 0
    return {
        "hard_rank": hard_rank,
        "norm": xp.where(zero, 0.0, norm),
        "frobenius_norm": xp.where(zero, 0.0, largest * xp.sqrt(total)),
        "spectral_norm": spectral_norm,
        "log_norm": xp.where(zero, -xp.inf, xp.log10(norm)),
        "log_spectral_norm": xp.log10(spectral_norm),
        "stable_rank": total,
        "entropy": shannon_entropy(evals) / xp.where(hard_rank > 1, xp.log(hard_rank), 1.0),
        "effective_rank": xp.exp(shannon_entropy(unit)),
        "participation": total**2 / xp.sum(evals**2),
        "condition": xp.where((hard_rank < s.size) & ~zero, xp.inf, largest / xp.min(s)),
    }


def shannon_entropy(weights: Any) -> Array:
    """-sum p ln p with p = weights / sum(weights), weights (N,) >= 0; 0 ln 0 = 0."""
    xp = namespace(weights)
    weights = xp.asarray(weights)
    p = weights / xp.sum(weights)
    return -xp.sum(p * xp.log(xp.where(p == 0, 1.0, p)))


def alpha_weighted(alpha: Any, spectral_norm: Any) -> Array:
    """alpha log10 lambda_max (Martin, Peng & Mahoney 2021)."""
    return namespace(alpha, spectral_norm).log10(spectral_norm) * alpha


def log_alpha_norm(s: Any, alpha: Any) -> Array:
    """log10 sum lambda^alpha, s (b,), scaled by lambda_max so that a large alpha does not overflow."""
    xp = namespace(s, alpha)
    s, alpha = xp.asarray(s), xp.asarray(alpha)
    largest = xp.max(s)
    return alpha * 2 * xp.log10(largest) + xp.log10(xp.sum((s / largest) ** (2 * alpha)))
