"""The published columns: a change of this list is a change of every table that users have."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from eigensweep import engine
from eigensweep.engine.studies.ablation.study import LAYOUT as ABLATION
from eigensweep.engine.studies.finetune.drift import SPECTRAL_CHANGE
from eigensweep.engine.studies.finetune.effects import EFFECTS
from eigensweep.engine.studies.finetune.effects import LAYOUT as FINETUNE
from eigensweep.engine.studies.overlap.study import LAYOUT as OVERLAP
from eigensweep.engine.tables.columns import FLOAT, TEXT, Column, label, prefixed, schema, to_table
from eigensweep.engine.tables.matrices import CONTROLS, MATRICES, with_controls

IDENTITY = "name string, role string, tower string, guessed bool, block int64, expert int64, m int64, n int64"
SCALARS = (
    "sigma double, sigma_entries double, sigma_bulk double, nu_minus double, nu_plus double, mp_ks double, "
    "mp_gof double, mp_gof_p double, mp_verdict string, num_right_outliers int64, num_left_outliers int64, "
    "energy_right double, energy_bulk double, energy_left double, hard_rank int64, stable_rank double, entropy double, "
    "effective_rank double, participation double, norm double, spectral_norm double, frobenius_norm double, "
    "log_norm double, log_spectral_norm double, condition double, mp_softrank double, alpha double, xmin double, "
    "pl_d double, pl_sigma double, num_pl_spikes int64, alpha_weighted double, log_alpha_norm double, "
    "alpha_low double, alpha_high double, pl_p double, llr_exponential double, llr_exponential_p double, "
    "llr_lognormal double, llr_lognormal_p double, llr_truncated double, llr_truncated_p double, "
    "phase string, phase_evidence string, universality string, mu double, "
    "quasi_null_count int64, quasi_null_fraction double, p_largest double, p_smallest double, "
    "entries_kurtosis double, mean_p_right double, mean_p_left double, mean_p_right_z double, mean_p_left_z double, "
    "rejected_right int64, rejected_left int64, rejected_share_right double, rejected_share_left double, "
    "undetermined int64, residual double, orthogonality double"
)
VECTORS = ", ".join(
    f"{name} list<element: double>"
    for name in (
        "singular_values", "ks_right", "ks_left", "p_right", "p_left", "p_right_avg", "p_left_avg",
    )
)  # fmt: skip
PROFILE = (
    "zero_rows int64, zero_columns int64, profile_rows double, profile_columns double, profile_share_right double, "
    "profile_share_left double, profile_share_rejected_right double, profile_share_rejected_left double"
)
SIGNS = (
    "num_right_outliers_beyond_signs int64, num_left_outliers_beyond_signs int64, signs_p_right double, "
    "signs_p_left double, signs_z_right double, signs_z_left double"
)
KEPT = [f"kept_{side}{what} list<element: int64>" for side in ("right", "left") for what in ("", "_counts")]
MEMBER = "seed int64, order string, scope string, decile int64"
EXPECTED = {
    ("overlap", "overlap"): (
        f"{IDENTITY}, tap string, num_tokens int64, num_axes int64, num_overlap_right int64, num_overlap_left int64, "
        "overlap_right double, overlap_inside double, overlap_left double, overlap_null double, "
        "overlap_null_99 double, overlap list<element: double>, overlap_partner list<element: int64>, "
        "p_overlap list<element: double>"
    ),
    ("overlap", "overlap_covariances"): (
        "tap string, block int64, d int64, num_tokens int64, num_axes int64, evals list<element: double>, "
        "mean_share list<element: double>, position_share list<element: double>"
    ),
    ("ablation", "ablation"): (
        "scope string, removal string, kind string, draw int64, matrices int64, values int64, removed int64, "
        "energy double, loss double, perplexity double, accuracy double, seconds double, change double, "
        "change_low double, change_high double, accuracy_change double, accuracy_low double, accuracy_high double, "
        "control_of string, matched double, unmatched int64, output_energy double"
    ),
    ("ablation", "ablation_rows"): (
        "scope string, removal string, row_loss list<element: double>, row_weight list<element: double>, "
        "row_correct list<element: double>, row_count list<element: double>"
    ),
    ("ablation", "matrices"): (
        f"{IDENTITY}, dtype string, quantised string, sigma double, nu_minus double, nu_plus double, "
        "num_right_outliers int64, num_left_outliers int64, status string"
    ),
    ("ablation", "spectra"): (
        "name string, singular_values list<element: double>, p_right_avg list<element: double>, "
        "p_left_avg list<element: double>"
    ),
    ("finetune", "finetune"): (
        f"{MEMBER}, num_matrices int64, energy double, loss double, accuracy double, validation_loss double, "
        "best_step int64, steps int64, seconds double"
    ),
    ("finetune", "finetune_rows"): (f"{MEMBER}, row_loss list<element: double>, row_correct list<element: double>"),
    ("finetune", "finetune_history"): (
        f"{MEMBER}, step int64, train_loss double, validation_loss double, validation_accuracy double"
    ),
    ("derived", "finetune_effects"): (
        "measure string, scope string, decile int64, order string, change double, low double, high double, "
        "seed_low double, seed_high double, seeds list<element: double>"
    ),
    ("derived", "spectral_change"): (
        "name string, role string, tower string, block int64, decile int64, change double, distance double, "
        "p_right double, p_right_after double, p_left double, p_left_after double, outliers_before int64, "
        "outliers_after int64"
    ),
}
TABLES = {
    **{(of.study, name): columns for of in (OVERLAP, ABLATION, FINETUNE) for name, columns in of.tables.items()},
    ("derived", "finetune_effects"): EFFECTS,
    ("derived", "spectral_change"): SPECTRAL_CHANGE,
}  # fmt: skip
OPTIONS = {"null": "monte_carlo", "num_draws": 100, "equalise": False, "num_flips": 0}


def written(columns):
    """A table's columns as the lists above write them."""
    return ", ".join(f"{field.name} {field.type}".replace("item", "element") for field in schema(columns))


