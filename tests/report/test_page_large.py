"""A page of many matrices in a real browser: its size, its speed, how much of it is in the document, and findings."""

import time
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from eigensweep.engine import write_report
from eigensweep.engine.tables.columns import COUNT, TEXT
from eigensweep.engine.tables.matrices import IDENTITY, with_controls

ROLES = ("query", "key", "value", "attention_output", "mlp_gate", "mlp_up", "mlp_down")


def wide(blocks, size, rejected, seed=0):
    """Frames of 7 blocks + 2 matrices of `size` singular values in three readings, 20 outliers a side on average.

    Numbers are drawn, so that nothing compresses that would not in earnest; about `rejected` vectors a side, at the
    ends of the spectrum, where the real ones are.
    """
    rng = np.random.default_rng(seed)
    names = [(f"model.layers.{b}.{role}.weight", role, b) for b in range(blocks) for role in ROLES]
    names += [("model.embed_tokens.weight", "embedding", None), ("lm_head.weight", "unembedding", None)]
    count, columns = len(names), with_controls(("signs",), equalised=True, signs=True)
    matrices = {}
    for name, column in columns["matrices"].items():
        if column.dtype == COUNT:
            matrices[name] = pd.array(rng.poisson(20, count), dtype="Int64")
        elif column.dtype == TEXT:
            matrices[name] = rng.choice(["bulk-decay", "heavy-tailed", "random-like"], count).astype(object)
        elif "_p_" in f"_{name}_" or "_p" in name[-2:]:
            matrices[name] = rng.random(count) ** 3
        else:
            matrices[name] = np.exp(rng.standard_normal(count))
    for name in [name for name in matrices if name.endswith("phase_evidence")]:
        numbers = zip(rng.random(count), rng.random(count), rng.integers(0, 90, count), strict=True)
        matrices[name] = [f"Marchenko-Pastur describes it (D = {d:.3f}, p = {p:.2f}); {k} above" for d, p, k in numbers]
    identity = zip(*names, strict=True)
    matrices |= dict(zip(IDENTITY[:3], map(list, identity), strict=True)) | {"status": ["ok"] * count}
    matrices |= {"expert": [None] * count, "m": [size] * count, "n": [size] * count}
    frame = pd.DataFrame(matrices)[[*columns["matrices"]]]
    frame[["block", "expert"]] = frame[["block", "expert"]].astype("Int64")
    spectra = {"name": frame["name"]}
    for prefix in ("", "equalised_", "control_signs_"):
        values = np.sort(np.abs(rng.standard_normal((count, size))) + 1e-3, axis=1)[:, ::-1]
        spectra[f"{prefix}singular_values"] = [*values]
        for side in ("right", "left"):
            p = rng.uniform(0.01, 1, (count, size))
            if prefix != "control_signs_":
                p[:, : rejected // 2] = p[:, size - rejected // 2 :] = 1e-6
                p[:, : rejected // 4] = 1e-5 * rng.random((count, rejected // 4))
            spectra |= {f"{prefix}p_{side}": [*p], f"{prefix}p_{side}_avg": [*p]}
    return frame, pd.DataFrame(spectra)


MANIFEST = {
    "study": "sweep",
    "status": "done",
    "checkpoint": {"source": "somewhere/large", "kind": "huggingface", "architecture": "llama", "sha256": "0" * 64},
    "options": {"level": 0.01, "control": "signs"},
    "skipped": [],
    "warnings": [],
}
VIEWS = ("findings", "map", "table", "scatter", "matrix", "studies")
QUICK = 0.05  # seconds for a filter
LOAD = 1.0  # seconds for a page


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """page_of(run): its report."""
    return lambda run: write_report(run, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def large(run_of_frames, page_of):
    """1,997 matrices of 256 values."""
    return page_of(run_of_frames(*wide(285, 256, 20), MANIFEST))


def state(page):
    words = page.evaluate("location.hash").lstrip("#").split("&")
    return {key: unquote(value.replace("+", " ")) for key, _, value in (word.partition("=") for word in words if word)}


def nodes(page):
    return page.evaluate("document.querySelectorAll('*').length")


def overflow(page):
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_two_thousand_matrices_stay_quick_and_small(visit, large):
    assert large.stat().st_size < 3e6
    start = time.perf_counter()
    page = visit(large, "view=table")
    took = time.perf_counter() - start
    assert page.evaluate("ES.data.size") == 1997
    slowest = page.evaluate(
        """() => Math.max(...['role:mlp_up right>20 block>=3', 'layers.1', 'alpha>1 -role:query', ''].map(q =>
             Math.min(...[1, 2, 3, 4, 5, 6, 7, 8].map(() => {
               const start = performance.now();
               ES.go({q}, true);
               return performance.now() - start;
             }))))"""
    )
    assert slowest < 1000 * QUICK
    for view in VIEWS:
        page.evaluate("view => ES.go({view})", view)
        assert nodes(page) <= 3000, view
        assert overflow(page) <= 0
    page.evaluate("() => ES.go({view: 'table', sort: '-alpha'})")
    page.locator(".window").evaluate("box => { box.scrollTop = box.scrollHeight; }")
    page.wait_for_selector("#all tr[aria-rowindex='1998']")
    drawn = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
    assert min(took, drawn / 1000) < LOAD


def test_a_llama_of_8b_fits_a_megabyte(run_of_frames, page_of, visit):
    frame, spectra = wide(32, 4096, 80)
    path = page_of(run_of_frames(frame, spectra, MANIFEST))
    assert len(frame) == 226
    assert path.stat().st_size < 1e6
    page = visit(path)
    assert page.evaluate("ES.spectrum(3, '').thinned")
    values = page.evaluate("[...ES.spectrum(3, '').values]")
    s = spectra["singular_values"][3]
    np.testing.assert_allclose([*values[:10], *values[-10:]], [*s[:10], *s[-10:]], rtol=3e-4)
    np.testing.assert_allclose(values, s, atol=0.03 * s[0])
    rejected = page.evaluate("ES.spectrum(3, '').right.rejected.reduce((a, b) => a + b)")
    assert rejected == np.sum(spectra["p_right"][3] < 1e-3) > 0


def test_findings_lead_to_their_evidence(visit, run_of_frames, page_of):
    frame, spectra = wide(3, 24, 4)
    frame.loc[frame["role"] == "query", "signs_p_right"] = 1e-6
    page = visit(page_of(run_of_frames(frame, spectra, MANIFEST)))
    assert 4 <= page.locator(".findings li").count() <= 6
    texts = page.locator(".findings .said").all_inner_texts()
    assert "matrices the largest singular values are above what the same entries with random signs reach" in texts[0]
    page.locator(".findings a").first.click()
    assert state(page) == {"view": "map", "measure": "num_right_outliers_beyond_signs"}
