"""The script draws every kind of run directory from its files alone, those of version 0.1 too."""

import contextlib
import io
import json
from functools import cache

import numpy as np
import pytest
from absl.testing import flagsaver
from markupsafe import escape

from eigensweep.engine import (
    CompareOptions,
    RunError,
    compare,
    open_ablation,
    open_finetune,
    open_overlap,
    open_run,
    write_report,
)
from eigensweep.engine.report import registry
from eigensweep.engine.studies import STUDIES, load
from eigensweep.engine.studies.ablation.study import LAYOUT as ABLATION
from eigensweep.engine.studies.ablation.study import Ablation
from eigensweep.engine.studies.ablation.summary import CONTRAST
from eigensweep.engine.studies.finetune.effects import LAYOUT as FINETUNE
from eigensweep.engine.studies.overlap.study import LAYOUT as OVERLAP
from eigensweep.engine.studies.sweep import family
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.files import read_table, write_json, write_table
from eigensweep.engine.tables.matrices import SCALARS, VECTORS

HOSTILE = "<i>q</i>&\"'"
ROLES = ("query", HOSTILE)
DERIVED = {"finetune_effects", "spectral_change"}


@pytest.fixture(scope="module", autouse=True)
def _load(entry_point):
    global script
    script = entry_point("report")


def write_tables(directory, layout, rows, manifest):
    for table, columns in layout.tables.items():
        write_table(directory / f"{table}.parquet", to_table(columns, rows[table]))
    write_json(directory / layout.manifest, {"status": "done"} | manifest)


def of_checkpoint(run, study, **more):
    """A manifest as studies begin it."""
    return {"eigensweep": "0.2.0", "study": study, "checkpoint": run.manifest["checkpoint"], **more}


@pytest.fixture(scope="module")
def make_sweep(make_run, make_spiked):
    """make_sweep(directory): two blocks of two roles."""

    def make(directory, control="gaussian", scale=1.0):
        rng = np.random.default_rng(4)
        matrices = [
            (f"{block}.{role}", role, block, scale * make_spiked(rng, 32, 24, 2 * (role == "query")))
            for role in ROLES
            for block in range(2)
        ]
        return make_run(matrices, control=control, directory=directory, source="somewhere/small")

    return make


@pytest.fixture(scope="module")
def make_overlap(make_sweep):
    """make_overlap(directory): a sweep with overlaps drawn at random; one matrix met no activations."""

    def make(directory):
        run, rng = make_sweep(directory), np.random.default_rng(5)
        overlap = []
        for row in run.matrices.to_dict("records")[:-1]:
            values = rng.uniform(0.1, 0.6, 24)
            overlap.append(
                {key: row[key] for key in ("name", "role", "block", "m", "n")}
                | {"tap": f"blocks/{row['block']}/attention/query/kernel", "num_tokens": 100, "num_axes": 24}
                | {"overlap": values, "overlap_partner": rng.integers(0, 24, 24), "p_overlap": values}
                | {"overlap_null": 0.3, "overlap_null_99": 0.5}
            )
        covariances = [
            {"tap": f"blocks/{block}/attention/query/kernel", "block": block, "d": 24, "num_tokens": 100}
            | {"num_axes": 24, "evals": np.sort(rng.uniform(0.1, 5, 24))[::-1]}
            for block in range(2)
        ]
        manifest = of_checkpoint(run, "overlap", options={"centred": False}, num_tokens=200, loss=1.5)
        manifest["without_activations"] = [f"1.{HOSTILE}"]
        write_tables(directory, OVERLAP, {"overlap": overlap, "overlap_covariances": covariances}, manifest)

    return make


