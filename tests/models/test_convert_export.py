"""Edited matrices written back in Hugging Face layout: transformers loads them, everything else is bit for bit."""

import json

import numpy as np
import pytest

from eigensweep.models import CheckpointError, open_checkpoint, write_huggingface

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

EDITED = {
    "gpt2": ["blocks/0/attention/key/kernel", "blocks/1/mlp/down/kernel", "embedding/embedding"],
    "gpt-neox": ["blocks/0/attention/value/kernel", "blocks/1/attention/query/kernel", "unembedding/kernel"],
    "phi3": ["blocks/1/attention/key/kernel", "blocks/0/mlp/up/kernel"],
    "mixtral": ["blocks/1/moe/experts/2/gate/kernel", "blocks/0/moe/router/kernel"],
    "bert": ["blocks/1/attention/output/kernel", "position_embedding/embedding"],
}


@pytest.mark.parametrize("name", EDITED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_transformers_loads_what_was_written(tiny, tmp_path, name, dtype):
    model, folder = tiny(name, dtype)
    checkpoint = open_checkpoint(folder)
    rng = np.random.default_rng(0)
    by_path = {m.path: m for m in checkpoint.matrices}
    new = {
        by_path[path].name: rng.standard_normal(by_path[path].shape).astype(by_path[path].read().dtype)
        for path in EDITED[name]
    }
    written = write_huggingface(checkpoint, tmp_path / "out", new)
    again = open_checkpoint(written)
    for old, matrix in zip(checkpoint.matrices, again.matrices, strict=True):
        expected = new.get(matrix.name, old.read())
        assert matrix.read().tobytes() == np.ascontiguousarray(expected).tobytes()
        assert matrix.dtype == dtype
    loaded, info = type(model).from_pretrained(written, dtype=getattr(torch, dtype), output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    before, after = model.state_dict(), loaded.state_dict()
    differ = {key for key in before if not torch.equal(before[key], after[key])}
    assert differ
    edited = {n.split(":")[0].replace("embed_out", "lm_head") for n in new}  # GPT-NeoX's head, renamed on loading
    if name == "mixtral":
        assert all(".1.mlp.experts" in key or ".0.mlp.gate" in key for key in differ)
    else:
        assert edited <= differ <= edited | {"lm_head.weight"}


def test_stacked_experts(tiny, tmp_path):
    safetensors_torch = pytest.importorskip("safetensors.torch")
    model, folder = tiny("mixtral")
    source = tmp_path / "stacked"
    source.mkdir()
    safetensors_torch.save_file(model.state_dict(), source / "model.safetensors")
    (source / "config.json").write_text((folder / "config.json").read_text())
    checkpoint = open_checkpoint(source)
    name = "model.layers.0.mlp.experts.gate_up_proj[1]:up"
    new = np.random.default_rng(0).standard_normal((48, 32)).astype(np.float32)
    written = write_huggingface(checkpoint, tmp_path / "out", {name: new})
    stored = safetensors_torch.load_file(written / "model.safetensors")
    expected = model.state_dict()["model.layers.0.mlp.experts.gate_up_proj"].clone()
    expected[1, 48:] = torch.from_numpy(new)
    assert torch.equal(stored["model.layers.0.mlp.experts.gate_up_proj"], expected)


def test_a_tie_that_is_stored_twice_is_written_twice(tiny, tmp_path):
    safetensors_torch = pytest.importorskip("safetensors.torch")
    model, folder = tiny("gpt2")
    source = tmp_path / "twice"
    source.mkdir()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    safetensors_torch.save_file(state, source / "model.safetensors")
    (source / "config.json").write_text((folder / "config.json").read_text())
    new = np.ones((32, 96), np.float32)
    out = write_huggingface(open_checkpoint(source), tmp_path / "out", {"transformer.wte.weight": new})
    stored = safetensors_torch.load_file(out / "model.safetensors")
    assert torch.equal(stored["transformer.wte.weight"], torch.ones(96, 32))
    assert torch.equal(stored["lm_head.weight"], torch.ones(96, 32))


def test_shards_and_companions(tiny, tmp_path):
    model, _ = tiny("llama")
    source = tmp_path / "sharded"
    model.save_pretrained(source, max_shard_size="20KB")
    (source / "tokenizer.json").write_text("{}")
    (source / "modeling_evil.py").write_text("raise SystemExit")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text("{}")
    (source / "secret.json").symlink_to("/etc/hostname")
    checkpoint = open_checkpoint(source)
    assert len([f for f in checkpoint.identity["files"] if f.endswith(".safetensors")]) > 1
    matrix = checkpoint.matrices[3]
    out = write_huggingface(checkpoint, tmp_path / "out", {matrix.name: -matrix.read()})
    np.testing.assert_array_equal(open_checkpoint(out).matrices[3].read(), -matrix.read())
    assert (out / "tokenizer.json").is_file()
    assert (out / "1_Pooling" / "config.json").is_file()
    assert not (out / "modeling_evil.py").exists()
    assert not (out / "secret.json").exists()
    assert json.loads((out / "config.json").read_text()) == json.loads((source / "config.json").read_text())
    loaded = type(model).from_pretrained(out)
    weight = dict(loaded.named_parameters())[matrix.name]
    np.testing.assert_array_equal(weight.detach().numpy(), -matrix.read())


def test_wrong_use(tiny, tmp_path):
    _, folder = tiny("llama", "float16")
    checkpoint = open_checkpoint(folder)
    name = checkpoint.matrices[1].name
    with pytest.raises(ValueError, match=r"'absent' is none of the checkpoint's \d+ matrices"):
        write_huggingface(checkpoint, tmp_path / "out", {"absent": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"shape \[32, 32\] was expected, got \[2, 2\]"):
        write_huggingface(checkpoint, tmp_path / "out", {name: np.ones((2, 2))})
    with pytest.raises(ValueError, match="do not fit into float16"):
        write_huggingface(checkpoint, tmp_path / "out", {name: np.full((32, 32), 1e6)})
    with pytest.raises(CheckpointError, match="of kind dict; only folders"):
        write_huggingface(open_checkpoint({"w": np.ones((2, 2))}), tmp_path / "out", {})
    assert not (tmp_path / "out").exists()
