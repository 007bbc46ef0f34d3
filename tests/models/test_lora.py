"""LoRA adapters against what PEFT adds to the base weights when it merges."""

import json
import shutil

import numpy as np
import pytest

from eigensweep.models import CheckpointError, open_checkpoint


def adapt(tiny, folder, name, **config):
    """Trains nothing, but gives both factors random entries. Returns merged minus base, by parameter's name."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    model, source = tiny(name)
    # merge_and_unload changes the model in place: work on one of our own
    model = type(model).from_pretrained(source)
    assert isinstance(model, transformers.PreTrainedModel)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**config))
    torch.manual_seed(3)
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                parameter.normal_()
    adapted.save_pretrained(folder)
    after = adapted.merge_and_unload().state_dict()
    return {key: (after[key] - value).numpy() for key, value in before.items()}, after


def deltas(folder):
    return {m.name.removesuffix(":delta"): m for m in open_checkpoint(folder).matrices if m.name.endswith(":delta")}


@pytest.mark.parametrize(
    ("config", "ranks"),
    [
        ({"r": 4, "lora_alpha": 6}, {"": 4}),
        ({"r": 4, "lora_alpha": 6, "use_rslora": True}, {"": 4}),
        (
            {"r": 3, "lora_alpha": 2, "rank_pattern": {"q_proj": 5}, "alpha_pattern": {"layers.1.self_attn.v_proj": 9}},
            {"q_proj": 5, "": 3},
        ),
        ({"r": 3, "lora_alpha": 2, "rank_pattern": {r"layers\.0\..*": 2}, "use_rslora": True}, {"layers.0": 2, "": 3}),
    ],
)
def test_deltas_of_linear_layers(tiny, tmp_path, config, ranks):
    change, _ = adapt(tiny, tmp_path, "llama", target_modules=["q_proj", "v_proj", "down_proj"], **config)
    found = deltas(tmp_path)
    assert len(found) == 6
    for name, matrix in found.items():
        assert matrix.dtype == "float32"
        assert not matrix.guessed
        np.testing.assert_allclose(matrix.read(), change[name], atol=2e-5)
        assert np.linalg.matrix_rank(matrix.read()) == next(r for part, r in ranks.items() if part in name)
    assert {(m.role, m.block) for m in found.values()} == {
        (role, block) for role in ("query", "value", "mlp_down") for block in range(2)
    }


def test_conv1d_and_its_fused_projection(tiny, tmp_path):
    """GPT-2 stores (in, out) and fuses query, key, value: PEFT calls for fan_in_fan_out, we split and turn."""
    change, _ = adapt(
        tiny, tmp_path, "gpt2", r=2, lora_alpha=3, fan_in_fan_out=True, target_modules=["c_attn", "mlp.c_proj"]
    )
    found = deltas(tmp_path)
    assert len(found) == 8
    for block in range(2):
        fused = change[f"transformer.h.{block}.attn.c_attn.weight"].T
        for i, role in enumerate(("query", "key", "value")):
            matrix = found[f"transformer.h.{block}.attn.c_attn.weight:{role}"]
            assert (matrix.role, matrix.block, matrix.shape) == (role, block, (32, 32))
            np.testing.assert_allclose(matrix.read(), fused[32 * i : 32 * (i + 1)], atol=2e-5)
        down = found[f"transformer.h.{block}.mlp.c_proj.weight"]
        np.testing.assert_allclose(down.read(), change[f"transformer.h.{block}.mlp.c_proj.weight"].T, atol=2e-5)
    assert open_checkpoint(tmp_path).architecture == "gpt2"


def test_an_embeddings_delta_and_modules_to_save(tiny, tmp_path):
    change, after = adapt(
        tiny,
        tmp_path,
        "roberta-classifier",
        r=2,
        lora_alpha=3,
        target_modules=["word_embeddings"],
        modules_to_save=["classifier"],
    )
    checkpoint = open_checkpoint(tmp_path)
    found = {m.name: m for m in checkpoint.matrices}
    table = found["roberta.embeddings.word_embeddings.weight:delta"]
    assert (table.role, table.shape) == ("embedding", (32, 96))
    np.testing.assert_allclose(table.read(), change["roberta.embeddings.word_embeddings.weight"].T, atol=2e-5)
    dense = found["classifier.dense.weight"]
    assert (dense.role, dense.guessed) == ("classifier", False)
    np.testing.assert_array_equal(dense.read(), after["classifier.dense.weight"])
    np.testing.assert_array_equal(found["classifier.out_proj.weight"].read(), after["classifier.out_proj.weight"])


def test_half_precision_factors_make_an_update_of_rank_r(tiny, tmp_path):
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    adapt(tiny, tmp_path, "llama", r=4, lora_alpha=8, target_modules=["q_proj"])
    path = tmp_path / "adapter_model.safetensors"
    held = {k: v.to(torch.bfloat16) for k, v in safetensors_torch.load_file(path).items()}
    safetensors_torch.save_file(held, path)
    (first, _) = deltas(tmp_path).values()
    a, b = (held[f"base_model.model.model.layers.0.self_attn.q_proj.lora_{x}.weight"].double().numpy() for x in "AB")
    assert first.dtype == "float32"
    np.testing.assert_allclose(first.read(), 2 * b @ a, rtol=1e-6)
    assert np.linalg.matrix_rank(first.read()) == 4


def test_the_real_series(shared):
    spectra = {}
    for step in ("00500", "08610"):
        checkpoint = open_checkpoint(shared / f"checkpoints/roberta-lora-series/step-{step}")
        assert checkpoint.architecture == "roberta"
        roles = [m.role for m in checkpoint.matrices]
        assert [roles.count(r) for r in ("query", "value", "classifier")] == [12, 12, 2]
        dense = next(m for m in checkpoint.matrices if m.name == "classifier.dense.weight")
        spectra[step] = np.linalg.svd(dense.read(), compute_uv=False)
        assert checkpoint.matrices[0].name == "roberta.encoder.layer.0.attention.self.query.weight:delta"
    s = np.linalg.svd(checkpoint.matrices[0].read(), compute_uv=False)
    assert s[7] > 1e-3 * s[0] > 1e3 * s[8]
    np.testing.assert_allclose(spectra["00500"][:2], [1.307, 1.165], atol=1e-3)
    np.testing.assert_allclose(spectra["08610"][:5], [1.883, 1.804, 1.579, 1.512, 1.095], atol=1e-3)


@pytest.fixture
def adapter(shared, tmp_path):
    """A copy of a real adapter, and a function that changes its config."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    for path in (shared / "checkpoints/roberta-lora-series/step-00500").iterdir():
        shutil.copyfile(path, folder / path.name)

    def change(**entries):
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))
        return folder

    return change


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3' is not supported"),
        ({"use_dora": True}, "use_dora is True, and .*query has no lora_magnitude_vector"),
        ({"target_parameters": ["experts.down_proj"]}, "target_parameters is not supported"),
        ({"r": 16}, r"gives rank 16 for .*lora_A.weight, whose shape is \[8, 768\]"),
        ({"r": None}, "r is None, a number was expected"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"rank_pattern": {"(": 8}}, r"rank_pattern: '\(' is no regular expression"),
        ({"alpha_pattern": ["query"]}, "alpha_pattern is"),
    ],
)
def test_a_config_that_is_refused(adapter, entries, message):
    folder = adapter(**entries)
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(folder)
    assert "adapter_config.json" in str(error.value)


