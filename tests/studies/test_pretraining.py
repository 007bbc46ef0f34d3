"""A training from nothing refuses what does not serve before it writes anything."""

import json

import pytest

from eigensweep.engine.studies.pretraining import PretrainOptions, pretrain
from eigensweep.engine.tables.errors import RunError
from eigensweep.models.errors import InputError

BERT = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a rose is a rose is a rose. " * 300)
    return str(path)


def test_bad_input_is_refused_and_nothing_is_written(text, tmp_path):
    workdir = tmp_path / "run"
    for config, options, says in (
        ("", {}, "no data"),
        ("", {"data": text + "x"}, "text.txtx"),
        (str(tmp_path / "absent.json"), {"data": text}, "absent.json"),
        (BERT, {"data": text}, "bert is no causal model"),
        ("", {"data": text, "length": 4000}, "4000 tokens"),
    ):
        with pytest.raises((RunError, InputError), match=says):
            pretrain(config, PretrainOptions(**options), workdir)
    short = tmp_path / "short.txt"
    short.write_text("too short")
    with pytest.raises(InputError, match="fewer than one window"):
        pretrain("", PretrainOptions(data=str(short)), workdir)
    assert not workdir.exists()


def test_another_training_is_refused(text, tmp_path):
    (tmp_path / "pretrain.json").write_text(json.dumps({"options": {}, "config": {}, "data_sha256": ""}))
    with pytest.raises(
        RunError, match=r"holds another training .other options, config, data_sha256.; take a new workdir"
    ):
        pretrain("", PretrainOptions(data=text), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pretrain.json", "text.txt"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"steps": 5, "save_at": "7,9"}, "no step up to"), ({"warmup": 1.5}, "warmup"), ({"clip": 0.0}, "clip")],
)
def test_options_out_of_range_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        PretrainOptions(**options)


def test_steps_are_kept_in_order_and_none_beyond_the_last():
    assert PretrainOptions(steps=10, save_at="10,0,3-4,99").save_at == (0, 3, 4, 10)
