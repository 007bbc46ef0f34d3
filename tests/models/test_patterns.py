"""Keys of rank_pattern, against the regular expression that PEFT writes around them, and against hostile ones."""

import random
import re
import time

import pytest

from eigensweep.models import CheckpointError
from eigensweep.models.patterns import Patterns

NAMES = (
    "model.layers.0.self_attn.q_proj",
    "model.layers.10.self_attn.q_proj",
    "model.layers.1.mlp.experts.31.down_proj",
    "encoder.layer.1.attention.self.query",
    "layers.0.q",
    "q_proj",
    "",
)
KEYS = (
    "q_proj",
    "layers.0.self_attn.q_proj",
    "^q_proj",
    "^model.layers.0.self_attn.q_proj",
    "proj",
    "self_attn.q",
    r"layers\.0\..*",
    r"layers\.\d+\.self_attn\.(q|k|v)_proj",
    r".*\.(?:q_proj|down_proj)$",
    r"^model\.layers\.[0-3]\..*",
    r"(layers|layer)\.1\.[^.]+\.(self|experts)\.\w+(\.\w+)?",
    r"a|q_proj|^layers.*",
    r"layers\.\d{1}\.q",
    r"layers\.\d{2,}\.self_attn\.q_proj",
    r"(l.*?){1,2}q_proj",
    r"(x?)*q",
    r"()|[]x]+|[^\d.]\Z",
    r"\Aq_proj",
    r"\.q_proj",
    "",
)


def peft(key, name):
    return bool(re.match(rf"(.*\.)?({key})$", name))


@pytest.mark.parametrize("key", KEYS)
def test_a_key_fits_where_pefts_expression_does(key):
    for name in NAMES:
        assert (Patterns([key], "x").first(name) == key) == peft(key, name), name


def test_the_first_key_that_fits_counts():
    keys = [r"layers\.0\..*", "q_proj", r".*_proj", "self_attn.q_proj"]
    for order in (keys, keys[::-1], [*keys[1:], keys[0]]):
        for name in NAMES:
            expected = next((key for key in order if peft(key, name)), None)
            assert Patterns(order, "x").first(name) == expected


def test_random_expressions():
    """Small expressions over two letters and a dot, which backtracking still manages."""
    draw = random.Random(0)

    def expression(depth):
        kind = draw.randrange(6 if depth else 2)
        if kind < 2:
            return draw.choice(["a", "b", r"\.", ".", "[ab]", "[^a]", r"\w"])
        if kind == 2:
            return f"({expression(depth - 1)}|{expression(depth - 1)})"
        if kind == 3:
            return f"({expression(depth - 1)}){draw.choice(['*', '+', '?', '{2}', '{1,3}', '*?'])}"
        return expression(depth - 1) + expression(depth - 1)

    seen = set()
    for _ in range(400):
        key = f"{draw.choice(['', '^'])}({expression(4)}){draw.choice(['', '$'])}"
        name = "".join(draw.choice("ab.") for _ in range(draw.randrange(8)))
        seen.add(peft(key, name))
        assert (Patterns([key], "x").first(name) == key) == peft(key, name), (key, name)
    assert seen == {True, False}


@pytest.mark.parametrize("key", [r"(.*)*x", r"((a*)*)*b", r"(a|a)*b", r"(a|aa)+$b", r"(.*){40}x", "(a?){500}b"])
def test_what_makes_backtracking_run_for_ever_takes_no_time(key):
    start = time.monotonic()
    assert Patterns([key], "x").first("model." + "a" * 200) is None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("(", r"'\(' is no regular expression"),
        (")", "unbalanced"),
        ("*a", "nothing to repeat"),
        ("[z-a]", "is no regular expression"),
        ("[a", "is no regular expression"),
        ("a{3,1}", "from more to less"),
        ("a{99999999999}", "no small count"),
        ("((a{100}){100}){100}", "repeats too much"),
        ("(){9999}", "repeats too much"),
        ("(" * 500 + "a" + ")" * 500, "nests more than"),
        (r"(?!vision).*q_proj", "is not supported"),
        (r"(a)\1", r"the escape \\1"),
        (r"a++", "a count of a count"),
        ("a" * 3000 + "*", "longer than"),
    ],
)
def test_what_is_refused(key, message):
    with pytest.raises(CheckpointError, match=message) as error:
        Patterns([key], "adapter_config.json: rank_pattern")
    assert str(error.value).startswith("adapter_config.json: rank_pattern: ")
    assert "\n" not in str(error.value)


def test_the_work_of_a_whole_adapter_is_bounded(monkeypatch):
    monkeypatch.setattr("eigensweep.models.patterns._MOST_STEPS", 300_000)
    patterns = Patterns([f"(a?){{200}}{i}+x" for i in range(10)], "adapter_config.json: rank_pattern")
    start = time.monotonic()
    names = ["a" * 1500] * 1000
    with pytest.raises(CheckpointError, match="takes too long"):
        list(map(patterns.first, names))
    assert time.monotonic() - start < 10
    with pytest.raises(CheckpointError, match="takes too long"):
        Patterns([f"(a?){{200}}{i}+x" for i in range(10**4)], "x")
    with pytest.raises(CheckpointError, match="more than 2000 characters"):
        patterns.first("a" * 3000)
