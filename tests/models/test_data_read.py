"""Rows from options: the same numbers as ever, start tokens, splits by passage, tokenizers of a revision."""

import hashlib
import itertools
from functools import partial

import jax
import numpy as np
import pytest

from eigensweep.models import data, nn, open_checkpoint
from eigensweep.models.data import IGNORE, DataError, DataOptions, Example, read_rows

jax.config.update("jax_enable_x64", True)

GPT2 = {"vocab_size": 65, "max_positions": 128, "causal": True}
MINILM = {"vocab_size": 30522, "max_positions": 512, "causal": False}
STORIES = {"vocab_size": 512, "max_positions": 512, "causal": True}


def digest(rows):
    """Of everything but the rows' numbers, then shape and number of targets."""
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in rows[:4])
    return hashlib.sha256(content).hexdigest()[:12], rows.input_ids.shape, int((rows.targets != IGNORE).sum())


@pytest.fixture(scope="module")
def char(shared):
    return data.load_tokenizer(shared / "checkpoints" / "gpt2-char-shakespeare")


@pytest.fixture(scope="module")
def stories(shared):
    return data.load_tokenizer(shared / "checkpoints" / "llama-stories260k")


@pytest.fixture(scope="module")
def bert(minilm):
    return data.load_tokenizer(minilm)


# what the two readers that this one replaces gave for the same settings
CAUSAL = {
    "one window in 500 characters": (
        {"data_from": 0.9, "length": 128, "stride": 500},
        ("443218138758", (223, 128), 28321),
    ),
    "windows that abut": ({"data_from": 0.9, "length": 128}, ("a7f58148af6a", (872, 128), 110668)),
    "the longest": ({"data_from": 0.9}, ("a7f58148af6a", (872, 128), 110668)),
    "windows that overlap": ({"data_from": 0.95, "length": 128, "stride": 64}, ("6a6c528be725", (871, 128), 55769)),
    "evenly chosen": ({"data_from": 0.5, "length": 128, "max_rows": 37}, ("c54055dead17", (37, 128), 4699)),
    "chosen at random": ({"length": 128, "max_rows": 1024, "choose": "random"}, ("c88f253bfdae", (1024, 128), 130048)),
}


@pytest.mark.parametrize("name", CAUSAL)
def test_windows_of_a_text_are_the_recorded_ones(shared, char, name):
    options, expected = CAUSAL[name]
    path = str(shared / "text" / "tinyshakespeare.txt")
    rows = read_rows(DataOptions(data=path, **options), char, **GPT2, head="unembedding")
    assert digest(rows) == expected
    np.testing.assert_array_equal(rows.row, np.arange(len(rows.row)))


BOOLQ, WIKI = "superglue_BoolQ_val.jsonl", "wikitext2_test_tokens.txt"
ENCODED = {
    "passages": (
        BOOLQ,
        {"format": "passages", "field": "passage", "length": 128, "max_rows": 384, "choose": "random"},
        None,
        ("05973874a2b9", (384, 128), 0),
    ),
    "json lines joined": (
        BOOLQ,
        {"format": "jsonl", "field": "passage", "length": 64, "max_rows": 50, "seed": 3, "choose": "random"},
        None,
        ("31a6922890b1", (50, 64), 0),
    ),
    "masked": (
        WIKI,
        {"format": "wikitext", "length": 128, "max_rows": 40, "data_to": 0.1},
        "mlm",
        ("d7220fc46c84", (40, 128), 751),
    ),
    "boolq": (
        BOOLQ,
        {"format": "boolq", "length": 128, "max_rows": 100},
        "classifier",
        ("aa8586d6f4b8", (100, 128), 100),
    ),
    "wic": (
        "superglue_WiC_val.jsonl",
        {"format": "wic", "length": 128},
        "classifier",
        ("967cae756a2d", (500, 128), 500),
    ),
}


