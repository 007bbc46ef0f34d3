"""Losses row by row against transformers, whatever the batch; memory advice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint
from eigensweep.models.data import IGNORE, Rows, windows
from eigensweep.models.nn import losses

jax.config.update("jax_enable_x64", True)

GPT2 = {
    "vocab_size": 30,
    "n_embd": 24,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 16,
    "bos_token_id": None,
    "eos_token_id": None,
}


@pytest.fixture(scope="module")
def gpt2():
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    reference = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    config = {**GPT2, "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    return reference, *nn.load(open_checkpoint(state, config=config))


def guide(reference, tokens, length, stride):
    """The loop of transformers' guide "Perplexity of fixed-length models", in torch."""
    import torch

    encodings = torch.tensor(tokens.astype(int))[None]
    nll_sum, n_tokens, prev_end = 0.0, 0, 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + length, len(tokens))
        new = end - prev_end
        ids = encodings[:, begin:end]
        targets = ids.clone()
        targets[:, :-new] = -100
        with torch.no_grad():
            loss = reference(ids, labels=targets).loss
        num = int((targets != -100).sum()) - 1
        nll_sum += float(loss) * num if num else 0.0
        n_tokens += num
        prev_end = end
        if end == len(tokens):
            break
    return np.exp(nll_sum / n_tokens)


@pytest.mark.parametrize(("num", "stride"), [(50, 5), (50, 16), (49, 7), (16, 3), (47, 1)])
def test_perplexity_is_that_of_transformers_guide(gpt2, num, stride):
    reference, model, params = gpt2
    tokens = np.random.default_rng(num).integers(0, 30, num).astype(np.int32)
    scores = nn.perplexity(model, params, windows(tokens, 16, stride), batch_size=4)
    assert scores.perplexity == pytest.approx(guide(reference, tokens, 16, stride), rel=2e-5)
    if stride < 16:
        assert scores.count.sum() == num - 1


@pytest.mark.parametrize("stride", [1, 5, 11, 16, 20])
def test_the_mean_of_scores_is_that_over_tokens_at_any_stride(gpt2, stride):
    _, model, params = gpt2
    tokens = np.random.default_rng(3).integers(0, 30, 47).astype(np.int32)
    rows = windows(tokens, 16, stride)
    found = []
    for ids, mask, targets in zip(rows.input_ids, rows.attention_mask, rows.targets, strict=True):
        logp = np.asarray(jax.nn.log_softmax(model.apply(params, ids[None, : mask.sum()]).logits))[0]
        found += [-logp[t, target] for t, target in enumerate(targets) if target != IGNORE]
    scores = nn.score(model, params, rows, 4)
    assert len(found) == scores.count.sum()
    assert scores.mean == pytest.approx(np.mean(found), rel=1e-5)
    guided = nn.perplexity(model, params, rows, 4)
    if stride >= 16:
        assert guided.mean == scores.mean
    elif stride == 1:
        assert abs(guided.mean - scores.mean) > 0.01


def test_scores_do_not_depend_on_the_batch_and_keep_the_order(gpt2):
    _, model, params = gpt2
    rows = windows(np.random.default_rng(1).integers(0, 30, 60).astype(np.int32), 16, 6)
    one, four = (nn.score(model, params, rows, size) for size in (1, 4))
    assert len(one.loss) == len(rows.row)
    np.testing.assert_allclose(one.loss, four.loss, rtol=1e-5)
    np.testing.assert_array_equal(one.correct, four.correct)
    shuffled = rows.take(np.random.default_rng(0).permutation(len(rows.row)))
    np.testing.assert_allclose(nn.score(model, params, shuffled, 4).loss, four.loss, rtol=1e-5)