def test_an_initialisation_that_changes_the_base_is_said(adapter):
    checkpoint = open_checkpoint(adapter(init_lora_weights="pissa_niter_4"))
    assert any("pissa" in warning for warning in checkpoint.warnings)


def test_missing_pieces(adapter, tmp_path):
    from safetensors.numpy import load_file, save_file

    folder = adapter()
    path = folder / "adapter_model.safetensors"
    held = load_file(path)
    name = next(name for name in held if "lora_B" in name)
    save_file({k: v for k, v in held.items() if k != name}, path)
    with pytest.raises(CheckpointError, match=r"lora_A\.weight has no partner"):
        open_checkpoint(folder)
    save_file({**held, name: np.zeros((768, 3), np.float32)}, path)
    with pytest.raises(CheckpointError, match="different ranks"):
        open_checkpoint(folder)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"neither adapter_model\.safetensors nor adapter_model\.bin"):
        open_checkpoint(folder)
    save_file(held, path)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: missing"):
        open_checkpoint(folder)


def test_an_adapter_is_not_converted(adapter, tmp_path):
    from eigensweep.models import convert

    with pytest.raises(CheckpointError, match="no whole model"):
        convert(open_checkpoint(adapter()), tmp_path / "out")
    assert not (tmp_path / "out").exists()
