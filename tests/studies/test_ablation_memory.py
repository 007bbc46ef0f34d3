"""A removal study however its memory is spared: the same numbers, matrices decomposed once, what the plan says."""

import math

import numpy as np
import pandas as pd
import pytest

from eigensweep import models
from eigensweep.engine import RunError
from eigensweep.engine.run import factors
from eigensweep.engine.spectral import deciles
from eigensweep.engine.studies.ablation import passes
from eigensweep.engine.studies.ablation import plan as plan_module
from eigensweep.engine.studies.ablation.plan import describe_plan, make_plan
from eigensweep.engine.studies.ablation.study import AblationOptions, run_ablation
from eigensweep.models import nn

REMOVALS = ("decile:1", "decile:10", "outliers:left", "random:decile")


@pytest.fixture(scope="module")
def checkpoint(shared):
    return models.open_checkpoint(shared / "checkpoints" / "gpt2-char-shakespeare")


@pytest.fixture(scope="module")
def options(shared, checkpoint):
    scopes = (next(m.name for m in checkpoint.matrices if (m.block, m.role) == (2, "attention_output")), "query")
    text = {"data": str(shared / "text" / "tinyshakespeare.txt"), "data_from": 0.9, "length": 32, "max_rows": 4}
    return text | {"scopes": scopes, "removals": REMOVALS, "num_draws": 1, "num_resamples": 50}


@pytest.fixture(scope="module")
def plain(checkpoint, options, tmp_path_factory):
    return run_ablation(checkpoint, AblationOptions(**options), tmp_path_factory.mktemp("plain") / "run")


def tables(found):
    return [getattr(found, name).drop(columns="seconds", errors="ignore") for name in ("results", "rows", "matrices")]


def test_losses_are_those_of_values_zeroed_by_hand(checkpoint, options, plain):
    """Against NumPy's decomposition and the whole model with all matrices of the scope replaced at once."""
    model, params = nn.load(checkpoint)
    rows = plan_module.rows_for(checkpoint, model, None, AblationOptions(**options), 0, "unembedding", "evenly")
    table = plain.results.set_index(["scope", "removal"])
    for k in (1, 10):
        replaced = {}
        for matrix in (m for m in checkpoint.matrices if m.role == "query"):
            u, s, vt = np.linalg.svd(matrix.read().astype(np.float64), full_matrices=False)
            s[deciles.decile(k, s.size)] = 0
            replaced[matrix.name] = (u * s) @ vt
        scores = nn.score(model, nn.with_matrices(params, checkpoint, replaced), rows, 4)
        assert table.loc[("query", f"decile:{k}"), "loss"] == pytest.approx(scores.mean, rel=1e-6)


def test_the_same_tables_whatever_way(checkpoint, options, plain, tmp_path, monkeypatch):
    """Streamed or not, one by one or together, decomposed or from another study's folder, 2 rows at a time."""
    decomposed, decompose = [], factors.decomposed

    def counted(sources, *given, **more):
        decomposed.extend(source.name for source in sources)
        return decompose(sources, *given, **more)

    monkeypatch.setattr(factors, "decomposed", counted)
    ways = [{}, {"stream": True, "batch_size": 2}]
    for i, way in enumerate(ways):
        if i == 1:
            monkeypatch.setattr(passes, "TOGETHER_BYTES", 0)
        given = AblationOptions(**options | way | {"factors": str(tmp_path / "factors")})
        found = run_ablation(checkpoint, given, tmp_path / f"run{i}")
        for ours, theirs in zip(tables(found), tables(plain), strict=True):
            pd.testing.assert_frame_equal(ours, theirs, rtol=1e-6, atol=1e-6 if "batch_size" in way else 0)
        assert len(decomposed) == len(found.matrices) == 5  # by the first alone
        assert not (tmp_path / f"run{i}" / "factors").exists()
    assert not (plain.directory / "factors").exists()


def test_the_plan_counts_what_the_study_does(checkpoint, options, plain, tmp_path, monkeypatch):
    calls, together = [], nn.variant_scores
    monkeypatch.setattr(
        nn, "variant_scores", lambda *given, **more: calls.append(len(given[3])) or together(*given, **more)
    )
    monkeypatch.setattr(passes, "MOST_TOGETHER", 3)
    monkeypatch.setattr(plan_module, "MOST_TOGETHER", 3)
    given = AblationOptions(**options)
    plan = make_plan(checkpoint, given)
    run_ablation(checkpoint, given, tmp_path)
    taking = (plain.results["removed"] > 0).sum()
    assert sum(calls) == 1 + taking
    assert len(plan.passes) == len(calls) - 1 == 4
    arch = plan.model.architecture
    assert plan.part_work[1] == 4 * 32 * (2 * 12 * arch.width**2 + 4 * 32 * arch.width)
    whole, first = sum(plan.part_work), sum(plan.part_work[:3])
    # the baseline, two passes from block 2 on whose beginning is shared, and two from block 0 on
    expected = whole + 2 * first + 4 * (whole - first) + 2 * plan.part_work[0] + 4 * (whole - plan.part_work[0])
    assert plan.work == pytest.approx(expected)
    assert sum(plan.part_bytes.values()) >= sum(leaf.nbytes for leaf in checkpoint.leaves)
    matrices = [m for m in checkpoint.matrices if m.role == "query"]
    assert plan.disk == sum(8 * (2 * 128 * 128 + 3 * 128) for _ in matrices)
    assert plan.subtracted_bytes(plan.removals[0], matrices) == 4 * 8 * math.ceil(12.8) * 256
    text = describe_plan(plan)
    assert max(map(len, text.splitlines())) <= 100
    assert text.isascii()
    for said in ("8 measurements in 4 passes", "4 rows of 32 tokens", "memory: about", "disk:", "time: about"):
        assert said in text
    streamed = describe_plan(make_plan(checkpoint, AblationOptions(**options, stream=True)))
    assert "reading it" in streamed
    assert "with --config.stream=False" in streamed


def test_bad_input_is_refused_before_the_plan(checkpoint, options, tmp_path):
    with pytest.raises(RunError, match="scope nothing"):
        make_plan(checkpoint, AblationOptions(**options | {"scopes": ("nothing",)}))
    with pytest.raises(ValueError, match="factors_gib"):
        AblationOptions(**options, factors_gib=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"factors: .*/file: cannot be made"):
        run_ablation(checkpoint, AblationOptions(**options, factors=str(tmp_path / "file")), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(RunError, match="stream goes with neither"):
        make_plan(checkpoint, AblationOptions(**options | {"format": "sampled", "stream": True}))
    whole = {"removals": ("covariance:decile",), "data_from": 0.0, "data_to": 1.0}
    with pytest.raises(RunError, match="text that the model is not measured on"):
        make_plan(checkpoint, AblationOptions(**options | whole))
