"""Rows, batches, windows and masks: nothing lost, nothing scored twice, the same from the same seed."""

import numpy as np
import pytest

from eigensweep.models import data
from eigensweep.models.data import IGNORE, DataError, Example, Rows


def numbered(num, length=4):
    ids = np.arange(num * length, dtype=np.int32).reshape(num, length)
    return Rows(ids, ids >= 0, np.zeros_like(ids), ids + 1, np.arange(num, dtype=np.int32))


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("size", [1, 3, 7, 10])
def test_batches_hold_every_row_once_in_one_shape(size, seed):
    rows = numbered(7)
    found = list(data.batches(rows, size, seed))
    assert {batch.input_ids.shape for batch in found} == {(size, 4)}
    row = np.concatenate([batch.row for batch in found])
    real = row >= 0
    assert sorted(row[real]) == list(range(7))
    ids = np.concatenate([batch.input_ids for batch in found])
    np.testing.assert_array_equal(ids[real], rows.input_ids[row[real]])
    filler = np.concatenate([batch.targets for batch in found])[~real]
    assert (filler == IGNORE).all()
    assert not np.concatenate([batch.attention_mask for batch in found])[~real].any()


def test_shuffling_follows_the_seed():
    def order(seed):
        return np.concatenate([batch.row for batch in data.batches(numbered(20), 5, seed)]).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(None) == list(range(20))
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        list(data.batches(numbered(2), 0))


@pytest.mark.parametrize(("num", "length", "stride"), [(20, 8, 3), (20, 8, 8), (21, 8, 4), (8, 8, 2), (9, 8, 1)])
def test_windows_score_every_predictable_token_once(num, length, stride):
    tokens = np.arange(100, 100 + num, dtype=np.int32)
    rows = data.windows(tokens, length, stride)
    scored = []
    for ids, mask, targets in zip(rows.input_ids, rows.attention_mask, rows.targets, strict=True):
        at = np.flatnonzero(targets != IGNORE)
        np.testing.assert_array_equal(targets[at], ids[at] + 1)  # the next token of this text
        assert mask[at].all()
        scored += targets[at].tolist()
    firsts = set(range(100, 100 + num, length)) if stride == length else {100}
    assert sorted(scored) == sorted(set(tokens.tolist()) - firsts)
    assert rows.attention_mask[:, 0].all()


def test_a_stride_beyond_the_length_leaves_text_out():
    rows = data.windows(np.arange(100, 130), 8, 10)
    np.testing.assert_array_equal(rows.input_ids, np.add.outer([100, 110, 120], np.arange(8)))
    np.testing.assert_array_equal(rows.targets[:, :-1], rows.input_ids[:, 1:])
    assert (rows.targets[:, -1] == IGNORE).all()


@pytest.mark.parametrize(("num", "stride"), [(21, 8), (23, 8), (21, 3), (22, 1), (40, 20)])
def test_every_window_begins_with_the_start_token(num, stride):
    tokens = np.arange(100, 100 + num, dtype=np.int32)
    rows = data.windows(tokens, 8, stride, bos=1)
    assert (rows.input_ids[:, 0] == 1).all()
    assert rows.attention_mask[:, 0].all()
    scored = []
    for ids, targets in zip(rows.input_ids, rows.targets, strict=True):
        at = np.flatnonzero(targets != IGNORE)
        np.testing.assert_array_equal(targets[at], ids[at + 1])
        scored += targets[at].tolist()
    begins = rows.input_ids[1:, 1]
    abut = {8: 7, 20: 20}.get(stride, 0)  # 8 tokens hold 7 of the text
    assert scored[0] == 100  # a text's first token is predicted from its start, later windows' are not
    assert sorted(scored) == sorted(
        set(rows.input_ids[rows.attention_mask].tolist()) - {1} - set(begins.tolist() if abut else ())
    )
    if abut:
        np.testing.assert_array_equal(np.diff(rows.input_ids[:, 1]), abut)