@pytest.fixture(scope="module")
def make_ablation(make_sweep):
    """make_ablation(directory): the ten deciles of both roles, and outliers of one side."""

    def make(directory):
        swept, rng = make_sweep(None), np.random.default_rng(6)
        names = [f"decile:{k}" for k in range(1, 11)] + ["outliers:right"]
        results, of_rows = [], []
        for scope, removal in [("", "baseline"), *((role, name) for role in ROLES for name in names)]:
            loss = 2 + (0.1 * rng.uniform(0, 1, 5) if scope else np.zeros(5))
            change = float(loss.mean() - 2)
            results.append(
                {"scope": scope, "removal": removal, "kind": removal.split(":")[0], "draw": 0, "matrices": 2}
                | {"values": 48, "removed": 5 * bool(scope), "energy": 0.1, "loss": float(loss.mean())}
                | {"perplexity": float(np.exp(loss.mean())), "accuracy": 0.5, "seconds": 0.1}
                | {"change": change, "change_low": change - 0.01, "change_high": change + 0.01}
                | {"accuracy_change": 0.0, "accuracy_low": 0.0, "accuracy_high": 0.0}
            )
            of_rows.append(
                {"scope": scope, "removal": removal, "row_loss": loss, "row_weight": np.ones(5)}
                | {"row_correct": np.ones(5), "row_count": np.full(5, 2.0)}
            )
        options = {"scopes": ["roles"], "removals": ["deciles", "outliers:right"], "seed": 0, "level": 0.01}
        options |= {"num_resamples": 100, "confidence": 0.95}
        evaluation = {"measure": "perplexity", "rows": 5, "targets": 10}
        rows = {"ablation": results, "ablation_rows": of_rows}
        rows |= {"matrices": swept.matrices.to_dict("records"), "spectra": swept.spectra.to_dict("records")}
        write_tables(
            directory,
            ABLATION,
            rows,
            of_checkpoint(swept, "ablation", options=options, evaluation=evaluation, warnings=[HOSTILE]),
        )

    return make


@pytest.fixture(scope="module")
def make_finetune(make_sweep):
    """make_finetune(directory): two seeds, a decile removed before and after, and the sweeps before and after."""

    def make(directory):
        swept, rng = make_sweep(directory / "sweeps" / "before", "none"), np.random.default_rng(7)
        make_sweep(directory / "sweeps" / "after", "none", scale=1.1)
        rows = {table: [] for table in FINETUNE.tables}
        for seed in range(2):
            for order in ("none", "before", "after"):
                scope, decile = ("", 0) if order == "none" else (HOSTILE, 10)
                member = {"seed": seed, "order": order, "scope": scope, "decile": decile}
                loss = rng.uniform(0.4, 0.7, 6)
                scores = {"loss": float(loss.mean()), "accuracy": 0.5, "steps": 4}
                rows["finetune"].append(member | scores)
                rows["finetune_rows"].append(member | {"row_loss": loss, "row_correct": rng.integers(0, 2, 6)})
                if order != "after":
                    rows["finetune_history"] += [
                        member | {"step": step, "train_loss": 0.7, "validation_loss": 0.7 - step / 40}
                        for step in (2, 4)
                    ]
        manifest = of_checkpoint(swept, "finetune", majority={"loss": 0.69, "accuracy": 0.5})
        write_tables(directory, FINETUNE, rows, manifest)

    return make


@pytest.fixture(scope="module")
def make_compare(make_sweep):
    """make_compare(directory): two sweeps compared from their tables alone."""

    def make(directory):
        runs = [make_sweep(None, "none", scale) for scale in (1.0, 1.2)]
        compare(runs, CompareOptions(num_resamples=100), directory, labels=["one", HOSTILE])

    return make


@pytest.fixture(scope="module")
def makers(make_sweep, make_overlap, make_ablation, make_finetune, make_compare):
    made = {"sweep": make_sweep, "overlap": make_overlap, "ablation": make_ablation, "finetune": make_finetune}
    return made | {"compare": make_compare}


_SWEPT = {"heatmaps", "ranks", "spectrum_query", "pvalues_query", "spectrum_i_q_i", "pvalues_i_q_i"}
FIGURES = {
    "sweep": _SWEPT,
    "overlap": _SWEPT | {"overlap", "covariances"},
    "ablation": {"ablation"},
    "finetune": {"finetune_curves", "finetune_order", "spectral_change"},
    "compare": {"differences", "spread"},
}
TABLES = {
    "sweep": ["Summary by role", family.CAPTION],
    "overlap": ["Summary by role", family.CAPTION, "Overlap with activations", "First eigenvalues of F"],
    "ablation": ["Removal of singular values", f"{CONTRAST[0].upper()}{CONTRAST[1:]}"],
    "finetune": ["All models", "Changes against the model of the same seed with nothing removed"],
    "compare": ["Differences by role"],
}
TITLES = {
    "sweep": "Weight spectra of somewhere/small",
    "overlap": "Weight spectra of somewhere/small",
    "ablation": "Removal of singular values from somewhere/small",
    "finetune": "Fine-tuning of somewhere/small",
    "compare": f"Comparison of one and {HOSTILE}",
}


