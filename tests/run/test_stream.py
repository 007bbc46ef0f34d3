"""The one stream of decompositions: batches, reading ahead, halving, streaming, the check of every residual."""

import threading
from dataclasses import replace

import jax
import numpy as np
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.run import stream
from eigensweep.engine.run.stream import batches, decompose_batch, decomposed, rank_eps, read_ahead
from eigensweep.engine.spectral.svd.auto import working_bytes

RESIDENT = "eigensweep.engine.spectral.svd.auto.CPU_RESIDENT"
FIELDS = ("s", "u", "vt", "ks_right", "ks_left", "sigma", "residual", "orthogonality")


@pytest.fixture
def sources(make_checkpoint):
    return make_checkpoint().matrices


def arrays(count=4, shape=(24, 16), seed=0):
    return list(np.random.default_rng(seed).standard_normal((count, *shape)))


@pytest.mark.parametrize("budget", [1, 200_000, 10**9])
def test_batches_cover_every_matrix_once_and_keep_to_the_budget(sources, budget):
    found = batches(sources, budget)
    assert sorted(s.name for b in found for s in b.sources) == sorted(s.name for s in sources)
    for batch in found:
        assert {s.shape for s in batch.sources} == {batch.shape}
        assert len(batch.sources) == 1 or len(batch.sources) * working_bytes(batch.shape) <= budget
    costs = [max(b.shape) * min(b.shape) ** 2 for b in found]
    assert costs == sorted(costs, reverse=True)


def test_batches_hold_one_dtype(make_checkpoint):
    extra = [("double", "query", np.ones((40, 40)))]
    found = batches(make_checkpoint(extra).matrices, 10**9)
    assert [[s.name for s in b.sources] for b in found if "double" in {s.name for s in b.sources}] == [["double"]]


def test_batches_are_even(sources):
    """Seven matrices where four fit are four and three, not four, two and one: fewer shapes to compile."""
    seven = [replace(sources[0], name=str(i)) for i in range(7)]
    found = batches(seven, 4 * working_bytes((40, 40)))
    assert [len(b.sources) for b in found] == [4, 3]


def test_the_host_holds_no_more_than_its_share(sources, monkeypatch):
    monkeypatch.setattr(stream, "HOST_BYTES", 2 * 4 * 40 * 40)
    many = [replace(sources[0], name=str(i)) for i in range(6)]
    assert [len(b.sources) for b in batches(many, 10**12)] == [2, 2, 2]


def test_what_is_streamed_goes_one_by_one_and_takes_less(sources, monkeypatch):
    whole = working_bytes((128256, 4096))
    monkeypatch.setattr(RESIDENT, 8 * 4 * 2 * 40 * 40)
    shapes = [b.shape for b in batches(sources, 10**12)]
    assert [shapes.count(shape) for shape in ((40, 40), (80, 40), (40, 80))] == [1, 2, 2]
    monkeypatch.setattr(RESIDENT, 10**12)
    assert whole < 3 * 2**30 < 16 * 2**30 < working_bytes((128256, 4096))


def test_the_next_batch_is_read_while_one_is_worked_on(sources):
    """And no more than one: the second is read before the first is asked to be done with, the third is not."""
    read, begun = [], threading.Event()

    class Source:
        shape, dtype = (2, 2), "float64"

        def __init__(self, name):
            self.name = name

        def read(self):
            read.append(self.name)
            if self.name == "1":
                begun.set()
            return np.full((2, 2), float(self.name))

    todo = [stream.Batch((2, 2), (Source(str(i)),)) for i in range(3)]
    found = read_ahead(todo)
    _, ws, seconds = next(found)
    assert ws[0][0, 0] == 0
    assert seconds >= 0
    assert begun.wait(10)
    assert read == ["0", "1"]
    assert [ws[0][0, 0] for _, ws, _ in found] == [1, 2]


def test_an_error_while_reading_ahead_reaches_the_caller(sources, monkeypatch):
    def broken(self):
        raise OSError("the disk is gone")

    monkeypatch.setattr(type(sources[0]), "read", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        list(decomposed(sources))


def test_every_matrix_comes_with_its_decomposition(sources):
    found = {source.name: d for source, d in decomposed(sources, ks=True, memory_bytes=200_000)}
    assert set(found) == {s.name for s in sources}
    for source in sources:
        d = found[source.name]
        w = source.array.astype(np.float64)
        np.testing.assert_allclose((d.u[0] * d.s[0]) @ d.vt[0], w, atol=1e-12)
        np.testing.assert_allclose(d.s[0], np.linalg.svd(w, compute_uv=False), rtol=1e-9)
        assert d.sigma[0] == pytest.approx(w.std(), rel=1e-12)
        assert (d.shape, d.status, d.names, d.strategy) == (source.shape, ("ok",), (source.name,), ("lapack",))
        assert d.ks_right.shape == d.ks_left.shape == (1, 40)


def test_vectors_and_statistics_are_kept_only_where_asked_for():
    found = decompose_batch("ab", arrays(2), "auto")
    assert found.u is found.vt is found.ks_right is found.ks_left is None


def test_a_batch_that_does_not_fit_is_halved(monkeypatch):
    ws = arrays(5)
    whole, seen, decompose = decompose_batch("abcde", ws, "auto", vectors=True, ks=True), [], stream.decompose

    def cramped(batch, strategy):
        seen.append(len(batch))
        if len(batch) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return decompose(batch, strategy)

    monkeypatch.setattr(stream, "decompose", cramped)
    found = decompose_batch("abcde", ws, "auto", vectors=True, ks=True)
    assert seen == [5, 2, 1, 1, 3, 1, 2, 1, 1]
    assert (found.names, found.status, found.strategy) == (whole.names, whole.status, whole.strategy)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-10, atol=1e-13, err_msg=name)
    np.testing.assert_array_equal(found.w, whole.w)


