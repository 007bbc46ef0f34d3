"""One block at a time: the same numbers, one part of the parameters on the device, every part read once."""

import jax
import numpy as np
import pytest

from eigensweep.models import nn
from eigensweep.models.data import Rows, batches

jax.config.update("jax_enable_x64", True)

GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "vocab_size": 40,
    "n_embd": 24,
    "n_layer": 3,
    "n_head": 3,
    "n_positions": 16,
}


@pytest.fixture(scope="module")
def gpt2():
    model = nn.build(GPT2)
    params = jax.tree.map(np.asarray, model.init(2))
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 40, (5, 16)).astype(np.int32)
    mask = np.arange(16) < rng.integers(4, 17, 5)[:, None]
    targets = np.where(mask, np.roll(ids, -1, 1), -100).astype(np.int32)
    return model, params, Rows(ids, mask, np.zeros_like(ids), targets, np.arange(5, dtype=np.int32))


def test_streaming_scores_and_taps_are_those_of_the_whole_model(gpt2):
    model, params, rows = gpt2
    parts, taps = [], {}
    inner = nn.reader_of(params, model)

    def read(part):
        parts.append(part)
        return inner(part)

    def visit(number, found):
        taps.update({(number, path): np.asarray(value) for path, value in found.items()})

    data = list(batches(rows, 2))
    outputs = nn.stream(model, read, data, lambda batch, output: np.asarray(output.logits), visit=visit)
    assert parts == ["embed", "blocks/0", "blocks/1", "blocks/2", "head"]
    for number, batch in enumerate(data):
        whole = model.apply(params, batch.input_ids, batch.attention_mask, taps=True)
        np.testing.assert_allclose(outputs[number], whole.logits, atol=1e-6)
        assert {path for at, path in taps if at == number} == set(whole.taps)
        for path, value in whole.taps.items():
            np.testing.assert_allclose(taps[number, path], value, atol=1e-6)
    streamed = nn.stream_score(model, inner, batches(rows, 2))
    whole = nn.score(model, params, rows, batch_size=3)
    np.testing.assert_allclose(streamed.loss, whole.loss, rtol=1e-6)
    np.testing.assert_array_equal(streamed.count, whole.count)


def test_only_one_part_of_the_parameters_is_on_the_device(gpt2):
    model, params, rows = gpt2
    kernel = params["blocks"]["0"]["mlp"]["up"]["kernel"].shape
    already, seen = {id(array) for array in jax.live_arrays()}, []

    def visit(number, found):
        seen.append(sum(array.shape == kernel for array in jax.live_arrays() if id(array) not in already))

    nn.stream(model, nn.reader_of(params, model), batches(rows, 2), lambda batch, output: None, visit=visit)
    assert seen == [1] * 9 + [0] * 3