def headings(held):
    return [table["heading"] for study in held["studies"] for table in study["tables"]]


def drawn(directory):
    return {path.name: path.read_bytes() for path in (directory / "figures").iterdir()}


@pytest.fixture(scope="module")
def finished(makers, tmp_path_factory):
    """finished(kind): a run directory that the script has drawn."""

    @cache
    def draw(kind):
        directory = tmp_path_factory.mktemp(kind)
        makers[kind](directory)
        there = {path: path.read_bytes() for path in directory.rglob("*.parquet")}
        with (
            flagsaver.flagsaver((script._RUN, [str(directory)]), (script._OUT, None), (script._FIGURES, True)),
            contextlib.redirect_stdout(io.StringIO()) as said,
        ):
            script.main()
        assert said.getvalue().strip() == str(directory / "report.html")
        assert {path: path.read_bytes() for path in there} == there
        written = {path.stem for path in directory.rglob("*.parquet")} - {path.stem for path in there}
        assert written == (DERIVED if kind == "finetune" else set())
        return directory

    return draw


def test_every_study_is_drawn_here_or_where_its_runs_are_made():
    elsewhere = {"tokens", "facts"}  # tests/studies/test_contract.py
    elsewhere |= {"toy_linear", "toy_mlp"}  # tests/studies/test_toy_linear.py, tests/studies/test_toy_mlp.py
    elsewhere |= {"labels", "series"}  # tests/report/test_tokens_view.py, tests/studies/test_fleet.py
    elsewhere |= {"causal", "slicing"}  # tests/studies/test_causal.py, tests/studies/test_slicing.py
    assert set(FIGURES) | elsewhere == set(STUDIES)


@pytest.mark.parametrize("kind", [*FIGURES])
def test_script_draws_every_kind_of_run(finished, data_of, kind):
    directory = finished(kind)
    assert set(drawn(directory)) == {f"{stem}.{suffix}" for stem in FIGURES[kind] for suffix in ("png", "pdf")}
    text = (directory / "report.html").read_text("utf-8")
    held = data_of(text)
    studies = ["sweep", "overlap"] if kind == "overlap" else [kind]
    assert held["title"] == TITLES[kind]
    assert f"<title>{escape(TITLES[kind])}</title>" in text
    assert headings(held) == TABLES[kind]
    assert [settings["study"] for settings in held["settings"]] == studies
    assert HOSTILE not in text
    assert bool(held["size"]) == (kind not in ("finetune", "compare"))

    load()
    explained = {name: {row[0]: row[1:] for row in rows} for name, rows in held["documents"].items()}
    for study in studies:
        for table, declared in registry.STUDIES[study].layout.tables.items():
            for name, column in declared.items():
                if table in explained:
                    assert explained[table][name] == [column.unit, column.formula, column.source]
                elif name in held["columns"]:
                    assert held["columns"][name]["doc"] == column.formula
    assert set(explained) | ({"matrices"} if held["size"] else set()) == {
        table for study in studies for table in registry.STUDIES[study].layout.tables
    }


def test_what_went_wrong_is_told(finished, data_of):
    for kind, warning in (("overlap", f"1 matrices met no activations: 1.{HOSTILE}"), ("ablation", HOSTILE)):
        held = data_of((finished(kind) / "report.html").read_text("utf-8"))
        assert warning in held["warnings"]


def test_an_unfinished_study_is_left_out_and_named_where_nothing_else_is(makers, tmp_path, data_of):
    makers["overlap"](tmp_path)
    path = tmp_path / "overlap.json"
    write_json(path, json.loads(path.read_text()) | {"status": "running"})
    held = data_of(write_report(tmp_path, tmp_path / "out").read_text("utf-8"))
    assert headings(held) == TABLES["sweep"]
    path = tmp_path / "manifest.json"
    write_json(path, json.loads(path.read_text()) | {"status": "running"})
    with pytest.raises(RunError, match="sweep, overlap not finished"):
        write_report(tmp_path, tmp_path / "out")


def rename(path, old, new):
    table = read_table(path)
    write_table(path, table.rename_columns([c.replace(old, new, 1) for c in table.column_names]))


