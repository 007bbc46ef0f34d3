"""A model with some of its matrices replaced, measured: real checkpoints, every measure, what is refused."""

import json
import shutil

import jax
import numpy as np
import pytest

from eigensweep import models
from eigensweep.engine import RunError
from eigensweep.engine.spectral import removal
from eigensweep.engine.studies.ablation.factors import edit
from eigensweep.engine.studies.ablation.study import AblationOptions
from eigensweep.engine.studies.edited_model import open_measure
from eigensweep.models import nn
from eigensweep.models.data import DataError


def measure_of(checkpoint, **values):
    return open_measure(checkpoint, AblationOptions.of(values), seed=values.get("seed", 0))


@pytest.fixture(scope="module")
def shakespeare(shared):
    return {"data": str(shared / "text" / "tinyshakespeare.txt"), "data_from": 0.9, "length": 128, "stride": 5000}


@pytest.fixture(scope="module")
def char_gpt2(shared):
    return models.open_checkpoint(shared / "checkpoints" / "gpt2-char-shakespeare")


@pytest.fixture
def compiled():
    """The durations of what JAX compiles, or loads from its cache, from here on."""
    seen = []

    def listen(event, duration, **kwargs):
        if event.endswith("backend_compile_duration"):
            seen.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_removals_share_parameters_and_compile_once(char_gpt2, shakespeare, compiled):
    measure = measure_of(char_gpt2, **shakespeare)
    edits = [
        edit(char_gpt2.matrices, scope, taken)
        for taken in removal.expand(["decile:1", "outliers:right"])
        for scope in ("query", "blocks")
    ]
    baseline = measure.evaluate({})
    assert compiled
    compiled.clear()
    for edited in edits:
        assert measure.evaluate(edited).loss.shape == baseline.loss.shape
    assert not compiled
    _, params = nn.load(char_gpt2)
    edited = nn.with_matrices(params, char_gpt2, edit(char_gpt2.matrices, "query", removal.parse("decile:1")))
    changed = {path for (path, old), (_, new) in zip(nn.walk(params), nn.walk(edited), strict=True) if old is not new}
    assert changed == {f"blocks/{i}/attention/query/kernel" for i in range(4)}
    np.testing.assert_array_equal(measure.evaluate({m.name: m.read() for m in char_gpt2.matrices}).loss, baseline.loss)


@pytest.mark.parametrize("name", ["gpt2-char-shakespeare", "llama-stories260k"])
def test_block_by_block_measures_the_same(shared, shakespeare, name):
    """Another matrix in every place, the tied embedding (two parts of the model) among them."""
    checkpoint = models.open_checkpoint(shared / "checkpoints" / name)
    values = shakespeare | {"length": 64, "max_rows": 6, "batch_size": 4}
    whole, streamed = (measure_of(checkpoint, **values, stream=stream) for stream in (False, True))
    rng = np.random.default_rng(0)
    noisy = {
        m.name: m.read() + 0.02 * rng.standard_normal(m.shape)
        for m in checkpoint.matrices
        if m.block is not None or m.role == "embedding"
    }
    baseline = whole.evaluate({}).loss
    np.testing.assert_allclose(streamed.evaluate({}).loss, baseline, rtol=1e-5)
    loss = whole.evaluate(noisy).loss
    assert np.min(np.abs(loss - baseline)) > 1e-3
    np.testing.assert_allclose(streamed.evaluate(noisy).loss, loss, rtol=1e-5)


@pytest.mark.parametrize("values", [{"devices": 2}, {"format": "sampled"}])
def test_what_does_not_go_with_streaming(char_gpt2, shakespeare, values):
    with pytest.raises(RunError, match="stream goes with neither"):
        measure_of(char_gpt2, **shakespeare | values, stream=True)


