"""The mathematics: pure functions of arrays, in float64. Each module's docstring has its formulas and sources."""

from eigensweep.engine.spectral import (
    controls,
    decompose,
    edges,
    ensembles,
    ks,
    marchenko_pastur,
    measures,
    multiple_testing,
    noise,
    null,
    null_table,
    power_law,
    tracy_widom,
)

__all__ = [
    "controls",
    "decompose",
    "edges",
    "ensembles",
    "ks",
    "marchenko_pastur",
    "measures",
    "multiple_testing",
    "noise",
    "null",
    "null_table",
    "power_law",
    "tracy_widom",
]