def test_classification_scores_are_cross_entropy_and_hits():
    logits = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.0]], np.float32)
    total, count, correct = nn.score_logits(logits, np.array([0, 2, IGNORE], np.int32))
    expected = [np.log(np.exp(row).sum()) - row[label] for row, label in ((logits[0], 0), (logits[1], 2))]
    np.testing.assert_allclose(total, [*expected, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(count, [1, 1, 0])
    np.testing.assert_array_equal(correct, [1, 0, 0])


def test_row_losses_have_the_gradient_of_the_loss(gpt2):
    _, model, params = gpt2
    rows = windows(np.arange(16, dtype=np.int32), 16, 16)
    path = "blocks/0/mlp/down/bias"

    def loss(params):
        total, count, _ = nn.row_losses(model, params, rows, "unembedding")
        return total.sum() / count.sum()

    slope = nn.get(jax.grad(loss)(params), path)[3]
    bias, step = np.asarray(nn.get(params, path)), np.zeros(24, np.float32)
    step[3] = 0.02
    change = loss(nn.replace(params, path, bias + step)) - loss(nn.replace(params, path, bias - step))
    assert float(slope) == pytest.approx(float(change) / 0.04, rel=0.02)


def test_logits_of_some_tokens_at_a_time_give_the_same(gpt2, monkeypatch):
    """Rows of a length of their own, so that no program compiled elsewhere serves."""
    _, model, params = gpt2
    size, length = 5, 13
    rows = windows(np.random.default_rng(5).integers(0, 30, 4 * length - 3).astype(np.int32), length, length)
    logits = np.asarray(model.apply(params, rows.input_ids, rows.attention_mask).logits, np.float64)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    scored = rows.targets != IGNORE
    picked = np.take_along_axis(logp, np.where(scored, rows.targets, 0)[..., None], -1)[..., 0]
    monkeypatch.setattr(losses, "CHUNK_BYTES", 4 * len(rows.row) * 30 * size)
    scores = nn.score(model, params, rows, len(rows.row))
    np.testing.assert_allclose(scores.loss, -(picked * scored).sum(1) / scored.sum(1), rtol=2e-6)
    np.testing.assert_array_equal(scores.count, scored.sum(1))
    np.testing.assert_array_equal(scores.correct, (scored & (logits.argmax(-1) == rows.targets)).sum(1))
    program = str(jax.make_jaxpr(lambda params: nn.row_losses(model, params, rows, "unembedding"))(params))
    assert f"f32[{len(rows.row)},{size},30]" in program
    assert f"f32[{len(rows.row)},{length},30]" not in program  # the logits are never there as a whole


def test_losses_in_chunks_have_the_gradient_of_the_whole():
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal((2, 7, 4)), rng.standard_normal((4, 9))
    targets = np.where(rng.random((2, 7)) < 0.3, IGNORE, rng.integers(0, 9, (2, 7)))

    def whole(kernel):
        return losses.score_logits(x @ kernel, targets)[0].sum()

    def chunked(kernel):
        found = losses.in_chunks(
            lambda x, y: losses.token_losses(x @ kernel, y), 3, jnp.asarray(x), jnp.asarray(targets)
        )
        return losses.of_rows(found)[0].sum()

    for one, other in zip(*(jax.value_and_grad(f)(kernel) for f in (whole, chunked)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_model_without_the_head_and_rows_without_targets_are_refused(gpt2):
    _, model, params = gpt2
    ids = np.zeros((2, 8), np.int32)
    rows = Rows(ids, ids == 0, ids, np.full((2, 8), IGNORE, np.int32), np.arange(2, dtype=np.int32))
    with pytest.raises(ValueError, match="no row has a target"):
        nn.score(model, params, rows, 2)
    with pytest.raises(CheckpointError, match="no 'classifier' head, which this needs; heads it has: unembedding"):
        nn.score(model, params, rows, 2, head="classifier")


def exhausted_above(limit, calls):
    def run(size):
        calls.append(size)
        if size > limit:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
        return size

    return run


def test_out_of_memory_is_said_with_the_batch_size_that_fits():
    calls, probes = [], []
    assert nn.with_memory_advice(exhausted_above(8, calls), 8) == 8
    with pytest.raises(nn.DeviceMemoryError, match=r"a batch of 64 does not fit, a batch of 8 does: set .* to 8"):
        nn.with_memory_advice(exhausted_above(8, calls), 64, exhausted_above(8, probes))
    assert (calls, probes) == ([8, 64], [32, 16, 8])
    with pytest.raises(nn.DeviceMemoryError, match="set batch_size to 6"):
        nn.with_memory_advice(exhausted_above(8, calls), 28, multiple=6)
    with pytest.raises(nn.DeviceMemoryError, match="nor does the smallest"):
        nn.with_memory_advice(exhausted_above(0, calls), 4)

    def fails(size):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        nn.with_memory_advice(fails, 4)
