"""Prompts and answers: only the answer is a target, as torch's labels of -100 have it; what does not serve is named."""

import json

import jax
import numpy as np
import pytest

from eigensweep.models import data, nn, open_checkpoint
from eigensweep.models.data import IGNORE, DataError, DataOptions
from eigensweep.models.data.characters import write_character_tokenizer
from eigensweep.models.nn import training

jax.config.update("jax_enable_x64", True)

TEXT = "abcdefg. "


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """Every character is a token."""
    folder = tmp_path_factory.mktemp("characters")
    write_character_tokenizer(TEXT, folder)
    return data.load_tokenizer(folder)


@pytest.fixture
def write(tmp_path):
    """Rows as a file of JSON lines."""

    def make(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows))
        return path

    return make


def read(path, tokenizer, length=8, causal=True, **more):
    options = DataOptions(data=str(path), format="prompts", length=length, **more)
    sizes = {"vocab_size": len(tokenizer), "max_positions": 16, "causal": causal}
    return data.read_rows(options, tokenizer, head="unembedding", **sizes)


def test_only_the_answers_tokens_are_targets(tokenizer, write):
    path = write({"prompt": "abc", "answer": ".d"}, {"prompt": "g", "answer": "fedcba. "})
    rows = read(path, tokenizer)
    ids = {c: int(tokenizer(c)["input_ids"][0]) for c in TEXT}
    assert [ids[c] for c in "abc."] == rows.input_ids[0][rows.attention_mask[0]].tolist()
    assert rows.targets[0].tolist() == [IGNORE, IGNORE, ids["."], ids["d"], *[IGNORE] * 4]
    assert [ids[c] for c in "gfedcba."] == rows.input_ids[1].tolist()  # as long as a row has room for
    assert rows.targets[1].tolist() == [ids[c] for c in "fedcba. "]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "ab"}, r"rows.jsonl:2: no text in field 'answer'; the fields are prompt"),
        ({"prompt": "ab", "answer": 1}, r"rows.jsonl:2: no text in field 'answer'"),
        ({"prompt": "ab", "answer": ""}, r"rows.jsonl:2: the answer has no token"),
        ({"prompt": "", "answer": "a"}, r"rows.jsonl:2: the prompt has no token"),
        ({"prompt": "abcdefg.", "answer": "ab"}, r"rows.jsonl:2: prompt and answer are 8 \+ 2 tokens, .* room for 9"),
    ],
)
def test_rows_that_do_not_serve_are_named(tokenizer, write, row, says):
    with pytest.raises(DataError, match=says):
        read(write({"prompt": "a", "answer": "b"}, row), tokenizer)


def test_an_encoder_does_not_answer(tokenizer, write):
    with pytest.raises(DataError, match="only a causal language model answers"):
        read(write({"prompt": "a", "answer": "b"}), tokenizer, causal=False)


def test_a_fixed_answer_is_one_token(tokenizer, gpt2):
    assert data.answer_token(tokenizer, ".") == tokenizer(".")["input_ids"][0]
    with pytest.raises(DataError, match=r"the answer 'ab\.' is 3 tokens of .*\('a', 'b', '\.'\), and one is expected"):
        data.answer_token(tokenizer, "ab.")
    with pytest.raises(DataError, match=r"'purple' is unknown to"):
        data.answer_token(data.load_tokenizer(gpt2), "purple")


def test_windows_become_prompts_of_any_length_with_one_answer():
    rows = data.windows(np.arange(1, 2001, dtype=np.int32), 8, 8)
    found = data.answered(rows, 0, seed=3)
    lengths = found.attention_mask.sum(axis=1)
    for i, k in enumerate(lengths):
        np.testing.assert_array_equal(found.input_ids[i, :k], rows.input_ids[i, :k])
        np.testing.assert_array_equal(np.flatnonzero(found.targets[i] != IGNORE), [k - 1])
    assert (found.targets[found.targets != IGNORE] == 0).all()
    counts = np.bincount(lengths, minlength=9)[1:]
    assert (np.abs(counts - 250 / 8) < 4 * np.sqrt(250 / 8)).all()  # all lengths, equally often
    order = np.array([7, 3, 100])
    np.testing.assert_array_equal(data.answered(rows.take(order), 0, seed=3).targets, found.targets[order])
    assert not np.array_equal(data.answered(rows, 0, seed=4).targets, found.targets)


def test_the_loss_of_the_answers_is_torchs_with_labels_of_minus_100(gpt2, tokenizer, write):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    path = write(
        {"prompt": "abc", "answer": ".d"}, {"prompt": "g", "answer": "fedcba. "}, {"prompt": "ab ab", "answer": "."}
    )
    batch = next(data.batches(read(path, tokenizer, length=9), 4))  # the fourth row only fills it up
    model, params = nn.load(open_checkpoint(gpt2))
    gradient_of = jax.jit(lambda params: training._gradient(model, "unembedding", params, {}, batch, None))
    ours, gradient = gradient_of(params)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(gpt2).eval()
    ids = torch.full((3, 10), 0)
    labels = torch.full((3, 10), -100)
    for i, (prompt, answer) in enumerate((("abc", ".d"), ("g", "fedcba. "), ("ab ab", "."))):
        before, after = (tokenizer(text)["input_ids"] for text in (prompt, answer))
        num = len(before) + len(after)
        ids[i, :num] = torch.tensor(before + after)
        labels[i, len(before) : num] = torch.tensor(after)
    mask = torch.tensor([[1] * 5 + [0] * 5, [1] * 9 + [0], [1] * 6 + [0] * 4])
    loss = theirs(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    assert float(ours) == pytest.approx(loss.item(), rel=1e-5)
    kernel = theirs.transformer.h[1].mlp.c_proj.weight.grad.numpy()  # Conv1D: (in, out), as kernels are
    found = np.asarray(nn.get(gradient, "blocks/1/mlp/down/kernel"))
    np.testing.assert_allclose(found, kernel, atol=1e-3 * np.abs(kernel).max())
