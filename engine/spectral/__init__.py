"""The mathematics: pure functions of arrays, in float64. Each module's docstring has its formulas and sources.

decompositions    svd
random matrices   marchenko_pastur, tracy_widom, hard_edge (laws), noise (sigma), edges (thresholds, outliers),
                  law (what differs between nulls), null.goodness (does the law fit?), ensembles (noise of every kind)
scales and tails  equalise (rows and columns of one scale), null.equalised (what noise is then),
                  signs (which values |W| alone does not explain), flips_null (how few flips tell)
singular vectors  ks (how far from random), determined (which W determines), null (what randomness gives: sampling,
                  histogram, fit, table)
subspaces         subspaces (angles between them, and their null)
spectra           measures, deciles, power_law, power_law_bootstrap and power_law_ratios (what a fit is worth), phases,
                  rank_plot (straight part and drop-off), trend (over depth)
activations       covariance, overlap, projections (distributions along directions, cosines between blocks)
data              token_covariance
interventions     controls (matrices without structure), removal (singular values taken out)
statistics        multiple_testing, permutation, bootstrap
cores             how many there are
"""

from eigensweep.engine.spectral import (
    bootstrap,
    controls,
    covariance,
    deciles,
    determined,
    edges,
    ensembles,
    equalise,
    flips_null,
    hard_edge,
    ks,
    law,
    marchenko_pastur,
    measures,
    multiple_testing,
    noise,
    null,
    overlap,
    permutation,
    phases,
    power_law,
    power_law_bootstrap,
    power_law_ratios,
    projections,
    rank_plot,
    removal,
    signs,
    subspaces,
    svd,
    token_covariance,
    tracy_widom,
    trend,
)  # fmt: skip

__all__ = [
    "bootstrap", "controls", "covariance", "deciles", "determined", "edges", "ensembles", "equalise", "flips_null",
    "hard_edge", "ks", "law", "marchenko_pastur", "measures", "multiple_testing", "noise", "null", "overlap",
    "permutation", "phases", "power_law", "power_law_bootstrap", "power_law_ratios", "projections", "rank_plot",
    "removal", "signs", "subspaces", "svd", "token_covariance", "tracy_widom", "trend",
]  # fmt: skip
