"""Tiny stand-ins for models and data: transformers loads them, they are the same whenever they are made."""

import json
from pathlib import Path

import pytest
import transformers

from eigensweep import models
from eigensweep.models import CheckpointError, data, stand_ins


@pytest.mark.parametrize("kind", stand_ins.MODELS)
def test_a_model_is_one_of_its_architecture(kind, tmp_path):
    path = stand_ins.write_model(kind, tmp_path)
    config = stand_ins.MODELS[kind]
    loaded = getattr(transformers, config["architectures"][0]).from_pretrained(path)
    assert loaded.config.model_type == config["model_type"]
    sides = {side for matrix in models.open_checkpoint(path).matrices for side in matrix.shape}
    assert sides == {stand_ins.WIDTH, stand_ins.NEURONS}
    tokenizer = data.load_tokenizer(path)
    assert len(tokenizer) == stand_ins.VOCABULARY
    assert tokenizer.mask_token_id == 4
    assert (tokenizer("bada").input_ids[0] == tokenizer.cls_token_id) == (kind == "bert")


def test_several_models_are_steps_and_sizes(tmp_path):
    steps = stand_ins.write_model("pythia-steps", tmp_path).split(",")
    planted = [len(json.loads(Path(step, "planted.json").read_text())["theta"]) for step in steps]
    assert planted[0] == 0 < planted[1] == planted[2]
    small, large = (models.open_checkpoint(p) for p in stand_ins.write_model("gpt2-sizes", tmp_path).split(","))
    assert len(small.matrices) < len(large.matrices)


def test_what_is_there_is_not_written_again(tmp_path):
    first = [stand_ins.write_model("gpt2", tmp_path), stand_ins.write_data("words", tmp_path)]
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert first == [stand_ins.write_model("gpt2", tmp_path), stand_ins.write_data("words", tmp_path)]
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_questions_are_of_both_labels_and_words_are_known(tmp_path):
    examples = data.text.read_boolq(stand_ins.write_data("questions", tmp_path))
    assert {example.label for example in examples} == {0, 1}
    words = set(data.text.read_text(stand_ins.write_data("words", tmp_path)).split())
    assert words <= set(data.load_tokenizer(stand_ins.write_model("gpt2", tmp_path)).get_vocab())


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="'gpt3' is no stand-in; there are bert, gpt2"):
        stand_ins.write_model("gpt3", tmp_path)
    with pytest.raises(CheckpointError, match="'rows' are no data"):
        stand_ins.write_data("rows", tmp_path)
    (tmp_path / "gpt2").write_text("")
    with pytest.raises(CheckpointError, match="exists and is no folder"):
        stand_ins.write_model("gpt2", tmp_path)
