"""Folders: shards and indices, configs, identities, torch files, and what must be refused."""

import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep.models import CheckpointError, open_checkpoint


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return {f"layers.{i}.q_proj.weight": rng.standard_normal((6, 4)).astype(np.float32) for i in range(3)}


@pytest.fixture
def sharded(tmp_path):
    """A folder with three shards, no config.json."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    weight_map = {}
    for i, (name, array) in enumerate(arrays().items()):
        save_file({name: array}, folder / f"model-{i}.safetensors")
        weight_map[name] = f"model-{i}.safetensors"
    write_index(folder, weight_map)
    return folder


def write_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def weight_map_of(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


def refusal(folder):
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(folder)
    return str(error.value)


def test_shards_are_read_each_from_its_file(sharded):
    checkpoint = open_checkpoint(sharded)
    assert [(m.name, m.file) for m in checkpoint.matrices] == [
        (f"layers.{i}.q_proj.weight", f"model-{i}.safetensors") for i in range(3)
    ]
    for matrix in checkpoint.matrices:
        np.testing.assert_array_equal(matrix.read(), arrays()[matrix.name])
    assert set(checkpoint.identity["files"]) == {f"model-{i}.safetensors" for i in range(3)} | {
        "model.safetensors.index.json"
    }


def test_a_shard_in_a_folder_below(sharded):
    (sharded / "below").mkdir()
    (sharded / "model-1.safetensors").rename(sharded / "below/model-1.safetensors")
    write_index(sharded, {**weight_map_of(sharded), "layers.1.q_proj.weight": "below/model-1.safetensors"})
    assert open_checkpoint(sharded).matrices[1].read().shape == (6, 4)


def test_a_missing_shard(sharded):
    (sharded / "model-1.safetensors").unlink()
    message = refusal(sharded)
    assert "model.safetensors.index.json" in message
    assert "'model-1.safetensors'" in message
    assert "no such file" in message


def test_a_tensor_that_is_not_in_its_shard(sharded):
    write_index(sharded, {**weight_map_of(sharded), "layers.9.q_proj.weight": "model-1.safetensors"})
    assert "'layers.9.q_proj.weight' should be in model-1.safetensors, but is not" in refusal(sharded)


def test_a_tensor_that_the_index_leaves_out_is_said(sharded):
    weight_map = weight_map_of(sharded)
    save_file({"layers.2.q_proj.weight": np.ones((6, 4)), "extra": np.ones((2, 2))}, sharded / "model-2.safetensors")
    write_index(sharded, weight_map)
    checkpoint = open_checkpoint(sharded)
    assert any("extra" in warning and "model-2.safetensors" in warning for warning in checkpoint.warnings)


@pytest.mark.parametrize(
    "name", ["../outside.safetensors", "below/../../outside.safetensors", "ABSOLUTE", "..", "C:\\x", "a\\..\\b", ""]
)
def test_an_index_that_names_a_file_outside(sharded, tmp_path, name):
    save_file({"layers.1.q_proj.weight": np.ones((6, 4), np.float32)}, tmp_path / "outside.safetensors")
    name = str(tmp_path / "outside.safetensors") if name == "ABSOLUTE" else name
    write_index(sharded, {**weight_map_of(sharded), "layers.1.q_proj.weight": name})
    message = refusal(sharded)
    assert repr(name) in message
    assert "outside the checkpoint's folder" in message or "is no file name" in message


@pytest.mark.parametrize("file", ["model-1.safetensors", "config.json", "model.safetensors.index.json"])
def test_links_are_followed_wherever_they_lead_but_not_to_nothing(sharded, tmp_path, file):
    (sharded / "config.json").write_text('{"model_type": "x"}')
    (sharded / file).rename(tmp_path / "elsewhere")
    (sharded / file).symlink_to(tmp_path / "elsewhere")
    assert [m.read().shape for m in open_checkpoint(sharded).matrices] == [(6, 4)] * 3
    (tmp_path / "elsewhere").unlink()
    assert f"{file}: a link to '{tmp_path}/elsewhere', which is not there" in refusal(sharded)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON object was expected, got list"),
        ("{}", "has no weight_map"),
        ('{"weight_map": {"w": 3}}', "tensor 'w': 3 is no file name"),
        ('{"weight_map": {"w": ["x"]}}', "is no file name"),
    ],
)
def test_an_index_without_sense(sharded, text, message):
    (sharded / "model.safetensors.index.json").write_text(text)
    found = refusal(sharded)
    assert message in found
    assert "model.safetensors.index.json" in found


def test_links_of_the_hubs_cache_are_followed(sharded, tmp_path):
    repository = tmp_path / "models--owner--name"
    snapshot, blobs = repository / "snapshots" / "abc", repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for path in sharded.iterdir():
        shutil.move(path, blobs / f"hash-{path.name}")
        (snapshot / path.name).symlink_to(f"../../blobs/hash-{path.name}")
    assert len(open_checkpoint(snapshot).matrices) == 3


def test_no_such_path_and_no_weights(tmp_path):
    assert "no such file or folder" in refusal(tmp_path / "absent")
    assert "none of model.safetensors" in refusal(tmp_path)
    (tmp_path / "0_Transformer").mkdir()
    save_file(arrays(), tmp_path / "0_Transformer" / "model.safetensors")
    assert "there are some in 0_Transformer" in refusal(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    assert "notes.txt: a folder with a checkpoint, a .safetensors or a .gguf file was expected" in refusal(
        tmp_path / "notes.txt"
    )


def test_a_single_file_of_another_name_is_taken_several_are_not(tmp_path):
    save_file(arrays(), tmp_path / "weights.safetensors")
    assert len(open_checkpoint(tmp_path).matrices) == 3
    save_file(arrays(), tmp_path / "more.safetensors")
    message = refusal(tmp_path)
    assert "more.safetensors; weights.safetensors" in message


def test_config_missing_unknown_or_broken(tmp_path):
    save_file(arrays(), tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.architecture == "generic"
    assert checkpoint.config is None
    assert any("config.json is missing" in warning for warning in checkpoint.warnings)
    assert all(matrix.guessed for matrix in checkpoint.matrices)
    assert {matrix.role for matrix in checkpoint.matrices} == {"query"}

    (tmp_path / "config.json").write_text('{"model_type": "frobnicator"}')
    checkpoint = open_checkpoint(tmp_path)
    assert any("'frobnicator' is not known" in warning for warning in checkpoint.warnings)
    assert [m.block for m in checkpoint.matrices] == [0, 1, 2]

    (tmp_path / "config.json").write_text('{"model_type": ["bert"]}')
    assert open_checkpoint(tmp_path).architecture == "generic"

    for text in ("{", "[1]", "\xff"):
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
        message = refusal(tmp_path)
        assert "config.json" in message
        assert "JSON" in message


def test_the_hash_depends_on_content_alone(sharded, tmp_path):
    here = open_checkpoint(sharded).identity
    shutil.copytree(sharded, tmp_path / "copy")
    there = open_checkpoint(tmp_path / "copy").identity
    assert here["sha256"] == there["sha256"]
    assert here["source"] != there["source"]
    json.dumps(here)

    path = tmp_path / "copy" / "model-2.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert open_checkpoint(tmp_path / "copy").identity["sha256"] != here["sha256"]

    (sharded / "config.json").write_text('{"model_type": "x"}')
    assert open_checkpoint(sharded).identity["sha256"] != here["sha256"]


def test_the_hash_of_a_single_file_does_not_depend_on_its_name(tmp_path):
    save_file(arrays(), tmp_path / "a.safetensors")
    shutil.copy(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    a, b = (open_checkpoint(tmp_path / name).identity for name in ("a.safetensors", "b.safetensors"))
    assert a["sha256"] == b["sha256"]
    assert a["kind"] == "safetensors"


def test_reading_is_lazy(sharded):
    checkpoint = open_checkpoint(sharded)
    os.remove(sharded / "model-1.safetensors")
    assert checkpoint.matrices[0].read().shape == (6, 4)
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors"):
        checkpoint.matrices[1].read()


def test_minilm(minilm):
    checkpoint = open_checkpoint(minilm)
    assert checkpoint.architecture == "bert"
    assert checkpoint.warnings == ()
    roles = [m.role for m in checkpoint.matrices]
    assert {role: roles.count(role) for role in set(roles)} == {
        **dict.fromkeys(("query", "key", "value", "attention_output", "mlp_up", "mlp_down"), 6),
        **dict.fromkeys(("embedding", "position_embedding", "pooler", "other"), 1),
    }
    up = next(m for m in checkpoint.matrices if m.role == "mlp_up")
    assert (up.name, up.shape) == ("encoder.layer.0.intermediate.dense.weight", (1536, 384))
    names = {m.name for m in checkpoint.matrices} | {s.name for s in checkpoint.skipped}
    assert len(names) == 104


@pytest.mark.parametrize(("name", "count"), [("llama-stories260k", 36), ("gpt2-char-shakespeare", 27)])
def test_real_decoders(shared, name, count):
    checkpoint = open_checkpoint(shared / "checkpoints" / name)
    assert checkpoint.warnings == ()
    assert len(checkpoint.matrices) == count
    assert not checkpoint.plan.mismatches
