"""Removals from the residual stream: which directions, from which text, with which gains, against the model's own."""

import jax
import numpy as np
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.spectral import stream_axes
from eigensweep.engine.studies.ablation import covariance
from eigensweep.engine.studies.ablation.study import AblationOptions, run_ablation
from eigensweep.engine.studies.ablation.summary import render
from eigensweep.engine.studies.edited_model import Opened
from eigensweep.engine.studies.stream_covariances import calibration_part, stream_covariances
from eigensweep.models import CheckpointError, data, nn, open_checkpoint

jax.config.update("jax_enable_x64", True)


def options_of(folder, **changes):
    text = {"data": str(folder.parent / "text.txt"), "length": 8, "batch_size": 8, "max_rows": 8, "data_from": 0.5}
    return AblationOptions(**text | {"num_resamples": 50, "num_draws": 1, "calibration_rows": 16} | changes)


def projection_of(model, params, rows, factor="energy"):
    return covariance.stream_projection(model, params, None, rows, batch_size=8, factor=factor, seed=0)


def opened(model, params, rows):
    return Opened(None, model, params, rows, 8, "unembedding", None)


@pytest.fixture(scope="module")
def gpt(gpt2):
    """The tiny GPT-2: model, parameters, and rows that covariances are taken of."""
    checkpoint = open_checkpoint(gpt2)
    model, params = nn.load(checkpoint)
    ids = np.random.default_rng(0).integers(0, model.architecture.vocab_size, (16, 8)).astype(np.int32)
    mask = np.arange(8) < np.where(np.arange(16) % 3, 8, 5)[:, None]
    rows = data.Rows(np.where(mask, ids, 0), mask, np.zeros_like(ids), np.where(mask, ids, -100), np.arange(16))
    return model, params, rows


def test_covariances_are_those_of_normed_tokens(gpt):
    """Against hidden states, centred and divided by their length in NumPy; padding does not count."""
    model, params, rows = gpt
    rms = nn.rms_model(model)
    read = nn.rms_reader(model, nn.reader_of(params, model))
    found = stream_covariances(rms, read, rows, 8)
    width, blocks = model.architecture.width, model.architecture.num_blocks
    assert sorted(found) == list(range(2 * blocks + 1))
    states = model.apply(params, rows.input_ids, rows.attention_mask, taps=("stream",)).taps
    last = 2 * blocks, f"blocks/{blocks - 1}/stream/after"
    for place, path in ((0, "blocks/0/stream/before"), (1, "blocks/0/stream/middle"), last):
        x = np.asarray(states[path], np.float64)[rows.attention_mask]
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
        np.testing.assert_allclose(found[place], x.T @ x / len(x), atol=1e-4)
        assert np.trace(found[place]) == pytest.approx(width, rel=1e-5)


def test_a_projection_is_the_same_in_the_model_with_layer_norms(gpt):
    """Eigenvectors of centred tokens and P commute with the mean's removal: LayerNorm(P x) is RMSNorm(P x)."""
    model, params, rows = gpt
    projection = projection_of(model, params, rows)
    for taken in covariance.expand(["covariance:decile:1", "covariance:decile:2"]):
        change = projection.change(taken)
        ours = projection.scores(opened(model, params, rows), change)
        gains = nn.with_gains(model, params, change.factors)
        layer = nn.score(model, gains, rows, 8, "unembedding", None, change.intervention)
        np.testing.assert_allclose(ours.loss, layer.loss, atol=1e-5)


def test_deciles_share_out_the_directions_and_the_signal(gpt):
    model, params, rows = gpt
    projection = projection_of(model, params, rows)
    removals = covariance.expand(["covariance:decile"])
    bases = [projection.bases(taken)[1] for taken in removals]
    whole = np.concatenate(bases, axis=1)
    np.testing.assert_allclose(whole.T @ whole, np.eye(model.architecture.width), atol=1e-10)
    shares = [projection.change(taken).columns["energy"] for taken in removals]
    assert sum(shares) == pytest.approx(1)
    assert shares == sorted(shares, reverse=True)
    first, *_ = covariance.expand(["covariance:random"], 1)
    random = projection.change(first)
    assert random.columns["removed"] == projection.change(removals[0]).columns["removed"]
    assert random.columns["kind"] == "covariance random"


