"""report.html as it is written: self-contained, escaped, complete; and robust against what a checkpoint may hold.

What a browser makes of it: test_page_browser.py.
"""

import base64
import hashlib
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from eigensweep.engine import RunError, write_report
from eigensweep.engine.report.page import script, style
from eigensweep.engine.report.page.packing import packed
from eigensweep.engine.report.page.series import COARSE, FINE, p_codes
from eigensweep.engine.report.page.spectra import packed_spectra
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg
from eigensweep.engine.tables.matrices import MATRICES

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
    "lone surrogate \ud800",
]
LARGE = 1e300, 1e-300, 2.0**24 + 1


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert write_report(run, folder, figures=True) == folder / "report.html"
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "report.html").read_text("utf-8")


def inside(text, tag):
    """What stands in the elements of this kind, without their attributes."""
    return re.findall(rf"<{tag}(?:\s[^>]*)?>(.*?)</{tag}>", text, re.DOTALL)


def test_nothing_is_asked_for_outside_the_page(text, outline_of):
    outline = outline_of(text)
    for _, attrs in outline.tags:
        assert not {"src", "action", "poster", "srcset"} & set(attrs)
        assert attrs.get("href", "#main") == "#main"
        assert not any(key.startswith("on") for key in attrs)
    assert outline.all("link") == outline.all("iframe") == outline.all("img") == []
    code = (script() + style()).replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|@import|url\((?!#)|\beval\b|new Function|innerHTML|fetch\(|XMLHttp|import\(", code)


def test_the_policy_allows_this_script_and_this_style_alone(text, outline_of):
    (policy,) = (a["content"] for a in outline_of(text).all("meta") if "http-equiv" in a)
    _, code = inside(text, "script")
    (looks,) = inside(text, "style")
    hashes = [base64.b64encode(hashlib.sha256(x.encode()).digest()).decode() for x in (code, looks)]
    assert policy == (
        f"default-src 'none'; img-src data: blob:; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'"
    )
    assert "</script" not in script()


def test_what_is_packed_comes_back(data_of):
    arrays = {k: np.array([0, 1, 200], k) for k in ("uint8", "uint16", "uint32", "float32", "float64")}
    arrays["empty"] = np.empty(0, np.float32)
    arrays["special"] = np.array([np.nan, np.inf, -np.inf, -1.5e-42], np.float32)
    content = {"a": arrays, "b": [1, 2.5, None, True, "x<y", {"c": [np.float64(2), np.nan, np.inf]}], "rows": {}}
    page = f'<script type="application/octet-stream" id="data">{packed(content)}</script>'
    back = data_of(page)
    assert back["b"] == [1, 2.5, None, True, "x<y", {"c": [2.0, None, "inf"]}]
    for name, array in arrays.items():
        assert back["a"][name].dtype == array.dtype
        np.testing.assert_array_equal(back["a"][name], array)


def test_every_number_of_the_table_is_there(run, text, data_of):
    held = data_of(text)
    assert held["size"] == len(run.matrices)
    assert list(held["rows"]) == list(held["columns"]) == list(run.matrices.columns)
    for name, values in run.matrices.items():
        if held["columns"][name]["type"] == "text":
            assert list(held["rows"][name]) == list(values)
        else:
            numbers = values.astype("Float64").to_numpy(float, na_value=np.nan)
            np.testing.assert_allclose(held["rows"][name], numbers, rtol=1e-7, equal_nan=True)
    assert held["columns"]["alpha"]["doc"] == MATRICES["alpha"].formula
    assert held["columns"]["sigma"]["unit"] == "[w]"
    assert held["columns"]["control_gaussian_alpha"]["doc"].startswith(MATRICES["alpha"].formula)
    assert [reading["prefix"] for reading in held["readings"]] == ["", "control_gaussian_"]


def test_numbers_beyond_single_precision_stay_what_they_are(make_run, make_spiked, tmp_path, data_of):
    w = make_spiked(np.random.default_rng(0), 12, 8, 1)
    run = make_run([(str(i), "query", i, w) for i in range(3)])
    run.matrices["condition"] = LARGE
    held = data_of(write_report(run, tmp_path).read_text("utf-8"))
    assert tuple(held["rows"]["condition"]) == LARGE


def test_identity_settings_what_was_left_out_and_columns_are_there(run, text, data_of):
    held = data_of(text)
    assert dict(held["facts"])["sha256"] == run.manifest["checkpoint"]["sha256"]
    assert dict(held["facts"])["matrices"] == f"{len(run.matrices)} swept, 1 tensors left out"
    (settings,) = held["settings"]
    assert settings["study"] == "sweep"
    assert "0.10.2" in dict(settings["entries"])["versions"]
    assert settings["skipped"] == [["norm.weight", "64", "float32", "1-D"]]
    assert [row[0] for row in held["documents"]["spectra"]][:2] == ["name", "singular_values"]
    (study,) = held["studies"]
    summary, family = study["tables"]
    assert [row[0] for row in summary["rows"]][:2] == ["embedding", "query"]
    assert "All tests" in family["heading"]


def thick(run_of_frames, few, count, size, seed=0):
    """A run of `count` matrices with `size` singular values each, ten outliers and five rejected vectors in each."""
    rng = np.random.default_rng(seed)
    matrices = pd.concat([few.matrices.iloc[[0]]] * count, ignore_index=True).assign(
        name=[str(i) for i in range(count)]
    )
    matrices["num_right_outliers"] = matrices["num_left_outliers"] = 10
    spectra = {"name": matrices["name"], "singular_values": [*np.sort(rng.random((count, size)) + 0.1)[:, ::-1]]}
    p = rng.uniform(0.02, 1, (count, size))
    p[:, ::-100][:, :5] = 1e-6
    for side in ("right", "left"):
        spectra |= {f"p_{side}": [*p], f"p_{side}_avg": [*p]}
    return run_of_frames(matrices, pd.DataFrame(spectra), few.manifest)


def test_what_tests_found_is_kept_where_spectra_are_thinned(make_run, make_spiked, run_of_frames):
    few = make_run([("a", "query", 0, make_spiked(np.random.default_rng(0), 24, 16, 1))], control="none")
    run = thick(run_of_frames, few, 150, 1000)
    found = packed_spectra(run, [""])
    assert 16 <= found["values"]["count"].max() < 900
    ends = np.cumsum(found["values"]["count"])
    for i, end in enumerate(ends):
        kept = np.cumsum(found["values"]["step"][end - found["values"]["count"][i] : end].astype(int)) - 1
        assert {*range(10), *range(990, 1000)} <= set(kept)
    side = found["right"]
    ends = np.cumsum(side["count"])
    for i, end in enumerate(ends):
        chosen = slice(end - side["count"][i], end)
        kept = np.cumsum(side["step"][chosen].astype(int)) - 1
        p = run.spectra["p_right"][i]
        rejected = side["code"][chosen] >= side["cut"][i]
        assert set(kept[rejected]) == set(np.flatnonzero(benjamini_hochberg(p, 0.01))) != set()
        read = np.exp((1.0 - side["code"][chosen]) / found["scale"])
        np.testing.assert_allclose(read, p[kept], rtol=0.13)
        assert side["thinned"][i] > 0
    assert len(side["mean"]) == side["count"].sum()


@pytest.mark.parametrize(("scale", "within"), [(FINE, 2e-4), (COARSE, 0.05)])
def test_codes_of_p_values_tell_exactly_which_are_rejected(scale, within):
    rng = np.random.default_rng(1)
    for power in (1, 4, 12):
        p = rng.random(400) ** power
        rejected = benjamini_hochberg(p, 0.05)
        codes, cut = p_codes(p, rejected, scale)
        np.testing.assert_array_equal(codes >= cut, rejected)
        assert codes.min() >= 0
        # one beside the threshold may be a step away
        np.testing.assert_allclose(np.exp((1.0 - codes) / scale), np.clip(p, 1e-9, 1), rtol=within + 1.01 / scale)


def test_hostile_texts_are_text(make_run, make_spiked, tmp_path, data_of):
    rng = np.random.default_rng(0)
    # Each name as a tensor, as a role, as a status, as a source, in what was skipped and in the warnings.
    matrices = [(name, name, i, make_spiked(rng, 12, 8, 1)) for i, name in enumerate(HOSTILE[:3])]
    failed = [(f"failed {name}", "other", None, np.ones((3, 2))) for name in HOSTILE[:-1]]
    run = make_run(matrices + failed, statuses={f"failed {name}": name for name in HOSTILE[:-1]}, source=HOSTILE[1])
    run.manifest["warnings"] += HOSTILE
    run.manifest["skipped"] += [{"name": n, "shape": [1], "dtype": n, "reason": n} for n in HOSTILE]
    run.manifest["checkpoint"]["files"] = {n: 1 for n in HOSTILE}
    text = write_report(run, tmp_path / "run").read_text("utf-8")
    assert len(inside(text, "script")) == 2
    assert "<img" not in text
    held = data_of(text)
    assert list(held["rows"]["name"]) == list(run.matrices["name"])
    assert set(HOSTILE[:-1]) <= set(held["warnings"])
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / "run" / "report.html"]


@pytest.mark.parametrize("role", [r"$\alpha$_{i}", "../../../etc/passwd", "x" * 3000])
def test_figures_of_hostile_roles_stay_in_their_folder(make_run, make_spiked, tmp_path, role):
    w = make_spiked(np.random.default_rng(0), 12, 8, 1)
    write_report(make_run([("w", role, 0, w)]), tmp_path / "run", figures=True)
    written = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.parent for p in written} == {tmp_path / "run", tmp_path / "run" / "figures"}
    assert len(written) == 9