def test_windows_refuse_what_they_cannot_do():
    with pytest.raises(DataError, match=r"the text has 5 tokens, fewer than one window of 8: .* at most 5"):
        data.windows(np.arange(5), 8, 4)
    with pytest.raises(ValueError, match="stride: expected at least 1, got 0"):
        data.windows(np.arange(50), 8, 0)
    with pytest.raises(DataError, match=r"has 5 tokens, .* a window of at most 6"):
        data.windows(np.arange(5), 8, 4, bos=99)
    with pytest.raises(ValueError, match="length: expected at least 2"):
        data.windows(np.arange(50), 1, 1)


def test_pairs_are_joined_cut_and_padded_as_the_tokenizer_does(minilm):
    tokenizer = data.load_tokenizer(minilm)
    examples = [Example("is it so", "a long passage about many things indeed", 1), Example("who", "me", 0)]
    rows = data.classification_rows(tokenizer, examples, 10)
    expected = tokenizer(
        [example.text for example in examples],
        [example.pair for example in examples],
        truncation=True,
        max_length=10,
        padding="max_length",
    )
    np.testing.assert_array_equal(rows.input_ids, expected["input_ids"])
    np.testing.assert_array_equal(rows.attention_mask, expected["attention_mask"])
    np.testing.assert_array_equal(rows.type_ids, expected["token_type_ids"])
    np.testing.assert_array_equal(rows.targets, [1, 0])
    with pytest.raises(DataError, match="all texts or all pairs"):
        data.classification_rows(tokenizer, [*examples, Example("alone", None, 0)], 10)


def test_long_texts_become_rows_with_special_tokens_and_no_token_is_lost(minilm, shared):
    tokenizer = data.load_tokenizer(minilm)
    text = data.read_wikitext(shared / "text" / "wikitext2_test_tokens.txt")[:5000]
    rows = data.text_rows(tokenizer, text, 64)
    plain = data.encode_text(tokenizer, text, special_tokens=False)
    assert (rows.input_ids[:, 0] == tokenizer.cls_token_id).all()
    kept = rows.attention_mask & ~np.isin(rows.input_ids, (tokenizer.cls_token_id, tokenizer.sep_token_id))
    np.testing.assert_array_equal(rows.input_ids[kept], plain)
    with pytest.raises(DataError, match="leave no room beside 2 special tokens"):
        data.text_rows(tokenizer, text, 2)
    with pytest.raises(DataError, match="gives no token"):
        data.text_rows(tokenizer, " ", 8)


def test_masks_are_berts_and_depend_on_seed_and_row_alone(minilm, shared):
    tokenizer = data.load_tokenizer(minilm)
    text = data.read_wikitext(shared / "text" / "wikitext2_test_tokens.txt")[:60_000]
    rows = data.text_rows(tokenizer, text, 64)
    masked = data.mask_tokens(rows, tokenizer, seed=5)
    chosen = masked.targets != IGNORE
    special = np.isin(rows.input_ids, tokenizer.all_special_ids)
    np.testing.assert_array_equal(masked.targets[chosen], rows.input_ids[chosen])
    np.testing.assert_array_equal(masked.input_ids[~chosen], rows.input_ids[~chosen])
    assert not (chosen & (special | ~rows.attention_mask)).any()
    num = chosen.sum()
    assert chosen.any(1).all()
    assert num / (rows.attention_mask & ~special).sum() == pytest.approx(0.15, abs=0.01)
    hidden = masked.input_ids[chosen] == tokenizer.mask_token_id
    same = masked.input_ids[chosen] == rows.input_ids[chosen]
    assert hidden.mean() == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / num))
    assert same.mean() == pytest.approx(0.1, abs=4 * np.sqrt(0.09 / num))
    part = data.mask_tokens(rows.take(np.array([7, 2])), tokenizer, seed=5)
    np.testing.assert_array_equal(part.input_ids, masked.input_ids[[7, 2]])
    assert (data.mask_tokens(rows, tokenizer, seed=6).targets != masked.targets).any()


def test_masks_need_a_mask_token_and_a_probability(shared, minilm):
    tokenizer = data.load_tokenizer(shared / "checkpoints" / "gpt2-char-shakespeare")
    with pytest.raises(DataError, match="no mask token"):
        data.mask_tokens(numbered(2), tokenizer, seed=0)
    with pytest.raises(ValueError, match="probability"):
        data.mask_tokens(numbered(2), data.load_tokenizer(minilm), seed=0, probability=0.0)
