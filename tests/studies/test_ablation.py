"""The removal study: its numbers against slow references, its intervals, its scopes, and going on after a stop."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

from eigensweep import engine
from eigensweep.engine import RunError
from eigensweep.engine.run import stream
from eigensweep.engine.spectral import deciles, removal
from eigensweep.engine.studies.ablation.factors import edit
from eigensweep.engine.studies.ablation.scopes import resolve_scopes
from eigensweep.engine.studies.ablation.study import AblationOptions, ablate, open_ablation
from eigensweep.engine.studies.edited_model import Measure
from eigensweep.engine.studies.finetune.drift import drift

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
            loss=loss, weight=np.arange(1.0, ROWS + 1), correct=np.minimum(count, 40 / loss // 10), count=count
        )


def study(checkpoint, directory, evaluate=None, **options):
    options = AblationOptions(**{"removals": ("deciles",), **options})
    return ablate(checkpoint, Measure(EVALUATION, evaluate or Distance(checkpoint)), options, directory)


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


def test_one_decomposition_a_matrix_also_when_scopes_overlap(make_checkpoint, tmp_path, monkeypatch):
    decomposed, decompose = [], stream.decompose_batch
    monkeypatch.setattr(
        stream,
        "decompose_batch",
        lambda names, *given, **more: decomposed.extend(names) or decompose(names, *given, **more),
    )
    checkpoint = make_checkpoint(extra=[("head", "unembedding", np.eye(7, dtype=np.float32))])
    found = study(checkpoint, tmp_path / "run", scopes=("roles", "blocks", "all"), removals=("decile:1",))
    assert sorted(decomposed) == sorted(m.name for m in checkpoint.matrices)
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
    found = study(checkpoint, tmp_path / "run", evaluate, removals=texts, num_draws=2, scopes=("mlp_up", "query"))
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
    assert not (tmp_path / "run" / "ablation_parts").exists()
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
        ablate(checkpoint, Measure({**EVALUATION, "measure": "x"}, Distance(checkpoint)), options, tmp_path)
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / "manifest.json").write_text(json.dumps({"status": "done"}))
    with pytest.raises(RunError, match="another kind"):
        study(checkpoint, sweep, removals=("decile:1",))
    with pytest.raises(RunError, match="not the run directory"):
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


def test_a_baseline_loss_that_is_not_finite_and_a_foreign_directory_are_refused(make_checkpoint, tmp_path):
    def evaluate(replaced):
        one = np.ones(3)
        return SimpleNamespace(loss=one * np.nan, weight=one, correct=one, count=one)

    measure, options = Measure({}, evaluate), AblationOptions(scopes=("query",))
    with pytest.raises(RunError, match="loss is nan"):
        ablate(make_checkpoint(), measure, options, tmp_path / "nan")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "finetune.json").write_text(json.dumps({"status": "running"}))
    with pytest.raises(RunError, match=r"another kind \(finetune\)"):
        ablate(make_checkpoint(), measure, options, tmp_path / "other")


def test_edit_gives_the_matrices_that_were_measured(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    options = AblationOptions(removals=("random:decile",), num_draws=3)
    found = ablate(checkpoint, Measure(EVALUATION, Distance(checkpoint)), options, tmp_path)
    edited = edit(checkpoint.matrices, "mlp_down", removal.parse("random:decile:2"), options)
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


@pytest.mark.parametrize("shape", [(40, 40), (80, 40), (40, 80)])
def test_rounding_of_a_low_rank_matrix_is_no_outlier(make_checkpoint, tmp_path, shape):
    """A LoRA update B A in float32: rank 8 and 32 values of rounding, so no bulk and no outliers to take."""
    rng = np.random.default_rng(3)
    low = (rng.standard_normal((shape[0], 8)) @ rng.standard_normal((8, shape[1]))).astype(np.float32)
    checkpoint = make_checkpoint([("lora", "other", low)])
    swept = engine.sweep(
        checkpoint, engine.SweepOptions(control="none", equalise=False, num_flips=0)
    ).matrices.set_index("name")
    found = study(checkpoint, tmp_path, scopes=("lora", "mlp_up"), removals=("outliers:left",))
    table = found.matrices.set_index("name")
    counts = ["num_right_outliers", "num_left_outliers"]
    assert table.loc["lora", counts].isna().all()
    assert swept.loc["lora", "hard_rank"] == 8
    assert swept.loc["lora", "mp_verdict"] == "rank 8: no bulk"
    for column in ["sigma", "nu_minus", "nu_plus", *counts]:
        np.testing.assert_array_equal(table[column], swept.loc[table.index, column], err_msg=column)
    assert found.results.set_index("scope").loc["lora", "removed"] == 0


@pytest.mark.parametrize("b", [10, 13, 25, 37, 384])
def test_a_removals_deciles_are_those_of_the_change_of_spectra(b):
    """Move the values of one decile as removal counts it: spectral_change finds that decile moved, and no other."""
    before = _run(np.linspace(2, 1, b))
    for k in range(1, 11):
        s = np.linspace(2, 1, b)
        taken = removal.indices(
            removal.parse(f"decile:{k}"), s, (b, b), sigma=0.0, eps=0.0, level=0.01, key=jax.random.key(0)
        )
        np.testing.assert_array_equal(taken, deciles.decile(k, b))
        s[taken] += 1e-9
        moved = drift(before, _run(s)).set_index("decile")["distance"]
        assert list(moved.index[moved > 0]) == [k]


def _run(s):
    """What `drift` reads of a sweep."""
    matrices = pd.DataFrame(
        {"name": ["w"], "role": ["query"], "block": [0], "status": ["ok"], "num_right_outliers": [0]}
    )
    lists = {key: [s] for key in ("singular_values", "p_right", "p_left")}
    return SimpleNamespace(matrices=matrices, spectra=pd.DataFrame({"name": ["w"], **lists}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda found: found._replace(residual=np.array([np.nan])), "residual nan"),
        (lambda found: found._replace(residual=np.array([1e-3])), "residual 1.0e-03"),
        (
            lambda found: found._replace(
                s=np.full_like(found.s, np.nan),
                u=np.full_like(found.u, np.nan),
                vt=np.full_like(found.vt, np.nan),
                residual=np.array([np.nan]),
            ),
            "residual nan",
        ),
    ],
    ids=["unknown residual", "large residual", "nan everywhere"],
)
def test_a_decomposition_that_failed_ends_the_study_with_the_tensors_name(
    make_checkpoint, tmp_path, monkeypatch, spoil, says
):
    """No weight is ever edited with its numbers: NaN would reach the model."""
    checkpoint, decompose = make_checkpoint(), stream.decompose
    evaluate = Distance(checkpoint)
    monkeypatch.setattr(stream, "decompose", lambda *given: spoil(decompose(*given)))
    with pytest.raises(RunError) as refused:
        study(checkpoint, tmp_path, evaluate, scopes=("blocks.1.mlp_up",))
    assert "blocks.1.mlp_up: has no singular vectors" in str(refused.value)
    assert says in str(refused.value)
    assert evaluate.calls == [[]]  # the baseline


@pytest.mark.filterwarnings("error")
def test_an_infinite_loss_after_a_removal_is_kept_and_drawn(make_checkpoint, tmp_path):
    checkpoint = make_checkpoint()
    whole = Distance(checkpoint)

    def evaluate(replaced):
        scores = whole(replaced)
        if "blocks.0.query" in replaced and np.linalg.norm(replaced["blocks.0.query"]) < 0.7:
            scores.loss[3] = np.inf
        return scores

    found = study(checkpoint, tmp_path, evaluate)
    table = found.results.set_index(["scope", "removal"])
    infinite = np.isinf(table["loss"])
    assert 0 < infinite.sum() < 10
    assert set(table.index[infinite].get_level_values("scope")) == {"query"}
    assert np.isinf(table.loc[infinite, ["change", "perplexity"]]).all(axis=None)
    page = engine.write_report(tmp_path, figures=True)
    assert page.stat().st_size > 10_000
    assert (tmp_path / "figures" / "ablation.png").stat().st_size > 5000
