"""eigensweep-finetune as its user runs it: a small study with its summary and report, errors in one line."""

import pytest

from eigensweep.engine import open_finetune

OPTIONS = {
    "format": "labelled",
    "field": "a",
    "pair_field": "b",
    "labels": "no,yes",
    "length": 12,
    "num_train": 60,
    "epochs": 1,
    "learning_rate": 1e-2,
    "seeds": "0",
    "deciles": "10",
    "study": True,
}


@pytest.fixture
def words(bert):
    """The flags of the study, but for checkpoint and workdir."""
    keys = {"data": bert.parent / "rows.jsonl"} | OPTIONS
    return [f"--config.{key}={value}" for key, value in keys.items()]


def test_end_to_end(bert, words, tmp_path, program):
    arguments = [f"--checkpoint={bert}", f"--workdir={tmp_path}", *words]
    done = program("finetune", *arguments).succeeded()
    for text in ("majority of the labels", "loss change, blocks decile 10, after - before", "report.html"):
        assert text in done.stdout
    assert len(open_finetune(tmp_path).members) == 3
    program("finetune", *arguments, "--config.seeds=1").refused("seeds: [0] there, [1] now")


def test_a_model_that_cannot_classify_and_missing_flags(bert, gpt2, words, tmp_path, program):
    for arguments, says in (
        ([f"--checkpoint={gpt2}", f"--workdir={tmp_path / 'x'}"], "an encoder"),
        ([f"--checkpoint={bert}"], "--workdir"),
        ([f"--checkpoint={bert}", f"--workdir={tmp_path / 'x'}", "--config.scopes=nonsense"], "scope nonsense"),
        ([f"--checkpoint={bert}", f"--workdir={tmp_path / 'x'}", "--config.format=squad"], "'squad'"),
    ):
        program("finetune", *words, *arguments).refused(says)
    assert not (tmp_path / "x").exists()


def test_old_names_of_options_still_do_and_warn(bert, tmp_path, program):
    old = {"task": "labelled", "text": "a", "pair": "b", "label": "label", "labels": "no,yes", "data": "absent.jsonl"}
    flags = [f"--config.{key}={value}" for key, value in old.items()]
    done = program("finetune", f"--checkpoint={bert}", "--workdir=run", *flags, cwd=tmp_path)
    done.refused("absent.jsonl")
    for key, new in {"task": "format", "text": "field", "pair": "pair_field", "label": "label_field"}.items():
        assert f"warning: --config.{key} is called --config.{new} now" in done.stderr
