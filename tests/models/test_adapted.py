"""Adapters beside their base, and DoRA: against what PEFT makes of them when it merges."""

import json

import numpy as np
import pytest

from eigensweep import engine
from eigensweep.models import CheckpointError, open_checkpoint


def adapt(tiny, folder, name, **config):
    """An adapter with random factors in `folder`. Returns the base's folder, its weights and the merged ones."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    model, base = tiny(name)
    model = type(model).from_pretrained(base)  # merging changes it in place
    before = {key: value.clone().numpy() for key, value in model.state_dict().items()}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**config))
    torch.manual_seed(3)
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "magnitude" in key:
                parameter.mul_(1 + torch.rand_like(parameter))
            elif "lora_" in key or "modules_to_save" in key:
                parameter.normal_()
    adapted.save_pretrained(folder)
    after = adapted.merge_and_unload().state_dict()
    return base, before, {key: after[key].numpy() for key in before}


def compare(checkpoint, before, after, changed, turned=()):
    """base, merged and delta of every changed weight, against the tensors of the two models; fused ones in shares."""
    found = {}
    for matrix in checkpoint.matrices:
        name, *label, kind = matrix.name.split(":")
        found.setdefault(name, {}).setdefault(kind, []).append((label, matrix))
    assert set(found) == set(changed)
    for name, kinds in found.items():
        assert list(kinds) == ["base", "merged", "delta"]
        pair = [array.T if any(part in name for part in turned) else array for array in (before[name], after[name])]
        expected = dict(zip(kinds, (*pair, pair[1] - pair[0]), strict=True))
        for kind, shares in kinds.items():
            whole = np.concatenate([matrix.read() for _, matrix in shares])
            assert {matrix.tower for _, matrix in shares} == {kind}
            np.testing.assert_allclose(whole, expected[kind], atol=3e-5)
    return found


@pytest.mark.parametrize(
    "config",
    [
        {"r": 4, "lora_alpha": 6},
        {"r": 4, "lora_alpha": 6, "use_dora": True},
        {
            "r": 3,
            "lora_alpha": 2,
            "use_rslora": True,
            "use_dora": True,
            "rank_pattern": {"q_proj": 5, r"layers\.0\.self_attn\.v.*": 2},
            "alpha_pattern": {"^model.layers.1.self_attn.v_proj": 9},
        },
    ],
)
def test_merged_is_what_peft_merges(tiny, tmp_path, config):
    modules = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")
    base, before, after = adapt(tiny, tmp_path, "llama", target_modules=[m.split(".")[1] for m in modules], **config)
    checkpoint = open_checkpoint(tmp_path, base=base)
    names = [f"model.layers.{block}.{module}.weight" for block in range(2) for module in modules]
    found = compare(checkpoint, before, after, names)
    assert checkpoint.architecture == "llama"
    ((_, query),) = found["model.layers.1.self_attn.q_proj.weight"]["merged"]
    assert (query.role, query.block, query.guessed, query.dtype) == ("query", 1, False, "float32")
    assert any(text.startswith("6 weights") and "not swept here" in text for text in checkpoint.warnings)
    if "use_dora" not in config:
        alone = {matrix.name: matrix for matrix in open_checkpoint(tmp_path).matrices}
        for matrix in checkpoint.matrices:
            if matrix.name.endswith(":delta"):
                np.testing.assert_array_equal(matrix.read(), alone[matrix.name].read())


@pytest.mark.parametrize("dora", [False, True])
def test_conv1d_and_fused_projections(tiny, tmp_path, dora):
    """GPT-2 stores (in, out) and fuses query, key and value; its hub files name tensors without the prefix."""
    base, before, after = adapt(
        tiny, tmp_path, "gpt2", r=2, lora_alpha=3, use_dora=dora, fan_in_fan_out=True,
        target_modules=["c_attn", "mlp.c_proj"],
    )  # fmt: skip
    names = [f"transformer.h.{block}.{module}.weight" for block in range(2) for module in ("attn.c_attn", "mlp.c_proj")]
    found = compare(open_checkpoint(tmp_path, base=base), before, after, names, turned=("weight",))
    labels = [label for label, _ in found["transformer.h.0.attn.c_attn.weight"]["delta"]]
    assert labels == [["query"], ["key"], ["value"]]
    bare = {key.removeprefix("transformer."): value for key, value in before.items() if key != "lm_head.weight"}
    again = open_checkpoint(tmp_path, base=open_checkpoint(bare, config=json.loads((base / "config.json").read_text())))
    assert [m.name.removeprefix("h.") for m in again.matrices][:3] == [
        f"0.attn.c_attn.weight:query:{kind}" for kind in ("base", "merged", "delta")
    ]


@pytest.mark.parametrize("dora", [False, True])
def test_an_embedding_and_weights_stored_in_full(tiny, tmp_path, dora):
    base, before, after = adapt(
        tiny, tmp_path, "roberta-classifier", r=2, lora_alpha=3, use_dora=dora, target_modules=["word_embeddings"],
        modules_to_save=["classifier"],
    )  # fmt: skip
    names = ["roberta.embeddings.word_embeddings.weight", "classifier.dense.weight", "classifier.out_proj.weight"]
    checkpoint = open_checkpoint(tmp_path, base=base)
    compare(checkpoint, before, after, names, turned=("embeddings",))
    assert {m.role for m in checkpoint.matrices} == {"embedding", "classifier"}


def test_dora_without_its_base_is_swept_in_part_and_said(tiny, tmp_path):
    from safetensors.numpy import load_file

    adapt(tiny, tmp_path, "llama", target_modules=["q_proj"], r=2, lora_alpha=3, use_dora=True)
    checkpoint = open_checkpoint(tmp_path)
    assert any("DoRA also rescales the base weights" in text and "--base" in text for text in checkpoint.warnings)
    held = load_file(tmp_path / "adapter_model.safetensors")
    a, b = (held[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{x}.weight"].astype(float) for x in "AB")
    first = checkpoint.matrices[0]
    assert first.name == "model.layers.0.self_attn.q_proj.weight:lora"
    np.testing.assert_allclose(first.read(), 1.5 * b @ a, rtol=1e-5, atol=1e-6)
    assert sum("magnitude" in skipped.name for skipped in checkpoint.skipped) == 2


def test_a_run_knows_its_base(tiny, tmp_path):
    base, *_ = adapt(tiny, tmp_path / "adapter", "llama", target_modules=["q_proj"], r=2, lora_alpha=3)
    checkpoint = open_checkpoint(tmp_path / "adapter", base=base)
    alone, model = open_checkpoint(tmp_path / "adapter"), open_checkpoint(base)
    assert checkpoint.identity["base"] == model.identity
    assert checkpoint.identity["sha256"] not in (alone.identity["sha256"], model.identity["sha256"])
    options = engine.SweepOptions(control="none", equalise=False, num_flips=0)
    run = engine.sweep(checkpoint, options, tmp_path / "run")
    assert sorted(run.matrices["name"].str.split(":").str[-1]) == ["base"] * 2 + ["delta"] * 2 + ["merged"] * 2
    assert set(run.matrices["tower"]) == {"base", "merged", "delta"}
    assert run.manifest["checkpoint"]["base"]["sha256"] == model.identity["sha256"]
    with pytest.raises(engine.RunError):
        engine.sweep(alone, options, tmp_path / "run")
    other = tiny("llama-tied-biased")[1]
    with pytest.raises(CheckpointError, match=r"changes a weight \[32, 32\], but .*q_proj.weight .* is \[40, 32\]"):
        open_checkpoint(tmp_path / "adapter", base=other)


def test_a_quantised_base(tiny, tmp_path):
    """bitsandbytes' int8: W = codes * SCB/127, a row each; what is merged was never rounded to that grid."""
    base, before, after = adapt(tiny, tmp_path, "llama", target_modules=["q_proj"], r=2, lora_alpha=3)
    state, scales = dict(before), {}
    for name in [name for name in before if "q_proj" in name]:
        scales[name] = np.abs(before[name]).max(1).astype(np.float32)
        state[name] = np.rint(before[name] / scales[name][:, None] * 127).astype(np.int8)
        state[name.replace("weight", "SCB")] = scales[name]
    config = json.loads((base / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    checkpoint = open_checkpoint(tmp_path, base=open_checkpoint(state, config=config))
    for matrix in checkpoint.matrices:
        name, kind = matrix.name.split(":")
        assert bool(matrix.quantised) == (matrix.grid is not None) == (kind == "base")
        rounded = state[name].astype(np.float64) * scales[name][:, None] / 127
        delta = after[name] - before[name]
        expected = {"base": rounded, "merged": rounded + delta, "delta": delta}[kind]
        np.testing.assert_allclose(matrix.read(), expected, atol=3e-5)


def test_bases_that_are_refused(tiny, tmp_path):
    base, *_ = adapt(tiny, tmp_path, "llama", target_modules=["q_proj"], r=2, lora_alpha=3)
    with pytest.raises(CheckpointError, match="no adapter; a base is for adapters alone"):
        open_checkpoint(base, base=base)
    with pytest.raises(CheckpointError, match="an adapter, where the base model of"):
        open_checkpoint(tmp_path, base=tmp_path)
    with pytest.raises(CheckpointError, match=r"changes what .* does not have.*layers\.0\.self_attn\.q_proj\.weight"):
        open_checkpoint(tmp_path, base=tiny("gpt2")[1])
    from eigensweep.models import convert

    convert(open_checkpoint(base), tmp_path / "converted")
    with pytest.raises(CheckpointError, match="a converted checkpoint cannot be the base of an adapter"):
        open_checkpoint(tmp_path, base=tmp_path / "converted")
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    for entries, base_, message in (
        ({"layer_replication": [[0, 2], [1, 2]]}, base, "layer_replication repeats blocks"),
        ({"fan_in_fan_out": True}, base / "model.safetensors", "which ones is not known"),
    ):
        path.write_text(json.dumps({**config, **entries}))
        with pytest.raises(CheckpointError, match=message) as error:
            open_checkpoint(tmp_path, base=base_)
        assert "adapter_config.json" in str(error.value)