def test_a_single_matrix_that_does_not_fit_is_named(monkeypatch):
    def full(batch, strategy):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(stream, "decompose", full)
    with pytest.raises(RunError, match=r"a: out of memory on .*; strategy=streamed"):
        decompose_batch("ab", arrays(2), "auto")


def test_other_errors_of_a_device_are_not_taken_for_want_of_memory(monkeypatch):
    def broken(batch, strategy):
        raise jax.errors.JaxRuntimeError("INTERNAL: broken")

    monkeypatch.setattr(stream, "decompose", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        decompose_batch("ab", arrays(2), "auto")


@pytest.mark.parametrize("shape", [(80, 40), (40, 80)])
def test_streamed_matrices_have_the_same_statistics(monkeypatch, shape):
    ws = arrays(2, shape)
    resident = decompose_batch("ab", ws, "auto", ks=True)
    monkeypatch.setattr(RESIDENT, 1)
    found = decompose_batch("ab", ws, "auto", ks=True)
    assert (found.strategy, resident.strategy) == (("streamed",) * 2, ("lapack",) * 2)
    for name in ("s", "ks_right", "ks_left", "sigma"):
        np.testing.assert_allclose(getattr(found, name), getattr(resident, name), rtol=1e-9, err_msg=name)


def test_a_streamed_matrix_that_does_not_converge_is_marked_and_the_others_go_on(monkeypatch):
    from eigensweep.engine.spectral.svd.streamed import streamed_svd

    def fails(w, take):
        if w[0, 0] > 10:
            raise np.linalg.LinAlgError("did not converge")
        return streamed_svd(w, take)

    monkeypatch.setattr(RESIDENT, 1)
    monkeypatch.setattr(stream, "streamed_svd", fails)
    ws = arrays(2, (80, 40))
    ws[1][0, 0] = 11
    found = decompose_batch("ab", ws, "auto", ks=True)
    assert found.status == ("ok", "inaccurate decomposition: residual nan")
    assert np.isfinite(found.s[0]).all()
    assert np.isnan(found.s[1]).all()


def test_unusable_matrices_are_marked_and_the_others_decomposed():
    ws = arrays(4)
    ws[0][1, 2], ws[2][:] = np.inf, 0.0
    found = decompose_batch("abcd", ws, "auto", vectors=True, ks=True)
    assert found.status == ("non-finite entries: 1", "ok", "all zero", "ok")
    for name in FIELDS:
        values = getattr(found, name)
        assert np.isfinite(values[[1, 3]]).all(), name
        if name != "sigma":
            assert np.isnan(values[[0, 2]]).all(), name
    assert found.sigma[2] == 0
    alone = decompose_batch("bd", [ws[1], ws[3]], "auto", vectors=True, ks=True)
    np.testing.assert_allclose(found.s[[1, 3]], alone.s, rtol=1e-12)


@pytest.mark.parametrize(("shape", "status"), [((1, 16), "vector (1 x 16)"), ((0, 16), "empty")])
def test_shapes_without_a_spectrum_are_marked(shape, status):
    found = decompose_batch("ab", arrays(2, shape), "auto", vectors=True, ks=True)
    assert found.status == (status,) * 2
    assert np.isnan(found.s).all()


def wrong(monkeypatch, spoil):
    """Let every decomposition be spoilt."""
    decompose = stream.decompose
    monkeypatch.setattr(stream, "decompose", lambda *given: spoil(decompose(*given)))


@pytest.mark.parametrize("residual", [2e-6, np.nan])
def test_an_inaccurate_decomposition_is_marked_and_has_its_numbers_all_the_same(monkeypatch, residual):
    wrong(monkeypatch, lambda found: found._replace(residual=np.array([residual, 1e-15])))
    found = decompose_batch("ab", arrays(2), "auto")
    assert found.status == (f"inaccurate decomposition: residual {residual:.1e}", "ok")
    assert np.isfinite(found.s).all()


def test_whoever_needs_vectors_is_told_the_tensor_that_has_none(sources, monkeypatch):
    wrong(monkeypatch, lambda found: found._replace(residual=np.full_like(found.residual, np.nan)))
    with pytest.raises(RunError, match=r"blocks\.0\.mlp_\w+: has no singular vectors \(inaccurate decomposition"):
        list(decomposed(sources))


def test_a_tensor_with_nan_is_named(make_checkpoint):
    bad = make_checkpoint([("bad", "pooler", np.full((8, 8), np.nan, np.float32))]).matrices[-1:]
    with pytest.raises(RunError, match=r"bad: has no singular vectors \(non-finite entries: 64\)"):
        list(decomposed(bad))


@pytest.mark.parametrize(
    ("dtype", "eps"), [("float64", 2.0**-52), ("float32", 2.0**-23), ("bfloat16", 2.0**-23), ("float16", 2.0**-23)]
)
def test_eps_of_the_rank_is_the_stored_dtypes_but_at_most_float32s(dtype, eps):
    assert rank_eps(jax.numpy.dtype(dtype)) == eps
