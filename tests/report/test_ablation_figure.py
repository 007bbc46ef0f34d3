"""The removal study's figure and table, also where there is little to draw."""

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest

from eigensweep.engine import write_report
from eigensweep.engine.studies import ablation
from eigensweep.engine.studies.ablation import figures, summary
from eigensweep.engine.studies.ablation.study import AblationOptions, ablate
from eigensweep.engine.studies.edited_model import Measure

ROWS = 12


def study(directory, slope, shapes=((40, 40), (60, 20)), lost=None, **options):
    """Two roles; the loss of each row is 1 + slope |W' - W|^2, times its number.

    Evaluation number `lost` overflows in one row.
    """
    rng = np.random.default_rng(0)
    arrays = {f"h.{i}.w": rng.standard_normal(shape) for i, shape in enumerate(shapes)}
    matrices = tuple(
        SimpleNamespace(
            name=name, role=f"role{i}", block=0, expert=None, shape=w.shape, dtype="float64", read=lambda w=w: w
        )
        for i, (name, w) in enumerate(arrays.items())
    )
    identity = {"source": "fake", "sha256": "0"}
    checkpoint = SimpleNamespace(identity=identity, matrices=matrices, skipped=(), warnings=())
    evaluations = itertools.count()

    def evaluate(replaced):
        gone = sum(float(np.sum((w - arrays[name]) ** 2)) for name, w in replaced.items())
        loss = 1 + slope * gone * np.arange(1, ROWS + 1)
        if next(evaluations) == lost:
            loss[3] = np.inf
        return SimpleNamespace(loss=loss, weight=np.ones(ROWS), correct=np.ones(ROWS), count=np.full(ROWS, 2))

    measure = Measure({"measure": "x", "targets": 24}, evaluate)
    return ablate(checkpoint, measure, AblationOptions(**options), directory)


@pytest.mark.parametrize(
    ("slope", "options"),
    [
        (1e-3, {"removals": ("deciles", "outliers:both", "bulk:decile", "random:decile")}),
        (-1e-6, {"removals": ("decile:3", "outliers:right", "random:left"), "scopes": ("all",)}),
        (0.0, {"removals": ("band:1-2",), "scopes": ("matrices", "blocks")}),
    ],
)
def test_figures_are_drawn_whatever_was_removed(tmp_path, slope, options):
    found = study(tmp_path, slope, **options)
    write_report(found, figures=True)
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["ablation.pdf", "ablation.png"]
    assert (tmp_path / "figures" / "ablation.png").stat().st_size > 5000


def test_many_scopes_make_several_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "PER_FIGURE", 1)
    found = study(tmp_path, 1e-3, removals=("decile:1",), scopes=("matrices",))
    write_report(found, tmp_path / "out", figures=True)
    drawn = sorted(path.name for path in (tmp_path / "out" / "figures").glob("*.png"))
    assert drawn == ["ablation.png", "ablation_2.png"]


def test_table_says_which_decile_matters_more(tmp_path):
    found = study(tmp_path / "a", 1e-3, removals=("deciles",))
    text = summary.render(found)
    assert text.count("the middle matters more") == 2
    row = next(line for line in text.splitlines() if line.startswith("role0") and "decile:1 " in line)
    loss = found.results.set_index(["scope", "removal"]).loc[("role0", "decile:1"), "loss"]
    assert f"{loss:.4f}" in row
    # where removals help, the smallest values help least
    better = summary.render(study(tmp_path / "b", -1e-3, removals=("deciles",)))
    assert better.count("the smallest matters more") == 2
    assert "2, 3, 4, 5, 6, 7, 8, 9" in better
    none = study(tmp_path / "c", 1e-3, removals=("outliers:right", "decile:1"))
    assert "middle" not in summary.render(none)
    assert figures.title(none)[0].startswith("change of the loss")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("lost", "removal", "more"), [(10, "decile:10", "0 of 1 panels"), (4, "decile:4", "0 of 2 panels")]
)
def test_an_infinite_loss_is_said_and_no_interval_is_claimed(tmp_path, lost, removal, more, data_of):
    """Evaluation 0 is the baseline, then come the ten deciles of role0."""
    found = study(tmp_path, 1e-3, lost=lost, removals=("deciles",))
    row = found.results.set_index(["scope", "removal"]).loc[("role0", removal)]
    assert row["loss"] == row["change"] == np.inf
    figure = figures.draw(found, ["role0", "role1"])
    assert [text.get_text() for text in figure.axes[0].texts if "finite" in text.get_text()] == [
        f"loss not finite without {removal}"
    ]
    assert all(np.isfinite(line.get_ydata()).all() for line in figure.axes[0].lines)
    assert more in figures.title(found)[0]
    text = summary.render(found)
    (line,) = [line for line in text.splitlines() if line.startswith("role0") and f"{removal} " in line]
    assert re.search(r"\sinf\s+\+inf\s+–\s", line)
    assert "nan" not in text
    assert text.count("a loss is not finite") == (removal == "decile:10")
    (held,) = data_of(write_report(found).read_text("utf-8"))["studies"]
    cells = [cell for table in held["tables"] for row in table["rows"] for cell in row]
    assert not any("nan" in cell for cell in cells)
    assert cells.count("inf") == 1


def test_numbers_are_tables_of_the_page(tmp_path, data_of):
    found = study(tmp_path, 1e-3, removals=("deciles",))
    (held,) = data_of(write_report(found).read_text("utf-8"))["studies"]
    removals, verdicts = held["tables"]
    assert [tuple(row) for row in removals["rows"]] == summary.removals(found)
    assert [tuple(row) for row in verdicts["rows"]] == summary.verdicts(found)
    assert [name for name, _ in removals["headings"]] == [*summary.HEADINGS]
    assert removals["note"] == summary.baseline(found)
