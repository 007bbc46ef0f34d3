"""eigensweep-overlap as its user runs it, and the study behind it: joins, resumption, errors, figures."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from eigensweep import engine, models
from eigensweep.bin.cli import UserError
from eigensweep.engine.report import overlap as figures
from eigensweep.engine.report.overlap_table import overlap_table, render_overlap
from eigensweep.engine.run.overlap import Collector, open_overlap, overlap_study
from eigensweep.engine.run.store import write_manifest
from eigensweep.models import nn
from eigensweep.models.data import Rows, batches

GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 40,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 16,
}


def overlap(*arguments, check=True):
    command = [sys.executable, "-m", "eigensweep.bin.overlap", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def fails(*arguments, says):
    """The command ends with status 2 and one line on standard error that holds every text in `says`."""
    done = overlap(*arguments, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    for text in says:
        assert text in lines[0]


def test_gpt2_char_end_to_end(shared, tmp_path):
    source = shared / "checkpoints" / "gpt2-char-shakespeare"
    arguments = (
        f"--checkpoint={source}",
        f"--text={shared / 'text' / 'tinyshakespeare.txt'}",
        f"--workdir={tmp_path / 'run'}",
        "--config.num_rows=40",
    )
    done = overlap(*arguments)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["role", "matrices"]
    assert [line.split()[0] for line in lines[1:8]] == [
        "query", "key", "value", "attention_output", "mlp_up", "mlp_down", "unembedding",
    ]  # fmt: skip
    run, found = engine.open_run(tmp_path / "run"), open_overlap(tmp_path / "run")
    joined = run.matrices.merge(found.matrices, on=["name", "role", "m", "n"])
    assert len(joined) == len(found.matrices) == 4 * 6 + 1
    assert set(run.matrices["role"]) - set(joined["role"]) == {"embedding", "position_embedding"}
    assert (found.matrices["num_tokens"] == 40 * 128).all()
    assert found.manifest["loss"] == pytest.approx(1.46, abs=0.1)
    shared_input = found.matrices.groupby("tap")["name"].count().value_counts().to_dict()
    assert shared_input == {3: 4, 1: 13}
    for row in found.matrices.itertuples():
        assert len(row.overlap) == min(row.m, row.n)
        assert np.nanmax(row.overlap) <= 1
    assert {"overlap.png", "overlap.pdf", "covariances.png"} <= set(os.listdir(tmp_path / "run" / "figures"))
    fails(*arguments, "--config.seed=5", says=["data_sha256", "overlap.json"])
    other = shared / "checkpoints" / "llama-stories260k"
    fails(f"--checkpoint={other}", *arguments[1:], says=["gpt2-char-shakespeare", "not of this checkpoint"])


def test_wrong_use_is_told_in_one_line(shared, tmp_path):
    source = f"--checkpoint={shared / 'checkpoints' / 'gpt2-char-shakespeare'}"
    to = f"--workdir={tmp_path / 'run'}"
    text = f"--text={shared / 'text' / 'tinyshakespeare.txt'}"
    fails(source, to, says=["--text"])
    fails(source, text, to, "--config.length=200", says=["200", "128"])
    lora = shared / "checkpoints" / "roberta-lora-series" / "step-08610"
    fails(f"--checkpoint={lora}", text, to, says=["LoRA adapter"])
    assert not (tmp_path / "run").exists()


def test_an_unfinished_sweep_is_continued_and_a_removal_study_refused(shared, tmp_path, entry_point):
    existing = entry_point("overlap").existing
    checkpoint = models.open_checkpoint(shared / "checkpoints" / "llama-stories260k")
    write_manifest(tmp_path, {"status": "running", "checkpoint": checkpoint.identity})
    assert existing(checkpoint, tmp_path) is None
    write_manifest(tmp_path, {"status": "done", "study": "ablation", "checkpoint": checkpoint.identity})
    with pytest.raises(UserError, match="removal study, not a sweep"):
        existing(checkpoint, tmp_path)


class Small:
    """A random GPT-2 with its sweep, its batches, and each tap's activations by plain forward passes."""

    def __init__(self, directory):
        self.model = nn.build(GPT2)
        self.params = jax.tree.map(np.asarray, self.model.init(2))
        rng = np.random.default_rng(0)
        ids = rng.integers(0, 40, (30, 16)).astype(np.int32)
        mask = np.arange(16) < rng.integers(4, 17, 30)[:, None]
        self.rows = Rows(ids, mask, np.zeros_like(ids), np.full_like(ids, -100), np.arange(30, dtype=np.int32))
        self.batches = list(batches(self.rows, 8))  # the last one is filled up with padding
        tensors = {path: leaf for path, leaf in nn.walk(self.params) if path.endswith("kernel")}
        checkpoint = models.open_checkpoint({path.replace("/", "."): w for path, w in tensors.items()})
        self.run = engine.sweep(checkpoint, engine.SweepOptions(control="none"), directory)
        self.groups = {}
        for matrix in checkpoint.matrices:
            tap = nn.tap_of(matrix.name.replace(".", "/"))
            self.groups.setdefault(tap, []).append(matrix)

    def stream(self, collector, stop_in=None):
        def visit(number, taps):
            if stop_in is not None and any(stop_in in tap for tap in taps) and number == 2:
                raise KeyboardInterrupt
            collector.visit(number, taps)

        nn.stream(self.model, nn.reader_of(self.params, self.model), self.batches, lambda b, o: None, visit=visit)

    def study(self, **changes):
        masks = [batch.attention_mask for batch in self.batches]
        return overlap_study(self.run, self.groups, masks, {"data": "mine"} | changes)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def found(small):
    """The study, interrupted in block 1 and taken up again."""
    with pytest.raises(KeyboardInterrupt), small.study() as collector:
        small.stream(collector, stop_in="blocks/1/")
    with small.study() as collector:
        assert isinstance(collector, Collector)
        assert collector.study.finished() == {"blocks/0"}
        before = {p.name: p.stat().st_mtime_ns for p in (small.run.directory / "overlap_parts").iterdir()}
        small.stream(collector)
        for name, time in before.items():
            assert (small.run.directory / "overlap_parts" / name).stat().st_mtime_ns == time
        result = collector.finish({"loss": None})
    with small.study() as collector:
        assert collector is None
    return result


