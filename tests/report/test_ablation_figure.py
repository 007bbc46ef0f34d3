"""The removal study's figure and table, also where there is little to draw."""

from types import SimpleNamespace

import numpy as np
import pytest

from eigensweep.engine.report import ablation, ablation_table
from eigensweep.engine.run.ablation import AblationOptions, ablate

ROWS = 12


def study(directory, slope, shapes=((40, 40), (60, 20)), **options):
    """Two roles; the loss of each row is 1 + slope |W' - W|^2, times its number."""
    rng = np.random.default_rng(0)
    arrays = {f"h.{i}.w": rng.standard_normal(shape) for i, shape in enumerate(shapes)}
    matrices = tuple(
        SimpleNamespace(
            name=name,
            role=f"role{i}",
            block=0,
            expert=None,
            shape=w.shape,
            dtype="float64",
            read=lambda w=w: w,
        )
        for i, (name, w) in enumerate(arrays.items())
    )
    identity = {"source": "fake", "sha256": "0"}
    checkpoint = SimpleNamespace(identity=identity, matrices=matrices, skipped=(), warnings=())

    def evaluate(replaced):
        gone = sum(float(np.sum((w - arrays[name]) ** 2)) for name, w in replaced.items())
        loss = 1 + slope * gone * np.arange(1, ROWS + 1)
        return SimpleNamespace(loss=loss, weight=np.ones(ROWS), correct=np.ones(ROWS), count=np.full(ROWS, 2))

    return ablate(
        checkpoint, evaluate, {"measure": "x", "targets": 24}, AblationOptions(**options), directory
    )


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
    (path,) = ablation.write_figures(found, tmp_path)
    assert path.stat().st_size > 5000
    assert path.with_suffix(".pdf").exists()


def test_many_scopes_make_several_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "PER_FIGURE", 1)
    found = study(tmp_path, 1e-3, removals=("decile:1",), scopes=("matrices",))
    assert [path.name for path in ablation.write_figures(found, tmp_path)] == [
        "ablation.png",
        "ablation_2.png",
    ]


def test_table_says_which_decile_matters_more(tmp_path):
    found = study(tmp_path / "a", 1e-3, removals=("deciles",))
    text = ablation_table.render(found)
    assert text.count("the middle matters more") == 2
    row = next(line for line in text.splitlines() if line.startswith("role0") and "decile:1 " in line)
    loss = found.results.set_index(["scope", "removal"]).loc[("role0", "decile:1"), "loss"]
    assert f"{loss:.4f}" in row
    # where removals help, the smallest values help least
    better = ablation_table.render(study(tmp_path / "b", -1e-3, removals=("deciles",)))
    assert better.count("the smallest matters more") == 2
    assert "2, 3, 4, 5, 6, 7, 8, 9" in better
    none = study(tmp_path / "c", 1e-3, removals=("outliers:right", "decile:1"))
    assert "middle" not in ablation_table.render(none)
    assert ablation.title(none)[0].startswith("change of the loss")
