"""Facts by depth: norms, covariances, directions, cosines and the data set's covariance, each against NumPy."""

from collections import Counter

import jax
import numpy as np
import pytest
from scipy import stats

from eigensweep.engine.spectral import rank_plot
from eigensweep.engine.studies.data import TextFields
from eigensweep.engine.studies.facts import dataset, depth, norms, ranks, stream
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import data, nn, open_checkpoint
from eigensweep.models.matrix import Matrix

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def stories(shared):
    return open_checkpoint(shared / "checkpoints" / "llama-stories260k")


def test_norms_are_numpys_with_and_without_the_gain(shared):
    """GPT-2 reads behind LayerNorm: W diag(g) (I - 1 1^T/d); its writing matrices have no norm between."""
    folder = shared / "checkpoints" / "gpt2-char-shakespeare"
    checkpoint = open_checkpoint(folder)
    rows, plots = norms.weight_rows(checkpoint, checkpoint.matrices)
    assert [row["name"] for row in rows] == [matrix.name for matrix in checkpoint.matrices]
    from safetensors.numpy import load_file

    stored = load_file(folder / "model.safetensors")
    prefix = "transformer." if any(name.startswith("transformer.") for name in stored) else ""
    for row, matrix in zip(rows, checkpoint.matrices, strict=True):
        w = matrix.read().astype(np.float64)
        assert row["frobenius"] == pytest.approx(np.linalg.norm(w), rel=1e-6)
        assert row["spectral"] == pytest.approx(np.linalg.norm(w, 2), rel=1e-6)
        if row["side"] == "reading":
            norm = "ln_2" if "mlp" in row["role"] else "ln_1"
            g = stored[f"{prefix}h.{row['block']}.{norm}.weight"].astype(np.float64)
            d = len(g)
            folded = w @ np.diag(g) @ (np.eye(d) - np.ones((d, d)) / d)
            assert row["folded_frobenius"] == pytest.approx(np.linalg.norm(folded), rel=1e-6)
            assert row["folded_spectral"] == pytest.approx(np.linalg.norm(folded, 2), rel=1e-6)
        else:
            assert row.get("folded_frobenius") is None
    assert Counter(row["side"] for row in rows) == {"reading": 16, "writing": 8, "": 3}
    assert [row["name"] for row in plots] == [row["name"] for row in rows]


def test_rms_norms_are_not_centred(stories):
    some = [m for m in stories.matrices if m.block == 1 and m.role in ("mlp_gate", "query")]
    rows = {row["role"]: row for row in norms.weight_rows(stories, some)[0]}
    leaves = {leaf.path: leaf.read() for leaf in stories.plan.leaves if "norm" in leaf.path}
    for matrix, norm in zip(some, ("attention_norm", "mlp_norm"), strict=True):
        w = matrix.read().astype(np.float64) * leaves[f"blocks/1/{norm}/scale"]
        assert rows[matrix.role]["folded_spectral"] == pytest.approx(np.linalg.norm(w, 2), rel=1e-6)


def test_post_norm_models_have_no_gain_to_fold_and_broken_matrices_no_row(bert):
    checkpoint = open_checkpoint(bert)
    assert norms.folded(checkpoint, checkpoint.matrices) == []
    broken = Matrix(
        "x", "query", 0, (4, 3), "float32", False, (), "f", None, "", None, True, lambda: np.full((4, 3), np.nan)
    )
    assert norms.weight_rows(checkpoint, [broken]) == ([], [])


def test_blocks_of_a_kind_are_pooled():
    rows = [
        ranks.rank_row("weight", np.arange(1, 51.0) ** -slope, name=str(i), role="key", block=i, shape=(50, 60))
        for i, slope in enumerate((0.5, 0.6, 0.7))
    ]
    rows.append(ranks.rank_row("dataset", np.ones(50), name="d", role="text", shape=(None, 50)))
    (pooled,) = ranks.pooled_rows(rows, 0)
    assert (pooled["blocks"], pooled["role"], pooled["n"]) == (3, "key", 60)
    assert pooled["slope"] == pytest.approx(-0.6)
    assert -0.7 - 1e-9 <= pooled["slope_low"] < -0.6 < pooled["slope_high"] <= -0.5 + 1e-9
    assert pooled["power_law"]
    assert rows[0]["slope_noise"] == pytest.approx(rank_plot.noise(50, 60).slope)
    assert rows[-1]["slope_noise"] is None


