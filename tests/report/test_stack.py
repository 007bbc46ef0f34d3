"""Several runs as one table."""

import numpy as np
import pandas as pd
import pytest

from eigensweep.engine.studies.compare.stack import KEYS, stack, step_of


@pytest.fixture(scope="module")
def runs(make_run, make_spiked, tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("stack"), np.random.default_rng(7)
    w = [("q.weight", "query", 0, make_spiked(rng, 20, 20, 0)), ("v.weight", "value", 1, make_spiked(rng, 20, 20, 1))]
    return [make_run(w, directory=root / "a"), make_run(w[:1], control="none", directory=root / "b")]


def test_keys_stand_in_front_and_every_row_is_there(runs):
    table = stack(runs)
    assert list(table.columns[:4]) == list(KEYS)
    assert table["run"].tolist() == ["a", "a", "b"]
    assert table["name"].tolist() == ["q.weight", "v.weight", "q.weight"]
    pd.testing.assert_series_equal(table["alpha"][:2], runs[0].matrices["alpha"])
    assert table["step"].dtype == "Int64"
    assert table["block"].tolist() == [0, 1, 0]
    control = table["control_gaussian_alpha"]
    assert control.isna().tolist() == [False, False, True]  # what a run has not is null


def test_other_tables_and_names(runs):
    table = stack(runs, "spectra", ["x", "y"])
    assert table["run"].tolist() == ["x", "x", "y"]
    np.testing.assert_array_equal(table["singular_values"][2], runs[1].spectra["singular_values"][0])


def test_nothing_to_stack():
    with pytest.raises(ValueError, match="no runs"):
        stack([])


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("series/step-00500", 500), ("series/step_7/", 7), ("out/checkpoint-1200", 1200), ("a/b@step1000", 1000),
        ("a/global_step40", 40), ("iter_0000300", 300), ("a/b-7b", None), ("stepwise-3", None), ("step-5/final", None),
        ("a/footstep3", None), ("ckpt12.safetensors", 12),
    ],
)  # fmt: skip
def test_steps_are_read_from_names(source, step):
    assert step_of(source) == step
