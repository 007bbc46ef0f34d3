"""Deciles: every index once, in order, in parts of nearly equal size."""

import numpy as np
import pytest

from eigensweep.engine.spectral import deciles


@pytest.mark.parametrize("b", [0, 1, 7, 10, 25, 384, 385, 4096])
def test_deciles_are_a_partition(b):
    parts = deciles.deciles(b)
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(b))
    sizes = [part.size for part in parts]
    assert len(parts) == 10
    assert max(sizes) - min(sizes) <= 1
    for number, part in enumerate(parts, 1):
        np.testing.assert_array_equal(deciles.decile(number, b), part)


def test_sizes_of_a_known_case():
    assert [part.size for part in deciles.deciles(384)] == [38, 39, 38, 39, 38, 38, 39, 38, 39, 38]
    assert [part.size for part in deciles.deciles(25)] == [2, 3, 3, 2, 2, 3, 3, 2, 2, 3]  # halves go to the even number


@pytest.mark.parametrize("number", [0, 11, -1])
def test_other_numbers_are_refused(number):
    with pytest.raises(ValueError, match=f"decile {number}: expected 1 to 10"):
        deciles.decile(number, 20)
