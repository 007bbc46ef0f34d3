"""Dicts of arrays, torch files, the hub's cache."""

import importlib.util
import json
import pickle
import shutil

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep.models import CheckpointError, open_checkpoint


def test_a_dict_of_arrays():
    rng = np.random.default_rng(0)
    held = {
        "embed_tokens.weight": rng.standard_normal((10, 4)).astype(np.float32),
        "h.0.attn.q_proj.weight": jnp.asarray(rng.standard_normal((4, 4)), jnp.bfloat16),
        "h.0.attn.q_proj.bias": np.zeros(4),
        "h.0.experts.w1": rng.standard_normal((3, 5, 4)),
        "steps": np.arange(6).reshape(2, 3),
    }
    checkpoint = open_checkpoint(held)
    found = {m.name: m for m in checkpoint.matrices}
    assert list(found) == ["embed_tokens.weight", "h.0.attn.q_proj.weight", *(f"h.0.experts.w1[{e}]" for e in range(3))]
    np.testing.assert_array_equal(found["embed_tokens.weight"].read(), held["embed_tokens.weight"].T)
    query = found["h.0.attn.q_proj.weight"]
    assert query.dtype == "bfloat16"
    np.testing.assert_array_equal(query.read(), np.asarray(held["h.0.attn.q_proj.weight"]))
    expert = found["h.0.experts.w1[2]"]
    assert (expert.expert, expert.block, expert.index) == (2, 0, 2)
    np.testing.assert_array_equal(expert.read(), held["h.0.experts.w1"][2])
    assert {s.name for s in checkpoint.skipped} == {"h.0.attn.q_proj.bias", "steps"}


def test_the_hash_of_a_dict():
    held = {"a": np.arange(6.0).reshape(2, 3), "b": np.ones((2, 2))}
    one = open_checkpoint(held).identity["sha256"]
    assert one == open_checkpoint(dict(reversed(held.items()))).identity["sha256"]
    assert one != open_checkpoint({**held, "b": np.ones((2, 2), np.float32)}).identity["sha256"]
    assert one != open_checkpoint({**held, "b": np.zeros((2, 2))}).identity["sha256"]
    assert one != open_checkpoint({"a": held["a"].reshape(3, 2), "b": held["b"]}).identity["sha256"]


def test_one_array_under_two_names_is_analysed_once():
    w = np.random.default_rng(0).standard_normal((4, 3))
    checkpoint = open_checkpoint({"a.weight": w, "b.weight": w, "c.weight": w.copy()})
    assert [(m.name, m.tied) for m in checkpoint.matrices] == [("a.weight", ("b.weight", "c.weight"))]
    assert [(s.name, s.reason) for s in checkpoint.skipped] == [
        (name, "the same weights as a.weight, analysed there") for name in ("b.weight", "c.weight")
    ]


def test_an_unknown_architectures_head_that_equals_its_embedding_is_tied():
    w = np.random.default_rng(0).standard_normal((9, 3))
    checkpoint = open_checkpoint({"lm_head.weight": w.copy(), "model.embed_tokens.weight": w})
    (matrix,) = checkpoint.matrices
    assert (matrix.name, matrix.role, matrix.tied) == ("model.embed_tokens.weight", "embedding", ("lm_head.weight",))


def test_what_a_dict_must_not_hold():
    with pytest.raises(TypeError, match="'w': an array of numbers was expected, got str"):
        open_checkpoint({"w": "text"})
    with pytest.raises(TypeError, match="'w': an array of numbers was expected, got dict"):
        open_checkpoint({"w": {"kernel": np.ones(3)}})
    with pytest.raises(TypeError, match="names of tensors are strings, got 3"):
        open_checkpoint({3: np.ones(3)})
    with pytest.raises(CheckpointError, match="holds no tensors"):
        open_checkpoint({})


