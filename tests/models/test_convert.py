"""Conversion to Orbax: every leaf bit for bit, the same matrices under the same names, whole or not at all."""

import json
import os
import resource
import shutil
import signal
import sys
import weakref

import filelock
import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import pytest
from safetensors.numpy import save_file

from eigensweep.models import CheckpointError, convert, load_params, open_checkpoint
from eigensweep.models.plan import Leaf


def bits(tree):
    return {
        jax.tree_util.keystr(path): (leaf.dtype.name, leaf.shape, np.asarray(leaf).tobytes())
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def assert_round_trip(checkpoint, out):
    done = convert(checkpoint, out)
    expected = bits(load_params(checkpoint))
    assert done.num_leaves == len(expected)
    assert done.num_bytes == sum(len(content) for _, _, content in expected.values())
    converted = open_checkpoint(out)
    assert bits(load_params(converted)) == expected
    with ocp.StandardCheckpointer() as checkpointer:
        assert bits(checkpointer.restore(out)) == {k: v for k, v in expected.items() if v[2]}
    for old, new in zip(checkpoint.matrices, converted.matrices, strict=True):
        fields = ("name", "role", "block", "shape", "dtype", "guessed", "tied", "expert", "path", "index")
        assert [getattr(old, f) for f in fields] == [getattr(new, f) for f in fields]
        assert old.read().tobytes() == new.read().tobytes()
    assert converted.skipped == checkpoint.skipped
    assert converted.config == checkpoint.config
    assert converted.warnings == checkpoint.warnings
    ours, theirs = converted.identity, checkpoint.identity
    assert (ours["kind"], ours["source"]) == ("orbax", str(out))
    assert (ours["sha256"], ours["architecture"]) == (theirs["sha256"], theirs["architecture"])
    json.dumps(ours)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []
    return converted


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("bert", "float32"),
        ("gpt2", "float16"),
        ("gpt-neox", "bfloat16"),
        ("phi3", "bfloat16"),
        ("mixtral", "bfloat16"),
        ("gemma3-images", "float32"),
    ],
)
def test_known_architectures(tiny, tmp_path, name, dtype):
    _, folder = tiny(name, dtype)
    converted = assert_round_trip(open_checkpoint(folder), tmp_path / "out")
    assert {m.dtype for m in converted.matrices} == {dtype}


def test_an_unknown_architecture_keeps_its_names_and_every_dtype(tmp_path):
    rng = np.random.default_rng(0)
    held = {
        "a.q_proj.weight": rng.standard_normal((3, 4)).astype(ml_dtypes.bfloat16),
        "a.stack": rng.standard_normal((2, 3, 4)).astype(np.float16),
        "embed_tokens.weight": rng.standard_normal((5, 4)),
        "scale": np.array(3, np.float32),
        "mask": np.array([True, False]),
        "ids": np.arange(3),
        "packed": np.arange(4, dtype=np.uint8),
        "low": rng.standard_normal((3, 4)).astype(ml_dtypes.float8_e4m3fn),
        "nothing": np.zeros((0, 4), np.float32),
    }
    assert_round_trip(open_checkpoint(held), tmp_path / "out")
    params = load_params(open_checkpoint(tmp_path / "out"))
    assert set(params) == {"a", "embed_tokens", "scale", "mask", "ids", "packed", "low", "nothing"}
    np.testing.assert_array_equal(params["a"]["stack"], held["a.stack"])


