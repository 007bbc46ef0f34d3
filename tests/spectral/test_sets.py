"""Overlaps of two sets against counting all of them."""

import itertools

import numpy as np
import pytest

from eigensweep.engine.spectral.sets import overlap


def test_chance_and_p_are_those_of_all_pairs_of_sets():
    d, one, other = 7, np.arange(7) < 3, np.isin(np.arange(7), (1, 2, 3, 4))
    shared = [len({0, 1, 2} & set(members)) for members in itertools.combinations(range(d), 4)]
    found = overlap(one, other)
    assert (found.both, found.jaccard) == (2, 2 / 5)
    assert found.chance == pytest.approx(np.mean([k / (7 - k) for k in shared]))
    assert found.p == pytest.approx(np.mean([k >= 2 for k in shared]))


def test_empty_sets():
    none = np.zeros(4, bool)
    assert np.isnan(overlap(none, none).jaccard)
    assert overlap(none, none).p == 1
    assert overlap(none, ~none)[:3] == (0, 0, 0)
    with pytest.raises(ValueError, match="one length"):
        overlap(none, none[:3])
