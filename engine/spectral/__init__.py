"""The mathematics: pure functions of arrays, in float64. Each module's docstring has its formulas and sources.

decompositions    svd, factored (products of thin factors)
random matrices   marchenko_pastur, tracy_widom, hard_edge (laws), noise (sigma), edges (thresholds, outliers),
                  law (what differs between nulls), null.goodness (does the law fit?), ensembles (noise of every kind)
scales and tails  equalise (rows and columns of one scale), equalise_rounds (of many matrices), null.equalised (what
                  noise is then), signs (which values |W| alone does not explain), flips_null (how few flips tell),
                  product_signs
singular vectors  ks (how far from random), determined (which W determines), null (what randomness gives: sampling,
                  histogram, fit, table), kept (which are kept for the page)
spaces            subspaces (angles between them, and their null), spans (what only spans a space), varimax, frames
                  (random directions behind norms)
directions        coherence (do their tokens hang together?), npmi, top_scores, queries
spectra           measures, deciles, power_law, power_law_bootstrap and power_law_ratios (what a fit is worth), phases,
                  rank_plot (straight part and drop-off), decay (exponential), trend (over depth)
numbers           moments, log_histogram, distribution (both, in one pass), shapes (five laws, tails)
activations       covariance, overlap, projections (distributions along directions, cosines between blocks)
data              token_covariance
interventions     controls (matrices without structure), removal (singular values taken out; removal_forms:
                  its text), matched (controls of
                  removals that change as much)
statistics        multiple_testing, permutation, bootstrap, proportions, rank_correlation, agreement, sets
cores             how many there are

A module is loaded when it is asked for.
"""

import importlib
import pkgutil
from typing import Any

__all__ = sorted(module.name for module in pkgutil.iter_modules(__path__))


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
