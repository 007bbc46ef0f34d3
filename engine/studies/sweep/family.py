"""A run as one family of tests: how many would fire on noise alone, how many did, and what survives the number of them.

A sweep tests every matrix twice or four times at one level, so of N pure-noise matrices level N fire on each side. The
singular values' tests have a p-value a matrix, `p_largest` and `p_smallest`, over which Benjamini-Hochberg holds the
false discovery rate of the whole run. The singular vectors' tests are Benjamini-Hochberg within each matrix: on noise
at least one vector of a matrix is rejected in at most `level` of the matrices. Its p-value of a matrix is Simes's,
min_i b p_(i)/i, which is at most the level where any vector is rejected.
"""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.spectrum import level_of
from eigensweep.engine.report.style import aligned, number
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg, simes
from eigensweep.engine.studies.sweep.study import Run

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "reading": "reading",
    "side": "test",
    "tests": "tests",
    "expected": "expected",
    "fired": "fired",
    "surviving": "survive over the run",
}
CAPTION = "All tests of the run, a test a matrix, at the run's level"
NOTE = (
    "expected: how many would fire on independent entries; of one scale for the matrix as it is and its controls, "
    "of any row and column scales for the others"
)
_VALUES = {"p_largest": "largest singular value", "p_smallest": "smallest singular value"}
_SIGNS = {"signs_p_right": "largest singular value", "signs_p_left": "smallest singular value"}
_VECTORS = {"p_right": "right vectors", "p_left": "left vectors"}


def family_table(run: Run) -> "pd.DataFrame":
    """A row a reading and kind of test.

    Readings are the prefixes under which the run has these columns: the matrix itself, its controls, whatever else.

    Returns:
      The columns of HEADINGS: `tests` (matrices that have a p-value), `expected` (level times tests), `fired`
      (matrices with p <= level), `surviving` (matrices that Benjamini-Hochberg over all of these rejects).
    """
    import pandas as pd

    level, ok = level_of(run), (run.matrices["status"] == "ok").to_numpy()
    names = set(run.matrices["name"][ok])
    vectors = run.spectra[run.spectra["name"].isin(names)]
    rows = []
    for prefix in _readings(run.matrices.columns, _VALUES) | _readings(vectors.columns, _VECTORS):
        for column, side in _VALUES.items():
            if prefix + column in run.matrices:
                p = run.matrices.loc[ok, prefix + column].astype(float).to_numpy()
                rows.append(_row(prefix, side, p, level))
        for column, side in _VECTORS.items():
            if prefix + column in vectors:
                p = np.array([simes(np.asarray(x, np.float64)) for x in vectors[prefix + column] if x is not None])
                rows.append(_row(prefix, side, p, level))
    for column, side in _SIGNS.items():
        if column in run.matrices:
            p = run.matrices.loc[ok, column].astype(float).to_numpy()
            rows.append(_row("against random signs", side, p, level))
    return pd.DataFrame(rows, columns=list(HEADINGS))


def _readings(columns: Sequence[str], tests: Any) -> dict[str, None]:
    """The prefixes of these tests' columns, in the table's order."""
    ends = tuple(tests)
    return {c.removesuffix(end): None for c in columns for end in ends if c == end or c.endswith(f"_{end}")}


def _row(prefix: str, side: str, p: np.ndarray, level: float) -> dict[str, Any]:
    tests = int(np.isfinite(p).sum())
    return {
        "reading": prefix.rstrip("_").replace("control_", "control, ").replace("_", " ") or "as it is",
        "side": side,
        "tests": tests,
        "expected": level * tests,
        "fired": int((p <= level).sum()),
        "surviving": int(benjamini_hochberg(p, level).sum()),
    }


def cells(row: dict[str, Any]) -> list[str]:
    """One row of the table as text, a cell a heading."""
    return [number(x) if isinstance(x, float) else str(x) for x in (row[column] for column in HEADINGS)]


def render_family(table: "pd.DataFrame") -> str:
    """The table as aligned plain text for a terminal."""
    lines = [[*HEADINGS.values()], *(cells(row) for row in table.to_dict("records"))]
    said = textwrap.fill(f"{CAPTION}; {NOTE}", 100)
    return f"{said}\n{aligned(lines, left=2)}" if len(lines) > 1 else ""
