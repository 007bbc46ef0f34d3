"""report.html: self-contained, well-formed, escaped, complete; and robust against what a checkpoint may hold."""

import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from eigensweep.engine import RunError, write_report
from eigensweep.engine.report import style
from eigensweep.engine.report.assets import CSS, SCRIPT
from eigensweep.engine.report.page import page
from eigensweep.engine.studies.sweep import figure_heatmaps, figure_pvalues, figure_ranks, figure_spectra, panels
from eigensweep.engine.tables.matrices import MATRICES, SPECTRA

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; drop table --",
    r"$\alpha$_{i}",
    "../../../etc/passwd",
    "x" * 3000,
    "模型.層.0.權重 \u202e rtl",
    "a&amp;b &lt;",
    "line\nbreak\ttab\x00null",
]


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert write_report(run, folder) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def outline(folder, outline_of):
    return outline_of((folder / "report.html").read_text("utf-8"))


def test_nothing_is_asked_for_outside_the_page(outline):
    for _, attrs in outline.tags:
        for key in ("src", "href", "action", "data", "poster", "srcset"):
            if key in attrs:
                assert attrs[key].startswith(("data:image/png;base64,", "#")), attrs[key][:80]
        assert not any(key.startswith("on") for key in attrs)
    assert outline.all("link") == outline.all("iframe") == []
    assert not re.search(r"https?://|@import|url\(", CSS + SCRIPT)
    policy = next(a["content"] for a in outline.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")


def test_every_matrix_has_a_section_that_links_reach(run, outline):
    identities = Counter(attrs["id"] for _, attrs in outline.tags if "id" in attrs)
    assert set(identities.values()) == {1}
    assert {a["href"][1:] for a in outline.all("a")} <= set(identities)
    sections = [a["id"] for a in outline.all("details") if "id" in a]
    assert len(sections) == len(run.matrices)
    text = "".join(outline.text)
    for name in run.matrices["name"]:
        assert text.count(name) == 2  # the table of matrices and its section
    assert len(outline.all("svg")) == 3 * len(run.matrices)


def test_it_can_be_heard(outline):
    for image in outline.all("img"):
        assert len(image["alt"]) > 40
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in outline.all("svg"))
    assert all("scope" in th for th in outline.all("th"))
    assert outline.all("html")[0]["lang"] == "en"


def test_header_summary_settings_and_columns_are_there(run, outline):
    text = " ".join(outline.text)
    for needed in (run.manifest["checkpoint"]["sha256"], "norm.weight", "1-D", "0.10.2", "gaussian"):
        assert needed in text
    for name in MATRICES | SPECTRA:
        assert name in text


def test_figures_lie_beside_the_page(folder):
    names = {p.name for p in (folder / "figures").iterdir()}
    stems = {"heatmaps", "ranks"}
    stems |= {f"{kind}_{role}" for kind in ("spectrum", "pvalues") for role in (
        "embedding", "query", "key", "value", "attention_output", "mlp_up", "mlp_down")}  # fmt: skip
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf")}


def test_numbers_of_a_matrix_stand_beside_its_controls(run, folder):
    text = (folder / "report.html").read_text("utf-8")
    section = text[text.index('<details id="m1-') : text.index('<details id="m2-')]
    row = run.matrices.iloc[1]
    cells = re.search(r"stable_rank</th><td>([^<]*)</td><td>([^<]*)</td>", section)
    assert float(cells[1]) == pytest.approx(row["stable_rank"], rel=1e-5)
    assert float(cells[2]) == pytest.approx(row["control_gaussian_stable_rank"], rel=1e-5)


def test_hostile_names_are_text(make_run, make_spiked, tmp_path, outline_of):
    rng = np.random.default_rng(0)
    # Each name as a tensor, as a role, as a status, as a source, in what was skipped and in the warnings.
    matrices = [(name, name, i, make_spiked(rng, 12, 8, 1)) for i, name in enumerate(HOSTILE)]
    failed = [(f"failed {name}", "other", None, np.ones((3, 2))) for name in HOSTILE]
    statuses = {f"failed {name}": name for name in HOSTILE}
    run = make_run(matrices[:3] + failed, statuses=statuses, source=HOSTILE[1])
    run.manifest["warnings"] += HOSTILE
    run.manifest["skipped"] += [{"name": n, "shape": [1], "dtype": n, "reason": n} for n in HOSTILE]
    run.manifest["checkpoint"]["files"] = {n: 1 for n in HOSTILE}
    write_report(run, tmp_path / "run")
    outline = outline_of((tmp_path / "run" / "report.html").read_text("utf-8"))
    assert len(outline.all("script")) == 1
    assert all(image["src"].startswith("data:") for image in outline.all("img"))
    text = "".join(outline.text)
    assert text.count("<script>alert(1)</script>") >= 4
    assert r"$\alpha$_{i}" in text
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.parent for p in written} == {tmp_path / "run", tmp_path / "run" / "figures"}