@pytest.mark.parametrize("name", ENCODED)
def test_rows_of_an_encoder_are_the_recorded_ones(shared, bert, name):
    file, options, head, expected = ENCODED[name]
    options = DataOptions(data=str(shared / "text" / file), **options)
    assert digest(read_rows(options, bert, **MINILM, head=head)) == expected


def test_sampled_rows_come_from_the_model(shared, stories):
    model, params = nn.load(open_checkpoint(shared / "checkpoints" / "llama-stories260k"))
    options = DataOptions(format="sampled", max_rows=5, length=20, seed=4)
    sample = partial(nn.sample_rows, model, params)
    rows = read_rows(options, stories, **STORIES, head="unembedding", sample=sample)
    np.testing.assert_array_equal(rows.input_ids, sample(1, 5, 20, 4).input_ids)
    with pytest.raises(DataError, match="'sampled', which needs a causal model"):
        read_rows(options, stories, **STORIES)
    with pytest.raises(ValueError, match="needs max_rows"):
        DataOptions(format="sampled")


def test_start_tokens_are_on_where_the_tokenizer_adds_one(shared, stories, char):
    path = str(shared / "text" / "tinyshakespeare.txt")
    options = DataOptions(data=path, data_to=0.02, length=64)
    on, off = (
        read_rows(o, stories, **STORIES) for o in (options, DataOptions(data=path, data_to=0.02, length=64, bos=False))
    )
    assert (on.input_ids[:, 0] == 1).all()
    assert (off.input_ids[:, 0] == 1).sum() == 1
    np.testing.assert_array_equal(on.input_ids[0], off.input_ids[0])
    np.testing.assert_array_equal(on.targets[0], off.targets[0])
    assert on.input_ids[1, 1] == off.input_ids[1, 0]
    assert data.added_bos(stories) == 1
    assert data.added_bos(char) is None
    with pytest.raises(DataError, match="no start token"):
        read_rows(DataOptions(data=path, bos=True), char, **GPT2)


def test_passages_of_a_causal_model_are_scored_where_a_head_is(stories, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "Once upon a time"}\n{"text": "One"}\n')
    options = DataOptions(data=str(path), format="passages", length=12)
    rows = read_rows(options, stories, **STORIES, head="unembedding")
    at = rows.targets != IGNORE
    np.testing.assert_array_equal(at.sum(1), rows.attention_mask.sum(1) - 1)
    np.testing.assert_array_equal(rows.targets[at], rows.input_ids[:, 1:][at[:, :-1]])
    assert (read_rows(options, stories, **STORIES).targets == IGNORE).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "csv"}, "format is 'csv'; expected one of text, wikitext"),
        ({"choose": "first"}, "choose is 'first'"),
        ({"stride": -1}, "stride is -1; expected at least 0"),
        ({"length": 1}, "length is 1"),
        ({"mask_probability": 1.0}, "mask_probability is 1.0"),
        ({"data_from": 0.5, "data_to": 0.5}, "0 <= from < to <= 1, not 0.5 and 0.5"),
        ({"format": "labelled", "labels": ("yes",)}, "labels is 'yes'; expected at least two"),
    ],
)
def test_options_are_checked(options, says):
    with pytest.raises(ValueError, match=says):
        DataOptions(**options)


def test_what_does_not_serve_the_model_is_said(char, bert, shared):
    boolq = DataOptions(data=str(shared / "text" / BOOLQ), format="boolq")
    with pytest.raises(DataError, match=r"2 labels .false, true., but the classifier has 3 outputs"):
        read_rows(boolq, bert, **MINILM, head="classifier", num_labels=3)
    with pytest.raises(DataError, match="format is 'boolq'; a classifier is measured on"):
        read_rows(boolq, bert, **MINILM, head="mlm")
    with pytest.raises(DataError, match="format is 'text'; a classifier is measured on boolq"):
        read_rows(DataOptions(data="x"), bert, **MINILM, head="classifier")
    with pytest.raises(DataError, match="length is 129 tokens; the model has positions for 128"):
        read_rows(DataOptions(data="x", length=129), char, **GPT2)
    with pytest.raises(DataError, match="data is empty"):
        read_rows(DataOptions(), char, **GPT2)
    with pytest.raises(DataError, match="do not belong together"):
        read_rows(DataOptions(data="x"), char, **GPT2 | {"vocab_size": 600})


