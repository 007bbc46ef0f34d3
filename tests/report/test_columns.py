"""The description of every column: no column without an entry, no entry without a column, and the types agree."""

import pyarrow as pa
import pytest

from eigensweep.engine.report import columns, drift
from eigensweep.engine.run import ablation_store, finetune, overlap, schema
from eigensweep.engine.run.study import Study

STUDIES = (Study("", overlap.NAME, overlap.SCHEMAS), finetune.study_in(""))
SCHEMAS = {study.path(table).stem: found for study in STUDIES for table, found in study.schemas.items()} | {
    "ablation": ablation_store.RESULTS,
    "ablation_rows": ablation_store.ROWS,
    "finetune_effects": finetune.EFFECTS,
    "spectral_change": drift.SCHEMA,
    "matrices": schema.matrices_schema(()),
    "spectra": schema.spectra_schema(()),
}


def text_of(kind):
    """An Arrow type as columns.py writes it."""
    if pa.types.is_list(kind):
        return f"list<{text_of(kind.value_type)}>"
    return {pa.float64(): "float64"}.get(kind, str(kind))


def test_every_table_is_described():
    assert set(columns.COLUMNS) == set(SCHEMAS)


@pytest.mark.parametrize("table", SCHEMAS)
def test_entries_and_columns_agree(table):
    """Names, their order aside, and types."""
    entries = {name: entry.dtype for name, entry in columns.COLUMNS[table].items()}
    assert entries == {field.name: text_of(field.type) for field in SCHEMAS[table]}


@pytest.mark.parametrize("table", SCHEMAS)
def test_every_entry_says_something(table):
    assert all(entry.formula for entry in columns.COLUMNS[table].values())


@pytest.mark.parametrize("table", ["matrices", "spectra"])
def test_a_removal_study_repeats_columns_of_the_sweep(table):
    stored = {field.name: text_of(field.type) for field in ablation_store.TABLES[table]}
    assert stored == {name: columns.describe(table, name).dtype for name in stored}


@pytest.mark.parametrize("controls", [("gaussian",), ("gaussian", "permutation")])
def test_columns_of_the_controls_are_described(controls):
    for table, schema_of in (("matrices", schema.matrices_schema), ("spectra", schema.spectra_schema)):
        for field in schema_of(controls):
            assert columns.describe(table, field.name).dtype == text_of(field.type)


def test_unknown_columns_have_no_entry():
    with pytest.raises(KeyError):
        columns.describe("matrices", "control_permutation_nonsense")
