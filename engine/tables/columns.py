"""A column is declared once: Arrow type, unit, formula, source, label. Schemas, documentation and headings follow.

Notation: W is (m, n), y = W x; a = max(m, n), b = min(m, n); s_1 >= ... >= s_b its singular values,
lambda_i = s_i^2; v_i its right and u_i its left singular vectors; sigma the column `sigma`; ln is the natural
logarithm; [w] is the unit of the weights, [x] that of activations.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

COUNT, FLOAT, TEXT, TRUTH = "int64", "float64", "string", "bool"
LIST, INDICES, TEXTS = "list<float64>", "list<int64>", "list<string>"
_ARROW = {
    COUNT: pa.int64(),
    FLOAT: pa.float64(),
    TEXT: pa.string(),
    TRUTH: pa.bool_(),
    LIST: pa.list_(pa.float64()),
    INDICES: pa.list_(pa.int64()),
    TEXTS: pa.list_(pa.string()),
}


class Column(NamedTuple):
    """One column: `dtype` as stored, `unit` ("" for a pure number), `formula`, the `source` of the method, `label`."""

    dtype: str
    unit: str
    formula: str
    source: str = ""
    label: str = ""


Columns = Mapping[str, Column]


def schema(columns: Columns) -> pa.Schema:
    """The Arrow schema of a table with these columns."""
    return pa.schema({name: _ARROW[column.dtype] for name, column in columns.items()})


def to_table(columns: Columns, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table of these columns; what a row holds besides is left out, what it lacks is null."""
    return pa.Table.from_pylist([{name: row.get(name) for name in columns} for row in rows], schema(columns))


def prefixed(columns: Columns, prefix: str, of: str, names: Sequence[str]) -> dict[str, Column]:
    """The columns `names` once more, under a prefix, of something else: `of` ends their formulas."""
    word = prefix.strip("_").replace("_", " ")
    return {
        prefix + name: columns[name]._replace(
            formula=f"{columns[name].formula}; of {of}", label=columns[name].label and f"{columns[name].label}, {word}"
        )
        for name in names
    }


def label(columns: Columns, name: str) -> str:
    """How a figure or a page heads a column."""
    return columns[name].label or name.replace("_", " ")
