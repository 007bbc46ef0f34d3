"""Fixtures shared by the tests of the mathematics."""

import pytest

from eigensweep.engine.spectral import ensembles


@pytest.fixture(scope="session")
def gaussian_singular_values():
    """The sampler of Gaussian spectra: (seed, a, b, num, spike=0) -> (num, b), descending."""
    return ensembles.gaussian_singular_values