def test_what_is_kept_for_the_engine_to_mark():
    """Empty matrices, vectors in two dimensions and non-finite entries are rows of the sweep."""
    bad = np.full((3, 3), np.nan)
    checkpoint = open_checkpoint({"empty": np.zeros((0, 4)), "row": np.ones((1, 4)), "bad": bad})
    assert {m.name: m.shape for m in checkpoint.matrices} == {"empty": (0, 4), "row": (1, 4), "bad": (3, 3)}
    assert all(m.read().shape == m.shape for m in checkpoint.matrices)


def test_what_is_no_matrix_says_why():
    held = {
        "scalar": np.array(1, np.float32),
        "vector": np.ones(3),
        "conv1.kernel": np.ones((4, 3, 3)),
        "mixer.x": np.ones((4, 1, 3)),
        "patch.kernel": np.ones((4, 3, 2, 2)),
        "mask": np.ones((3, 3), bool),
        "packed": np.ones((3, 3), np.uint8),
        "x.rotary_emb.inv_freq": np.ones(3),
    }
    reasons = {s.name: s.reason for s in open_checkpoint(held).skipped}
    assert set(reasons) == set(held)
    assert reasons["scalar"] == "a scalar"
    assert reasons["vector"].startswith("1-D")
    assert "convolution" in reasons["conv1.kernel"]
    assert "one row or column" in reasons["mixer.x"]
    assert reasons["patch.kernel"].startswith("4-D")
    assert "mask" in reasons["mask"]
    assert "uint8" in reasons["packed"]
    assert "rotary" in reasons["x.rotary_emb.inv_freq"]


