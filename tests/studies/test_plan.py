"""The sweep's plan: what is chosen, what is left out and why, and how it is told."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest

from eigensweep.engine import RunError, SweepOptions, describe_plan, make_plan
from eigensweep.engine.studies.sweep import cost, plan
from eigensweep.engine.studies.sweep.cost import CostModel


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"roles": ("query",)}, ["blocks.0.query", "blocks.1.query"]),
        ({"roles": ("query", "mlp_up"), "blocks": (1,)}, ["blocks.1.query", "blocks.1.mlp_up"]),
    ],
)
def test_roles_and_blocks_choose(make_checkpoint, options, names):
    plan = make_plan(make_checkpoint(), SweepOptions(**options))
    assert [m.name for m in plan.matrices] == names
    assert len(plan.left_out) == 1 + 6 - len(names)
    assert all(reason for *_, reason in plan.left_out)


def test_min_dim_leaves_out_but_keeps_empty_tensors_to_be_marked(make_checkpoint):
    extra = [("thin", "other", np.ones((2, 40))), ("empty", "other", np.ones((0, 40)))]
    plan = make_plan(make_checkpoint(extra), SweepOptions(min_dim=3))
    assert "empty" in [m.name for m in plan.matrices]
    assert ("thin", "smaller side 2 is below min_dim = 3") in [(name, why) for name, _, _, why in plan.left_out]


def test_nothing_to_sweep_says_what_there_is(make_checkpoint):
    with pytest.raises(RunError, match=r"nothing to sweep .*roles mlp_down, mlp_up, query; blocks 0 to 1.*41"):
        make_plan(make_checkpoint(), SweepOptions(min_dim=41))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"roles": "query,mlp"}, "roles: mlp not in fake (did you mean mlp_up?)"),
        ({"blocks": "1-3"}, "blocks: 2, 3 not in fake"),
    ],
)  # fmt: skip
def test_a_role_or_block_that_is_not_there_is_refused_beside_those_that_are(make_checkpoint, options, says):
    with pytest.raises(RunError) as refused:
        make_plan(make_checkpoint(), SweepOptions(**options))
    assert str(refused.value) == f"{says}; it has roles mlp_down, mlp_up, query; blocks 0 to 1"


def test_description_is_a_row_a_role_with_memory_and_what_is_left_out(make_checkpoint):
    text = describe_plan(
        make_plan(make_checkpoint(), SweepOptions(roles=("query",))),
        10**9,
        plan.Estimate(100.0, CostModel((1e-9, 0.0, 2e-8))),
    )
    assert re.search(r"query +0 to 1 +2 +40 x 40 +float32", text)
    assert "1 batches within 0.93 GiB" in text
    assert "about 2 minutes on this machine" in text
    assert "cost model: 1e-09 b^3 + 2e-08 a b seconds a matrix with sides b <= a" in text
    flat = " ".join(text.split())
    assert "1: not a matrix (1-D): norm.weight (8 float32)" in flat
    assert "2: role mlp_up is not among the roles asked for: blocks.0.mlp_up (80 x 40 float32), blocks.1" in flat


def test_estimate_scales_the_trial_by_a_b_squared(make_checkpoint, monkeypatch):
    monkeypatch.setattr(cost, "rows_of", lambda sources, ws, options: time.sleep(0.02 * len(ws)))
    few = make_plan(make_checkpoint(), SweepOptions(roles="query"))
    many = make_plan(make_checkpoint([(f"q{i}", "query", np.ones((40, 40))) for i in range(6)]), SweepOptions())
    assert plan.estimate(few, SweepOptions()).seconds == pytest.approx(2 * 0.02, rel=0.5)
    wanted = (2 + 6) * 0.02 + 4 * 0.02 * 2  # four are twice as long; the trial's shape lies between the two
    assert plan.estimate(many, SweepOptions()).seconds == pytest.approx(wanted, rel=0.6)


def test_large_shapes_are_extrapolated_from_trials_at_two_sides_and_two_aspects(monkeypatch):
    def took(shape):
        a, b = max(shape), min(shape)
        return 1e-9 * b**3 + 2e-10 * a * b**2 + 3e-8 * a * b

    tried = []
    monkeypatch.setattr(cost, "_trial", lambda shape, *_: tried.append(shape) or took(shape))
    monkeypatch.setattr(cost, "_growth", lambda matrices: 0.1)
    shapes = [(4096, 4096), (1024, 4096), (14336, 4096)]
    sources = [SimpleNamespace(name=str(s), shape=s, dtype="bfloat16") for s in shapes]
    model = cost.cost_model(sources, SweepOptions())
    assert set(tried) == {(512, 512), (1024, 1024), (2048, 512), (4096, 1024)}
    assert model.seconds((1024, 4096)) == pytest.approx(took((1024, 4096)), rel=1e-6)
    grown = took((4096, 4096)) + 1e-9 * 4096**3 * (4**0.1 - 1)
    assert model.seconds((4096, 4096)) == pytest.approx(grown, rel=1e-6)
    assert model.total(sources, SweepOptions()) == pytest.approx(sum(map(model.seconds, shapes)))
