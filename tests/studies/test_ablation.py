"""The removal study: its numbers against slow references, its intervals, its scopes, and going on after a stop."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from eigensweep.engine.run.ablation import AblationOptions, ablate, edit, open_ablation
from eigensweep.engine.run.ablation_plan import resolve_scopes
from eigensweep.engine.run.bootstrap import paired_interval
from eigensweep.engine.run.errors import RunError
from eigensweep.engine.run.study import Study
from eigensweep.engine.spectral import removal

ROWS = 30
EVALUATION = {"measure": "distance", "rows": ROWS}


class Distance:
    """A "model" whose loss on row i is 1 + sum over matrices |(W' - W) x_i|^2, x_i a fixed random vector."""

    def __init__(self, checkpoint, stop_after=None):
        self.matrices = {m.name: m.array for m in checkpoint.matrices}
        self.stop_after, self.calls = stop_after, []

    def __call__(self, replaced):
        if len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(sorted(replaced))
        rng, loss = np.random.default_rng(0), np.ones(ROWS)
        for name, w in self.matrices.items():
            x = rng.standard_normal((w.shape[1], ROWS))
            if name in replaced:
                loss += np.sum(((replaced[name] - w) @ x) ** 2, axis=0)
        count = np.full(ROWS, 4)
        return SimpleNamespace(
            loss=loss,
            weight=np.arange(1.0, ROWS + 1),
            correct=np.minimum(count, 40 / loss // 10),
            count=count,
        )


def study(checkpoint, directory, evaluate=None, **options):
    options = AblationOptions(**{"removals": ("deciles",), **options})
    return ablate(checkpoint, evaluate or Distance(checkpoint), EVALUATION, options, directory)


def test_losses_and_changes_are_those_of_zeroed_singular_values(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    found = study(checkpoint, tmp_path / "run")
    assert list(found.results["scope"].unique()) == ["", "query", "mlp_up", "mlp_down"]
    baseline = found.results.iloc[0]
    assert (baseline["removal"], baseline["loss"], baseline["change"]) == ("baseline", 1.0, 0.0)
    by_name = found.results.set_index(["scope", "removal"])
    for scope, k in (("query", 1), ("mlp_up", 4), ("mlp_down", 10)):
        replaced, gone, total = {}, 0.0, 0.0
        for matrix in (m for m in checkpoint.matrices if m.role == scope):
            u, s, vt = np.linalg.svd(matrix.array.astype(np.float64), full_matrices=False)
            keep = np.ones(40, bool)
            keep[4 * (k - 1) : 4 * k] = False
            replaced[matrix.name] = (u * s * keep) @ vt
            gone, total = gone + np.sum(s[~keep] ** 2), total + np.sum(s**2)
        scores = Distance(checkpoint)(replaced)
        row = by_name.loc[scope, f"decile:{k}"]
        assert row["loss"] == pytest.approx(np.average(scores.loss, weights=scores.weight), rel=1e-9)
        assert row["change"] == pytest.approx(row["loss"] - 1, rel=1e-9)
        assert row["accuracy"] == pytest.approx(scores.correct.sum() / scores.count.sum())
        assert row["accuracy_change"] == pytest.approx(row["accuracy"] - baseline["accuracy"])
        assert row["energy"] == pytest.approx(gone / total)
        assert (row["matrices"], row["removed"], row["values"]) == (2, 8, 80)
        assert row["change_low"] < row["change"] < row["change_high"]


def test_one_decomposition_a_matrix_also_when_scopes_overlap(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint(extra=[("head", "unembedding", np.eye(7, dtype=np.float32))])
    found = study(checkpoint, tmp_path / "run", scopes=("roles", "blocks", "all"), removals=("decile:1",))
    assert [m.reads for m in checkpoint.matrices] == [[m.name] for m in checkpoint.matrices]
    table = found.results.set_index("scope")
    assert (table.loc["blocks", "matrices"], table.loc["all", "matrices"]) == (6, 7)
    assert len(found.matrices) == len(found.spectra) == 7
    row = found.spectra.set_index("name").loc["blocks.1.mlp_up"]
    w = checkpoint.matrices[4].array.astype(np.float64)
    np.testing.assert_allclose(row["singular_values"], np.linalg.svd(w, compute_uv=False), rtol=1e-9)
    assert np.isfinite(row["p_right_avg"]).all()
    assert found.matrices.set_index("name").loc["blocks.1.mlp_up", "num_right_outliers"] == 1


def test_outliers_and_controls_and_a_removal_that_takes_nothing(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    evaluate = Distance(checkpoint)
    texts = ("outliers:right", "bulk:right", "random:right")
    found = study(
        checkpoint, tmp_path / "run", evaluate, removals=texts, num_draws=2, scopes=("mlp_up", "query")
    )
    table = found.results.set_index(["scope", "removal"])
    assert list(table.loc["mlp_up"].index) == [
        "outliers:right", "bulk:right", "bulk:right:1", "random:right", "random:right:1",
    ]  # fmt: skip
    assert (table.loc["mlp_up", "removed"] == 2).all()  # the planted spike of both blocks
    planted, *controls = table.loc["mlp_up", "change"]
    assert planted > 5 * max(controls)
    assert (table.loc["query", "removed"] == 0).all()
    assert (table.loc["query", "change"] == 0).all()
    assert len(evaluate.calls) == 1 + 5  # the baseline and what takes something
    assert table.loc[("mlp_up", "bulk:right"), "change"] != table.loc[("mlp_up", "bulk:right:1"), "change"]


def test_an_interrupted_study_goes_on_and_ends_with_the_same_tables(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    options = {"removals": ("deciles", "random:decile"), "num_draws": 2}
    whole = study(checkpoint, tmp_path / "whole", **options)
    first = Distance(checkpoint, stop_after=17)
    with pytest.raises(KeyboardInterrupt):
        study(checkpoint, tmp_path / "run", first, **options)
    with pytest.raises(RunError, match="not finished"):
        open_ablation(tmp_path / "run")
    second = Distance(checkpoint)
    found = study(checkpoint, tmp_path / "run", second, **options)
    assert len(first.calls) + len(second.calls) == 1 + 3 * 12
    for name in ("results", "rows", "matrices", "spectra"):
        one, two = (getattr(s, name).drop(columns="seconds", errors="ignore") for s in (whole, found))
        assert one.to_json() == two.to_json()
    assert not (tmp_path / "run" / "parts").exists()
    third = Distance(checkpoint)
    study(checkpoint, tmp_path / "run", third, **options)
    assert third.calls == []


def test_another_study_in_the_directory_is_refused(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    study(checkpoint, tmp_path, removals=("decile:1",))
    with pytest.raises(RunError, match="removals"):
        study(checkpoint, tmp_path, removals=("decile:2",))
    with pytest.raises(RunError, match="checkpoint"):
        study(make_checkpoint(sha256="1" * 64), tmp_path, removals=("decile:1",))
    options = AblationOptions(removals=("decile:1",))
    with pytest.raises(RunError, match="measure"):
        ablate(checkpoint, Distance(checkpoint), {**EVALUATION, "measure": "x"}, options, tmp_path)
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "manifest.json").write_text(json.dumps({"status": "done"}))
    with pytest.raises(RunError, match="another kind"):
        study(checkpoint, sweep, removals=("decile:1",))
    with pytest.raises(RunError, match="not the directory"):
        open_ablation(sweep)


def test_bad_scopes_bands_and_matrices_are_named(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint(extra=[("bad", "pooler", np.full((8, 8), np.nan, np.float32))])
    with pytest.raises(RunError, match=r"scope queries: .* query, mlp_up, mlp_down, pooler"):
        study(checkpoint, tmp_path / "a", scopes=("queries",))
    with pytest.raises(RunError, match=r"blocks.0.query: .* 40 singular values"):
        study(checkpoint, tmp_path / "a", removals=("band:30-41",))
    with pytest.raises(RunError, match=r"bad: .*non-finite"):
        study(checkpoint, tmp_path / "b", scopes=("pooler",))
    with pytest.raises(ValueError, match="removal"):
        AblationOptions(removals=("decile:12",))
    with pytest.raises(ValueError, match="at least one"):
        AblationOptions(scopes=())
    assert not (tmp_path / "a").exists()


def test_scopes_are_roles_matrices_and_everything(make_checkpoint):
    vector = ("classifier", "classifier", np.ones((1, 9), np.float32))
    matrices = make_checkpoint(extra=[("head", "unembedding", np.eye(7)), vector]).matrices

    def names(*scopes):
        return {scope: [m.name for m in found] for scope, found in resolve_scopes(matrices, scopes).items()}

    assert names("query", "blocks.1.mlp_up") == {
        "query": ["blocks.0.query", "blocks.1.query"], "blocks.1.mlp_up": ["blocks.1.mlp_up"],
    }  # fmt: skip
    assert list(names("matrices")) == [m.name for m in matrices[:6]]
    assert list(names("roles")) == ["query", "mlp_up", "mlp_down"]
    assert names("all")["all"] == [m.name for m in matrices[:7]]


def test_a_loss_that_is_not_finite_and_a_foreign_directory_are_refused(make_checkpoint, tmp_path):
    def evaluate(replaced):
        one = np.ones(3)
        return SimpleNamespace(loss=one * np.nan, weight=one, correct=one, count=one)

    with pytest.raises(RunError, match="loss is nan"):
        ablate(make_checkpoint(), evaluate, {}, AblationOptions(scopes=("query",)), tmp_path / "nan")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "finetune.json").write_text("{}")
    with pytest.raises(RunError, match="fine-tuning study"):
        ablate(make_checkpoint(), evaluate, {}, AblationOptions(scopes=("query",)), tmp_path / "other")
    with pytest.raises(RunError, match="removal study"):
        Study(tmp_path / "nan", "finetune", {}).begin({})


def test_edit_gives_the_matrices_that_were_measured(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    options = AblationOptions(removals=("random:decile",), num_draws=3)
    found = ablate(checkpoint, Distance(checkpoint), EVALUATION, options, tmp_path)
    edited = edit(checkpoint, "mlp_down", removal.parse("random:decile:2"), options)
    assert sorted(edited) == ["blocks.0.mlp_down", "blocks.1.mlp_down"]
    rows = found.rows.set_index(["scope", "removal"])
    np.testing.assert_array_equal(
        Distance(checkpoint)(edited).loss, rows.loc[("mlp_down", "random:decile:2"), "row_loss"]
    )


def test_contrast_is_the_paired_difference_of_two_removals(make_checkpoint, tmp_path):
    found = study(make_checkpoint(), tmp_path)
    table = found.results.set_index(["scope", "removal"])["loss"]
    difference, low, high = found.contrast("query", ["decile:10"], ["decile:5", "decile:6"])
    middle = (table["query", "decile:5"] + table["query", "decile:6"]) / 2
    assert difference == pytest.approx(table["query", "decile:10"] - middle)
    assert low < difference < high < 0
    with pytest.raises(KeyError, match="decile:12"):
        found.contrast("query", ["decile:12"], ["decile:5"])


def test_bootstrap_against_a_loop():
    rng = np.random.default_rng(1)
    d, w = rng.standard_normal(12) + 1, rng.integers(0, 5, 12).astype(float)
    change, low, high = paired_interval(d, w, seed=7, num_resamples=4000, confidence=0.9)
    assert change == pytest.approx(np.sum(w * d) / np.sum(w))
    means = []
    for _ in range(4000):
        i = rng.integers(0, 12, 12)
        means.append(np.sum(w[i] * d[i]) / np.sum(w[i]))
    np.testing.assert_allclose([low, high], np.quantile(means, [0.05, 0.95]), atol=0.06)
    assert paired_interval(d, w, seed=7, num_resamples=4000, confidence=0.9) == (change, low, high)


def test_bootstrap_covers_the_true_change_as_often_as_it_says():
    rng = np.random.default_rng(10)
    hits = 0
    for seed in range(1000):
        rows = rng.exponential(3, 80)  # rows differ much; the change within a row little
        after = rows + 0.1 + 0.2 * rng.standard_normal(80)
        _, low, high = paired_interval(after - rows, np.ones(80), seed, num_resamples=500)
        hits += low <= 0.1 <= high
    # percentile intervals of 80 rows cover 0.943 on average
    assert hits / 1000 == pytest.approx(0.943, abs=4 * np.sqrt(0.95 * 0.05 / 1000))


def test_bootstrap_refuses_what_has_no_mean():
    with pytest.raises(ValueError, match="weight"):
        paired_interval(np.ones(3), np.zeros(3), 0)
    with pytest.raises(ValueError, match="shapes"):
        paired_interval(np.ones(3), np.ones(4), 0)
