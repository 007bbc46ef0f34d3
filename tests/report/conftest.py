"""Small runs made by NumPy alone: the same columns as a sweep's, plain statistics, so that figures can be drawn."""

import base64
import gzip
import json
import math
import os
import re
import shutil
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import ndtr

from eigensweep.engine.studies.sweep.options import controls_of
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.files import write_json, write_table

VOID = {"meta", "img", "input", "br", "hr", "link", "path", "rect", "wbr"}


def ks_statistics(vectors):
    """D of each row of `vectors` (unit vectors) against the normal law of variance 1/n."""
    n = vectors.shape[1]
    f = ndtr(np.sort(vectors, axis=1) * math.sqrt(n))
    steps = np.arange(n)
    return np.maximum((steps + 1) / n - f, f - steps / n).max(axis=1)


def p_values(vectors, draws):
    null = np.sort(ks_statistics(draws / np.linalg.norm(draws, axis=1, keepdims=True)))
    return (1 + null.size - np.searchsorted(null, ks_statistics(vectors))) / (1 + null.size)


def local_average(p):
    return np.array([np.mean(p[max(0, i - 7) : i + 8]) for i in range(p.size)])


def statistics(w, rng, prefix=""):
    """Scalars and vectors of one matrix, by definition and without care for small effects."""
    m, n = w.shape
    a, b = max(m, n), min(m, n)
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    noise = np.linalg.svd(rng.standard_normal((m, n)), compute_uv=False)
    sigma = float(np.median(s) / np.median(noise))
    edges = sigma * (math.sqrt(a) - math.sqrt(b)), sigma * (math.sqrt(a) + math.sqrt(b))
    evals = s**2
    tail = evals[: max(3, b // 4)]
    alpha = 1 + tail.size / np.sum(np.log(tail / tail[-1]) + 1e-12)
    p = {side: p_values(x, rng.standard_normal((200, x.shape[1]))) for side, x in (("right", vt), ("left", u.T))}
    scalars = {
        "sigma": sigma,
        "sigma_entries": float(w.std()),
        "sigma_bulk": sigma,
        "nu_minus": edges[0],
        "nu_plus": edges[1],
        "mp_ks": 0.02,
        "num_right_outliers": int(np.sum(s > edges[1] * (1 + 2 * b ** (-2 / 3)))),
        "num_left_outliers": int(np.sum(s < edges[0] * (1 - 2 * b ** (-2 / 3)))),
        "hard_rank": b,
        "stable_rank": evals.sum() / evals[0],
        "spectral_norm": evals[0],
        "frobenius_norm": math.sqrt(evals.sum()),
        "condition": s[0] / s[-1],
        "alpha": alpha,
        "xmin": tail[-1],
        "pl_d": 0.05,
        "num_pl_spikes": tail.size,
        "mean_p_right": p["right"].mean(),
        "mean_p_left": p["left"].mean(),
        "rejected_right": int(np.sum(p["right"] < 0.004)),
        "rejected_left": int(np.sum(p["left"] < 0.004)),
        "rejected_share_right": float(np.mean(p["right"] < 0.004)),
        "rejected_share_left": float(np.mean(p["left"] < 0.004)),
        "undetermined": 0,
    }
    vectors = {"singular_values": s}
    for side in p:
        vectors |= {f"p_{side}": p[side], f"p_{side}_avg": local_average(p[side])}
    return {prefix + k: v for k, v in scalars.items()}, {prefix + k: v for k, v in vectors.items()}


def build_run(matrices, *, control="gaussian", source="synthetic", seed=0, statuses=None, directory=None):
    """A run over `matrices`: (name, role, block, w) each; `statuses` marks rows as not ok, their statistics missing."""
    rng = np.random.default_rng(seed)
    rows, spectra = [], []
    for name, role, block, w in matrices:
        status = (statuses or {}).get(name, "ok")
        row = {"name": name, "role": role, "block": block, "expert": None, "m": w.shape[0], "n": w.shape[1]}
        vectors = {"name": name}
        if status == "ok":
            scalars, lists = statistics(w, rng)
            row |= scalars
            vectors |= lists
            for kind in controls_of(control):
                random = w.std() * rng.standard_normal(w.shape)
                scalars, lists = statistics(random, rng, f"control_{kind}_")
                row |= scalars
                vectors |= lists
        rows.append(row | {"dtype": "float32", "status": status})
        spectra.append(vectors)
    table = pd.DataFrame(rows)
    integers = [
        c
        for c in table
        if c in ("block", "expert") or "outliers" in c or c.endswith(("rejected_right", "rejected_left"))
    ]
    table[integers] = table[integers].astype("Int64")
    manifest = {
        "eigensweep": "0.2.0",
        "study": "sweep",
        "checkpoint": {"source": source, "kind": "dict", "architecture": "generic", "files": {}, "sha256": "0" * 64},
        "options": {"seed": 0, "level": 0.01, "sigma": "bulk", "control": control},
        "versions": {"jax": "0.10.2", "python": "3.11"},
        "devices": ["cpu"],
        "timings": {"decompose": 1.25},
        "skipped": [{"name": "norm.weight", "shape": [64], "dtype": "float32", "reason": "1-D"}],
        "warnings": [],
        "status": "done",
    }
    return as_run(table, pd.DataFrame(spectra), manifest, directory)


def as_run(matrices, spectra, manifest, directory=None):
    """A run of these frames, written to `directory` if there is one."""
    frames = {"matrices": matrices, "spectra": spectra}
    tables = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
    run = Run(tables, manifest, directory)
    if directory is not None:
        save(run, directory)
    return run


def save(result, directory, manifest="manifest.json"):
    """Write a result as its study left it."""
    for name, table in result.tables.items():
        write_table(directory / f"{name}.parquet", table)
    write_json(directory / manifest, result.manifest)


def spiked(rng, m, n, spikes, sigma=0.05):
    """Noise of standard deviation sigma, its largest spikes at 3, 2.5, ... times the right edge."""
    w = sigma * rng.standard_normal((m, n))
    edge = sigma * (math.sqrt(m) + math.sqrt(n))
    for k in range(spikes):
        u, v = rng.laplace(size=m), rng.laplace(size=n)  # not Gaussian: the vectors show, too
        w += edge * (3 - 0.5 * k) * np.outer(u / np.linalg.norm(u), v / np.linalg.norm(v))
    return w


def transformer(blocks=3, d=48, hidden=96, seed=1):
    """Matrices of a small transformer: spikes in query and key, noise elsewhere."""
    rng = np.random.default_rng(seed)
    shapes = {
        "query": (d, d, 3),
        "key": (d, d, 2),
        "value": (d, d, 0),
        "attention_output": (d, d, 0),
        "mlp_up": (hidden, d, 1),
        "mlp_down": (d, hidden, 0),
    }
    result = [("embedding.weight", "embedding", None, spiked(rng, 3 * d, d, 4))]
    for block in range(blocks):
        for role, (m, n, spikes) in shapes.items():
            result.append((f"block.{block}.{role}.weight", role, block, spiked(rng, m, n, spikes)))
    return result


class Outline(HTMLParser):
    """The page's tags, attributes and text; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="session", autouse=True)
def _cheap_figures(cheap_figures):
    pass


@pytest.fixture(scope="session")
def make_run():
    """`build_run`, for runs of a test's own matrices."""
    return build_run


@pytest.fixture(scope="session")
def run_of_frames():
    """`as_run`, for runs whose tables a test has made or changed."""
    return as_run


@pytest.fixture(scope="session")
def make_spiked():
    """`spiked`, a matrix of noise with planted spikes."""
    return spiked


@pytest.fixture(scope="session")
def outline_of():
    """A page's text -> its `Outline`."""
    return Outline


@pytest.fixture(scope="session")
def run():
    """A small transformer with embeddings, three blocks, six roles and a Gaussian control."""
    return build_run(transformer())


def unpacked(text):
    """What a page holds: its blob read back, arrays as NumPy's, as engine/report/page/packing.py describes it."""
    (packed,) = re.findall(r'<script type="application/octet-stream" id="data">([^<]*)</script>', text)
    blob = gzip.decompress(base64.b64decode(packed))
    start = 4 + int.from_bytes(blob[:4], "little")
    kinds = {"u8": "<u1", "u16": "<u2", "u32": "<u4", "f32": "<f4", "f64": "<f8"}

    def revived(value):
        if isinstance(value, list):
            return [revived(x) for x in value]
        if not isinstance(value, dict):
            return value
        if "$" not in value:
            return {key: revived(x) for key, x in value.items()}
        kind, offset, length = value["$"]
        width = np.dtype(kinds[kind]).itemsize
        planes = np.frombuffer(blob, np.uint8, length * width, start + offset).reshape(width, length)
        return np.ascontiguousarray(planes.T).view(kinds[kind]).ravel()

    content = revived(json.loads(blob[4:start]))
    for name, column in content["rows"].items():
        if isinstance(column, dict):
            content["rows"][name] = [column["words"][i - 1] if i else None for i in column["places"]]
    return content


@pytest.fixture(scope="session")
def data_of():
    """A page's text -> what it holds, see `unpacked`."""
    return unpacked


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, driven by Playwright; skipped, with the reason, where there is none."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    missing = "no Chromium on this machine (apt-get install chromium): the page is not tried in a browser"
    if path is None:
        if os.environ.get("EIGENSWEEP_REQUIRE_DATA") and not os.environ.get("EIGENSWEEP_NO_BROWSER"):
            pytest.fail(f"{missing}; where none can be had, set EIGENSWEEP_NO_BROWSER=1")
        warnings.warn(missing, stacklevel=1)
        pytest.skip(missing)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """visit(path, hash, width, theme): the page, drawn; fails on any message of the console and any request."""
    opened, wrong = [], []

    def visit(path, hash="", width=1400, theme="light", **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options)
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if asks(request, path) else None)
        page.goto(f"{path.as_uri()}#{hash}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield visit
    for context in opened:
        context.close()
    assert wrong == []


def asks(request, path):
    """Whether a request is for anything but the page, and what it makes itself."""
    return not request.url.startswith(("blob:", "data:")) and request.url.partition("#")[0] != path.as_uri()
