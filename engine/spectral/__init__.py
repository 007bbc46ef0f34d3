"""The mathematics: pure functions of arrays, in float64. Each module's docstring has its formulas and sources.

decompositions    svd
random matrices   marchenko_pastur, tracy_widom, hard_edge (laws), noise (sigma), edges (thresholds, outliers),
                  ensembles (their singular values in bulk)
scales and tails  signs (which values |W| alone does not explain), flips_null (how few flips tell)
singular vectors  ks (how far from random), null (what randomness gives: sampling, histogram, fit, table)
spectra           measures, power_law, deciles
activations       covariance, overlap
interventions     controls (matrices without structure), removal (singular values taken out)
statistics        multiple_testing, permutation, bootstrap
cores             how many there are
"""

from eigensweep.engine.spectral import (
    bootstrap,
    controls,
    covariance,
    deciles,
    edges,
    ensembles,
    flips_null,
    hard_edge,
    ks,
    marchenko_pastur,
    measures,
    multiple_testing,
    noise,
    null,
    overlap,
    permutation,
    power_law,
    removal,
    signs,
    svd,
    tracy_widom,
)  # fmt: skip

__all__ = [
    "bootstrap", "controls", "covariance", "deciles", "edges", "ensembles", "flips_null", "hard_edge", "ks",
    "marchenko_pastur", "measures", "multiple_testing", "noise", "null", "overlap", "permutation", "power_law",
    "removal", "signs", "svd", "tracy_widom",
]  # fmt: skip
