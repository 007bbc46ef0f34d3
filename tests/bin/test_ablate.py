"""eigensweep-ablate as its user runs it: a real checkpoint, the edited checkpoint in torch, errors."""

import numpy as np
import pytest

from eigensweep.engine import open_ablation
from eigensweep.models.data import encode_text, load_tokenizer, read_text


@pytest.fixture(scope="module")
def gpt2(shared):
    return shared / "checkpoints" / "gpt2-char-shakespeare"


@pytest.fixture(scope="module")
def shakespeare(shared):
    return {"data": str(shared / "text" / "tinyshakespeare.txt"), "data_from": 0.9, "length": 128, "stride": 15000}


def test_end_to_end_and_the_written_checkpoint_has_the_same_loss_in_torch(gpt2, shakespeare, tmp_path, program):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    arguments = [
        f"--checkpoint={gpt2}",
        *(f"--config.{key}={value}" for key, value in shakespeare.items()),
        "--config.scopes=query",
        "--config.removals=deciles,outliers:right,random:decile,equalised:10,energy:decile:10,output:decile:10",
        "--config.num_draws=1",
        f"--workdir={tmp_path / 'run'}",
        f"--write_checkpoint={tmp_path / 'edited'}",
        "--removal=query/decile:2",
    ]
    done = program("ablate", *arguments).succeeded()
    matched = "decile:10 against random directions that change the outputs as much, 1 scope: "
    for text in ("decile:10", "smallest decile against the middle", "report.html", "baseline: loss", matched):
        assert text in done.stdout
    study = open_ablation(tmp_path / "run")
    assert len(study.results) == 1 + 15
    table = study.results.set_index("removal")
    assert table["energy"]["energy:decile:10"] == pytest.approx(table["energy"]["decile:10"])
    assert table["output_energy"]["output:decile:10"] == pytest.approx(table["output_energy"]["decile:10"])
    assert table["unmatched"].dropna().tolist() == [0, 0]
    assert (tmp_path / "run" / "report.html").exists()
    table = study.results.set_index(["scope", "removal"])["loss"]
    assert table["query", "decile:1"] > table["", "baseline"] + 1

    reference = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "edited").eval()
    with torch.no_grad():
        ids = torch.tensor(windows(gpt2, shakespeare).astype(np.int64))
        expected = float(reference(ids, labels=ids).loss)
    assert table["query", "decile:2"] == pytest.approx(expected, abs=2e-5)
    assert abs(expected - table["", "baseline"]) > 1e-3  # the edit is there
    program("ablate", *arguments).refused("not an empty folder")


def windows(folder, options):
    text = read_text(options["data"])
    tokens = encode_text(load_tokenizer(folder), text[int(0.9 * len(text)) :])
    return np.stack([tokens[i : i + 128] for i in range(0, len(tokens) - 127, options["stride"])])


def test_a_model_without_a_head_and_a_short_text_are_told_in_one_line(minilm, gpt2, tmp_path, program):
    (tmp_path / "short.txt").write_text("to be or not")
    for folder, says in ((minilm, "no head that predicts anything"), (gpt2, "fewer than one window")):
        done = program("ablate", f"--checkpoint={folder}", "--config.data=short.txt", "--workdir=x", cwd=tmp_path)
        done.refused(says)
    assert not (tmp_path / "x").exists()


def test_which_removal_is_written_must_be_said(gpt2, tmp_path, program):
    (tmp_path / "file").write_text("")
    good = [f"--checkpoint={gpt2}", "--data=absent.txt", "--workdir=run"]
    one = ["--config.scopes=query", "--config.removals=decile:3"]
    for arguments, says in (
        (["--write_checkpoint=out"], "several removals"),
        (["--write_checkpoint=out", "--removal=decile:1"], "SCOPE/REMOVAL"),
        (["--write_checkpoint=out", "--removal=query/decile:0"], "removal 'decile:0'"),
        (["--removal=query/decile:1"], "write_checkpoint"),
        (["--write_checkpoint=file", "--removal=query/decile:1"], "not an empty folder"),
        (["--write_checkpoint=out", "--config.removals=covariance:decile"], "change no matrix"),
        (["--write_checkpoint=out", *one], "absent.txt"),  # a single one needs no name
        (["--write_checkpoint=out", "--removal=transformer.h.0.mlp.c_fc.weight/band:1-2"], "absent.txt"),
    ):
        program("ablate", *good, *arguments, cwd=tmp_path).refused(says)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_what_is_written_is_checked_before_the_study(gpt2, shakespeare, tmp_path, program):
    for folder, taken, says in (
        (gpt2, "nosuch/decile:3", "scope nosuch: no matrix"),
        (gpt2, "roles/decile:3", "6 scopes, each measured by itself: say which to write, as --removal=query/decile:3"),
        (gpt2, "query/band:1-999", "band"),
        (gpt2 / "model.safetensors", "query/decile:3", "only folders with safetensors"),
    ):
        program(
            "ablate", f"--checkpoint={folder}", f"--workdir={tmp_path / 'run'}",
            f"--config.data={shakespeare['data']}", f"--write_checkpoint={tmp_path / 'out'}", f"--removal={taken}",
        ).refused(says)  # fmt: skip
        assert not (tmp_path / "run").exists()


def test_old_names_of_options_still_do_and_warn(gpt2, tmp_path, program):
    words = ["--config.data_kind=jsonl", "--config.data_devices=1", "--config.data=absent.jsonl"]
    done = program("ablate", f"--checkpoint={gpt2}", "--workdir=run", *words, cwd=tmp_path)
    done.refused("absent.jsonl")
    assert "warning: --config.data_kind is called --config.format now" in done.stderr
    assert "warning: --config.data_devices is called --config.devices now" in done.stderr
