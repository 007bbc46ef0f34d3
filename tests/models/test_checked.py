"""What is read is what was opened and hashed: flipped bits of a conversion, files that change while they are open."""

import json
import os
import shutil
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep.models import CheckpointError, convert, load_params, open_checkpoint


@pytest.fixture(scope="module")
def held():
    rng = np.random.default_rng(0)
    return {
        "layers.0.q_proj.weight": rng.standard_normal((40, 30)).astype(np.float32),
        "layers.1.q_proj.weight": np.zeros((40, 30), np.float32),  # compresses to next to nothing
        "experts.up_proj": rng.standard_normal((3, 20, 30)).astype(np.float32),
        "norm.weight": np.ones(30, np.float32),
    }


@pytest.fixture(scope="module")
def converted(held, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "out"
    convert(open_checkpoint(held), out)
    return out


def everything(folder):
    """Every leaf and matrix, and the hash: what a study would use."""
    checkpoint = open_checkpoint(folder)
    found = {matrix.name: matrix.read().tobytes() for matrix in checkpoint.matrices}
    found |= {leaf.path: leaf.read().tobytes() for leaf in checkpoint.leaves}
    return found | {"sha256": checkpoint.identity["sha256"]}


def test_flipped_bits_of_a_conversion_never_pass_for_the_source(held, converted, tmp_path):
    """In every file, at its ends and at places drawn between: the same numbers and hash, or one line."""
    expected, rng = everything(converted), np.random.default_rng(1)
    assert expected["sha256"] == open_checkpoint(held).identity["sha256"]
    said = []
    for number, path in enumerate(sorted(p for p in converted.rglob("*") if p.is_file())):
        whole = path.read_bytes()
        for turn, place in enumerate({0, len(whole) - 1, *map(int, rng.integers(0, len(whole), 14))}):
            folder = shutil.copytree(converted, tmp_path / f"{number}-{turn}")
            damaged = bytearray(whole)
            damaged[place] ^= 1 << int(rng.integers(8))
            (folder / path.relative_to(converted)).write_bytes(damaged)
            try:
                assert everything(folder) == expected, (path, place)
            except CheckpointError as error:
                said.append(str(error))
                assert str(folder) in said[-1]
                assert "\n" not in said[-1]
            shutil.rmtree(folder)
    assert any("leaf layers/0/q_proj/weight is damaged" in line for line in said)
    assert any("cannot be read" in line for line in said)
    assert any("eigensweep.json: is damaged" in line for line in said)


def test_a_damaged_slice_of_a_stack_is_noticed_whichever_is_read(held, tmp_path):
    stack = {"experts.up_proj": held["experts.up_proj"]}
    convert(open_checkpoint(stack), tmp_path / "out")
    notes = json.loads((tmp_path / "out" / "eigensweep.json").read_text())
    other = {"experts.up_proj": stack["experts.up_proj"].copy()}
    other["experts.up_proj"][2, 3, 4] += 1
    convert(open_checkpoint(other), tmp_path / "other")
    shutil.copy(tmp_path / "out" / "eigensweep.json", tmp_path / "other")
    assert len(notes["matrices"]) == 3
    for matrix in open_checkpoint(tmp_path / "other").matrices:
        with pytest.raises(CheckpointError, match="leaf experts/up_proj is damaged"):
            matrix.read()


def test_a_conversion_without_sums_has_its_files_hash(converted, held, tmp_path):
    """As versions 0.1 and 0.2 wrote it."""
    folder = shutil.copytree(converted, tmp_path / "old")
    notes = json.loads((folder / "eigensweep.json").read_text())
    del notes["sha256"]
    for leaf in notes["leaves"].values():
        del leaf["sha256"]
    (folder / "eigensweep.json").write_text(json.dumps(notes))
    checkpoint = open_checkpoint(folder)
    assert any("has no sums of the leaves" in warning for warning in checkpoint.warnings)
    np.testing.assert_array_equal(load_params(checkpoint)["norm"]["weight"], held["norm.weight"])
    first = checkpoint.identity["sha256"]
    assert first != open_checkpoint(converted).identity["sha256"]
    assert first == open_checkpoint(shutil.copytree(folder, tmp_path / "copy")).identity["sha256"]
    data = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    data.write_bytes(data.read_bytes()[:-1] + b"\x7f")
    assert open_checkpoint(folder).identity["sha256"] != first


def _safetensors(folder, held):
    save_file(held, folder / "model.safetensors")
    return folder / "model.safetensors"


def _torch(folder, held):
    torch = pytest.importorskip("torch")
    torch.save({name: torch.from_numpy(array.copy()) for name, array in held.items()}, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def _orbax(folder, held):
    convert(open_checkpoint(held), folder)
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def _in_place(path):
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


def _replaced(path):
    """Of the same size and time, as a tool leaves it that keeps times."""
    now = path.stat()
    other = path.with_name("other")
    shutil.copyfile(path, other)
    _in_place(other)
    os.utime(other, ns=(now.st_atime_ns, now.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [_in_place, _replaced])
@pytest.mark.parametrize("make", [_safetensors, _torch, _orbax])
def test_a_file_that_changes_while_it_is_open_is_noticed(held, tmp_path, make, change):
    """At the next read, and where it is hashed only then: no mix, and no hash of another file."""
    folder = tmp_path / "model"
    folder.mkdir()
    path = make(folder, held)
    checkpoint, unhashed = open_checkpoint(folder), open_checkpoint(folder)
    first, second, *_ = checkpoint.matrices
    assert first.read().shape == first.shape
    assert checkpoint.identity["sha256"]
    time.sleep(0.01)
    change(path)
    with pytest.raises(CheckpointError, match=rf"{path.name}: has changed since it was opened"):
        second.read()
    if make is not _orbax:  # whose hash is noted, and its leaves' sums with it
        with pytest.raises(CheckpointError, match=rf"{path.name}: has changed since it was opened"):
            _ = unhashed.identity


def test_a_sweep_whose_checkpoint_changes_does_not_finish(held, tmp_path):
    from eigensweep import engine

    path = tmp_path / "model.safetensors"
    save_file(held, path)
    checkpoint, started = open_checkpoint(path), []

    def change(progress):
        if progress.total and not started:
            started.append(progress)
            time.sleep(0.01)
            _in_place(path)

    with pytest.raises(CheckpointError, match=r"model\.safetensors: has changed since it was opened"):
        engine.sweep(checkpoint, engine.SweepOptions(control="none"), tmp_path / "run", on_progress=change)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "running"
