"""What a sweep says first: only what its calibrated tests stand behind, with the numbers of its tables."""

import numpy as np
import pyarrow as pa
import pytest

from eigensweep.engine.studies.sweep.findings import findings
from eigensweep.engine.studies.sweep.study import Run

NOISE = {"signs_p_right": 0.4, "signs_p_left": 0.5, "equalised_p_largest": 0.5, "equalised_p_smallest": 0.3}
COUNTS = ("num_right_outliers", "num_left_outliers")


def run_of(rows, vectors=(0.2, 0.4, 0.6)):
    """A run of these rows; what they do not say is noise."""
    rows = [
        {"name": f"w{i}", "role": "query", "status": "ok", "equalised_mp_gof_p": 0.5, "equalised_mp_ks": 0.01}
        | NOISE
        | {f"{prefix}{count}": 0 for prefix in ("", "equalised_") for count in COUNTS}
        | {f"{count}_beyond_signs": 0 for count in COUNTS}
        | {f"equalised_rejected_share_{side}": 0.0 for side in ("right", "left")}
        | row
        for i, row in enumerate(rows)
    ]
    spectra = [
        {"name": row["name"]} | {f"equalised_p_{side}": row.pop("vectors", vectors) for side in ("right", "left")}
        for row in rows
    ]
    manifest = {"study": "sweep", "status": "done", "options": {"level": 0.01}}
    return Run({"matrices": pa.Table.from_pylist(rows), "spectra": pa.Table.from_pylist(spectra)}, manifest)


def texts(run):
    return [finding.text for finding in findings(run)]


def test_noise_is_called_noise():
    said = texts(run_of([{"role": role} for role in ("query", "key", "pooler")]))
    assert (
        "In none of 3 matrices the largest singular values are above what the same entries with random signs" in said[0]
    )
    assert "`query`, `key` and `pooler`: nothing beyond noise by any test" in said
    assert "In none of 3 matrices the singular vectors look unlike random directions once equalised" in said
    assert not any("remain" in text for text in said)


@pytest.mark.parametrize("test", [*NOISE, "vectors"])
def test_a_role_is_no_noise_where_any_test_fires_or_is_missing(test):
    for p in (0.001, np.nan):
        value = (p, 0.4, 0.6) if test == "vectors" else p
        if test == "vectors" and np.isnan(p):
            value = (np.nan, np.nan, np.nan)
        said = texts(run_of([{"role": "query"}, {"role": "pooler", test: value}]))
        assert "`query`: nothing beyond noise by any test" in said
        assert not any("pooler" in text and "nothing" in text for text in said)


def test_what_the_number_of_tests_explains_is_not_claimed():
    """One p of 0.008 among a hundred is what noise has."""
    rows = [{"role": "query", "signs_p_right": 0.008 if i == 7 else 0.3 + 0.005 * i} for i in range(100)]
    assert texts(run_of(rows))[0].startswith("In none of 100 matrices the largest")
    rows[7]["signs_p_right"] = 1e-5
    rows[7] |= {"role": "mlp_up", "num_right_outliers_beyond_signs": 9}
    first = findings(run_of(rows))[0]
    assert first.text.startswith("In 1 of 100 matrices the largest singular values")
    assert first.text.endswith(": `mlp_up`")
    assert "mlp_up 9" in first.evidence
    assert first.state == {"view": "map", "measure": "num_right_outliers_beyond_signs"}


@pytest.mark.parametrize(
    ("was", "remain", "words"),
    [(20, 10, "half of the values below the lower edge remain"),
     (20, 4, "a fifth of the values below the lower edge remain"),
     (20, 0, "none of the values below the lower edge remains"), (20, 16, None), (1, 0, None)],
)  # fmt: skip
def test_scales_are_named_where_outliers_go_with_them(was, remain, words):
    rows = [
        {"role": "mlp_up", "num_left_outliers": was, "equalised_num_left_outliers": remain, "signs_p_left": 1e-5}
        for _ in range(2)
    ]
    found = [finding for finding in findings(run_of(rows)) if "equalised" in finding.text and "edge" in finding.text]
    if words is None:
        assert found == []
        return
    (finding,) = found
    assert finding.text == f"`mlp_up`: {words} when rows and columns are equalised"
    assert finding.evidence.startswith(f"{2 * was} in 2 matrices as they are, {2 * remain} equalised")
    assert finding.state["q"] == 'role="mlp_up"'


def test_nothing_is_claimed_without_a_calibrated_reading():
    run = run_of([{"num_right_outliers": 30}])
    kept = run.tables["matrices"].drop_columns([*NOISE])
    plain = Run({"matrices": kept, "spectra": run.tables["spectra"].select(["name"])}, run.manifest)
    (finding,) = findings(plain)
    assert finding.text.startswith("Nothing here tells a signal from rows and columns of different scale")


def test_hostile_roles_are_quoted():
    role = 'a"b|c\\d'
    (state,) = [finding.state for finding in findings(run_of([{"role": role}])) if "nothing" in finding.text]
    assert state["q"] == r'role="a\"b\|c\\d"'
