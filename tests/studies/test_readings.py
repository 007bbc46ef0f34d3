"""The readings beside the matrix as it is, equalised and against random signs: what they find, where there are none."""

import numpy as np
import pandas as pd
import pytest

from eigensweep import engine
from eigensweep.engine import SweepOptions
from eigensweep.engine.spectral import signs
from eigensweep.engine.studies.sweep.options import controls_of
from eigensweep.engine.tables.matrices import EQUALISED, PROFILE, SCALARS, SIGNS

CHOSEN = {"null": "monte_carlo", "num_draws": 200, "control": "none"}
COUNTS = ["num_right_outliers", "num_left_outliers"]
READ = [*(EQUALISED + c for c in COUNTS), *(f"{c}_beyond_signs" for c in COUNTS)]


def sweep(checkpoint, memory_bytes=None, **options):
    return engine.sweep(checkpoint, SweepOptions(**CHOSEN | options), memory_bytes=memory_bytes)


@pytest.fixture(scope="module")
def extra():
    """Matrices with zero rows and columns, of two scales of rows, and of sizes whose squares leave float64's range."""
    rng = np.random.default_rng(5)
    w = 0.02 * rng.standard_normal((60, 40)) + np.outer(*(rng.standard_normal(x) / np.sqrt(x) for x in (60, 40)))
    zeros, rows = w.copy(), rng.standard_normal((60, 40))
    zeros[[3, 7]], zeros[:, 5] = 0, 0
    rows[:6] *= 8
    return (
        ("plain", "other", w),
        ("large", "other", w * 2.0**532),
        ("small", "other", w * 2.0**-532),
        ("decimal large", "other", w * 1e160),
        ("decimal small", "other", w * 1e-160),
        ("zeros", "other", zeros),
        ("rows", "other", rows),
        ("nothing", "other", np.zeros((60, 40))),
        ("one row left", "other", np.where(np.arange(60)[:, None] == 9, w, 0)),
        ("vector", "classifier", w[:1]),
    )


@pytest.fixture(scope="module")
def whole(make_checkpoint, extra):
    """All matrices with every reading, in memory."""
    return sweep(make_checkpoint(extra))


@pytest.fixture(scope="module")
def table(whole):
    return whole.matrices.set_index("name")


def test_a_spike_is_read_by_all(table):
    up = table[table["role"] == "mlp_up"]
    for column in ("num_right_outliers", EQUALISED + "num_right_outliers", "num_right_outliers_beyond_signs"):
        assert (up[column] == 1).all(), column
    assert (up["profile_share_right"] == 0).all()
    assert (up["signs_p_right"] < 0.01).all()
    assert (up["signs_z_right"] > 3).all()


def test_scales_of_rows_are_no_outliers(table):
    row = table.loc["rows"]
    assert row["num_right_outliers"] >= 5
    assert (row[READ] == 0).all()
    assert row["profile_share_right"] == 1
    assert row["profile_rows"] > 2 * row["profile_columns"]


def test_zero_rows_and_columns_are_left_out_of_the_equalised_reading(whole, table):
    row, spectra = table.loc["zeros"], whole.spectra.set_index("name").loc["zeros"]
    assert (row["zero_rows"], row["zero_columns"]) == (2, 1)
    assert len(spectra["singular_values"]) == 40
    for what in ("singular_values", "ks_right", "ks_left", "p_right", "p_left"):
        assert len(spectra[EQUALISED + what]) == 39, what
    assert row[EQUALISED + "hard_rank"] == 39
    assert row[EQUALISED + "num_right_outliers"] == 1
    assert (table.loc["plain", ["zero_rows", "zero_columns"]] == 0).all()


@pytest.mark.parametrize("name", ["large", "small", "decimal large", "decimal small"])
def test_the_unit_of_the_weights_changes_no_count(table, name):
    for column in (*COUNTS, *READ, EQUALISED + "hard_rank", "hard_rank"):
        assert table.loc[name, column] == table.loc["plain", column], column
    assert table.loc["plain", EQUALISED + "num_right_outliers"] == 1
    for column in (EQUALISED + "alpha", "profile_rows", "profile_columns"):
        assert table.loc[name, column] == pytest.approx(table.loc["plain", column], rel=1e-6), column