def rewrite(path, change):
    manifest = json.loads(path.read_text())
    write_json(path, change(manifest))


def without(manifest, *keys):
    return {key: value for key, value in manifest.items() if key not in keys}


def make_old(kind, directory):
    """Turn a run directory into what version 0.1 left; of `both` controls the Gaussian one had the plain prefix."""
    if kind in ("sweep", "overlap"):
        chosen = json.loads((directory / "manifest.json").read_text())["options"]["control"]
        prefix = {"both": "control_gaussian_"}.get(chosen, f"control_{chosen}_")
        for table in ("matrices", "spectra"):
            rename(directory / f"{table}.parquet", prefix, "control_")
        rewrite(directory / "manifest.json", lambda m: without(m, "study") | {"eigensweep": "0.1.0"})
    if kind == "overlap":
        identity = {"data_sha256": "0", "dtype": "float32", "centred": True}
        rewrite(
            directory / "overlap.json",
            lambda m: without(m, "study", "eigensweep", "options", "checkpoint") | {"identity": identity},
        )
    if kind == "ablation":
        rewrite(
            directory / "manifest.json",
            lambda m: without(m, "warnings") | {"eigensweep": "0.1.0", "timings": {"last_start": 1.0}},
        )
    if kind == "finetune":
        rewrite(
            directory / "finetune.json",
            lambda m: (
                without(m, "study", "eigensweep", "checkpoint")
                | {"identity": {"source": m["checkpoint"]["source"], "checkpoint": m["checkpoint"]["sha256"]}}
            ),
        )


@pytest.mark.parametrize("control", ["none", "gaussian", "permutation", "both"])
def test_a_sweep_of_version_0_1_has_its_controls_by_kind(make_sweep, control, tmp_path):
    run = make_sweep(tmp_path, control)
    make_old("sweep", tmp_path)
    plain = {f"control_{column}" for column in (*SCALARS, *VECTORS)}
    assert bool(plain & set(read_table(tmp_path / "matrices.parquet").column_names)) == (control != "none")
    old = open_run(tmp_path)
    assert list(old.matrices) == list(run.matrices)
    assert list(old.spectra) == list(run.spectra)
    assert old.study == "sweep"


@pytest.mark.parametrize(
    ("kind", "opened"),
    [("sweep", open_run), ("overlap", open_overlap), ("ablation", open_ablation), ("finetune", open_finetune)],
)
def test_a_directory_of_version_0_1_is_drawn_as_it_was(makers, finished, kind, opened, tmp_path, data_of):
    makers[kind](tmp_path)
    make_old(kind, tmp_path)
    assert opened(tmp_path).study == kind
    held = data_of(write_report(tmp_path, tmp_path / "out", figures=True).read_text("utf-8"))
    new, old = drawn(finished(kind)), drawn(tmp_path / "out")
    if kind == "overlap":  # its old manifest says that it was centred
        assert open_overlap(tmp_path).centring == "mean"
        for stem in ("overlap", "covariances"):
            for suffix in ("png", "pdf"):
                assert new.pop(f"{stem}.{suffix}") != old.pop(f"{stem}.{suffix}")
    assert {name for name in new if new[name] != old.get(name)} == set()  # of the bytes themselves a diff takes minutes
    assert new.keys() == old.keys()
    assert held["title"] == TITLES[kind]
    assert [settings["study"] for settings in held["settings"]] == (
        ["sweep", "overlap"] if kind == "overlap" else [kind]
    )
    before = data_of((finished(kind) / "report.html").read_text("utf-8"))
    assert held["columns"].keys() == before["columns"].keys()


def test_every_column_says_what_it_is():
    load()
    assert set(registry.STUDIES) == set(STUDIES)
    for study in registry.STUDIES.values():
        for table, columns in study.layout.tables.items():
            assert all(column.formula for column in columns.values()), table


def test_a_study_of_another_directory_is_told_apart(makers, tmp_path):
    makers["ablation"](tmp_path)
    with pytest.raises(RunError, match=r"not the run directory of a finished sweep \(it holds: ablation\)"):
        open_run(tmp_path)
    assert isinstance(open_ablation(tmp_path), Ablation)
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(RunError, match=str(nothing)):
            write_report(nothing)
