"""The overlap study on a random GPT-2: against plain NumPy, interrupted, with matrices that no activations meet."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from eigensweep import engine, models
from eigensweep.engine.report.write import write_figures
from eigensweep.engine.studies.overlap.study import LAYOUT, Collector, OverlapOptions, open_overlap
from eigensweep.engine.studies.overlap.summary import overlap_table, render_covariances, render_overlap
from eigensweep.engine.tables.claim import claimed
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
        self.matrices = checkpoint.matrices
        self.run = engine.sweep(checkpoint, engine.SweepOptions(control="none", equalise=False, num_flips=0), directory)
        self.groups = {}
        for matrix in checkpoint.matrices:
            self.groups.setdefault(nn.tap_of(matrix.path), []).append(matrix)

    def stream(self, collector, stop_in=None, without=()):
        def visit(number, taps):
            if stop_in is not None and any(stop_in in tap for tap in taps) and number == 2:
                raise KeyboardInterrupt
            collector.visit(number, {tap: x for tap, x in taps.items() if tap not in without})

        nn.stream(self.model, nn.reader_of(self.params, self.model), self.batches, lambda b, o: None, visit=visit)

    @contextmanager
    def study(self, **changes):
        with claimed(self.run.directory, LAYOUT, {"data": {"rows": "mine"}} | changes) as work:
            yield work, Collector(work, self.run, self.matrices, self.batches)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Small(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def found(small):
    """The study, interrupted in block 1 and taken up again."""
    folder = LAYOUT.parts(small.run.directory)

    def written():
        return {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}

    with pytest.raises(KeyboardInterrupt), small.study() as (_, collector):
        small.stream(collector, stop_in="blocks/1/")
    with small.study() as (work, collector):
        assert work.todo(["blocks/0", "blocks/1"]) == ["blocks/1"]
        before = written()
        small.stream(collector)
        assert before.items() <= written().items()
        collector.finish(loss=None)
    with small.study() as (work, _):
        assert work.done
    return open_overlap(small.run.directory)


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


def test_positions_are_centred_out(small):
    """F of every input about the means of its positions, by plain NumPy; the columns of what the means carry."""
    whole = small.model.apply(small.params, small.rows.input_ids, small.rows.attention_mask, taps=True)
    written = {}
    work = SimpleNamespace(todo=list, write=lambda units, seconds: written.update(units))
    small.stream(Collector(work, small.run, small.matrices, small.batches, "positions"))
    rows = [row for unit in written.values() for row in unit["overlap_covariances"]]
    mask = small.rows.attention_mask
    assert {row["tap"] for row in rows} == set(small.groups)
    for row in rows:
        x = np.asarray(whole.taps[row["tap"]]).astype(np.float64)
        rest = [x[mask[:, p], p] - x[mask[:, p], p].mean(axis=0) for p in range(mask.shape[1])]
        expected = np.linalg.eigvalsh(sum(r.T @ r for r in rest) / mask.sum())
        np.testing.assert_allclose(row["evals"], expected[::-1], atol=1e-6 * expected[-1])
        assert not row["mean_share"].any()
        assert not row["position_share"].any()


def test_shares_of_the_means_are_in_the_table(small, found):
    whole = small.model.apply(small.params, small.rows.input_ids, small.rows.attention_mask, taps=True)
    mask = small.rows.attention_mask
    for row in found.covariances.to_dict("records"):
        x = np.asarray(whole.taps[row["tap"]]).astype(np.float64)
        mean = x[mask].mean(axis=0)
        assert len(row["mean_share"]) == len(row["position_share"]) == row["num_axes"]
        evals = np.asarray(row["evals"])[: row["num_axes"]]
        assert (row["mean_share"] * evals).sum() == pytest.approx(mean @ mean, rel=1e-5)
        counts = mask.sum(axis=0)
        means = [x[mask[:, p], p].mean(axis=0) - mean for p in range(len(counts))]
        between = sum(n * m @ m for n, m in zip(counts, means, strict=True)) / counts.sum()
        assert (row["position_share"] * evals).sum() == pytest.approx(between, rel=1e-5)
    said = render_covariances(found)
    assert "not centred" in said
    assert max(map(len, said.splitlines())) <= 100


@pytest.mark.parametrize(
    ("given", "meant"), [({}, "none"), ({"centred": True}, "mean"), ({"centring": "mean"}, "mean")]
)
def test_centring_has_a_short_form(given, meant):
    options = OverlapOptions(**given)
    assert (options.centring, options.centred) == (meant, meant == "mean")


def test_two_centrings_at_once_are_refused():
    with pytest.raises(ValueError, match="centring is positions; give one of them"):
        OverlapOptions(centred=True, centring="positions")


def test_another_study_in_the_same_run_is_refused(small, found):
    assert found.manifest["status"] == "done"
    other = small.study(data={"rows": "other"})
    with pytest.raises(engine.RunError, match="rows: 'mine' there, 'other' now"), other:
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
    write_figures([found], tmp_path)
    for name in ("overlap.png", "covariances.png"):
        assert (tmp_path / name).stat().st_size > 5000


def test_rows_come_tap_by_tap_in_model_order(small, found):
    """Whatever order the stream decomposes them in."""
    assert list(found.covariances["tap"]) == list(small.groups)
    assert list(found.matrices["name"]) == [m.name for members in small.groups.values() for m in members]


def test_matrices_that_no_activations_meet_are_named_in_the_manifest(small, tmp_path):
    """One that the forward pass does not come by, and a head whose tap is there but never comes."""
    tap = "blocks/0/attention/output/kernel"
    rng = np.random.default_rng(0)
    tensors = {
        **{m.name: m.read().T for m in small.groups[tap]},
        "mlm.dense.kernel": rng.standard_normal((24, 24)),
        "unembedding.kernel": rng.standard_normal((24, 40)),
    }
    checkpoint = models.open_checkpoint(tensors)
    run = engine.sweep(checkpoint, engine.SweepOptions(control="none", equalise=False, num_flips=0), tmp_path)
    with claimed(tmp_path, LAYOUT, {}) as work:
        collector = Collector(work, run, checkpoint.matrices, small.batches)
        assert collector.units == ["blocks/0", "head"]
        small.stream(collector, without=("unembedding/kernel",))
        collector.finish()
    result = open_overlap(tmp_path)
    assert list(result.matrices["tap"]) == [tap]
    assert sorted(result.manifest["without_activations"]) == ["mlm.dense.kernel", "unembedding.kernel"]
    assert json.loads((tmp_path / "overlap.json").read_text())["status"] == "done"


def test_a_head_that_one_tap_of_two_meets_is_written_without_the_other(small, tmp_path):
    """The head's part is written when its last batch has been seen; what never came is named, not dropped."""
    rng = np.random.default_rng(0)
    tensors = {"unembedding.kernel": rng.standard_normal((24, 40)), "mlm.dense.kernel": rng.standard_normal((24, 24))}
    checkpoint = models.open_checkpoint(tensors)
    run = engine.sweep(checkpoint, engine.SweepOptions(control="none", equalise=False, num_flips=0), tmp_path)
    x = jax.numpy.asarray(rng.standard_normal((8, 16, 24)), np.float32)
    with claimed(tmp_path, LAYOUT, {}) as work:
        collector = Collector(work, run, checkpoint.matrices, small.batches)
        for number in range(len(small.batches)):
            collector.visit(number, {"unembedding/kernel": x})
        collector.finish()
    result = open_overlap(tmp_path)
    assert list(result.matrices["name"]) == ["unembedding.kernel"]
    assert result.manifest["without_activations"] == ["mlm.dense.kernel"]


