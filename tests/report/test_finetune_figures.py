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


def effect(order, seeds, scope="blocks", decile=10):
    return {"scope": scope, "decile": decile, "order": order, "change": float(np.mean(seeds)), "seeds": seeds}


@pytest.mark.parametrize(
    ("seeds", "scopes", "verdict"),
    [
        ([0.019, 0.021], 1, "more than noise"),  # Student's t of one degree of freedom: 12.7 * 0.001
        ([0.019, 0.021], 10, "not told from noise"),  # the largest of ten: 127 * 0.001
        ([0.0, 0.04], 1, "not told from noise"),
        ([-0.019, -0.021], 1, "more than noise"),
        ([0.02], 1, "one seed tells nothing"),
    ],
)
def test_the_title_claims_what_the_seeds_bear(seeds, scopes, verdict):
    rows = [effect("after - before", seeds), effect("after", [0.4, 0.6]), effect("after - before", [0.8, 1], decile=1)]
    rows += [effect("after - before", [0.001] * len(seeds), scope=f"role {i}") for i in range(scopes - 1)]
    seen, note = figures.title(rows, len(seeds))
    assert f"decile 10 of blocks, after less before: {np.mean(seeds):+.4f} nats" in seen
    assert verdict in seen
    assert f"{len(seeds)} seed" in note