def test_columns_are_those_of_plain_numpy(small, found):
    """Every matrix: covariance, eigenvectors, singular vectors and overlaps recomputed without streaming."""
    whole = small.model.apply(small.params, small.rows.input_ids, small.rows.attention_mask, taps=True)
    assert len(found.matrices) == 12
    for tap, matrices in small.groups.items():
        x = np.asarray(whole.taps[tap])[small.rows.attention_mask].astype(np.float64)
        evals, f = np.linalg.eigh(x.T @ x / len(x))
        (covariance,) = found.covariances[found.covariances["tap"] == tap].to_dict("records")
        np.testing.assert_allclose(covariance["evals"], evals[::-1], atol=1e-6 * evals[-1])
        assert covariance["num_tokens"] == len(x)
        # Float32 activations differ in their last bits: only axes well apart are comparable.
        strong = evals > 1e-3 * evals[-1]
        for matrix in matrices:
            (row,) = found.matrices[found.matrices["name"] == matrix.name].to_dict("records")
            assert row["tap"] == tap
            _, s, vt = np.linalg.svd(matrix.read().astype(np.float64), full_matrices=False)
            cosines = np.abs(vt @ f)
            clear = strong[cosines.argmax(axis=1)]
            assert clear.any()
            np.testing.assert_allclose(row["overlap"][clear], cosines.max(axis=1)[clear], atol=5e-3)
            (swept,) = small.run.matrices[small.run.matrices["name"] == matrix.name].to_dict("records")
            outside = s > swept["nu_plus"]
            assert row["num_overlap_right"] == outside.sum()
            if outside.any():
                assert row["overlap_right"] == pytest.approx(np.mean(row["overlap"][outside]))


def test_another_study_in_the_same_run_is_refused(small, found):
    assert found.manifest["status"] == "done"
    with pytest.raises(engine.RunError, match="data: 'mine' there, 'other' now"), small.study(data="other"):
        pass


def test_table_and_figures_of_a_random_model(small, found, tmp_path):
    table = overlap_table(found)
    for row in found.matrices.itertuples():
        g = np.random.default_rng(0).standard_normal((20_000, row.n))
        largest = np.abs(g[:, : row.num_axes]).max(axis=1) / np.linalg.norm(g, axis=1)
        assert row.overlap_null == pytest.approx(largest.mean(), rel=0.01)
        assert row.overlap_null_99 == pytest.approx(np.quantile(largest, 0.99), rel=0.02)
    np.testing.assert_allclose(table["inside"], table["null"], rtol=0.08)
    assert (table[["p_right", "p_left", "p_smallest"]].fillna(1) > 1e-3).all(axis=None)
    assert len(render_overlap(table).splitlines()) == 1 + len(table)
    paths = figures.write_overlap(found, tmp_path)
    assert [p.name for p in paths] == ["overlap.png", "covariances.png"]
    assert all(p.stat().st_size > 5000 for p in paths)


def test_manifest_names_what_has_no_activations(small, tmp_path):
    """A matrix that the forward pass does not come by is listed, not dropped in silence."""
    tap = "blocks/0/attention/output/kernel"
    extra = np.random.default_rng(0).standard_normal((24, 24))
    tensors = {"mlm.dense.kernel": extra} | {m.name: m.read().T for m in small.groups[tap]}
    checkpoint = models.open_checkpoint(tensors)
    run = engine.sweep(checkpoint, engine.SweepOptions(control="none"), tmp_path)
    groups = {nn.tap_of(m.name.replace(".", "/")): [m] for m in checkpoint.matrices}
    with overlap_study(run, groups, [batch.attention_mask for batch in small.batches], {}) as collector:
        small.stream(collector)
        result = collector.finish({})
    assert list(result.matrices["tap"]) == [tap]
    assert result.manifest["without_activations"] == ["mlm.dense.kernel"]
    assert json.loads((tmp_path / "overlap.json").read_text())["status"] == "done"
