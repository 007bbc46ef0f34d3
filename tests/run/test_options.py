"""What the entry points read from a config: words, numbers, the checkpoint."""

import pytest
from ml_collections import ConfigDict

from eigensweep.bin.cli import UserError
from eigensweep.bin.config_flag import checkpoint_of, parse_numbers, parse_words


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", ()),
        (" , ", ()),
        ("7", (7,)),
        ("0-3,7", (0, 1, 2, 3, 7)),
        (" 2 , 4-4,", (2, 4)),
        ("10,0-2,1", (10, 0, 1, 2)),
    ],
)
def test_numbers_and_ranges(text, numbers):
    assert parse_numbers("blocks", text) == numbers


@pytest.mark.parametrize("text", ["a", "-1", "1-", "0-3-5", "3-1", "1.5", "²", "0 3"])
def test_other_numbers_are_refused(text):
    with pytest.raises(UserError) as caught:
        parse_numbers("blocks", text)
    assert str(caught.value) == f"config: blocks is {text!r}; expected numbers and ranges such as 0-3,7"


def test_words():
    assert parse_words(" query, key,,") == ("query", "key")
    assert parse_words("") == ()


def test_the_flag_comes_before_the_config():
    named, unnamed = ConfigDict({"checkpoint": "here"}), ConfigDict({"checkpoint": ""})
    assert checkpoint_of("there", named) == "there"
    assert checkpoint_of(None, named) == "here"
    with pytest.raises(UserError, match="no checkpoint: give --checkpoint"):
        checkpoint_of(None, unnamed)
