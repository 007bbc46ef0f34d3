"""Fixtures shared by the tests of the mathematics."""

import pytest
from threadpoolctl import threadpool_limits

from eigensweep.engine.spectral import ensembles


@pytest.fixture(scope="session")
def gaussian_singular_values():
    """The sampler of Gaussian spectra: (seed, a, b, num, spike=0) -> (num, b), descending."""
    return ensembles.gaussian_singular_values


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread():
    """Matrices are small here: BLAS's threads would spend their time waiting for one another."""
    with threadpool_limits(1, user_api="blas"):
        yield
