"""The linear model in a table: a row a number of samples."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report.style import aligned
from eigensweep.engine.studies.toy_linear.study import ToyLinear

if TYPE_CHECKING:
    import pandas as pd

HEADINGS = {
    "samples": ("N", "number of samples"),
    "largest": ("largest", "singular value, mean over simulations"),
    "smallest": ("smallest", "singular value, mean over simulations"),
}


def linear_table(found: ToyLinear) -> "pd.DataFrame":
    """A row a number of samples: the columns of HEADINGS."""
    import pandas as pd

    rows = []
    for samples, of in found.seeds.groupby("samples"):
        values = np.stack([np.asarray(s) for s in of["singular_values"]])
        rows.append({"samples": samples, "largest": values[:, 0].mean(), "smallest": values[:, -1].mean()})
    return pd.DataFrame(rows, columns=list(HEADINGS))


def render_linear(found: ToyLinear) -> str:
    """The table as aligned plain text for a terminal."""
    table = linear_table(found)
    return aligned([[heading for heading, _ in HEADINGS.values()], *(cells(r) for r in table.to_dict("records"))])


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the table as text, a cell a heading."""
    return [str(row["samples"]), f"{row['largest']:.4g}", f"{row['smallest']:.4g}"]
