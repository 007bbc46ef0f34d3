"""Models of the hub, fetched online from a hub on loopback.

huggingface_hub reads HF_ENDPOINT when it is imported, hence a process of its own for each test, with a deadline.
"""

import importlib.util
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

SECONDS = 120
OPEN = """
import json, sys
from eigensweep.models import CheckpointError, open_checkpoint

def opened(text):
    try:
        checkpoint = open_checkpoint(text)
    except CheckpointError as e:
        return {"error": str(e)}
    return {
        "matrices": {m.name: float(m.read().astype(float).sum()) for m in checkpoint.matrices},
        "kind": checkpoint.source.kind,
        "source": checkpoint.identity["source"],
        "files": sorted(checkpoint.source.files),
        "directory": str(checkpoint.source.directory),
        "present": sorted(p.name for p in checkpoint.source.directory.iterdir()),
    }

print(json.dumps([opened(text) for text in sys.argv[1:]]))
"""
TOKENIZE = """
import json, sys
from eigensweep.models import data, open_checkpoint
for text in sys.argv[1:]:
    tokenizer = data.load_tokenizer(open_checkpoint(text).source.directory)
    print(json.dumps(tokenizer.get_vocab()))
"""


def _fake_hub():
    spec = importlib.util.spec_from_file_location("fake_hub", Path(__file__).with_name("fake_hub.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake_hub = _fake_hub()


def weights(value):
    return save({"layers.0.q_proj.weight": np.full((3, 4), value, np.float32)})


def shards(value, names=("a.safetensors", "b.safetensors")):
    tensors = {f"layers.{i}.q_proj.weight": np.full((3, 4), value + i, np.float32) for i in range(2)}
    index = {"weight_map": dict(zip(tensors, names, strict=True))}
    return {"model.safetensors.index.json": json.dumps(index).encode()} | {
        file: save({name: array}) for file, (name, array) in zip(names, tensors.items(), strict=True)
    }


class Trap:
    """A pickle that would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


CONFIG = {"config.json": b'{"model_type": "unheard-of"}'}
TOKENIZER = {
    name: json.dumps({"file": name}).encode()  # files of the same content would come only once
    for name in (
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
    )
}
UNWANTED = {
    "pytorch_model.bin": b"the same weights once more",
    "model.fp16.safetensors": b"and once more",
    "onnx/model.onnx": b"and once more",
    "modeling_evil.py": b"raise SystemExit",
}


@pytest.fixture
def opened(tmp_path):
    """opened(repositories, *ids): what a new process says of each id, mostly of opening it, and the requests.

    The processes of a test share a cache. Where `repositories` is None nobody listens at the endpoint.
    """

    def run(repositories, *ids, code=OPEN):
        if repositories is None:
            return open_at("http://127.0.0.1:9", ids, code), []
        with fake_hub.fake_hub(repositories) as (endpoint, requests):
            return open_at(endpoint, ids, code), list(requests)

    def open_at(endpoint, ids, code):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HTTP"))}
        environment |= {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "no_proxy": "127.0.0.1",
            "JAX_PLATFORMS": "cpu",
        }
        done = subprocess.run(
            [sys.executable, "-c", code, *ids], capture_output=True, text=True, timeout=SECONDS, env=environment
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_a_model_comes_with_its_tokenizer_and_nothing_else(opened):
    files = {**CONFIG, **TOKENIZER, **UNWANTED, "model.safetensors": weights(2)}
    (found, again), requests = opened({"owner/name": {"main": files}}, "owner/name", "owner/name")
    assert found["matrices"] == {"layers.0.q_proj.weight": 24.0}
    assert found["source"] == "owner/name"
    assert found["kind"] == "huggingface"
    assert found["files"] == ["config.json", "model.safetensors"]
    assert found["present"] == sorted([*CONFIG, *TOKENIZER, "model.safetensors"])
    assert Path(found["directory"]).name == fake_hub.commit_of("owner/name", "main")
    assert again == found
    assert sum("resolve" in r and r.startswith("GET") for r in requests) == len(found["present"])
    assert not any(name in request for request in requests for name in UNWANTED)


def test_a_revision_and_the_cache_without_a_hub(opened):
    versions = {
        "main": {**CONFIG, **TOKENIZER, "model.safetensors": weights(1)},
        "v2": {**CONFIG, **TOKENIZER, "model.safetensors": weights(3)},
    }
    commit = fake_hub.commit_of("owner/name", "main")
    (v2, at_commit, absent), _ = opened(
        {"owner/name": versions}, "owner/name@v2", f"owner/name@{commit}", "owner/name@v3"
    )
    assert v2["matrices"] == {"layers.0.q_proj.weight": 36.0}
    assert v2["source"] == "owner/name@v2"
    assert set(TOKENIZER) < set(v2["present"])
    assert at_commit["matrices"] == {"layers.0.q_proj.weight": 12.0}
    assert absent["error"] == "owner/name: this model on the Hugging Face hub has no revision 'v3'"
    (v2_again, other), _ = opened(None, "owner/name@v2", "owner/other@v2")
    assert v2_again == v2
    assert "owner/other: no such file or folder" in other["error"]
    assert "at revision 'v2'" in other["error"]
    assert "the hub cannot be reached. Offline?" in other["error"]


def test_the_tokenizer_of_a_revision_is_in_the_snapshots_folder(opened):
    vocabulary = {"<unk>": 0, "good": 1, "morning": 2}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    files = {
        **CONFIG,
        "model.safetensors": weights(1),
        "tokenizer.json": json.dumps({"version": "1.0", "model": model, "added_tokens": []}).encode(),
        "tokenizer_config.json": json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}).encode(),
    }
    found, _ = opened({"owner/name": {"main": CONFIG, "v2": files}}, "owner/name@v2", code=TOKENIZE)
    assert found == vocabulary


def test_shards_come_by_the_index_and_none_from_outside(opened):
    evil = shards(1, ("../../../a.safetensors", "b.safetensors"))
    lacking = {name: content for name, content in shards(1).items() if name != "b.safetensors"}
    repositories = {
        "owner/sharded": {"main": {**CONFIG, **shards(1), **UNWANTED}},
        "owner/evil": {"main": {**CONFIG, **evil}},
        "owner/lacking": {"main": {**CONFIG, **lacking}},
    }
    (found, outside, short), _ = opened(repositories, *repositories)
    assert found["matrices"] == {"layers.0.q_proj.weight": 12.0, "layers.1.q_proj.weight": 24.0}
    assert "pytorch_model.bin" not in found["present"]
    assert "outside the checkpoint's folder" in outside["error"]
    assert short["error"] == (
        "owner/lacking: this model on the Hugging Face hub has no b.safetensors or pytorch_model.bin"
    )


def test_no_such_model_and_no_weights(opened):
    (absent, empty), _ = opened({"owner/empty": {"main": CONFIG}}, "owner/absent", "owner/empty")
    assert "owner/absent: no such file or folder, and no such model on the Hugging Face hub" in absent["error"]
    assert empty["error"] == (
        "owner/empty: this model on the Hugging Face hub has no model.safetensors or pytorch_model.bin"
    )


def test_a_repository_with_pickles_alone(opened, tmp_path):
    """Weights in a pickle go through torch's restricted unpickler; other pickles are not even fetched."""
    torch = pytest.importorskip("torch")
    torch.save({"layers.0.q_proj.weight": torch.full((3, 4), 5.0)}, tmp_path / "weights.bin")
    trap = pickle.dumps({"w": Trap(str(tmp_path / "sprung"))}, protocol=2)
    repositories = {
        "owner/torch": {"main": {**CONFIG, "pytorch_model.bin": (tmp_path / "weights.bin").read_bytes()}},
        "owner/trap": {"main": {**CONFIG, "pytorch_model.bin": trap}},
        "owner/pickle": {"main": {**CONFIG, "model.pkl": trap, "consolidated.00.pth": trap}},
    }
    (plain, refused, none), requests = opened(repositories, *repositories)
    assert (plain["kind"], plain["matrices"]) == ("torch", {"layers.0.q_proj.weight": 60.0})
    assert "pytorch_model.bin: not a file of tensors" in refused["error"]
    assert "owner/pickle: this model on the Hugging Face hub has no model.safetensors" in none["error"]
    assert not any(request.endswith((".pkl", ".pth")) for request in requests)
    assert not (tmp_path / "sprung").exists()


def test_an_adapter(opened):
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    factors = {name.format("A"): np.ones((2, 4), np.float32), name.format("B"): np.ones((3, 2), np.float32)}
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    files = {"adapter_config.json": json.dumps(config).encode(), "adapter_model.safetensors": save(factors)}
    (found,), _ = opened({"owner/adapter": {"main": {**files, **TOKENIZER}}}, "owner/adapter")
    assert found["kind"] == "lora"
    assert found["matrices"] == {"model.layers.0.self_attn.q_proj.weight:delta": 48.0}