def test_the_gain_is_that_of_what_is_left():
    """Where the signal knows no direction it is sqrt(d'/d); the mean square behind norm and gain is what P keeps."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((20_000, 20)) * np.linspace(0.2, 2, 20)
    x = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
    f = x.T @ x / len(x)
    q = stream_axes.random_basis(20, 4, purpose_key(0, "test"))
    np.testing.assert_allclose(q.T @ q, np.eye(4), atol=1e-12)
    share = stream_axes.energy(f, q)
    kept = x - x @ q @ q.T
    assert share == pytest.approx(1 - np.sum(kept**2) / np.sum(x**2))
    normed = kept / np.sqrt(np.mean(kept**2, axis=1, keepdims=True))
    gain = stream_axes.gain_factor("energy", share, 20, 4)
    assert np.mean((gain * normed) ** 2) == pytest.approx(np.mean(kept**2))
    isotropic = stream_axes.gain_factor("energy", stream_axes.energy(np.eye(20), q), 20, 4)
    assert isotropic == pytest.approx(stream_axes.gain_factor("width", 0, 20, 4)) == pytest.approx(np.sqrt(16 / 20))
    assert stream_axes.gain_factor("none", 0.5, 20, 4) == 1


def test_the_study_stands_beside_removals_from_matrices(gpt2, tmp_path):
    removals = ("decile:10", "covariance:decile:1", "covariance:decile:2", "covariance:random")
    found = run_ablation(
        open_checkpoint(gpt2), options_of(gpt2, removals=removals, scopes=("query",)), tmp_path / "run"
    )
    table = found.results.set_index(["scope", "removal"])
    assert list(table.index) == [("", "baseline"), ("query", "decile:10"), *(("stream", r) for r in removals[1:])]
    assert list(table.loc["stream", "kind"]) == ["covariance decile"] * 2 + ["covariance random"]
    assert found.manifest["evaluation"]["calibration"]["said"].endswith("from 0 % to 50 % of text.txt")
    text = render(found)
    assert "covariances of " in text
    assert "decile:2" in text
    again = options_of(gpt2, removals=removals[1:3], stream=True)
    streamed = run_ablation(open_checkpoint(gpt2), again, tmp_path / "streamed").results
    for row in streamed.itertuples():
        assert row.loss == pytest.approx(table.loc[(row.scope, row.removal), "loss"], abs=1e-5)


def test_wrong_use_is_said(gpt2, tmp_path):
    for text in (
        "covariance",
        "covariance:decile:11",
        "covariance:decile:x",
        "covariance:bulk",
        "covariance:random:-1",
    ):
        with pytest.raises(ValueError, match="expected covariance:decile, covariance:decile:1"):
            AblationOptions(removals=(text,))
    with pytest.raises(RunError, match="leave a part of the data over"):
        run_ablation(
            open_checkpoint(gpt2), options_of(gpt2, removals=("covariance:decile",), data_from=0.0), tmp_path / "all"
        )
    part = calibration_part(options_of(gpt2, data_from=0.1, data_to=0.4))
    assert (part.data_from, part.data_to, part.max_rows) == (0.4, 1.0, 16)
    with pytest.raises(ValueError, match=r"calibration is other\.txt, and there is no removal covariance:"):
        options_of(gpt2, calibration="other.txt")
    part = calibration_part(options_of(gpt2, calibration="other.txt", removals=("covariance:decile",)))
    assert (part.data, part.data_from, part.data_to) == ("other.txt", 0.0, 1.0)
    olmo = {"model_type": "olmo2", "vocab_size": 60, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 1}
    with pytest.raises(CheckpointError, match="and not the residual stream"):
        covariance.opened(opened(nn.build({**olmo, "num_attention_heads": 3}), {}, None), None)
