"""eigensweep-ablate as its user runs it: real checkpoints, every measure, the edited checkpoint in torch, errors."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from eigensweep import models
from eigensweep.bin.ablation_config import options_from, removal_to_write
from eigensweep.bin.cli import UserError
from eigensweep.bin.measured import open_measure, text_windows, with_matrices
from eigensweep.configs import ablate as defaults
from eigensweep.engine.run.ablation import AblationOptions, edit
from eigensweep.engine.run.ablation_store import open_ablation
from eigensweep.engine.spectral import removal
from eigensweep.models import nn
from eigensweep.models.data import DataError


def ablate(*arguments, cwd=None):
    command = [sys.executable, "-m", "eigensweep.bin.ablate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def error_of(done):
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def config_of(**values):
    config = defaults.get_config()
    config.update(values)
    return config


@pytest.fixture(scope="module")
def gpt2(shared):
    return shared / "checkpoints" / "gpt2-char-shakespeare"


@pytest.fixture(scope="module")
def shakespeare(shared):
    return {"data": str(shared / "text" / "tinyshakespeare.txt"), "data_from": 0.9, "stride": 5000}


def test_end_to_end_and_the_written_checkpoint_has_the_same_loss_in_torch(gpt2, shakespeare, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    arguments = [
        f"--checkpoint={gpt2}",
        *(f"--config.{key}={value}" for key, value in shakespeare.items()),
        "--config.scopes=query,transformer.h.1.mlp.c_fc.weight",
        "--config.removals=deciles,outliers:right,random:decile",
        "--config.num_draws=1",
        f"--workdir={tmp_path / 'run'}",
        f"--write_checkpoint={tmp_path / 'edited'}",
        "--removal=query/decile:2",
    ]
    done = ablate(*arguments)
    assert done.returncode == 0, done.stderr
    for text in ("decile:10", "smallest decile against the middle", "figures/ablation.png", "baseline: loss"):
        assert text in done.stdout
    study = open_ablation(tmp_path / "run")
    assert len(study.results) == 1 + 2 * 12
    assert (tmp_path / "run" / "figures" / "ablation.pdf").exists()
    table = study.results.set_index(["scope", "removal"])["loss"]
    assert table["query", "decile:1"] > table["", "baseline"] + 1

    config = config_of(**shakespeare)
    rows = open_rows(gpt2, config)
    reference = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "edited").eval()
    with torch.no_grad():
        ids = torch.tensor(rows.astype(np.int64))
        expected = float(reference(ids, labels=ids).loss)
    assert table["query", "decile:2"] == pytest.approx(expected, abs=2e-5)
    assert abs(expected - table["", "baseline"]) > 1e-3  # the edit is there
    again = ablate(*arguments)
    assert "not an empty folder" in error_of(again)


def open_rows(folder, config):
    from eigensweep.models.data import encode_text, load_tokenizer, read_text

    text = read_text(config.data)
    tokens = encode_text(load_tokenizer(folder), text[int(0.9 * len(text)) :])
    return np.stack([tokens[i : i + 128] for i in range(0, len(tokens) - 127, config.stride)])


def test_removals_share_parameters_and_compile_once(gpt2, shakespeare):
    checkpoint = models.open_checkpoint(gpt2)
    measure = open_measure(checkpoint, config_of(**shakespeare))
    baseline = measure.evaluate({})
    sizes = nn.row_losses._cache_size()
    options = AblationOptions()
    for taken in removal.expand(["decile:1", "outliers:right"]):
        for scope in ("query", "blocks"):
            scores = measure.evaluate(edit(checkpoint, scope, taken, options))
            assert scores.loss.shape == baseline.loss.shape
    assert nn.row_losses._cache_size() == sizes
    _, params = nn.load(checkpoint)
    edited = with_matrices(params, checkpoint, edit(checkpoint, "query", removal.parse("decile:1"), options))
    changed = {path for (path, old), (_, new) in zip(nn.walk(params), nn.walk(edited), strict=True) if old is not new}
    assert changed == {f"blocks/{i}/attention/query/kernel" for i in range(4)}
    np.testing.assert_array_equal(measure.evaluate({m.name: m.read() for m in checkpoint.matrices}).loss, baseline.loss)


@pytest.mark.parametrize("name", ["gpt2-char-shakespeare", "llama-stories260k"])
def test_block_by_block_measures_the_same(shared, shakespeare, name):
    """Another matrix in every place, the tied embedding (two parts of the model) among them."""
    checkpoint = models.open_checkpoint(shared / "checkpoints" / name)
    whole, streamed = (
        open_measure(checkpoint, config_of(**shakespeare, length=64, max_rows=6, batch_size=4, stream=stream))
        for stream in (False, True)
    )
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


@pytest.mark.parametrize("values", [{"data_devices": 2}, {"param_dtype": "bfloat16"}, {"data": "sampled"}])
def test_what_does_not_go_with_streaming(gpt2, shakespeare, values):
    with pytest.raises(UserError, match="stream goes with neither"):
        open_measure(models.open_checkpoint(gpt2), config_of(**shakespeare | values, stream=True))


@pytest.fixture(scope="module")
def bert(minilm, tmp_path_factory):
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


def test_masked_token_loss_and_accuracy(bert, shared):
    text = shared / "text"
    cases = {
        "BertForMaskedLM": ("masked", {"data": f"{text}/wikitext2_test_tokens.txt", "data_kind": "wikitext"}),
        "BertForSequenceClassification": (
            "accuracy",
            {"data": f"{text}/superglue_BoolQ_val.jsonl", "data_kind": "boolq"},
        ),
    }
    for name, (measure_name, values) in cases.items():
        checkpoint = models.open_checkpoint(bert[name])
        measure = open_measure(checkpoint, config_of(length=32, max_rows=24, **values))
        assert measure.name == measure.description["measure"] == measure_name
        baseline = measure.evaluate({})
        assert len(baseline.loss) == 24
        assert baseline.count.sum() == measure.description["targets"]
        value = edit(checkpoint, "value", removal.parse("decile:1"), AblationOptions())
        assert abs(measure.evaluate(value).mean - baseline.mean) > 1e-4
        # masks and rows do not change between two measurements
        np.testing.assert_array_equal(measure.evaluate({}).loss, baseline.loss)


def test_labels_must_be_the_classifiers(bert, tmp_path):
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate("abcabc")]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    checkpoint = models.open_checkpoint(bert["BertForSequenceClassification"])
    values = {"data": str(path), "data_kind": "labelled", "length": 16}
    with pytest.raises(UserError, match=r"3 labels .* 2 outputs"):
        open_measure(checkpoint, config_of(labels="a,b,c", **values))
    with pytest.raises(DataError, match="'c' is none of a, b"):
        open_measure(checkpoint, config_of(labels="a,b", **values))


def test_a_model_without_a_head_and_a_short_text_are_told_in_one_line(minilm, gpt2, tmp_path):
    (tmp_path / "short.txt").write_text("to be or not")
    for folder, says in ((minilm, "no head that predicts anything"), (gpt2, "fewer than one window")):
        done = ablate(f"--checkpoint={folder}", "--config.data=short.txt", "--workdir=x", cwd=tmp_path)
        assert says in error_of(done)
    assert not (tmp_path / "x").exists()


def test_bad_input_is_refused_before_any_work(minilm, gpt2, shakespeare):
    checkpoint = models.open_checkpoint(gpt2)
    cases = [
        (models.CheckpointError, "mlm", {"measure": "masked"}),
        (UserError, "measure is 'speed'", {"measure": "speed"}),
        (UserError, "start token", {"data": "sampled", "max_rows": 4}),
        (UserError, "data is empty", {"data": ""}),
        (UserError, "data_from", {"data_from": 1.0}),
        (UserError, "data_kind", {"data_kind": "boolq"}),
        (DataError, "do not belong together", {"tokenizer": str(minilm)}),
        (DataError, "no/such/text", {"data": "no/such/text"}),
        *((UserError, f"{key} is '?{value}", {key: value}) for key, value in (
            ("length", -1), ("length", 1), ("length", 129), ("stride", -1), ("batch_size", 0), ("dtype", "float64"),
            ("param_dtype", "foo"), ("seed", -1), ("max_rows", -2), ("mask_probability", 0), ("data_devices", -1),
        )),
    ]  # fmt: skip
    for error, says, values in cases:
        with pytest.raises(error, match=says):
            open_measure(checkpoint, config_of(**{**shakespeare, **values}))
    for values in ({"removals": "decile:11"}, {"sigma": "median"}, {"scopes": ""}):
        with pytest.raises(UserError, match="config"):
            options_from(config_of(**values))


def test_which_removal_is_written_must_be_said(tmp_path):
    options, out = AblationOptions(), str(tmp_path / "out")
    single = AblationOptions(scopes=("query",), removals=("decile:3",))
    assert removal_to_write(None, None, options) is None
    assert removal_to_write(out, None, single) == ("query", removal.parse("decile:3"))
    assert removal_to_write(out, "h.0.c/x.weight/band:1-2", single) == ("h.0.c/x.weight", removal.parse("band:1-2"))
    (tmp_path / "file").write_text("")
    for folder, text, says in (
        (out, None, "several removals"),
        (out, "decile:1", "SCOPE/REMOVAL"),
        (out, "query/decile:0", "removal 'decile:0'"),
        (None, "query/decile:1", "write_checkpoint"),
        (str(tmp_path / "file"), "query/decile:1", "not an empty folder"),
    ):
        with pytest.raises(UserError, match=says):
            removal_to_write(folder, text, options)


def test_what_is_written_is_checked_before_the_study(gpt2, shared, shakespeare, tmp_path):
    for folder, taken, says in (
        (gpt2, "nosuch/decile:3", "scope nosuch: no matrix"),
        (gpt2, "query/band:1-999", "band"),
        (gpt2 / "model.safetensors", "query/decile:3", "only folders with safetensors"),
    ):
        done = ablate(
            f"--checkpoint={folder}", f"--workdir={tmp_path / 'run'}", f"--config.data={shakespeare['data']}",
            f"--write_checkpoint={tmp_path / 'out'}", f"--removal={taken}",
        )  # fmt: skip
        assert says in error_of(done)
        assert not (tmp_path / "run").exists()


def test_text_sampled_from_the_model_is_its_own_best_fit(shared):
    checkpoint = models.open_checkpoint(shared / "checkpoints" / "llama-stories260k")
    measure = open_measure(checkpoint, config_of(data="sampled", max_rows=40, length=24))
    baseline = measure.evaluate({})
    worse = measure.evaluate(edit(checkpoint, "value", removal.parse("decile:1"), AblationOptions()))
    assert baseline.mean < 2.5 < np.log(512)
    assert worse.mean > baseline.mean


def test_windows_beyond_the_stride_stand_apart():
    tokens = np.arange(50, dtype=np.int32)
    rows = text_windows(tokens, 8, 20)
    np.testing.assert_array_equal(rows.input_ids[:, 0], [0, 20, 40])
    np.testing.assert_array_equal(rows.targets[:, :7], rows.input_ids[:, 1:])
    np.testing.assert_array_equal(rows.row, [0, 1, 2])
    assert len(text_windows(tokens, 8, 4).row) == 12
    with pytest.raises(DataError, match="fewer than one window"):
        text_windows(tokens[:5], 8, 20)
