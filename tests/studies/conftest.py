"""Studies draw their figures cheaply, and compile the passes of tiny models quickly."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cheap_figures(cheap_figures):
    pass


@pytest.fixture(scope="module", autouse=True)
def _compiled_quickly(compiled_quickly):
    pass
