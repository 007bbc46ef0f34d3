"""Charts and figures of a facts study: their numbers are the tables', their sentences claim what intervals allow."""

import jax
import numpy as np
import pytest

from eigensweep.engine.report import chart_figure, style
from eigensweep.engine.report.charts import Grid
from eigensweep.engine.spectral.distribution import Distribution
from eigensweep.engine.studies.facts import depth_charts, ranks, stream
from eigensweep.engine.studies.facts.charts import MAKERS, charts
from eigensweep.engine.studies.facts.depth_summary import norm_table, rank_table
from eigensweep.engine.studies.facts.described import row_of
from eigensweep.engine.studies.facts.study import Facts
from eigensweep.engine.studies.facts.tables import LAYOUT
from eigensweep.engine.tables.columns import to_table
from eigensweep.models import data

jax.config.update("jax_enable_x64", True)
BLOCKS, WIDTH = 4, 12


def norm_row(role, side, block, value):
    about = {"name": f"{role}.{block}", "role": role, "block": block, "m": 40, "n": 40, "side": side}
    return about | {"frobenius": value, "spectral": value / 2}


@pytest.fixture(scope="module")
def found():
    """Writing norms grow by 1.5 a block, reading ones do not; a stream of Gaussian noise with one large dimension."""
    rng = np.random.default_rng(0)
    rows = {table: [] for table in LAYOUT.tables}
    k = np.arange(1, 41.0)
    for block in range(BLOCKS):
        rows["norms"].append(norm_row("mlp_down", "writing", block, 2 * 1.5**block))
        rows["norms"].append(norm_row("query", "reading", block, 3 + 0.1 * (-1) ** block))
        about = {"name": f"mlp_down.{block}", "role": "mlp_down", "block": block, "shape": (40, 40)}
        rows["ranks"].append(ranks.rank_row("weight", (1 + block) * k**-0.5, **about))
    rows["pooled_ranks"] = ranks.pooled_rows(rows["ranks"], 0)
    rows["ranks"].append(ranks.rank_row("dataset", k**-2.0, name="t.txt", role="text", shape=(None, 40)))
    evals = {"data": "t.txt", "order": "text", "presence": False, "num_sequences": 9, "length": 5, "num_tokens": 40}
    rows["dataset_covariance"].append(evals | {"method": "tokens", "total": 1.0, "evals": k**-2.0})
    x = rng.standard_normal((BLOCKS + 1, 3, 20, WIDTH))
    x[..., 7] += 40.0
    ids = np.zeros((3, 20), np.int32)
    (batch,) = data.batches(data.Rows(ids, ids == 0, ids, ids, np.arange(3)), 3)
    facts = stream.StreamFacts([batch], BLOCKS, WIDTH, 0, [f"t{i}" for i in range(20)])
    for block in range(BLOCKS + 1):
        for table, more in facts.take(0, block, jax.numpy.asarray(x[block])).items():
            rows[table] += more
        place = stream.place_of(block, BLOCKS)
        rows["distributions"].append(row_of("stream", place, Distribution.of(x[block, ..., :7])))
        means = x[block].mean(axis=(0, 1))
        known = {"count": 60, "sd": 1.0, "robust_z": 0.0, "outlier": False}
        rows["dimensions"] += [{"tap": place, "dim": i, "mean": mean, **known} for i, mean in enumerate(means)]
    rows["stream_cosines"] = facts.cosines()
    known = {"loss": 2.0, "change": 0.5, "change_low": 0.4, "change_high": 0.6}
    kinds = {"baseline": [], "outlier": [7], "random": [3], "outliers": [7], "random_set": [3]}
    rows["dimension_ablations"] = [{"name": kind, "kind": kind, "dims": dims} | known for kind, dims in kinds.items()]
    tables = {name: to_table(columns, rows[name]) for name, columns in LAYOUT.tables.items()}
    return Facts(tables, {"study": "facts"}, None)


@pytest.fixture(scope="module")
def made(found):
    return charts(found)


def test_every_chart_is_there_and_says_something(made):
    assert list(made) == list(MAKERS)
    for chart in made.values():
        assert chart.seen
        assert len(chart.seen) <= 115
        assert "nan" not in f"{chart.seen} {chart.note} {[panel.note for panel in chart.panels]}"


def test_only_what_the_interval_allows_is_called_a_trend(found, made):
    seen = made["norms"].seen
    assert "writing grow × 3.38" in seen
    assert "reading no trend" in seen
    rows = {row[0]: row for row in norm_table(found).rows}
    assert rows["mlp_down"][2].startswith("× 3.38 (3.38 to 3.38), grows")
    assert rows["query"][4] == "–"  # no gain beside it
    series = {s.name: s for s in made["norms"].panels[0].series}
    np.testing.assert_allclose(series["mlp_down (writing)"].y, 2 * 1.5 ** np.arange(4.0))


def test_rank_plots_draw_values_and_their_fit(found, made):
    (panel,) = made["ranks_weights"].panels
    *lines, fit = panel.series
    assert [line.name for line in lines] == [f"block {i}" for i in range(4)]
    np.testing.assert_allclose(lines[2].y, 3 * np.asarray(lines[2].x) ** -0.5)
    np.testing.assert_allclose(fit.y, np.prod(np.arange(1, 5)) ** 0.25 * np.asarray(fit.x) ** -0.5, rtol=1e-6)
    assert "slope -0.5 (-0.5 to -0.5) to rank 40 of 40" in panel.note
    assert made["ranks_weights"].seen.startswith("1 of 1 spectra fall straight")
    cells = {row[0]: row for row in rank_table(found).rows}
    assert cells["dataset"][4].startswith("slope -2 to rank 40")
    assert depth_charts.described({"slope": None, "num_ranks": 3}) == "too few values"


def test_heat_maps_are_the_tables(found, made):
    grids = made["tokens"].panels
    assert len(grids) == BLOCKS + 1
    assert all(isinstance(grid, Grid) for grid in grids)
    shown = np.reshape(grids[2].values, (len(grids[2].rows), len(grids[2].columns)))
    expected = np.stack([*found.sample.loc[found.sample["block"] == 2, "values"]])
    np.testing.assert_array_equal(shown, expected[:, [int(c) for c in grids[2].columns]])
    assert "dimension 7" in made["tokens"].seen
    plain, centred = made["cosines"].panels
    assert plain.values[1] > 0.9  # the large dimension
    assert abs(centred.values[1]) < 0.2


def test_pooling_is_told_from_single_dimensions(made):
    series = {s.name: s for s in made["directions"].panels[0].series}
    assert min(series["all dimensions pooled"].y) > 5
    assert max(abs(series["single dimensions"].y)) < 1
    assert made["directions"].panels[0].rules[0].at == 0


def test_figures_draw_their_charts(made):
    with style.context():
        for name in ("tokens", "norms", "directions"):
            figure = chart_figure.draw(made[name])
            assert (
                len([axes for axes in figure.axes if axes.get_title(loc="left")]) == len(made[name].panels)
                or name == "directions"
            )
            assert style.png(figure)[:4] == b"\x89PNG"
        line = chart_figure.draw(made["ranks_weights"]).axes[0].lines[1]
        np.testing.assert_allclose(line.get_ydata(), made["ranks_weights"].panels[0].series[1].y)
