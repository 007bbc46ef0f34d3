"""The facts study against forward passes, gradients and edited parameters of the same model."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats
from safetensors.numpy import load_file, save_file

from eigensweep.engine.spectral import shapes
from eigensweep.engine.spectral.moments import moments
from eigensweep.engine.studies.facts import gradients
from eigensweep.engine.studies.facts.ablations import ablations, intervention
from eigensweep.engine.studies.facts.options import FactsOptions
from eigensweep.engine.studies.facts.outliers import robust_z
from eigensweep.engine.studies.facts.study import run_facts
from eigensweep.engine.studies.facts.subject import opened
from eigensweep.engine.studies.facts.summary import render_facts
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import nn, open_checkpoint
from eigensweep.models.data import DataError

PLANTED = 5


@pytest.fixture(scope="module")
def planted(gpt2, tmp_path_factory):
    """The small GPT-2 with a dimension of the stream that every position raises by 40, its gain 30 in every norm."""
    folder = shutil.copytree(gpt2, tmp_path_factory.mktemp("planted") / "model")
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.endswith("wpe.weight"):
            tensor[:, PLANTED] += 40
        if "ln_" in name and name.endswith("weight"):
            rng = np.random.default_rng(len(name))
            tensor[:] = 1 + 0.1 * rng.standard_normal(len(tensor))
            tensor[PLANTED] = 30
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def options(gpt2):
    return FactsOptions(
        data=str(gpt2.parent / "text.txt"), length=12, batch_size=7, max_rows=20, gradients=3, ablations=2,
        gradient_stream=True, num_resamples=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def facts(planted, options, tmp_path_factory):
    return run_facts(open_checkpoint(planted), options, tmp_path_factory.mktemp("facts") / "run")


@pytest.fixture(scope="module")
def subject(planted, options):
    return opened(open_checkpoint(planted), options)


def test_every_tap_is_described_as_numpy_describes_it(facts, subject):
    rows = subject.rows
    taps = subject.model.apply(subject.params, rows.input_ids, rows.attention_mask, taps=nn.TAPPED).taps
    table = facts.distributions.set_index(["what", "name"])
    kinds = {"stream": "stream", "updates": "update", "inputs": "input"}
    expected = {(kinds[nn.kind_of(tap)], tap) for tap in taps} - {("stream", "blocks/0/stream/after")}
    assert {at for at in table.index if at[0] in kinds.values()} == expected
    for what, tap in expected:
        row, x = table.loc[what, tap], np.asarray(taps[tap], np.float64)[rows.attention_mask]
        assert row["count"] == x.size
        assert row["non_finite"] == 0
        assert row["mean"] == pytest.approx(x.mean(), rel=1e-4, abs=1e-6)
        assert row["sd"] == pytest.approx(x.std(), rel=1e-5)
        assert row["kurtosis"] == pytest.approx(scipy.stats.kurtosis(x, None), rel=1e-4, abs=1e-4)
        assert (row["min"], row["max"]) == pytest.approx((x.min(), x.max()), rel=1e-5)
        median = row["quantiles"][4]
        width = abs(median) / 128 + 1e-3  # the grid's
        assert np.mean(x < median - width) <= 0.5 <= np.mean(x <= median + width)
        assert sum(row["counts"]) == x.size
    stream = facts.dimensions.set_index(["tap", "dim"])
    x = np.asarray(taps["blocks/1/stream/middle"], np.float64)[rows.attention_mask]
    np.testing.assert_allclose(stream.loc["blocks/1/stream/middle"]["mean"], x.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stream.loc["blocks/1/stream/middle"]["sd"], x.std(0), rtol=1e-4)
    assert stream.loc["blocks/1/stream/middle"]["large"][PLANTED] == 1


def test_weights_norms_and_biases_are_described_apart(facts, subject):
    table = facts.distributions.set_index(["what", "name"])
    for path, leaf in nn.walk(subject.params):
        what = {"scale": "norm", "bias": "bias"}.get(path.split("/")[-1], "weight")
        row, x = table.loc[what, path], np.asarray(leaf, np.float64)
        assert row["mean"] == pytest.approx(x.mean(), rel=1e-6, abs=1e-9)
        assert row["sd"] == pytest.approx(x.std(), rel=1e-6, abs=1e-12)
    assert table.loc["weight", "blocks/0/mlp/up/kernel"]["block"] == 0
    assert table.loc["norm", "blocks/1/mlp_norm/scale"]["tap"] == "mlp_norm/scale"


def test_gradients_are_those_of_single_rows(facts, subject):
    def loss(params, index):
        row = subject.gradient_rows.take(np.array([index]))
        total, count, _ = nn.row_losses(subject.model, params, row, "unembedding")
        return total.sum() / count.sum()

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    found = [dict(nn.walk(gradient(subject.params, index))) for index in range(3)]
    table = facts.distributions.query("what == 'gradient'").set_index("name")
    assert {name for name in table.index if "/stream/" not in name} == {
        path for path in found[0] if any(np.any(np.asarray(one[path])) for one in found)
    }
    for path in ("blocks/0/mlp/up/kernel", "blocks/1/attention/value/bias", "embedding/embedding"):
        x = np.concatenate([np.asarray(one[path], np.float64).ravel() for one in found])
        assert table.loc[path]["count"] == x.size
        assert table.loc[path]["sd"] == pytest.approx(x.std(), rel=1e-4)
        assert table.loc[path]["max"] == pytest.approx(x.max(), rel=1e-4)
    # behind the last block the stream's gradient comes through the final norm alone
    assert {"blocks/0/stream/before", "blocks/1/stream/middle", "blocks/1/stream/after"} <= set(table.index)


def test_the_planted_dimension_is_found_at_every_tap_in_both_halves_and_by_both_rules(facts):
    first = facts.outliers.iloc[0]
    assert first["dim"] == PLANTED
    assert first["share_taps"] == 1
    assert first["share_int8"] == 1
    assert first["outlier_int8"]
    assert first["num_gains"] == 5  # two norms a block, and the final one
    halves = facts.overlaps.query("what == 'halves'")
    assert (halves["num_both"] >= 1).all()
    gains = facts.overlaps.query("what == 'gains'")
    assert (gains["num_both"] >= 1).all()
    assert (gains["p"] <= 1.01 / 24 * gains["num_a"]).all()


def test_an_ablated_dimension_is_one_that_nothing_writes(facts, subject):
    """Zero in the embedding, in the positions and in what attention and MLP write, it stays zero in the stream."""
    params = jax.tree.map(np.array, subject.params)
    params["embedding"]["embedding"][:, PLANTED] = 0
    params["position_embedding"]["embedding"][:, PLANTED] = 0
    for block in params["blocks"].values():
        for layer in (block["attention"]["output"], block["mlp"]["down"]):
            layer["kernel"][:, PLANTED] = 0
            layer["bias"][PLANTED] = 0
    params["unembedding"] = {"kernel": np.asarray(subject.params["embedding"]["embedding"]).T.copy()}
    arch = subject.model.architecture
    untied = nn.build({"model_type": "gpt2", "vocab_size": arch.vocab_size, "n_embd": 24, "n_layer": 2, "n_head": 3,
                       "n_positions": 16, "tie_word_embeddings": False}, heads=("unembedding",))  # fmt: skip
    scores = nn.score(untied, jax.tree.map(jnp.asarray, params), subject.rows, 7)
    table = facts.ablations.set_index("name")
    assert table.loc[f"dim:{PLANTED}"]["loss"] == pytest.approx(scores.mean, rel=1e-5)
    baseline = nn.score(subject.model, subject.params, subject.rows, 7)
    assert table.loc["baseline"]["loss"] == pytest.approx(baseline.mean, rel=1e-6)
    change = table.loc[f"dim:{PLANTED}"]
    assert change["change_low"] <= change["change"] == pytest.approx(scores.mean - baseline.mean, abs=1e-5)
    assert set(table["kind"]) >= {"baseline", "outlier", "random"}


def test_ablations_draw_no_outlier_and_as_many():
    found = ablations([3, 7, 1], 12, 2, seed=4)
    assert [one.name for one in found[:3]] == ["baseline", "dim:3", "dim:7"]
    drawn = [one for one in found if one.kind.startswith("random")]
    assert not any({1, 3, 7} & set(one.dims) for one in drawn)
    assert [len(one.dims) for one in found if one.kind in ("outliers", "random_set")] == [2] * 4
    assert ablations([3, 7, 1], 12, 2, seed=4) == found
    assert len({one.name for one in found}) == len(found)
    assert [one.kind for one in ablations([0, 1], 2, 2, seed=0)] == ["baseline", "outlier", "outlier", "outliers"]


def test_a_mean_ablation_puts_the_mean_of_each_tap_in_its_place(subject):
    d = subject.model.architecture.width
    means = {"blocks/0/stream/before": np.arange(d), "blocks/1/stream/after": -np.arange(d)}
    change = intervention(subject.model, (2, 9), means)
    x = np.full((1, 1, d), 100.0)
    for position, sign in ((0, 1), (4, -1)):
        expected = x.copy()
        expected[..., 2], expected[..., 9] = 2 * sign, 9 * sign
        np.testing.assert_array_equal(change.at(position)(x), expected)


@pytest.fixture
def without_fits(monkeypatch):
    """Fitting takes most of the time of so small a study."""
    monkeypatch.setattr(shapes, "fits", lambda *_: {})
    monkeypatch.setattr(shapes, "tail", lambda *_: shapes.Tail(np.nan, np.nan))


@pytest.mark.usefixtures("without_fits")
def test_another_batch_size_ends_with_the_same_tables(planted, options, facts, tmp_path):
    """Sums are float64 row by row; what is left is the float32 rounding of matrix products of other shapes."""
    again = run_facts(open_checkpoint(planted), replace(options, batch_size=20, stream=True), tmp_path / "run")
    ours, theirs = (run.distributions.query("what != 'gradient'") for run in (again, facts))
    assert list(ours["name"]) == list(theirs["name"])
    for name in ("mean", "sd", "kurtosis", "max"):
        np.testing.assert_allclose(ours[name].astype(float), theirs[name].astype(float), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(again.dimensions["outlier"], facts.dimensions["outlier"])
    np.testing.assert_allclose(again.ablations["loss"], facts.ablations["loss"], rtol=1e-6)
    assert "gradient" not in set(again.distributions["what"])
    assert any("gradients need the whole model" in text for text in again.manifest["warnings"])


def test_gaussian_dimensions_give_no_outliers():
    """Of 200 draws of 128 dimensions with means and sds of one spread, none or one has any."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        x = rng.standard_normal((60, 128)) * (1 + 0.1 * rng.standard_normal(128)) + rng.standard_normal(128)
        hits += (robust_z(moments(x)) > 6).any()
    assert hits <= 1