@pytest.mark.parametrize("role", [r"$\alpha$_{i}", "../../../etc/passwd", "x" * 3000])
def test_hostile_roles_stay_in_their_folder(make_run, make_spiked, tmp_path, role, outline_of):
    w = make_spiked(np.random.default_rng(0), 12, 8, 1)
    write_report(make_run([("w", role, 0, w)]), tmp_path / "run")
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.parent for p in written} == {tmp_path / "run", tmp_path / "run" / "figures"}
    assert len(written) == 9
    outline_of((tmp_path / "run" / "report.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def written_outline(outline_of):
    return lambda run, folder: outline_of(write_report(run, folder).read_text("utf-8"))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("control", ["gaussian", "none"])
@pytest.mark.parametrize("shape", [(5, 1), (2, 2), (3, 40)])
def test_one_small_matrix(make_run, tmp_path, control, shape, written_outline):
    w = np.random.default_rng(0).standard_normal(shape)
    outline = written_outline(make_run([("w", "other", None, w)], control=control), tmp_path)
    assert len(outline.all("img")) == 3
    assert len(outline.all("svg")) == 3


@pytest.mark.filterwarnings("error")
def test_nothing_but_failures(make_run, tmp_path, written_outline):
    matrices = [("a", "query", 0, np.ones((3, 2))), ("b", "key", None, np.ones((0, 4)))]
    run = make_run(matrices, statuses={"a": "all zero", "b": "empty"})
    outline = written_outline(run, tmp_path)
    assert outline.all("img") == outline.all("svg") == []
    assert "all zero" in "".join(outline.text)
    assert len([a for a in outline.all("details") if "id" in a]) == 2


@pytest.mark.filterwarnings("error")
def test_missing_numbers_everywhere(make_run, make_spiked, tmp_path, written_outline):
    rng = np.random.default_rng(0)
    run = make_run([(f"w{i}", "query", i, make_spiked(rng, 12, 8, 1)) for i in range(2)])
    scalars = run.matrices.columns.difference(["name", "role", "block", "m", "n", "dtype", "status"])
    run.matrices[scalars] = run.matrices[scalars].astype("Float64")
    run.matrices[scalars] = None
    for column in ("p_right_avg", "p_left_avg", "control_gaussian_p_right_avg"):
        run.spectra[column] = [np.full(8, np.nan)] * 2
    assert len(written_outline(run, tmp_path).all("svg")) == 6


@pytest.mark.filterwarnings("error")
def test_a_matrix_of_low_rank(make_run, tmp_path, written_outline):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 30))
    run = make_run([("delta", "query", 0, w)])
    run.matrices[["sigma", "sigma_bulk"]] = 0.0
    run.matrices["hard_rank"] = 3
    p = np.where(np.arange(30) < 3, 0.4, np.nan)
    run.spectra["p_right_avg"] = [p]
    run.spectra["p_left_avg"] = [p]
    assert len(written_outline(run, tmp_path).all("svg")) == 3


def test_hundreds_of_matrices_stay_small(make_run, make_spiked, run_of_frames, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    few = make_run([(str(i), r, i, make_spiked(rng, 128, 96, 2)) for i, r in enumerate(("query", "key", "value"))])
    names = [f"block.{i}" for i in range(300)]
    matrices, spectra = (pd.concat([t] * 100, ignore_index=True) for t in (few.matrices, few.spectra))
    run = run_of_frames(matrices.assign(name=names), spectra.assign(name=names), few.manifest)
    for figures in (figure_heatmaps, figure_pvalues, figure_ranks, figure_spectra):  # not what is looked at
        monkeypatch.setattr(figures, "draw", lambda *args: None)
    monkeypatch.setattr(style, "save", lambda figure, stem: bytes(24))
    text = page([(run, panels.panels(run, tmp_path))], {})
    assert text.count("<svg") == 900
    assert len(text.encode()) < 300 * 15e3
    monkeypatch.setattr(panels, "MAX_PICTURED", 20)
    text = page([(run, panels.panels(run, tmp_path))], {})
    assert text.count("<svg") == 60
    assert "the 20 with the most outliers have pictures" in text
    assert text.count('<details id="m') == 300


def test_a_folder_that_cannot_be_written_is_one_clear_error(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_report(run, tmp_path / "file")
