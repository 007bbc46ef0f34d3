"""Studies draw their figures cheaply."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cheap_figures(cheap_figures):
    pass