def test_figures_lie_beside_the_page_where_they_are_asked_for(folder):
    names = {p.name for p in (folder / "figures").iterdir()}
    stems = {"heatmaps", "ranks"}
    stems |= {f"{kind}_{role}" for kind in ("spectrum", "pvalues") for role in (
        "embedding", "query", "key", "value", "attention_output", "mlp_up", "mlp_down")}  # fmt: skip
    assert names == {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "pdf")}


def test_a_page_takes_no_matplotlib(run, tmp_path, run_of_frames):
    run_of_frames(run.matrices, run.spectra, run.manifest, tmp_path)
    code = (
        "import sys; from eigensweep.engine import write_report; write_report(sys.argv[1]); "
        "print(*{'matplotlib', 'PIL', 'flax', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == ""
    assert (tmp_path / "report.html").is_file()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("control", ["gaussian", "none"])
@pytest.mark.parametrize("shape", [(5, 1), (2, 2), (3, 40)])
def test_one_small_matrix(make_run, tmp_path, control, shape, data_of):
    w = np.random.default_rng(0).standard_normal(shape)
    run = make_run([("w", "other", None, w)], control=control)
    held = data_of(write_report(run, tmp_path, figures=True).read_text("utf-8"))
    assert list(held["spectra"]["size"]) == [min(shape)] * len(held["readings"])
    assert len([*(tmp_path / "figures").glob("*.png")]) == 3


@pytest.mark.filterwarnings("error")
def test_nothing_but_failures(make_run, tmp_path, data_of):
    matrices = [("a", "query", 0, np.ones((3, 2))), ("b", "key", None, np.ones((0, 4)))]
    run = make_run(matrices, statuses={"a": "all zero", "b": "empty"})
    held = data_of(write_report(run, tmp_path, figures=True).read_text("utf-8"))
    assert list(held["rows"]["status"]) == ["all zero", "empty"]
    assert held["warnings"] == ["a: all zero", "b: empty"]
    assert held["findings"] == []
    assert not [*tmp_path.glob("figures/*")]


@pytest.mark.filterwarnings("error")
def test_missing_numbers_everywhere(make_run, make_spiked, tmp_path, data_of):
    rng = np.random.default_rng(0)
    run = make_run([(f"w{i}", "query", i, make_spiked(rng, 12, 8, 1)) for i in range(2)])
    scalars = run.matrices.columns.difference(["name", "role", "block", "m", "n", "dtype", "status"])
    run.matrices[scalars] = run.matrices[scalars].astype("Float64")
    run.matrices[scalars] = None
    for column in ("p_right_avg", "p_left_avg", "p_right", "control_gaussian_p_right_avg"):
        run.spectra[column] = [np.full(8, np.nan)] * 2
    held = data_of(write_report(run, tmp_path, figures=True).read_text("utf-8"))
    assert np.isnan(held["rows"]["alpha"]).all()
    assert list(held["spectra"]["right"]["count"]) == [0, 8, 0, 8]


@pytest.mark.filterwarnings("error")
def test_a_matrix_of_low_rank(make_run, tmp_path, data_of):
    rng = np.random.default_rng(0)
    w = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 30))
    run = make_run([("delta", "query", 0, w)], control="none")
    run.matrices[["sigma", "sigma_bulk"]] = 0.0
    run.matrices["hard_rank"] = 3
    p = np.where(np.arange(30) < 3, 0.4, np.nan)
    for column in ("p_right", "p_left", "p_right_avg", "p_left_avg"):
        run.spectra[column] = [p]
    held = data_of(write_report(run, tmp_path, figures=True).read_text("utf-8"))
    assert np.count_nonzero(held["spectra"]["values"]["code"]) == 3
    assert list(held["spectra"]["right"]["count"]) == [3]


def test_a_folder_that_cannot_be_written_is_one_clear_error(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_report(run, tmp_path / "file")
