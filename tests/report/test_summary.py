"""The summary: medians by role, for pandas and for the terminal."""

import numpy as np
import pytest

from eigensweep.engine.studies.sweep.summary import render_summary, summary_table


def test_medians_by_role(run):
    table = summary_table(run).set_index("role")
    query = run.matrices[run.matrices["role"] == "query"]
    assert table.loc["query", "matrices"] == table.loc["query", "ok"] == 3
    assert table.loc["query", "shape"] == "48 × 48"
    assert table.loc["query", "right_outliers"] == query["num_right_outliers"].median()
    assert table.loc["query", "control_gaussian_left_outliers"] == (
        query["control_gaussian_num_left_outliers"].median()
    )
    assert table.loc["query", "alpha"] == pytest.approx(query["alpha"].median())
    assert table.loc["query", "rejected_share_left"] == pytest.approx(
        (query["rejected_left"].astype(float) / 48).median()
    )
    assert list(table.index) == ["embedding", "query", "key", "value", "attention_output", "mlp_up", "mlp_down"]


def test_a_role_of_two_shapes_has_two_rows(make_run, make_spiked):
    rng = np.random.default_rng(0)
    run = make_run(
        [
            ("classifier.dense", "classifier", None, make_spiked(rng, 40, 40, 3)),
            ("classifier.out", "classifier", None, make_spiked(rng, 5, 40, 0)),
        ]
    )
    table = summary_table(run)
    assert list(table["shape"]) == ["40 × 40", "5 × 40"]
    assert table["right_outliers"][0] >= 3


def test_many_shapes_are_one_row(make_run):
    rng = np.random.default_rng(0)
    run = make_run([(f"w{i}", "other", None, rng.standard_normal((4 + i, 4))) for i in range(6)], control="none")
    (row,) = summary_table(run).to_dict("records")
    assert (row["matrices"], row["shape"]) == (6, "6 shapes")
    assert not any(column.startswith("control_") for column in row)
    assert np.isnan(row["stable_rank"])  # of a mixture there is no median
    assert row["stable_rank_min"] == run.matrices["stable_rank"].min()
    assert row["stable_rank_max"] == run.matrices["stable_rank"].max()


def test_experts_are_apart(make_run, make_spiked):
    rng = np.random.default_rng(0)
    run = make_run([(f"w{i}", "mlp_up", 0, make_spiked(rng, 20, 20, 1)) for i in range(3)])
    run.matrices["expert"] = [None, 0, 1]
    table = summary_table(run)
    assert list(table["role"]) == ["mlp_up", "mlp_up of experts"]
    assert list(table["matrices"]) == [1, 2]


def test_failures_are_counted_and_left_out_of_medians(make_run, make_spiked):
    rng = np.random.default_rng(0)
    matrices = [(f"w{i}", "query", i, make_spiked(rng, 20, 20, 1)) for i in range(3)]
    run = make_run(matrices, statuses={"w1": "non-finite entries: 3"})
    (row,) = summary_table(run).to_dict("records")
    assert (row["matrices"], row["ok"]) == (3, 2)
    assert row["stable_rank"] == pytest.approx(run.matrices["stable_rank"].dropna().median())
    assert "2/3" in render_summary(summary_table(run))


def test_text_is_aligned_complete_and_fits_a_terminal(run):
    table = summary_table(run)
    parts = render_summary(table).split("\n\n")
    assert len(parts) == 4
    for part in parts:
        title, *lines = part.splitlines()
        assert "medians, ranges in brackets" in title
        assert len(lines) == 1 + len(table)
        assert len({len(line) for line in lines}) == 1
        assert all(len(line) <= 100 for line in part.splitlines())
    query = table.set_index("role").loc["query"]
    cell = f"{query.right_outliers:g} ({query.right_outliers_min:g}–{query.right_outliers_max:g})"
    assert (cell in parts[1]) == (query.right_outliers_min < query.right_outliers_max)


def test_the_control_shown_is_the_first(make_run, make_spiked):
    rng = np.random.default_rng(0)
    run = make_run([("w", "query", 0, make_spiked(rng, 24, 24, 1))], control="both")
    run.matrices["num_right_outliers"] = 7
    run.matrices["control_gaussian_num_right_outliers"] = 2
    run.matrices["control_permutation_num_right_outliers"] = 5
    table = summary_table(run)
    assert table["control_gaussian_right_outliers"].tolist() == [2]
    assert not any(column.startswith("control_permutation_") for column in table)
    rows = render_summary(table).split("beyond the right edge")[1].splitlines()
    assert rows[2].split()[:3] == ["query", "7", "2"]
