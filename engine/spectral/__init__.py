"""The mathematics: pure functions of arrays, in float64. Each module's docstring has its formulas and sources."""

from eigensweep.engine.spectral import (
    controls,
    edges,
    ensembles,
    ks,
    marchenko_pastur,
    measures,
    noise,
    null,
    null_table,
    power_law,
    tracy_widom,
)
from eigensweep.engine.spectral.decompose import Decomposition, decompose
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg

__all__ = [
    "Decomposition",
    "benjamini_hochberg",
    "controls",
    "decompose",
    "edges",
    "ensembles",
    "ks",
    "marchenko_pastur",
    "measures",
    "noise",
    "null",
    "null_table",
    "power_law",
    "tracy_widom",
]