@pytest.mark.usefixtures("without_fits")
def test_without_data_the_weights_are_described_alone(gpt2, tmp_path):
    found = run_facts(open_checkpoint(gpt2), FactsOptions(), tmp_path / "run")
    assert set(found.distributions["what"]) == {"weight", "norm", "bias"}
    assert len(found.dimensions) == len(found.ablations) == 0
    assert "the weights are described alone" in found.manifest["warnings"][0]
    assert "weight" in render_facts(found)


@pytest.mark.usefixtures("without_fits")
def test_an_encoder_without_a_head_has_no_gradients_and_says_so(bert, gpt2, tmp_path):
    options = FactsOptions(data=str(gpt2.parent / "text.txt"), length=12, max_rows=4)
    found = run_facts(open_checkpoint(bert), options, tmp_path / "run")
    assert {"weight", "stream", "update", "input"} <= set(found.distributions["what"])
    assert "gradient" not in set(found.distributions["what"])
    assert "no head that predicts" in found.manifest["warnings"][0]
    assert len(found.ablations) == 0
    assert pq.read_table(tmp_path / "run" / "distributions.parquet").num_rows == len(found.distributions)


def test_gradients_that_do_not_fit_are_refused_before_the_start(gpt2, options, tmp_path, monkeypatch):
    monkeypatch.setattr(gradients, "whole_memory", lambda: 1000)
    with pytest.raises(RunError, match=r"gradients: one row of 12 tokens needs .* GiB.*gradients=0"):
        run_facts(open_checkpoint(gpt2), options, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("text", "says"), [("", r"text\.txt"), ("good", "fewer than one window of 12")])
def test_texts_that_are_too_short(gpt2, tmp_path, text, says):
    (tmp_path / "text.txt").write_text(text)
    with pytest.raises(DataError, match=says):
        opened(open_checkpoint(gpt2), FactsOptions(data=str(tmp_path / "text.txt"), length=12))
