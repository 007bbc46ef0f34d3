"""Roles are never averaged over towers, nor guesses with what is known."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from eigensweep import engine
from eigensweep.engine.report.spectrum import by_role
from eigensweep.engine.studies.ablation.scopes import resolve_scopes
from eigensweep.engine.studies.compare.roles import series
from eigensweep.engine.studies.finetune import drift
from eigensweep.engine.studies.sweep import figure_heatmaps
from eigensweep.engine.studies.sweep.plan import describe_plan, make_plan
from eigensweep.engine.studies.sweep.summary import render_summary, summary_table
from eigensweep.engine.tables.groups import ROLES, TOWERS, Group, group_of
from eigensweep.models import roles

OPTIONS = engine.SweepOptions(control="none", equalise=False, num_flips=0, null="monte_carlo", num_draws=100)


@dataclass(frozen=True)
class Matrix:
    name: str
    role: str
    block: int | None
    tower: str
    guessed: bool
    array: np.ndarray
    expert: None = None
    dtype: str = "float32"

    @property
    def shape(self):
        return self.array.shape

    def read(self):
        return self.array


@pytest.fixture(scope="module")
def checkpoint(make_checkpoint):
    """Two blocks of queries in an encoder, in a decoder twice, and one guessed; each with its own number of spikes."""
    rng, matrices = np.random.default_rng(0), []
    kinds = [("decoder.cross", False, 3), ("decoder", False, 2), ("encoder", False, 1), ("encoder", True, 0)]
    for tower, guessed, spikes in kinds:
        for block in range(2):
            w = rng.standard_normal((40, 40))
            for k in range(spikes):
                w[k, k] += 60
            name = f"{tower}.{guessed}.{block}"
            matrices.append(Matrix(name, "query", block, tower, guessed, w.astype(np.float32)))
    return replace(make_checkpoint(), matrices=tuple(matrices))


@pytest.fixture(scope="module")
def run(checkpoint):
    return engine.sweep(checkpoint, OPTIONS)


LABELS = ["encoder query", "encoder query (guessed)", "decoder query", "decoder cross query"]


def test_tables_say_tower_and_guess(run):
    assert list(run.matrices["tower"]) == 2 * ["decoder.cross"] + 2 * ["decoder"] + 4 * ["encoder"]
    assert list(run.matrices["guessed"]) == 6 * [False] + 2 * [True]


def test_the_summary_has_a_row_each(run):
    table = summary_table(run)
    assert list(table["role"]) == LABELS
    assert list(table["right_outliers"]) == [1, 0, 2, 3]
    text = render_summary(table)
    assert all(label in text for label in LABELS)


def test_figures_have_a_group_each(run):
    groups = by_role(run)
    assert [(label, [s.block for s in of]) for label, of in groups.items()] == [(label, [0, 1]) for label in LABELS]
    assert {s.tower for s in groups["decoder cross query"]} == {"decoder.cross"}
    labels, blocks, values = figure_heatmaps.grid(run, "num_right_outliers")
    assert (labels, blocks) == (LABELS, [0, 1])
    np.testing.assert_array_equal(values, np.transpose([[1, 0, 2, 3]] * 2))
    assert {label: list(x) for label, x in series([run, run], "num_right_outliers").items()} == {
        "encoder query": [2, 2], "encoder query (guessed)": [0, 0], "decoder query": [4, 4],
        "decoder cross query": [6, 6],
    }  # fmt: skip


def test_drift_is_told_by_tower(run):
    table = drift.drift(run, run)
    assert set(table["tower"]) == {"encoder", "decoder", "decoder.cross"}
    assert drift.title(table)[0].startswith(("encoder", "decoder"))


def test_scopes_keep_towers_apart(checkpoint):
    def names(*scopes):
        return {scope: [m.name for m in found] for scope, found in resolve_scopes(checkpoint.matrices, scopes).items()}

    assert list(names("roles")) == ["decoder cross query", "decoder query", "encoder query"]
    assert names("encoder query")["encoder query"] == [m.name for m in checkpoint.matrices if m.tower == "encoder"]
    assert names("query")["query"] == [m.name for m in checkpoint.matrices]


def test_the_plan_says_tower_and_guess(checkpoint):
    text = describe_plan(make_plan(checkpoint, engine.SweepOptions(roles=("query",), blocks=(1,))), 10**9)
    assert all(label in text for label in LABELS)


def test_a_table_without_towers_is_one_stack():
    for row in ({"role": "query"}, {"role": "query", "tower": None, "guessed": float("nan")}):
        assert group_of(row) == Group("query")
        assert group_of(pd.DataFrame([row]).to_dict("records")[0]) == Group("query")


def test_the_rooms_agree_about_roles_and_towers():
    assert set(ROLES) == set(roles.ROLES)
    assert TOWERS == roles.TOWERS
