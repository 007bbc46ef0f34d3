"""The real checkpoints: losses that are on record, and hidden states against transformers."""

import jax
import numpy as np
import pytest

from eigensweep.models import open_checkpoint
from eigensweep.models.data import IGNORE, Rows, encode_text, load_tokenizer, read_text, windows
from eigensweep.models.nn import load, perplexity, reader, stream_score

jax.config.update("jax_enable_x64", True)

STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball."
)


def next_token_rows(ids):
    """Rows that score every token but the first."""
    targets = np.concatenate((ids[:, 1:], np.full((len(ids), 1), IGNORE, np.int32)), axis=1)
    return Rows(ids, np.ones(ids.shape, bool), np.zeros_like(ids), targets, np.arange(len(ids), dtype=np.int32))


def test_gpt2_char_shakespeare_has_its_recorded_loss(shared):
    folder = shared / "checkpoints" / "gpt2-char-shakespeare"
    model, params = load(open_checkpoint(folder))
    tokenizer = load_tokenizer(folder)
    text = read_text(shared / "text" / "tinyshakespeare.txt")
    held_out = text[int(0.9 * len(text)) :]
    ids = np.stack([encode_text(tokenizer, held_out[i : i + 128]) for i in range(0, 100_000, 1000)])
    scores = perplexity(model, params, next_token_rows(ids), batch_size=50)
    assert (scores.count == 127).all()
    assert np.average(scores.loss, weights=scores.count) == pytest.approx(1.5887, abs=5e-5)


def test_llama_stories_has_its_recorded_loss_also_block_by_block(shared):
    folder = shared / "checkpoints" / "llama-stories260k"
    checkpoint = open_checkpoint(folder)
    model, params = load(checkpoint)
    ids = encode_text(load_tokenizer(folder), STORY)
    rows = windows(ids, length=45, stride=45)
    assert perplexity(model, params, rows, batch_size=1).mean == pytest.approx(0.3241, abs=5e-5)
    streamed = stream_score(model, reader(checkpoint, model), [rows])
    assert streamed.mean == pytest.approx(0.3241, abs=5e-5)


def test_minilm_has_transformers_hidden_states_under_padding(minilm):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    model, params = load(open_checkpoint(minilm))
    texts = ["does ethanol take more energy", "a much longer passage about biomass, fermentation and distilling", "x"]
    batch = load_tokenizer(minilm)(texts, padding=True, return_tensors="np")
    reference = transformers.AutoModel.from_pretrained(minilm, attn_implementation="eager").eval()
    with torch.no_grad():
        expected = reference(**{key: torch.tensor(value) for key, value in batch.items()}, output_hidden_states=True)
    mask = batch["attention_mask"].astype(bool)
    output = model.apply(params, batch["input_ids"], mask, type_ids=batch["token_type_ids"], hidden_states=True)
    for ours, theirs in zip(output.hidden_states, expected.hidden_states, strict=True):
        assert np.abs(np.asarray(ours) - theirs.numpy())[mask].max() < 2e-5
    np.testing.assert_allclose(output.pooled, expected.pooler_output.numpy(), atol=2e-5)