@pytest.mark.parametrize("name", ["nothing", "vector"])
def test_where_nothing_can_be_read_the_columns_are_null(whole, table, name):
    assert table.loc[name, [*READ, *PROFILE, *SIGNS, *(EQUALISED + c for c in SCALARS)]].isna().all()
    assert len(whole.spectra.set_index("name").loc[name, EQUALISED + "singular_values"]) == 0


def test_of_one_row_there_is_no_equalised_reading(table):
    row = table.loc["one row left"]
    assert row["status"] == "ok"
    assert (row["zero_rows"], row["zero_columns"]) == (59, 0)
    assert row[READ[:2]].isna().all()
    assert (row[READ[2:]] == 0).all()


def test_same_numbers_whatever_the_batches(make_checkpoint, extra, whole):
    one = sweep(make_checkpoint(extra), memory_bytes=1)
    errors = [EQUALISED + "residual", EQUALISED + "orthogonality"]  # rounding, of scales that differ by rounding
    one_table, whole_table = (run.matrices.drop(columns=errors) for run in (one, whole))
    pd.testing.assert_frame_equal(one_table, whole_table, rtol=1e-9, atol=1e-12)
    pd.testing.assert_frame_equal(one.spectra, whole.spectra, rtol=1e-9, atol=1e-12)


def test_readings_that_are_turned_off_leave_no_columns(make_checkpoint, extra, table):
    """Without its start from the equalised reading the one of random signs goes its own rounds."""
    flips = sweep(make_checkpoint(), equalise=False).matrices
    assert not [c for c in flips if c.startswith(EQUALISED) or c in PROFILE]
    assert flips[list(SIGNS)].notna().all().all()
    assert (flips.loc[flips["role"] == "mlp_up", "num_right_outliers_beyond_signs"] == 1).all()
    plain = sweep(make_checkpoint(), equalise=False, num_flips=0)
    assert not [c for c in (*plain.matrices, *plain.spectra) if c.startswith(EQUALISED) or c in (*PROFILE, *SIGNS)]
    equalised = sweep(make_checkpoint(), num_flips=0).matrices
    assert not [c for c in equalised if c in SIGNS]
    expected = table.head(6).reset_index()[list(equalised)]
    pd.testing.assert_frame_equal(equalised, expected, rtol=1e-12)


def test_matrices_of_many_entries_are_not_flipped(make_checkpoint, monkeypatch):
    seen, read = [], signs.read
    monkeypatch.setattr(signs, "read", lambda w, *rest, **more: seen.append(w.shape[1:]) or read(w, *rest, **more))
    found = sweep(make_checkpoint(), max_flip_entries=1600).matrices
    square = found["role"] == "query"
    assert seen == [(40, 40)]
    assert found.loc[square, list(SIGNS)].notna().all().all()
    assert found.loc[~square, list(SIGNS)].isna().all().all()
    assert found[EQUALISED + "sigma"].notna().all()


def test_a_streamed_matrix_has_no_other_reading(make_checkpoint):
    run = sweep(make_checkpoint(), strategy="streamed")
    assert (run.matrices["strategy"] == "streamed").all()
    assert run.matrices["num_right_outliers"].notna().all()
    assert run.matrices[[*PROFILE, *SIGNS, EQUALISED + "alpha", *READ]].isna().all().all()
    assert (run.spectra[EQUALISED + "p_right"].map(len) == 0).all()


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ("none", ()),
        ("signs", ("signs",)),
        ("both", ("gaussian", "permutation")),
        ("permutation, signs", ("signs", "permutation")),
        ("both,signs,gaussian", ("signs", "gaussian", "permutation")),
    ],
)
def test_words_of_control(words, kinds):
    assert controls_of(words) == kinds
    assert SweepOptions(control=words).controls == kinds


@pytest.mark.parametrize("words", ["", ",", "all", "signs,gauss"])
def test_other_words_are_refused(words):
    with pytest.raises(ValueError, match=f"control is '{words}'; expected signs, gaussian, permutation"):
        controls_of(words)


@pytest.mark.parametrize("num", [1, 2])
def test_too_few_flips_are_refused(num):
    with pytest.raises(ValueError, match=f"num_flips is {num}; expected 0 for none, or at least 3"):
        SweepOptions(num_flips=num)