class TestTorchFiles:
    @pytest.fixture
    def state(self):
        torch = pytest.importorskip("torch")
        torch.manual_seed(0)
        return {
            "a.q_proj.weight": torch.randn(5, 4),
            "a.k_proj.weight": torch.randn(5, 4).to(torch.bfloat16),
            "a.steps": torch.arange(3),
        }

    @pytest.mark.parametrize("zipped", [True, False])
    def test_reading(self, state, tmp_path, zipped):
        torch = pytest.importorskip("torch")
        state["lm_head.weight"] = state["embed_tokens.weight"] = torch.randn(7, 4)
        torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        checkpoint = open_checkpoint(tmp_path)
        assert checkpoint.identity["kind"] == "torch"
        found = {m.name: m for m in checkpoint.matrices}
        np.testing.assert_array_equal(found["a.q_proj.weight"].read(), state["a.q_proj.weight"])
        key = found["a.k_proj.weight"].read()
        assert key.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(key.astype(np.float32), state["a.k_proj.weight"].float())
        assert {name for m in found.values() if m.tied for name in (m.name, *m.tied)} == {
            "lm_head.weight",
            "embed_tokens.weight",
        }

    def test_shards(self, state, tmp_path):
        torch = pytest.importorskip("torch")
        for i, (name, tensor) in enumerate(state.items()):
            torch.save({name: tensor}, tmp_path / f"pytorch_model-{i}.bin")
        weight_map = {name: f"pytorch_model-{i}.bin" for i, name in enumerate(state)}
        (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": weight_map}))
        assert len(open_checkpoint(tmp_path).matrices) == 2

    def test_code_in_a_pickle_is_not_run(self, tmp_path):
        pytest.importorskip("torch")

        class Trap:
            def __reduce__(self):
                return (open, (str(tmp_path / "sprung"), "w"))

        (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"w": Trap()}, protocol=2))
        with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: not a file of tensors"):
            open_checkpoint(tmp_path)
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04junk", bytes(range(256)), b"\x80\x02}q\x00."])
    def test_a_broken_file(self, tmp_path, content):
        pytest.importorskip("torch")
        (tmp_path / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
            open_checkpoint(tmp_path)

    def test_without_torch_the_message_says_how_to_convert(self, tmp_path, monkeypatch):
        (tmp_path / "pytorch_model.bin").write_bytes(b"x")
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
        with pytest.raises(CheckpointError, match=r"pip install torch.*save_pretrained"):
            open_checkpoint(tmp_path)


class TestHub:
    """The cache's layout: blobs by hash, snapshots by commit that link to them, refs, and notes of what is absent."""

    @pytest.fixture
    def cache(self, tmp_path, monkeypatch):
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        return tmp_path

    def fill(self, cache, repo, files, commit="c0ffee" * 6 + "abcd", absent=()):
        root = cache / f"models--{repo.replace('/', '--')}"
        snapshot = root / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (root / "blobs").mkdir()
        (root / "refs").mkdir()
        (root / "refs" / "main").write_text(commit)
        for name, path in files.items():
            shutil.copy(path, root / "blobs" / f"hash-{name}")
            (snapshot / name).symlink_to(f"../../blobs/hash-{name}")
        for name in absent:
            marker = root / ".no_exist" / commit / name
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        return snapshot

    def model(self, tmp_path):
        folder = tmp_path / "made"
        folder.mkdir()
        save_file({"h.0.q_proj.weight": np.ones((3, 4), np.float32)}, folder / "model.safetensors")
        (folder / "config.json").write_text('{"model_type": "unheard-of"}')
        return folder

    def test_a_cached_model_opens_offline(self, cache):
        made = self.model(cache)
        self.fill(cache, "owner/name", {n: made / n for n in ("model.safetensors", "config.json")})
        checkpoint = open_checkpoint("owner/name")
        assert checkpoint.identity["source"] == "owner/name"
        assert checkpoint.identity["sha256"] == open_checkpoint(made).identity["sha256"]
        assert checkpoint.matrices[0].read().shape == (3, 4)

    def test_a_revision(self, cache):
        made = self.model(cache)
        commit = "f" * 40
        self.fill(cache, "owner/name", {n: made / n for n in ("model.safetensors", "config.json")}, commit)
        assert len(open_checkpoint(f"owner/name@{commit}").matrices) == 1
        with pytest.raises(CheckpointError, match=r"owner/name.*hub cannot be reached"):
            open_checkpoint("owner/name@" + "0" * 40)

    def test_shards_are_fetched_by_the_index_and_none_from_outside(self, cache):
        made = self.model(cache)
        index = made / "model.safetensors.index.json"
        (made / "model.safetensors").rename(made / "part.safetensors")
        index.write_text(json.dumps({"weight_map": {"h.0.q_proj.weight": "part.safetensors"}}))
        files = {n: made / n for n in ("part.safetensors", "config.json", index.name)}
        self.fill(cache, "owner/sharded", files)
        assert len(open_checkpoint("owner/sharded").matrices) == 1
        index.write_text(json.dumps({"weight_map": {"h.0.q_proj.weight": "../../../part.safetensors"}}))
        self.fill(cache, "owner/evil", files)
        with pytest.raises(CheckpointError, match="outside the checkpoint's folder"):
            open_checkpoint("owner/evil")

    def test_an_adapter(self, cache, shared):
        folder = shared / "checkpoints/roberta-lora-series/step-00500"
        names = ("adapter_config.json", "adapter_model.safetensors")
        self.fill(cache, "owner/adapter", {n: folder / n for n in names}, absent=["config.json"])
        assert len(open_checkpoint("owner/adapter").matrices) == 26

    def test_offline_and_not_cached(self, cache):
        with pytest.raises(CheckpointError, match=r"owner/absent: no such file or folder.*cannot be reached"):
            open_checkpoint("owner/absent")

    def test_partly_cached(self, cache):
        made = self.model(cache)
        self.fill(cache, "owner/half", {"config.json": made / "config.json"})
        with pytest.raises(CheckpointError, match=r"owner/half.*Missing: weights"):
            open_checkpoint("owner/half")

    def test_paths_are_never_taken_for_hub_ids(self):
        for text in ("./owner/name", "/owner/name", "a/b/c", "../name", "weights.safetensors"):
            with pytest.raises(CheckpointError, match=r"no such file or folder$"):
                open_checkpoint(text)