def numbered(num):
    ids = np.arange(num, dtype=np.int32)[:, None]
    return data.Rows(ids, ids >= 0, 0 * ids, ids[:, 0], np.arange(num, dtype=np.int32))


def test_rows_with_passages_of_their_own_are_split_by_the_plain_permutation():
    parts = data.split(numbered(50), np.arange(50), 20, 0.25, 12, 3)
    order = np.random.default_rng(3).permutation(50)
    for part, expected in zip(parts, (order[5:20], order[:5], order[20:32]), strict=True):
        np.testing.assert_array_equal(part.input_ids[:, 0], expected)
        np.testing.assert_array_equal(part.row, np.arange(len(expected)))
    assert len(data.split(numbered(50), np.arange(50), 20, 0.25, 0, 3)[2].row) == 30


@pytest.mark.parametrize("seed", range(5))
def test_no_passage_is_in_two_parts(seed):
    groups = np.random.default_rng(seed).integers(0, 60, 200)
    parts = data.split(numbered(200), groups, 90, 0.2, 80, seed)
    found = [part.input_ids[:, 0] for part in parts]
    assert len(set(np.concatenate(found).tolist())) == sum(map(len, found))
    held = [set(groups[part].tolist()) for part in found]
    assert all(not one & other for one, other in itertools.combinations(held, 2))
    for part, size in zip(found, (72, 18, 80), strict=True):
        assert abs(len(part) - size) < np.bincount(groups).max()
    for part in held:  # whole groups
        rows = np.isin(groups, list(part)).sum()
        assert rows in map(len, found)
    again = data.split(numbered(200), groups, 90, 0.2, 80, seed)
    np.testing.assert_array_equal(again[0].input_ids, parts[0].input_ids)


def test_a_part_without_rows_is_refused():
    for num_train, validation in ((50, 0.2), (10, 0.01), (1, 0.9)):
        with pytest.raises(ValueError, match="50 rows in 50 groups cannot be split"):
            data.split(numbered(50), np.arange(50), num_train, validation, 0, 0)
    with pytest.raises(ValueError, match="50 rows in 1 groups cannot be split"):
        data.split(numbered(50), np.zeros(50, int), 20, 0.5, 0, 0)
    with pytest.raises(ValueError, match="a number for each of 50 rows"):
        data.split(numbered(50), np.zeros(49, int), 20, 0.5, 0, 0)


def test_repeated_passages_are_counted(shared):
    examples = [Example("q", "p", 0), Example("r", "p", 1), Example("q", "o", 0), Example("p", None, 0)]
    np.testing.assert_array_equal(data.groups_of(examples), [0, 0, 1, 0])
    assert data.duplicates(examples) == 3
    assert data.duplicates(data.read_boolq(shared / "text" / BOOLQ)) == 576


def test_every_other_pair_is_shifted():
    examples = [Example(str(i), str(i), 0) for i in range(4)]
    assert [(e.text, e.pair, e.label) for e in data.matched(examples)] == [
        ("0", "3", 0), ("1", "1", 1), ("2", "1", 0), ("3", "3", 1)
    ]  # fmt: skip


def test_a_tokenizers_revision_is_split_from_its_name(monkeypatch, tmp_path, shared):
    import transformers

    asked = []
    load = transformers.AutoTokenizer.from_pretrained

    def from_pretrained(name, revision, trust_remote_code):
        asked.append((name, revision, trust_remote_code))
        return load(shared / "checkpoints" / "gpt2-char-shakespeare")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_pretrained)
    folder = tmp_path / "a@b"
    folder.mkdir()
    for source in ("owner/name@abc", "owner/name", folder):
        data.load_tokenizer(source)
    assert asked == [("owner/name", "abc", False), ("owner/name", "main", False), (str(folder), "main", False)]
