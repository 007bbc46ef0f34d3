"""eigensweep-overlap as its user runs it: a real checkpoint, its files, its errors."""

import numpy as np
import pytest

from eigensweep import engine


def test_gpt2_char_end_to_end(shared, tmp_path, program):
    source = shared / "checkpoints" / "gpt2-char-shakespeare"
    (tmp_path / "text.txt").write_text((shared / "text" / "tinyshakespeare.txt").read_text()[:20_000])
    arguments = (
        f"--checkpoint={source}",
        f"--data={tmp_path / 'text.txt'}",
        f"--workdir={tmp_path / 'run'}",
        "--config.max_rows=40",
    )
    done = program("overlap", *arguments).succeeded()
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["role", "matrices"]
    assert [line.split()[0] for line in lines[1:8]] == [
        "query", "key", "value", "attention_output", "mlp_up", "mlp_down", "unembedding",
    ]  # fmt: skip
    run, found = engine.open_run(tmp_path / "run"), engine.open_overlap(tmp_path / "run")
    joined = run.matrices.merge(found.matrices, on=["name", "role", "m", "n"])
    assert len(joined) == len(found.matrices) == 4 * 6 + 1
    assert set(run.matrices["role"]) - set(joined["role"]) == {"embedding", "position_embedding"}
    assert (found.matrices["num_tokens"] == 40 * 128).all()
    assert found.manifest["loss"] == pytest.approx(1.46, abs=0.1)
    shared_input = found.matrices.groupby("tap")["name"].count().value_counts().to_dict()
    assert shared_input == {3: 4, 1: 13}
    for row in found.matrices.itertuples():
        assert len(row.overlap) == min(row.m, row.n)
        assert np.nanmax(row.overlap) <= 1
    program("overlap", *arguments, "--config.seed=5").refused("data_sha256", "workdir")
    other = shared / "checkpoints" / "llama-stories260k"
    program("overlap", f"--checkpoint={other}", *arguments[1:], "--config.any_tokenizer").refused(
        "gpt2-char-shakespeare", "not of this checkpoint"
    )


def test_wrong_use_is_told_in_one_line(shared, tmp_path, program):
    source = f"--checkpoint={shared / 'checkpoints' / 'gpt2-char-shakespeare'}"
    to = f"--workdir={tmp_path / 'run'}"
    text = f"--data={shared / 'text' / 'tinyshakespeare.txt'}"
    lora = shared / "checkpoints" / "roberta-lora-series" / "step-08610"
    for arguments, says in (
        ([source, to], ["--data"]),
        ([source, text, to, "--config.length=200"], ["200", "128"]),
        ([f"--checkpoint={lora}", text, to], ["LoRA adapter"]),
    ):
        program("overlap", *arguments).refused(*says)
    assert not (tmp_path / "run").exists()


def test_old_names_of_options_still_do_and_warn(shared, tmp_path, program):
    """--text and num_rows are --data and max_rows now."""
    arguments = (
        f"--checkpoint={shared / 'checkpoints' / 'gpt2-char-shakespeare'}",
        f"--text={shared / 'text' / 'absent.txt'}",
        "--config.num_rows=4",
        f"--workdir={tmp_path / 'run'}",
    )
    done = program("overlap", *arguments)
    done.refused("absent.txt")
    assert "warning: --text is called --data now" in done.stderr
    assert "warning: --config.num_rows is called --config.max_rows now" in done.stderr


def test_old_names_in_a_preset_still_do_and_warn(tmp_path, program):
    (tmp_path / "mine.py").write_text(
        "def get_config():\n    return {'text': 'absent.txt', 'num_rows': 4, 'checkpoint': 'nowhere'}\n"
    )
    done = program("overlap", "--config=mine.py", "--workdir=run", cwd=tmp_path)
    done.refused("nowhere")
    assert "warning: the key text is called data now" in done.stderr
    assert "warning: the key num_rows is called max_rows now" in done.stderr
