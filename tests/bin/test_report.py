"""eigensweep-report, eigensweep-calibrate and eigensweep-synth as their user runs them."""

import json

import pytest

from eigensweep import engine
from eigensweep.engine import SweepOptions


@pytest.fixture(scope="module")
def runs(make_checkpoint, tmp_path_factory):
    """Two finished sweeps, without figures."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        engine.sweep(
            make_checkpoint(seed=seed), SweepOptions(control="none", equalise=False, num_flips=0), folder / str(seed)
        )
    return folder


def test_one_run_is_drawn_where_it_lies_and_two_are_compared(runs, tmp_path, command, program):
    done = command("report", f"--run={runs / '0'}", "--figures", fonts=True).succeeded()
    assert done.stdout.strip() == str(runs / "0" / "report.html")
    assert (runs / "0" / "report.html").exists()
    assert b"/FontFile2" in (runs / "0" / "figures" / "ranks.pdf").read_bytes()  # TrueType, as journals want it
    program("report", f"--run={runs / '0'}", f"--run={runs / '1'}", f"--out={tmp_path}").succeeded()
    assert (tmp_path / "comparison.parquet").exists()
    assert (tmp_path / "report.html").exists()


def test_wrong_use_of_report(runs, tmp_path, program):
    for arguments, says in (
        ([], "no --run given"),
        ([f"--run={runs / '0'}", f"--run={runs / '1'}"], "several runs need --out"),
        ([f"--run={tmp_path}"], str(tmp_path)),
    ):
        program("report", *arguments).refused(says)


def test_a_synthetic_checkpoint_is_written(tmp_path, program):
    config = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": 20, "n_embd": 8, "n_layer": 1,
              "n_head": 2, "n_positions": 8}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = ["--out=out", "--config_json=config.json", "--blocks=2", "--spikes=1", "--dtype=float32"]
    done = program("synth", *words, cwd=tmp_path).succeeded()
    assert "matrices with 1 spikes each" in done.stdout
    assert json.loads((tmp_path / "out" / "config.json").read_text())["n_layer"] == 2
    program("synth", "--out=out2", "--config_json=absent.json", cwd=tmp_path).refused("absent.json")
    program("synth", cwd=tmp_path).refused("--out")