def of_controls(columns, kinds):
    """The listed columns, once more under the prefix of each control."""
    return [f"control_{kind}_{column}" for kind in kinds for column in columns.split(", ")]


def test_the_list_is_of_every_table():
    assert set(TABLES) == set(EXPECTED)


@pytest.mark.parametrize("table", list(EXPECTED), ids=" ".join)
def test_columns_are_the_published_ones(table):
    assert written(TABLES[table]) == EXPECTED[table]


@pytest.mark.parametrize("kinds", [(), ("permutation",), ("gaussian", "permutation")])
def test_columns_of_a_sweep_and_its_controls_are_the_published_ones(kinds):
    tables = with_controls(kinds)
    assert written(tables["matrices"]).split(", ") == [
        *f"{IDENTITY}, dtype string, quantised string, {SCALARS}".split(", "),
        *of_controls(SCALARS, kinds),
        "strategy string",
        "status string",
    ]
    assert written(tables["spectra"]).split(", ") == ["name string", *VECTORS.split(", "), *of_controls(VECTORS, kinds)]


def test_columns_of_the_readings_are_the_published_ones():
    tables = with_controls(("signs",), equalised=True, signs=True)
    assert written(tables["matrices"]).split(", ") == [
        *f"{IDENTITY}, dtype string, quantised string, {SCALARS}, {SIGNS}, {PROFILE}".split(", "),
        *(f"equalised_{column}" for column in SCALARS.split(", ")),
        *of_controls(SCALARS, ("signs",)),
        "strategy string",
        "status string",
    ]
    equalised = [f"equalised_{column}" for column in VECTORS.split(", ")]
    assert written(tables["spectra"]).split(", ") == [
        "name string", *VECTORS.split(", "), *KEPT, *equalised, *of_controls(VECTORS, ("signs",)),
    ]  # fmt: skip


def test_every_column_has_a_formula():
    tables = [*TABLES.values(), *with_controls(tuple(CONTROLS), equalised=True, signs=True).values()]
    assert not [name for columns in tables for name, column in columns.items() if not column.formula.strip()]


def test_formulas_of_a_control_say_of_what_they_are():
    columns = with_controls(("gaussian",))["matrices"]
    assert columns["control_gaussian_alpha"].formula == (
        MATRICES["alpha"].formula + "; of a Gaussian matrix of the same shape and sigma"
    )
    assert columns["control_gaussian_alpha"].dtype == MATRICES["alpha"].dtype


@pytest.mark.parametrize(
    ("chosen", "kinds", "readings"),
    [
        (OPTIONS | {"control": "both"}, ("gaussian", "permutation"), {}),
        ({"null": "monte_carlo", "num_draws": 100}, ("signs",), {"equalised": True, "signs": True}),
    ],
    ids=["both", "default"],
)
def test_what_a_sweep_writes_are_these_columns(make_checkpoint, tmp_path, chosen, kinds, readings):
    engine.sweep(make_checkpoint(), engine.SweepOptions(**chosen), tmp_path)
    for name, columns in with_controls(kinds, **readings).items():
        assert pq.read_schema(tmp_path / f"{name}.parquet").equals(schema(columns))


def test_rows_become_a_table_of_the_declared_columns():
    columns = {"name": Column(TEXT, "", "a name"), "x": Column(FLOAT, "m", "a length", label="length, m")}
    table = to_table(columns, [{"x": 1.5, "name": "a", "more": 2}, {"name": "b"}])
    assert table.to_pydict() == {"name": ["a", "b"], "x": [1.5, None]}
    assert table.schema.equals(schema(columns))
    assert (label(columns, "x"), label({"num_x": columns["name"]}, "num_x")) == ("length, m", "num x")
    assert prefixed(columns, "c_", "noise", ["x"])["c_x"].formula == "a length; of noise"


@pytest.mark.parametrize(
    ("control", "old_prefixes"),
    [
        ("permutation", {"permutation": "control_"}),
        ("gaussian", {"gaussian": "control_"}),
        ("both", {"gaussian": "control_", "permutation": "control_permutation_"}),
        ("none", {}),
    ],
)
def test_a_run_of_version_0_1_opens_with_the_new_names(make_checkpoint, tmp_path, control, old_prefixes):
    """There the first control's columns were called `control_x`, and a sweep's manifest named no study."""
    options = engine.SweepOptions(**OPTIONS, control=control)
    new = engine.sweep(make_checkpoint(), options, tmp_path)
    for name in ("matrices", "spectra"):
        table = pq.read_table(tmp_path / f"{name}.parquet")
        names = table.column_names
        for kind, prefix in old_prefixes.items():
            names = [c.replace(f"control_{kind}_", prefix) for c in names]
        assert (names == table.column_names) == (control == "none")
        pq.write_table(table.rename_columns(names), tmp_path / f"{name}.parquet")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest = {key: value for key, value in manifest.items() if key not in ("study", "joins", "tables")}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"eigensweep": "0.1.0"}))
    old = engine.open_run(tmp_path)
    pd.testing.assert_frame_equal(old.matrices, new.matrices)
    pd.testing.assert_frame_equal(old.spectra, new.spectra)
    assert engine.sweep(make_checkpoint(), options, tmp_path).matrices.equals(new.matrices)  # read back
