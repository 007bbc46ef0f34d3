"""A study of two small tables."""

import pytest

from eigensweep.engine.tables.columns import COUNT, FLOAT, LIST, TEXT, Column
from eigensweep.engine.tables.layout import Layout


@pytest.fixture
def layout():
    name = Column(TEXT, "", "a name")
    return Layout(
        "study",
        {
            "scalars": {"name": name, "alpha": Column(FLOAT, "", "a number"), "num": Column(COUNT, "", "a count")},
            "lists": {"name": name, "values": Column(LIST, "", "numbers")},
        },
    )  # fmt: skip
