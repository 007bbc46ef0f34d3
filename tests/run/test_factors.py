"""Decompositions on disk: the same as fresh ones, made once, whole or not at all, damaged ones named, old ones gone."""

import os
from dataclasses import replace

import numpy as np
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.run import factors
from eigensweep.engine.run.factors import FactorStore, clear, stored_bytes
from eigensweep.engine.run.stream import decomposed

FIELDS = ("s", "u", "vt", "ks_right", "ks_left", "sigma", "kurtosis", "residual", "orthogonality")
IDENTITY = {"sha256": "a" * 64}


@pytest.fixture
def sources(make_checkpoint):
    return make_checkpoint().matrices[:3]  # 40 x 40, 80 x 40, 40 x 80


@pytest.fixture
def decompositions(monkeypatch):
    """The names of what is decomposed from here on."""
    seen = []

    def counted(sources, *given, **more):
        seen.extend(source.name for source in sources)
        return decomposed(sources, *given, **more)

    monkeypatch.setattr(factors, "decomposed", counted)
    return seen


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_they_are_those_of_the_stream_and_made_once(sources, tmp_path, decompositions):
    fresh = {source.name: found for source, found in decomposed(sources, ks=True)}
    for _ in range(2):
        kept = {source.name: found for source, found in FactorStore(tmp_path, IDENTITY).decomposed(sources)}
        assert kept.keys() == fresh.keys()
        for name, found in kept.items():
            for key in FIELDS:
                np.testing.assert_array_equal(getattr(found, key), getattr(fresh[name], key), err_msg=key)
            assert (found.shape, found.eps, found.status, found.strategy) == (
                fresh[name].shape, fresh[name].eps, ("ok",), fresh[name].strategy,
            )  # fmt: skip
            assert isinstance(found.vt.base, np.memmap)
    assert sorted(decompositions) == sorted(source.name for source in sources)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert 0 <= sum(sizes) - sum(stored_bytes(source.shape) for source in sources) < 1024 * len(sizes)


def test_right_vectors_alone_leave_no_left_ones(sources, tmp_path, decompositions):
    store = FactorStore(tmp_path, IDENTITY)
    found = store.one(sources[1], ("right",))
    assert found.u is None
    np.testing.assert_allclose(np.linalg.norm(sources[1].array @ found.vt[0].T, axis=0), found.s[0], rtol=1e-6)
    assert [name.split(".")[1] for name in files(tmp_path)] == ["right"]
    assert store.one(sources[1]).u.shape == (1, 80, 40)  # which takes a second decomposition
    assert [name.split(".")[1] for name in files(tmp_path)] == ["left", "right"]
    assert decompositions == [sources[1].name] * 2


@pytest.mark.parametrize(
    "other", [{"checkpoint": {"sha256": "b" * 64}}, {"strategy": "direct"}], ids=["checkpoint", "strategy"]
)
def test_another_checkpoint_or_strategy_has_its_own(sources, tmp_path, decompositions, other):
    FactorStore(tmp_path, IDENTITY).one(sources[0])
    FactorStore(tmp_path, **{"checkpoint": IDENTITY} | other).one(sources[0])
    assert len(decompositions) == 2
    assert len(files(tmp_path)) == 4


