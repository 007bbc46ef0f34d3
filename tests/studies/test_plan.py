"""The plan: what is chosen, what is left out and why, and batches that cover everything once."""

import numpy as np
import pytest

from eigensweep.engine import RunError, SweepOptions, describe_plan, make_plan
from eigensweep.engine.run.memory import working_bytes


@pytest.mark.parametrize("budget", [1, 200_000, 10**9])
def test_batches_cover_every_matrix_once_and_keep_to_the_budget(make_checkpoint, budget):
    plan = make_plan(make_checkpoint(), SweepOptions())
    batches = plan.batches(budget)
    assert sorted(i for b in batches for i in b.indices) == list(range(6))
    for batch in batches:
        assert {plan.matrices[i].shape for i in batch.indices} == {batch.shape}
        assert len(batch.indices) == 1 or len(batch.indices) * working_bytes(batch.shape) <= budget


def test_what_is_streamed_goes_one_by_one_and_takes_less(make_checkpoint, monkeypatch):
    plan = make_plan(make_checkpoint(), SweepOptions())
    whole = working_bytes((128256, 4096))
    monkeypatch.setattr("eigensweep.engine.run.memory.CPU_RESIDENT", 8 * 4 * 2 * 40 * 40)
    shapes = [b.shape for b in plan.batches(10**12)]
    assert [shapes.count(shape) for shape in ((40, 40), (80, 40), (40, 80))] == [1, 2, 2]
    monkeypatch.setattr("eigensweep.engine.run.memory.CPU_RESIDENT", 10**12)
    assert whole < 3 * 2**30 < 16 * 2**30 < working_bytes((128256, 4096))


def test_batches_of_what_is_left(make_checkpoint):
    plan = make_plan(make_checkpoint(), SweepOptions())
    assert sorted(i for b in plan.batches(10**9, only=[1, 4]) for i in b.indices) == [1, 4]


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
    assert ("thin", "smaller side 2 is below min_dim = 3") in [
        (name, why) for name, _, _, why in plan.left_out
    ]


def test_nothing_to_sweep_says_what_there_is(make_checkpoint):
    with pytest.raises(RunError, match=r"roles mlp_down, mlp_up, query; blocks 0 to 1.*value"):
        make_plan(make_checkpoint(), SweepOptions(roles=("value",)))


def test_description_names_matrices_memory_and_what_is_left_out(make_checkpoint):
    text = describe_plan(make_plan(make_checkpoint(), SweepOptions(roles=("query",))), 10**9)
    assert "blocks.1.query" in text
    assert "2 x         40 x 40" in text
    assert "norm.weight  8 float32: not a matrix (1-D)" in text
    assert "blocks.0.mlp_up  80 x 40 float32: role mlp_up is not among the roles asked for" in text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sigma": "median"}, "sigma is 'median'"),
        ({"level": 1.0}, "level is 1.0"),
        ({"num_draws": 0}, "num_draws"),
    ],
)
def test_wrong_options_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        SweepOptions(**wrong)