def test_nothing_to_convert_is_refused_in_one_line(tmp_path):
    folder = tmp_path / "hqq"
    folder.mkdir()
    tensors = {"a.weight": np.zeros((3, 4), np.int8), "a.weight_scale": np.ones(3, np.float32)}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"quantization_config": {"quant_method": "hqq"}}')
    with pytest.raises(CheckpointError, match="hqq: holds nothing that can be converted: part of a quantised weight"):
        convert(open_checkpoint(folder), tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hqq"]


def test_nan_payloads_and_subnormals_survive(tmp_path):
    every = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    held = {"w": every.view(ml_dtypes.bfloat16), "h": every.view(np.float16)}
    convert(open_checkpoint(held), tmp_path / "out")
    params = load_params(open_checkpoint(tmp_path / "out"))
    for name in held:
        np.testing.assert_array_equal(params[name].view(np.uint16), every)


def test_names_that_cannot_be_nested(tmp_path):
    checkpoint = open_checkpoint({"a": np.ones((2, 2)), "a.b": np.ones((2, 2))})
    with pytest.raises(CheckpointError, match=r"leaf a/b lies below another"):
        convert(checkpoint, tmp_path / "out")
    checkpoint = open_checkpoint({"a.b": np.ones((2, 2)), "a": np.ones((2, 2))})
    with pytest.raises(CheckpointError, match=r"leaf a has others below it"):
        convert(checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_occupied_folder_is_refused_an_empty_one_is_taken(tiny, tmp_path):
    _, folder = tiny("llama")
    checkpoint = open_checkpoint(folder)
    out = tmp_path / "out"
    out.mkdir()
    convert(checkpoint, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    with pytest.raises(CheckpointError, match="exists and is not empty"):
        convert(checkpoint, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match="exists and is no folder"):
        convert(checkpoint, tmp_path / "file")
    with pytest.raises(CheckpointError, match="cannot be written"):
        convert(checkpoint, tmp_path / "file" / "below")


def test_nothing_is_left_where_a_tensor_cannot_be_read(tiny, tmp_path):
    _, folder = tiny("llama")
    shutil.copytree(folder, tmp_path / "model")
    checkpoint = open_checkpoint(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(CheckpointError, match="has changed since it was opened"):
        convert(checkpoint, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_is_one_clear_error(tmp_path, capfd):
    """A limit on the size of files stands in for the disk: the writers of several leaves get an error half way."""
    rng = np.random.default_rng(0)
    checkpoint = open_checkpoint({f"layers.{i}.w": rng.standard_normal((500, 400)) for i in range(5)})
    convert(open_checkpoint({"w": np.ones((2, 2))}), tmp_path / "before")  # what loading the libraries says
    capfd.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(CheckpointError, match=r"out: cannot be written: File too large$"):
            convert(checkpoint, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    said = capfd.readouterr()
    assert said.out + said.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


def test_a_disk_that_is_too_full_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    convert(open_checkpoint({"w": np.ones((20, 20))}), tmp_path / "small")
    with pytest.raises(CheckpointError, match=r"out: cannot be written: 1 MiB are to go there, 0 MiB are free"):
        convert(open_checkpoint({"w": np.ones((300, 400))}), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_what_a_killed_conversion_left_goes_with_the_next(tmp_path):
    """But not what another process is writing at, nor other folders that are hidden."""
    for name in (".out.staged-dead", ".out.staged-alive", ".out.mine", ".other.staged-dead"):
        (tmp_path / name / "out.orbax-checkpoint-tmp").mkdir(parents=True)
        (tmp_path / name / ".lock").touch()
    with filelock.FileLock(tmp_path / ".out.staged-alive" / ".lock"):
        convert(open_checkpoint({"w": np.ones((2, 2))}), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other.staged-dead", ".out.mine", ".out.staged-alive", "out"
    ]  # fmt: skip


def test_few_leaves_are_held_at_a_time(tmp_path, monkeypatch):
    """A batch is read, written and let go before the next is read."""
    alive, most = [], [0]

    class Held(np.ndarray):
        """An array that a weak reference can point to."""

    read = Leaf.read

    def counted(self):
        array = read(self).copy().view(Held)
        alive.append(weakref.ref(array))
        most[0] = max(most[0], sum(reference() is not None for reference in alive))
        return array

    monkeypatch.setattr(sys.modules["eigensweep.models.orbax"], "_BATCH_BYTES", 3 * 80_000)
    monkeypatch.setattr(Leaf, "read", counted)
    held = {f"layers.{i}.w": np.full((100, 100), float(i)) for i in range(20)}
    convert(open_checkpoint(held), tmp_path / "out")
    assert 1 <= most[0] <= 6  # a batch that is read, and the one before where its last references linger


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: n.pop("matrices"), "has no usable 'matrices'"),
        (lambda n: n.update(format=99), "format 99"),
        (lambda n: n["leaves"].clear(), "not as eigensweep-convert writes it"),
        (lambda n: n["matrices"][0].update(shape=[3, 3]), r"is said to be \[3, 3\], its leaf holds"),
        (lambda n: n["matrices"][0].pop("role"), "not as eigensweep-convert writes it"),
        (lambda n: n["identity"].pop("sha256"), "not as eigensweep-convert writes it"),
        (lambda n: n["leaves"]["w"].update(dtype="float99"), "not as eigensweep-convert writes it"),
    ],
)
def test_notes_without_sense(tmp_path, change, message):
    out = tmp_path / "out"
    convert(open_checkpoint({"w": np.ones((3, 4))}), out)
    notes = json.loads((out / "eigensweep.json").read_text())
    change(notes)
    (out / "eigensweep.json").write_text(json.dumps(notes))
    with pytest.raises(CheckpointError, match=r"is damaged|99|has no usable"):
        open_checkpoint(out)
    del notes["sha256"]  # as version 0.2 wrote them
    (out / "eigensweep.json").write_text(json.dumps(notes))
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(out)
    assert "eigensweep.json" in str(error.value)


@pytest.mark.parametrize("change", [{"dtype": "float32"}, {"shape": [3, 4, 1]}])
def test_a_leaf_that_is_not_what_the_notes_say(tmp_path, change):
    out = tmp_path / "out"
    convert(open_checkpoint({"v": np.ones(4)}), out)
    notes = json.loads((out / "eigensweep.json").read_text())
    notes["leaves"]["v"].update(change)
    del notes["sha256"]
    (out / "eigensweep.json").write_text(json.dumps(notes))
    with pytest.raises(CheckpointError, match=r"leaf v cannot be read: it is float64 \[4\]"):
        load_params(open_checkpoint(out))


def test_a_leaf_that_is_gone(tmp_path):
    out = tmp_path / "out"
    convert(open_checkpoint({"w": np.ones((3, 4))}), out)
    (matrix,) = open_checkpoint(out).matrices
    for path in out.rglob("*"):
        if path.is_file() and path.parent.name == "d":
            path.unlink()
    with pytest.raises(CheckpointError, match="leaf w cannot be read"):
        matrix.read()


def test_minilm(minilm, tmp_path):
    assert_round_trip(open_checkpoint(minilm), tmp_path / "out")