def test_the_stream_by_depth_is_numpys(stories, shared):
    """Covariances of all tokens; kurtoses and cosines; the text that is shown. Against `apply`, whole."""
    model, params = nn.load(stories)
    ids = np.random.default_rng(0).integers(3, 500, (5, 12)).astype(np.int32)
    mask = np.arange(12) < np.array([12, 7, 12, 3, 9])[:, None]
    rows = data.Rows(ids, mask, np.zeros_like(ids), np.full_like(ids, -100), np.arange(5, dtype=np.int32))
    batches = list(data.batches(rows, 2))
    blocks = model.architecture.num_blocks
    found = {}
    facts = stream.StreamFacts(batches, blocks, model.architecture.width, 0, [f"t{i}" for i in range(12)])
    taps = [model.apply(params, b.input_ids, b.attention_mask, taps=("stream",)).taps for b in batches]
    visitor = depth.Visitor(facts, len(batches), lambda unit, rows: found.update(rows))
    for block in range(blocks):  # as a pass hands them over: sorted by path, what leaves the block before what enters
        for number, tapped in enumerate(taps):
            visitor.visit(number, {k: x for k, x in sorted(tapped.items()) if k.startswith(f"blocks/{block}/")})
    states = [
        np.concatenate(
            [np.asarray(t[stream.place_of(i, blocks)])[b.attention_mask] for b, t in zip(batches, taps, strict=True)]
        )
        for i in range(blocks + 1)
    ]
    assert [row["block"] for row in found["stream_covariances"]] == list(range(blocks + 1))
    for row, x in zip(found["stream_covariances"], states, strict=True):
        x = x.astype(np.float64)
        expected = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
        np.testing.assert_allclose(row["evals"], expected, atol=1e-9 * expected[0])
        assert row["num_tokens"] == mask.sum()
        assert row["mean_share"] == pytest.approx(np.sum(x.mean(axis=0) ** 2) / np.mean(np.sum(x**2, axis=1)))
    for row in found["stream_directions"]:
        x = states[row["block"]].astype(np.float64)
        assert row["standard_error"] == pytest.approx(np.sqrt(24 / 43))
        if row["kind"] == "dimension":
            np.testing.assert_allclose(row["kurtosis"], stats.kurtosis(x, axis=0), rtol=1e-6, atol=1e-8)
        elif row["kind"] == "principal":
            axis = np.linalg.eigh(np.cov(x.T, bias=True))[1][:, -1]
            assert row["kurtosis"][0] == pytest.approx(stats.kurtosis(x @ axis), rel=1e-4)
        elif row["kind"] == "pooled":
            assert row["median"] == pytest.approx(stats.kurtosis(x, axis=None), rel=1e-6)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in states]
    for row in found["stream_cosines"]:
        expected = np.mean(np.sum(unit[row["block"]] * unit[row["other"]], axis=1))
        assert row["cosine"] == pytest.approx(expected, rel=1e-5)
    shown = found["stream_sample"]
    assert [row["token"] for row in shown[:12]] == [f"t{i}" for i in range(12)]
    np.testing.assert_array_equal(shown[3]["values"], states[0][3])
    assert len(found["ranks"]) == blocks + 1


def test_sampled_tokens_are_the_same_whatever_the_batch():
    mask = np.random.default_rng(0).random((7, 9)) < 0.7
    rows = data.Rows(*(np.zeros((7, 9), np.int32), mask, *(np.zeros((7, 9), np.int32),) * 2, np.arange(7)))
    tokens = []
    for size in (1, 3, 7):
        chosen = stream.chosen_tokens(list(data.batches(rows, size)), 20)
        tokens.append([(size * i + row, column) for i, places in enumerate(chosen) for row, column in places])
    assert len(tokens[0]) == 20
    assert tokens[0] == tokens[1] == tokens[2]
    assert all(mask[row, column] for row, column in tokens[0])


class Options(TextFields):
    """Of a study that reads text."""


def test_sequences_of_a_text_are_its_tokens_and_their_covariance_a_counters(gpt2):
    checkpoint = open_checkpoint(gpt2)
    text = gpt2.parent / "text.txt"
    options = Options(data=str(text), length=8)
    tokens = dataset.sequences(checkpoint, nn.model_of(checkpoint), options, None, 6)
    from eigensweep.models.data import load_tokenizer

    ids = load_tokenizer(str(gpt2))(text.read_text(), add_special_tokens=False)["input_ids"]
    np.testing.assert_array_equal(tokens, np.reshape(ids[: len(ids) // 6 * 6], (-1, 6)))
    found, plots = dataset.dataset_rows(tokens, str(text), False, 0)
    names = sorted(set(tokens.ravel()))
    counts = np.array([[Counter(row)[name] for name in names] for row in tokens.tolist()], float)
    expected = np.linalg.eigvalsh(np.cov(counts.T, bias=True))[::-1]
    np.testing.assert_allclose(found[0]["evals"][: len(names) - 1], expected[:-1], atol=1e-12)
    assert [row["order"] for row in found] == ["text", "shuffled"]
    assert [row["role"] for row in plots] == ["text", "shuffled"]
    assert (found[0]["num_sequences"], found[0]["length"], found[0]["num_tokens"]) == (len(tokens), 6, len(names))


def test_a_text_shorter_than_two_sequences_and_one_without_variety_are_refused(gpt2, tmp_path):
    checkpoint = open_checkpoint(gpt2)
    model = nn.model_of(checkpoint)
    text = gpt2.parent / "text.txt"
    with pytest.raises(RunError, match=r"text.txt: \d+ tokens give 1 sequences of 300.*at least two"):
        dataset.sequences(checkpoint, model, Options(data=str(text)), None, 300)
    with pytest.raises(data.DataError, match="fewer than one window of 100000"):
        dataset.sequences(checkpoint, model, Options(data=str(text)), None, 100_000)
    one = tmp_path / "one.txt"
    one.write_text(" ".join([text.read_text().split()[0]] * 60))
    with pytest.raises(RunError, match=r"one.txt: all sequences of 4 tokens hold the same"):
        dataset.sequences(checkpoint, model, Options(data=str(one)), None, 4)
