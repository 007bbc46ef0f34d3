"""Several processes: who does what."""

import numpy as np
import pytest

from eigensweep.engine.tables import hosts


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_work_is_dealt_out_whole_and_even(count):
    costs = [float(c) for c in np.random.default_rng(0).integers(1, 100, 40)]
    shares = [hosts.my_share(costs, index, count) for index in range(count)]
    assert sorted(i for share in shares for i in share) == list(range(40))
    loads = [sum(costs[i] for i in share) for share in shares]
    assert max(loads) - min(loads) <= max(costs)


def test_a_process_alone_is_the_first_and_waits_for_nobody():
    assert hosts.is_first()
    hosts.wait_for_all("here")
    assert hosts.my_share([1.0, 2.0]) == [0, 1]
    assert hosts.error_of_first("é" * 1500) == ("é" * 1000)
    assert hosts.error_of_first("") == ""