def cut(data):
    return data[: len(data) // 2]


def flipped(data):
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def of_another_shape(data):
    return data.replace(b'"shape": [80, 40]', b'"shape": [40, 80]')


def of_another_dtype(data):
    return data.replace(b'"dtype": "float64"', b'"dtype": "object" ')


def with_another_number(data):
    at = data.index(b'"sigma": ') + 9
    return data[:at] + b"9" + data[at + 1 :]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "spoil",
    [
        cut, flipped, of_another_shape, of_another_dtype, with_another_number, lambda data: b"", lambda data: b"{}\n",
        lambda data: b"[" * 10_000 + b"\n", lambda data: b"\xff" * 50_000, lambda data: b"5\n",
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_and_made_anew(sources, tmp_path, side, spoil):
    expected = FactorStore(tmp_path, IDENTITY).one(sources[1])
    u, vt = np.array(expected.u), np.array(expected.vt)
    (path,) = tmp_path.glob(f"*.{side}")
    before = path.read_bytes()
    path.write_bytes(spoil(before))
    store = FactorStore(tmp_path, IDENTITY)
    found = store.one(sources[1])
    np.testing.assert_array_equal(found.u, u)
    np.testing.assert_array_equal(found.vt, vt)
    (said,) = store.said
    assert str(path) in said
    assert f"{sources[1].name} is decomposed anew" in said
    assert path.read_bytes() == before


def test_two_sides_of_two_decompositions_are_not_mixed(sources, tmp_path, monkeypatch):
    """A process died between the two files, and what it computed had other signs."""
    FactorStore(tmp_path, IDENTITY).one(sources[1])
    (left,) = tmp_path.glob("*.left")
    old = left.read_bytes()

    def turned(*given, **more):
        for source, found in decomposed(*given, **more):
            yield source, replace(found, u=-found.u, vt=-found.vt)

    clear(tmp_path)
    monkeypatch.setattr(factors, "decomposed", turned)
    FactorStore(tmp_path, IDENTITY).one(sources[1])
    left.write_bytes(old)
    store = FactorStore(tmp_path, IDENTITY)
    found = store.one(sources[1])
    assert "another decomposition" in store.said[0]
    np.testing.assert_allclose((found.u[0] * found.s[0]) @ found.vt[0], sources[1].array, atol=1e-6)


def test_what_is_no_file_is_not_waited_for(sources, tmp_path):
    store = FactorStore(tmp_path, IDENTITY)
    os.mkfifo(store._path(sources[0], "right"))
    assert store.one(sources[0]).s.shape == (1, 40)
    assert "no regular file" in store.said[0]


def test_a_process_that_dies_while_it_writes_leaves_nothing(sources, tmp_path, monkeypatch):
    put = factors._put

    def dying(head, arrays, file):
        put(head, arrays[:1], file)
        raise KeyboardInterrupt

    monkeypatch.setattr(factors, "_put", dying)
    with pytest.raises(KeyboardInterrupt):
        FactorStore(tmp_path, IDENTITY).one(sources[0])
    assert files(tmp_path) == []
    monkeypatch.undo()
    assert FactorStore(tmp_path, IDENTITY).one(sources[0]).s.shape == (1, 40)


def test_the_longest_unused_go_and_what_is_in_use_stays(sources, tmp_path):
    whole = sum(stored_bytes(source.shape) for source in sources) + 6 * 1024
    store = FactorStore(tmp_path, IDENTITY, gib=whole / 2**30)
    list(store.decomposed(sources))
    for age, path in enumerate(sorted(tmp_path.iterdir())):
        os.utime(path, (1e9 + age, 1e9 + age))
    (tmp_path / "notes.left").write_text("of the user")
    store.one(sources[0])  # used again
    other = FactorStore(tmp_path, {"sha256": "c" * 64}, gib=whole / 2**30)
    other.one(sources[1])
    there = {source.name: store._path(source, "right").exists() for source in sources}
    assert there[sources[0].name]
    assert not all(there.values())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= whole
    tight = FactorStore(tmp_path, {"sha256": "d" * 64}, gib=1e-9)  # what is in use stays beyond any limit
    assert [found.s.shape for _, found in tight.decomposed(sources)] == [(1, 40)] * 3
    assert len(list(tmp_path.glob("*.right"))) == 3
    (tmp_path / f".{'0' * 40}.left.x").write_bytes(b"")  # of a process that was killed
    clear(tmp_path)
    assert files(tmp_path) == ["notes.left"]


def test_another_process_makes_room_at_the_worst_moment(sources, tmp_path, monkeypatch):
    """What is being written is no old file; what goes as soon as it was written is used all the same."""
    half = tmp_path / f".{'0' * 40}.left.x"
    half.write_bytes(b"another process writes here")
    write = FactorStore._write

    def gone(store, source, found, sides):
        write(store, source, found, sides)
        FactorStore(tmp_path, {"sha256": "e" * 64}, gib=1e-9)._make_room(0)

    monkeypatch.setattr(FactorStore, "_write", gone)
    found = FactorStore(tmp_path, IDENTITY).one(sources[1])
    np.testing.assert_allclose((found.u[0] * found.s[0]) @ found.vt[0], sources[1].array, atol=1e-6)
    assert files(tmp_path) == [half.name]
    os.utime(half, (1e9, 1e9))  # nobody has written there for years
    FactorStore(tmp_path, IDENTITY)._make_room(0)
    assert files(tmp_path) == []


def test_what_cannot_be_written_or_decomposed_is_one_line(make_checkpoint, tmp_path):
    (tmp_path / "file").write_text("")
    source = make_checkpoint().matrices[0]
    with pytest.raises(RunError, match=r"file/.* cannot be written"):
        FactorStore(tmp_path / "file", IDENTITY).one(source)
    bad = make_checkpoint([("bad", "pooler", np.full((8, 8), np.nan, np.float32))]).matrices[-1]
    with pytest.raises(RunError, match="bad: has no singular vectors"):
        FactorStore(tmp_path / "new", IDENTITY).one(bad)
