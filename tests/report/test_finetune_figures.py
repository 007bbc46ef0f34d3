"""What a fine-tuning moved: known changes of singular values are found; titles say no more than the numbers do."""

import matplotlib.image
import numpy as np
import pytest

from eigensweep import engine
from eigensweep.engine.report import style
from eigensweep.engine.studies.finetune import drift, figures
from eigensweep.engine.tables.columns import schema, to_table
from eigensweep.models import open_checkpoint

NAMES = ("layers.0.q_proj.weight", "layers.1.q_proj.weight")


def run_of(weights):
    return engine.sweep(open_checkpoint(weights), engine.SweepOptions(control="none"))


@pytest.fixture(scope="module")
def pair():
    """The same singular vectors; the largest tenth of the values 10 % up, the smallest halved, the rest as it was."""
    rng = np.random.default_rng(0)
    before, after = {}, {}
    for name in NAMES:
        u, s, vt = np.linalg.svd(rng.standard_normal((50, 40)), full_matrices=False)
        t = s.copy()
        t[:4] *= 1.1
        t[-4:] *= 0.5
        before[name], after[name] = (u * s) @ vt, (u * t) @ vt
    return run_of(before), run_of(after)


def test_drift_by_decile(pair):
    table = drift.drift(*pair)
    assert len(table) == 2 * 10
    expected = {1: 0.1, 10: -0.5} | dict.fromkeys(range(2, 10), 0.0)
    for row in table.itertuples():
        assert row.change == pytest.approx(expected[row.decile], abs=1e-9)
        assert row.distance == pytest.approx(abs(expected[row.decile]), abs=1e-9)
        assert row.p_right == pytest.approx(row.p_right_after, abs=1e-6)  # the vectors are the same
    p = np.asarray(pair[0].spectra["p_left"][0])
    assert table.loc[(table["name"] == NAMES[0]) & (table["decile"] == 10), "p_left"].item() == pytest.approx(
        p[-4:].mean()
    )
    seen, note = drift.title(table)
    assert seen == "query: the smallest tenth of its singular values moved by 50 %, the largest by 10 %"
    assert note.startswith("2 matrices")


def test_drift_is_drawn(pair, tmp_path):
    style.save(drift.draw(*pair), tmp_path / "spectral_change")
    assert matplotlib.image.imread(tmp_path / "spectral_change.png").std() > 0.01
    assert (tmp_path / "spectral_change.pdf").read_bytes().startswith(b"%PDF")


def test_types_do_not_depend_on_the_matrices():
    """No matrix of the run has a block: the column holds nulls, and integers all the same."""
    run = run_of({"pooler.dense.weight": np.random.default_rng(2).standard_normal((20, 20))})
    table = to_table(drift.SPECTRAL_CHANGE, drift.drift(run, run).to_dict("records"))
    assert table.schema.equals(schema(drift.SPECTRAL_CHANGE))
    assert table["block"].null_count == len(table) == 10


def test_runs_without_a_common_matrix_are_refused(pair):
    other = run_of({"layers.0.k_proj.weight": np.random.default_rng(1).standard_normal((20, 20))})
    with pytest.raises(ValueError, match="no matrix in common"):
        drift.drift(pair[0], other)


def test_a_model_that_did_not_move_is_drawn(pair):
    figure = drift.draw(pair[0], pair[0])
    assert not any(np.nan_to_num(line.get_ydata()).any() for line in figure.axes[0].lines)


def effect(order, change, seed_low, seed_high, scope="blocks", decile=10):
    return {"scope": scope, "decile": decile, "order": order, "change": change, "seed_low": seed_low,
            "seed_high": seed_high}  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.03, "more than noise"), (-0.01, 0.05, "not told from noise"), (-0.03, -0.01, "more than noise")],
)
def test_the_title_claims_what_the_seeds_bear(low, high, verdict):
    rows = [
        effect("after - before", 0.02, low, high),
        effect("after", 0.5, 0.4, 0.6),
        effect("after - before", 0.9, 0.8, 1.0, decile=1),
    ]
    seen, note = figures.title(rows, 2)
    assert "decile 10 of blocks" in seen
    assert "+0.0200 nats" in seen
    assert verdict in seen
    assert "2 seeds" in note