def test_an_experts_covariance_is_of_the_tokens_that_go_to_it(small, tmp_path):
    rng = np.random.default_rng(0)
    paths = [f"blocks/0/moe/experts/{expert}/up/kernel" for expert in range(3)]
    checkpoint = models.open_checkpoint({p.replace("/", "."): rng.standard_normal((24, 20)) for p in paths})
    run = engine.sweep(checkpoint, engine.SweepOptions(control="none", equalise=False, num_flips=0), tmp_path)
    x = jax.numpy.asarray(rng.standard_normal((8, 16, 24)), np.float32)
    routes = np.zeros((8, 16, 3), np.float32)  # nothing goes to the last one
    routes[..., 0] = rng.random((8, 16)) * (rng.random((8, 16)) < 0.5)
    routes[..., 1] = 0.5
    with claimed(tmp_path, LAYOUT, {}) as work:
        collector = Collector(work, run, checkpoint.matrices, small.batches)
        for number in range(len(small.batches)):
            collector.visit(number, {"blocks/0/moe/routes": jax.numpy.asarray(routes), **dict.fromkeys(paths, x)})
        collector.finish()
    result = open_overlap(tmp_path)
    covariances = result.covariances.set_index("tap")
    for expert, path in enumerate(paths[:2]):
        masks = [batch.attention_mask & (routes[..., expert] > 0) for batch in small.batches]
        tokens = np.concatenate([np.asarray(x, np.float64)[mask] for mask in masks])
        assert covariances.loc[path, "num_tokens"] == len(tokens)
        expected = np.linalg.eigvalsh(tokens.T @ tokens / len(tokens))[::-1]
        np.testing.assert_allclose(covariances.loc[path, "evals"], expected, rtol=1e-10)
    assert result.manifest["without_activations"] == [paths[2].replace("/", ".")]


def test_no_activations_at_all_end_the_study(small, tmp_path):
    checkpoint = models.open_checkpoint({"mlm.dense.kernel": np.eye(24) + 1})
    run = engine.sweep(checkpoint, engine.SweepOptions(control="none", equalise=False, num_flips=0), tmp_path)
    with claimed(tmp_path, LAYOUT, {}) as work:
        collector = Collector(work, run, checkpoint.matrices, small.batches)
        small.stream(collector)
        with pytest.raises(engine.RunError, match="no matrix of the run has activations"):
            collector.finish()
