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
from safetensors.numpy import load, save

SECONDS = 120
OPEN = """
import json, sys
from eigensweep.models import CheckpointError, open_checkpoint
from eigensweep.models.sources import repository

repository.SECONDS = 1

def opened(text):
    checkpoint = open_checkpoint(text)
    return {
        "matrices": {m.name: float(m.read().astype(float).sum()) for m in checkpoint.matrices},
        "kind": checkpoint.source.kind,
        "source": checkpoint.identity["source"],
        "files": sorted(checkpoint.source.files),
        "sha256": checkpoint.identity["sha256"],
        "warnings": checkpoint.warnings,
        "directory": str(checkpoint.source.directory),
        "present": sorted(p.name for p in checkpoint.source.directory.iterdir()),
    }

def said(text):
    try:
        return opened(text)
    except CheckpointError as e:
        return {"error": str(e)}

print(json.dumps([said(text) for text in sys.argv[1:]]))
"""
QUERIES = """
import json, sys
from eigensweep.models import CheckpointError, open_checkpoint
found = []
for text in sys.argv[1:]:
    name, block = text.split("#")
    try:
        checkpoint = open_checkpoint(name)
        chosen = [m for m in checkpoint.matrices if (m.role, m.block) == ("query", int(block))]
        checkpoint.fetch(chosen)
        present = sorted(p.name for p in checkpoint.source.directory.iterdir())
        found.append({"identity": checkpoint.identity, "read": chosen[0].read().tobytes().hex(), "present": present,
                      "matrices": [m.name for m in checkpoint.matrices]})
    except CheckpointError as e:
        found.append({"error": str(e)})
print(json.dumps(found))
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
    """opened(repositories, *ids, **trouble): what a new process says of each id, and the requests.

    The processes of a test share a cache. Where `repositories` is None nobody listens at the endpoint.
    """

    def run(repositories, *ids, code=OPEN, **trouble):
        if repositories is None:
            return open_at("http://127.0.0.1:9", ids, code), []
        with fake_hub.fake_hub(repositories, **trouble) as (endpoint, requests):
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
    files = [r for r in requests if "resolve" in r and r.startswith("GET") and "bytes=" not in r]
    assert len(files) == len(found["present"])
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
    assert "the hub cannot be reached" in v2_again["warnings"][0]
    assert v2_again | {"warnings": v2["warnings"]} == v2
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
    assert "names the shard 'b.safetensors', but owner/lacking has no such file" in short["error"]


def test_no_such_model_and_no_weights(opened):
    (absent, empty), _ = opened({"owner/empty": {"main": CONFIG}}, "owner/absent", "owner/empty")
    assert "owner/absent: no such file or folder, and no such model on the Hugging Face hub" in absent["error"]
    assert "owner/empty: no weights: none of model.safetensors" in empty["error"]


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
    assert "owner/pickle: no weights: none of model.safetensors" in none["error"]
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


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """The folder of a small Llama, a shard a block and one for each of the other matrices; and its files."""
    from eigensweep.models.synth import write_synthetic

    sizes = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 16}
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False, **sizes}
    folder = tmp_path_factory.mktemp("llama") / "model"
    write_synthetic(folder, config, dtype="float32", spikes=2)
    (folder / "planted.json").unlink()
    tensors = load((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()
    parts = [name.split(".")[2] if "layers" in name else name.split(".")[-2] for name in tensors]
    index = {name: f"model-{part}.safetensors" for name, part in zip(tensors, parts, strict=True)}
    for file in set(index.values()):
        (folder / file).write_bytes(save({name: tensors[name] for name in tensors if index[name] == file}))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder, {p.name: p.read_bytes() for p in folder.iterdir()}


def test_only_the_shards_that_are_needed_come(opened, llama):
    """Both unembedding and embedding are stored: their first bytes tell that they differ. Then without the hub."""
    from eigensweep.models import open_checkpoint

    folder, files = llama
    local = open_checkpoint(folder)
    query = next(m for m in local.matrices if (m.role, m.block) == ("query", 1))
    assert {m.file for m in local.matrices if m.role in ("embedding", "unembedding")} == {
        "model-embed_tokens.safetensors", "model-lm_head.safetensors"
    }  # fmt: skip
    (first,), requests = opened({"owner/llama": {"main": files}}, "owner/llama#1", code=QUERIES)
    assert [name for name in first["present"] if name.endswith(".safetensors")] == ["model-1.safetensors"]
    whole = {r.split("/")[-1] for r in requests if r.startswith("GET") and ".safetensors" in r and "bytes=" not in r}
    assert whole == {"model-1.safetensors", "model.safetensors.index.json"}
    assert bytes.fromhex(first["read"]) == query.read().tobytes()
    assert first["matrices"] == [m.name for m in local.matrices]
    identity = first["identity"]
    assert (identity["sha256"], identity["files"]) == (local.identity["sha256"], local.identity["files"])
    assert identity["hub"]["commit"] == fake_hub.commit_of("owner/llama", "main")
    assert "SHA-256" in identity["hub"]["sha256"]

    (again, refused), _ = opened(None, "owner/llama#1", "owner/llama#3", code=QUERIES)
    assert again == first
    assert "the hub cannot be reached. Offline? Missing: model-3.safetensors" in refused["error"]


def test_a_file_that_is_not_what_the_hub_says_is_refused(opened, llama):
    """Here one in the cache whose bits have changed."""
    _, files = llama
    (good,), _ = opened({"owner/llama": {"main": files}}, "owner/llama")
    shard = max(Path(good["directory"]).glob("model-*.safetensors"))
    content = shard.read_bytes()
    shard.resolve().chmod(0o644)
    shard.resolve().write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (bad,), _ = opened({"owner/llama": {"main": files}}, "owner/llama")
    assert f"{shard}: is damaged: its SHA-256 is not the one that the hub gives" in bad["error"]


NAMED = {
    "both": {**CONFIG, "model.safetensors": weights(1), "adapter_config.json": b"{}"},
    "other-name": {**CONFIG, "weights.safetensors": weights(2)},
    "several": {**CONFIG, "a.safetensors": weights(1), "b.safetensors": weights(2)},
    "index-and-file": {**CONFIG, **shards(1), "model.safetensors": weights(5)},
    "no-config": {"model.safetensors": weights(1)},
    "adapter-without-config": {"adapter_model.safetensors": weights(1)},
    "config-of-an-adapter": {**CONFIG, "adapter_config.json": b"{}"},
    "below": {**CONFIG, "transformer/model.safetensors": weights(1)},
    "nothing": {**CONFIG, "README.md": b"x"},
    "twice": {**CONFIG, "other.safetensors": weights(3), "pytorch_model.bin": b"not read"},
}


def test_the_same_decision_by_id_and_in_a_folder(opened, tmp_path):
    for name, files in NAMED.items():
        for file, content in files.items():
            path = tmp_path / "local" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    ids = [f"owner/{name}" for name in NAMED]
    repositories = {f"owner/{name}": {"main": files} for name, files in NAMED.items()}
    found, _ = opened(repositories, *ids, *(str(tmp_path / "local" / name) for name in NAMED))
    for name, remote, local in zip(NAMED, found, found[len(NAMED) :], strict=False):
        if "error" in local:
            there, here = (text.split(name)[-1] for text in (remote["error"], local["error"]))
            assert there == here
            continue
        for key in ("matrices", "kind", "files", "sha256"):
            assert remote[key] == local[key], name
        assert len(remote["warnings"]) == len(local["warnings"])
    assert ["error" in local for local in found[len(NAMED) :]] == [
        name in ("several", "adapter-without-config", "config-of-an-adapter", "below", "nothing") for name in NAMED
    ]


def test_gated_failing_and_silent_repositories(opened):
    """Each is one line, soon; what was fetched before is opened with a warning while the server is down."""
    files = {**CONFIG, **TOKENIZER, "model.safetensors": weights(2)}
    names = ("owner/good", "owner/gated", "owner/broken", "owner/silent", "owner/private")
    repositories = {name: {"main": files} for name in names}
    trouble = {
        "gated": ("owner/gated",),
        "failing": {"owner/broken": 503, "owner/private/resolve/": 403},
        "slow": {"owner/silent": 3.0},
    }
    (good, gated, broken, silent, private), _ = opened(repositories, *names, **trouble)
    assert good["matrices"] == {"layers.0.q_proj.weight": 24.0}
    assert "owner/gated: this model on the Hugging Face hub is gated: accept its terms" in gated["error"]
    assert "owner/private: cannot be had from the Hugging Face hub: " in private["error"]
    for found in (broken, silent):
        assert "the hub cannot be reached" in found["error"]
        assert "\n" not in found["error"]
    (again,), _ = opened(repositories, "owner/good", failing={"owner/good": 502})
    assert again["matrices"] == good["matrices"]
    assert any("the hub cannot be reached" in warning for warning in again["warnings"])


def test_a_cache_that_another_program_filled(opened):
    """Without the hub: what is there is opened where it is all, and refused where a shard is missing."""
    files = {**CONFIG, **shards(1)}
    (found,), _ = opened({"owner/name": {"main": files}}, "owner/name")
    folder = Path(found["directory"])
    (listing,) = (folder.parent.parent / "eigensweep").iterdir()
    listing.unlink()
    (again,), _ = opened(None, "owner/name")
    assert again["matrices"] == found["matrices"]
    assert again["sha256"] == found["sha256"]
    (folder / "b.safetensors").unlink()
    (short,), _ = opened(None, "owner/name")
    assert "Missing: b.safetensors" in short["error"]
