"""The mathematics: pure functions of arrays, in float64. Each module's docstring has its formulas and sources."""

from eigensweep.engine.spectral import (
    controls,
    edges,
    ensembles,
    ks,
    marchenko_pastur,
    measures,
    multiple_testing,
    noise,
    null,
    power_law,
    svd,
    tracy_widom,
)

__all__ = [
    "controls",
    "edges",
    "ensembles",
    "ks",
    "marchenko_pastur",
    "measures",
    "multiple_testing",
    "noise",
    "null",
    "power_law",
    "svd",
    "tracy_widom",
]
