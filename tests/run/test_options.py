"""Options: what words and numbers mean, what is refused and how, what the results depend on."""

import numpy as np
import pytest

from eigensweep.engine import SweepOptions
from eigensweep.engine.run.options import MOST_NUMBERS, Options, numbers, words
from eigensweep.engine.studies.ablation.study import AblationOptions
from eigensweep.engine.studies.finetune.options import FinetuneOptions
from eigensweep.engine.studies.overlap.study import OverlapOptions

ALL = (SweepOptions, OverlapOptions, AblationOptions, FinetuneOptions)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        (" , ", ()),
        ("7", (7,)),
        ("0-3,7", (0, 1, 2, 3, 7)),
        (" 2 , 4-4,", (2, 4)),
        ("10,0-2,1", (10, 0, 1, 2)),
    ],
)
def test_numbers_and_ranges(text, expected):
    assert numbers("blocks", text) == expected


@pytest.mark.parametrize("text", ["a", "-1", "1-", "0-3-5", "3-1", "1.5", "²", "0 3", f"0-{MOST_NUMBERS}"])
def test_other_numbers_are_refused(text):
    with pytest.raises(ValueError, match="blocks") as caught:
        numbers("blocks", text)
    assert str(caught.value) == f"blocks is {text!r}; expected numbers and ranges such as 0-3,7"


def test_words():
    assert words(" query, key,,") == ("query", "key")
    assert words("") == ()


def test_tuples_come_from_text_lists_and_single_numbers():
    for blocks in ("0-1", [0, 1], (0, 1), np.arange(2)):
        assert SweepOptions(blocks=blocks).blocks == (0, 1)
    assert SweepOptions(blocks=3).blocks == (3,)
    assert SweepOptions(roles="query,key") == SweepOptions(roles=["query", "key"])


def test_numbers_of_numpy_and_whole_numbers_for_floats_do():
    assert SweepOptions(seed=np.int64(3)).seed == 3
    assert isinstance(AblationOptions(data_to=1).data_to, float)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sigma": "median"}, "sigma is 'median'; expected one of bulk, entries, init"),
        ({"init": "fan"}, "init is 'fan'; expected fan_out, fan_in or a positive number such as 0.02"),
        ({"init": "-1"}, "init is '-1'; expected"),
        ({"init": "inf"}, "init is 'inf'; expected"),
        ({"init": 0.02}, "init is 0.02; expected str"),
        ({"level": 1.0}, "level is 1.0; expected a number between 0 and 0.5"),
        ({"level": 0.0}, "level is 0.0"),
        ({"level": float("nan")}, "level is nan; expected a finite number"),
        ({"level": "0.01"}, "level is '0.01'; expected float"),
        ({"num_draws": 0}, "num_draws is 0; expected at least 1"),
        ({"num_draws": 10.5}, "num_draws is 10.5; expected int"),
        ({"num_draws": True}, "num_draws is True; expected int"),
        ({"seed": -1}, "seed is -1; expected at least 0"),
        ({"seed": 2**63}, f"seed is {2**63}; expected at most {2**63 - 1}"),
        ({"blocks": "a"}, "blocks is 'a'; expected numbers and ranges"),
        (
            {"control": ""},
            "control is ''; expected signs, gaussian, permutation, grid, several of them joined by commas",
        ),
    ],
)
def test_wrong_options_are_refused(wrong, said):
    with pytest.raises(ValueError, match="is") as caught:
        SweepOptions(**wrong)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("options", "key", "said"),
    [
        (SweepOptions, "levl", "there is no option 'levl'; did you mean level?"),
        (AblationOptions, "removal", "there is no option 'removal'; did you mean removals?"),
        (OverlapOptions, "centered", "there is no option 'centered'; did you mean centred?"),
        (FinetuneOptions, "learning_rte", "there is no option 'learning_rte'; did you mean learning_rate?"),
        (SweepOptions, "xyz", "there is no option 'xyz'; there are seed, level, sigma, init, strategy, control"),
        (SweepOptions, "epochs", "there is no option 'epochs'"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known_one(options, key, said):
    with pytest.raises(ValueError, match="there is no option") as caught:
        options.of({key: "1"})
    assert said in str(caught.value)


@pytest.mark.parametrize("options", ALL)
def test_every_option_has_one_line_of_help_and_the_defaults_are_allowed(options):
    assert options() == options.of({})
    for name, field in options.by_name().items():
        assert field.metadata["help"].strip(), name
        assert "\n" not in field.metadata["help"], name


@pytest.mark.parametrize("options", ALL)
def test_old_names_stand_for_options_that_there_are(options):
    assert set(options.ALIASES.values()) <= set(options.by_name())
    assert not (set(options.ALIASES) - {"text", "label"}) & set(options.by_name())


def test_what_sets_only_speed_is_not_part_of_what_the_numbers_depend_on():
    slow, fast = AblationOptions(batch_size=1, stream=True), AblationOptions(batch_size=64)
    assert slow.to_json() == fast.to_json()
    assert slow.to_json() != AblationOptions(level=0.02).to_json()
    assert SweepOptions(roles="query").to_json()["roles"] == ["query"]


def test_the_same_words_for_the_same_keys():
    """Keys that several commands share have one type, and the words of the architecture."""
    kinds = {}
    for options in ALL:
        assert issubclass(options, Options)
        for name, field in options.by_name().items():
            assert kinds.setdefault(name, field.type) == field.type, name
    assert {"data", "tokenizer", "length", "stride", "max_rows", "batch_size", "dtype", "seed", "level"} <= set(kinds)