@pytest.fixture(scope="module")
def berts(minilm, tmp_path_factory):
    """A small random BERT with each head, and MiniLM's tokenizer: folder by head."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, initializer_range=0.3
    )
    folders = {}
    for name in ("BertForMaskedLM", "BertForSequenceClassification"):
        folders[name] = tmp_path_factory.mktemp(name)
        getattr(transformers, name)(config).save_pretrained(folders[name])
        for file in minilm.glob("*token*"):
            shutil.copy(file, folders[name])
        shutil.copy(minilm / "vocab.txt", folders[name])
    return folders


@pytest.mark.parametrize(
    ("architecture", "measure_name", "file", "format"),
    [
        ("BertForMaskedLM", "masked", "wikitext2_test_tokens.txt", "wikitext"),
        ("BertForSequenceClassification", "accuracy", "superglue_BoolQ_val.jsonl", "boolq"),
    ],
)
def test_masked_token_loss_and_accuracy(berts, shared, architecture, measure_name, file, format):
    checkpoint = models.open_checkpoint(berts[architecture])
    data = str(shared / "text" / file)
    measure = measure_of(checkpoint, data=data, format=format, length=32, max_rows=24)
    assert measure.description["measure"] == measure_name
    baseline = measure.evaluate({})
    assert len(baseline.loss) == 24
    assert baseline.count.sum() == measure.description["targets"]
    value = edit(checkpoint.matrices, "value", removal.parse("decile:1"))
    assert abs(measure.evaluate(value).mean - baseline.mean) > 1e-4
    # masks and rows do not change between two measurements
    np.testing.assert_array_equal(measure.evaluate({}).loss, baseline.loss)


def test_labels_must_be_the_classifiers(berts, tmp_path):
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate("abcabc")]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    checkpoint = models.open_checkpoint(berts["BertForSequenceClassification"])
    values = {"data": str(path), "format": "labelled", "length": 16}
    with pytest.raises(DataError, match=r"3 labels .* 2 outputs"):
        measure_of(checkpoint, labels="a,b,c", **values)
    with pytest.raises(DataError, match="'c' is none of a, b"):
        measure_of(checkpoint, labels="a,b", **values)


@pytest.mark.parametrize(
    ("error", "says", "values"),
    [
        (models.CheckpointError, "mlm", {"measure": "masked"}),
        (DataError, "start token", {"format": "sampled", "max_rows": 4}),
        (RunError, "needs max_rows", {"format": "sampled"}),
        (RunError, "no data: give --data", {"data": ""}),
        (RunError, "data_from", {"data_from": 1.0}),
        (DataError, "format is 'boolq'", {"format": "boolq"}),
        (DataError, "no/such/text", {"data": "no/such/text"}),
        (DataError, "length is 129", {"length": 129}),
    ],
)
def test_bad_input_is_refused_before_any_work(char_gpt2, shakespeare, error, says, values):
    with pytest.raises(error, match=says):
        measure_of(char_gpt2, **shakespeare | values)


def test_another_models_tokenizer_is_refused(minilm, char_gpt2, shakespeare):
    with pytest.raises(DataError, match="do not belong together"):
        measure_of(char_gpt2, **shakespeare, tokenizer=str(minilm))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("measure", "speed"), ("format", "prose"), ("length", -1), ("length", 1), ("stride", -1), ("batch_size", 0),
        ("dtype", "float64"), ("param_dtype", "foo"), ("seed", -1), ("max_rows", -2), ("mask_probability", 0),
        ("devices", -1), ("sigma", "median"), ("data_to", 1.5),
    ],
)  # fmt: skip
def test_wrong_values_are_named(key, value):
    with pytest.raises(ValueError, match=rf"{key} is '?{value}"):
        AblationOptions.of({key: value})


@pytest.mark.parametrize(
    ("values", "says"), [({"removals": "decile:11"}, "removal 'decile:11'"), ({"scopes": ""}, "at least one")]
)
def test_wrong_removals_and_scopes_are_named(values, says):
    with pytest.raises(ValueError, match=says):
        AblationOptions.of(values)


def test_text_sampled_from_the_model_is_its_own_best_fit(shared):
    checkpoint = models.open_checkpoint(shared / "checkpoints" / "llama-stories260k")
    measure = measure_of(checkpoint, format="sampled", max_rows=40, length=24)
    baseline = measure.evaluate({})
    worse = measure.evaluate(edit(checkpoint.matrices, "value", removal.parse("decile:1")))
    assert baseline.mean < 2.5 < np.log(512)
    assert worse.mean > baseline.mean
