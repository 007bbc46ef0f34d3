"""The memory for a batch: that of all devices together."""

from types import SimpleNamespace

import jax
import pytest

from eigensweep.engine.run import memory
from eigensweep.engine.run.stream import batches

GIB = 1 << 30


def devices(*accounts):
    """Devices with these accounts of their memory."""
    return lambda: [SimpleNamespace(memory_stats=lambda account=account: account) for account in accounts]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_half_of_what_is_free_on_all_devices(monkeypatch, count):
    account = {"bytes_limit": 10 * GIB, "bytes_in_use": 2 * GIB}
    monkeypatch.setattr(jax, "local_devices", devices(*[account] * count))
    assert memory.default_budget() == count * 4 * GIB


def test_the_fullest_device_sets_the_share_of_each(monkeypatch):
    full = {"bytes_limit": 10 * GIB, "bytes_in_use": 9 * GIB}
    monkeypatch.setattr(jax, "local_devices", devices({"bytes_limit": 10 * GIB}, full))
    assert memory.default_budget() == GIB


@pytest.mark.parametrize("account", [None, {}])
def test_devices_without_an_account_are_the_host(monkeypatch, account):
    monkeypatch.setattr(jax, "local_devices", devices(account))
    monkeypatch.setattr(memory.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 2**20))  # 4 GiB
    assert memory.default_budget() == GIB
    monkeypatch.setattr(memory.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 2**18))
    assert memory.default_budget() == GIB // 4


def test_batches_grow_with_the_number_of_devices(monkeypatch, make_checkpoint):
    sources = make_checkpoint().matrices
    account = {"bytes_limit": 500_000, "bytes_in_use": 0}
    sizes = []
    for count in (1, 4):
        monkeypatch.setattr(jax, "local_devices", devices(*[account] * count))
        sizes.append([len(batch.sources) for batch in batches(sources) if batch.shape == (40, 40)])
    assert sizes == [[1, 1], [2]]
