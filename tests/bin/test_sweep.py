"""eigensweep-sweep as its user runs it: a real checkpoint, its files, its errors."""

import json
import os
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep import engine, models
from eigensweep.engine import SweepOptions


def test_stories260k_end_to_end(shared, tmp_path, command, program):
    checkpoint = shared / "checkpoints" / "llama-stories260k"
    arguments = [f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'run'}"]
    done = command("sweep", *arguments).succeeded()
    assert "query" in done.stdout
    assert "report.html" in done.stdout
    run = engine.open_run(tmp_path / "run")
    assert len(run.matrices) == 5 * 7 + 1
    assert set(run.matrices["role"]) == {
        "query", "key", "value", "attention_output", "mlp_gate", "mlp_up", "mlp_down", "embedding",
    }  # fmt: skip
    files = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"manifest.json", "matrices.parquet", "spectra.parquet", "report.html"} <= files
    assert "figures" not in files  # drawn on demand
    again = program("sweep", *arguments, "--noreport").succeeded()
    assert "finished before" in again.stdout
    assert "36 matrices" in again.stdout


@pytest.mark.parametrize(("step", "outliers"), [("00500", 2), ("08610", 4)])
def test_classifier_of_the_lora_series(shared, step, outliers):
    """MP edge 2*0.02*sqrt(768) = 1.109: two singular values above it at step 500, four at 8610, none at the control."""
    folder = shared / "checkpoints" / "roberta-lora-series" / f"step-{step}"
    options = engine.SweepOptions(roles=("classifier",), min_dim=10, control="permutation", equalise=False, num_flips=0)
    run = engine.sweep(models.open_checkpoint(folder), options)
    (row,) = [r for r in run.matrices.itertuples() if r.m == r.n == 768]
    assert row.num_right_outliers == outliers
    assert row.control_permutation_num_right_outliers == 0
    assert row.nu_plus == pytest.approx(2 * 0.02 * np.sqrt(768), rel=0.01)


def test_lora_deltas_have_no_p_values_beyond_their_rank(shared):
    folder = shared / "checkpoints" / "roberta-lora-series" / "step-08610"
    run = engine.sweep(
        models.open_checkpoint(folder),
        engine.SweepOptions(roles=("query",), blocks=(0,), control="none", equalise=False, num_flips=0),
    )
    (row,), (spectra,) = run.matrices.itertuples(), run.spectra.itertuples()
    assert (row.hard_rank, row.undetermined) == (8, 760)
    assert np.isfinite(spectra.p_right[:8]).all()
    assert np.isnan(spectra.p_right[8:]).all()


def test_dry_run_writes_nothing(shared, tmp_path, program):
    checkpoint = shared / "checkpoints" / "gpt2-char-shakespeare"
    quick = ("--config.equalise=False", "--config.num_flips=0", "--config.control=none")
    done = program("sweep", f"--checkpoint={checkpoint}", "--dry_run", *quick, cwd=tmp_path).succeeded()
    assert "27 matrices to sweep" in done.stdout
    assert "tensors left out" in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.fixture
def weights(tmp_path):
    """w.safetensors in `tmp_path`: three blocks with a query each."""
    rng = np.random.default_rng(0)
    tensors = {f"layers.{i}.q_proj.weight": rng.standard_normal((32, 32)) for i in range(3)}
    save_file(tensors, tmp_path / "w.safetensors")
    return "--checkpoint=w.safetensors"


def test_a_traced_sweep_prints_what_the_device_did(weights, tmp_path, program):
    arguments = [weights, "--workdir=run", "--config.control=none", "--config.num_flips=0", "--noreport"]
    done = program("sweep", *arguments, "--profile=trace", cwd=tmp_path).succeeded()
    assert "trace: trace; " in done.stdout
    assert "in which XLA ran nothing" in done.stdout  # on a CPU a sweep is NumPy's
    assert list(tmp_path.glob("trace/plugins/profile/*/*.trace.json.gz"))
    refused = program("sweep", *arguments, "--profile=w.safetensors", cwd=tmp_path).refused()
    assert "--profile=w.safetensors" in refused


def test_overrides_and_config_file(weights, tmp_path, program):
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n\n"
        "def get_config():\n    return ConfigDict({'control': 'gaussian', 'level': 0.02, 'roles': 'query'})\n"
    )
    arguments = ["--workdir=run", "--config=mine.py", "--config.blocks=1-2", "--config.level=0.03", "--noreport"]
    program("sweep", weights, *arguments, cwd=tmp_path).succeeded()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    found = {key: manifest["options"][key] for key in ("control", "level", "roles", "blocks")}
    assert found == {"control": "gaussian", "level": 0.03, "roles": ["query"], "blocks": [1, 2]}
    assert manifest["matrices"] == 2


def test_the_flag_comes_before_the_config(weights, tmp_path, program):
    """And places given as --config.KEY are places, too."""
    (tmp_path / "mine.py").write_text(
        "def get_config():\n    return {'checkpoint': 'absent', 'workdir': 'there', 'command': 'sweep'}\n"
    )
    program("sweep", "--config=mine.py", cwd=tmp_path).refused("absent")
    program("sweep", weights, "--config=mine.py", "--noreport", cwd=tmp_path).succeeded()
    assert (tmp_path / "there" / "matrices.parquet").exists()
    words = ["--config=mine.py", "--config.checkpoint=w.safetensors", "--config.workdir=here", "--noreport"]
    program("sweep", *words, cwd=tmp_path).succeeded()
    assert (tmp_path / "here" / "matrices.parquet").exists()


def test_noreport_draws_nothing(weights, tmp_path, program):
    program("sweep", weights, "--workdir=run", "--noreport", cwd=tmp_path).succeeded()
    names = sorted(os.listdir(tmp_path / "run"))
    assert names == [".lock", "manifest.json", "matrices.parquet", "spectra.parquet"]


def test_wrong_use_is_told_in_one_line(shared, tmp_path, program):
    good = f"--checkpoint={shared / 'checkpoints' / 'gpt2-char-shakespeare'}"
    for arguments, says in (
        (["--workdir=x"], ["--checkpoint"]),
        ([good], ["--workdir"]),
        ([good, "--workdir=x", "--config=minlm"], ["minlm", "did you mean minilm"]),
        ([good, "--workdir=x", "--config.sigma=median"], ["sigma", "median", "bulk"]),
        ([good, "--workdir=x", "--config.roles=queries"], ["queries", "query"]),
        ([good, "--workdir=x", "--config.num_draws=many"], ["num_draws", "many"]),
        ([good, "--workdir=x", "stray"], ["unexpected arguments stray"]),
        (["--checkpoint=no/such/path", "--workdir=x"], ["no/such/path"]),
        ([good, "--workdir=/dev/null/x"], ["/dev/null/x"]),
    ):
        program("sweep", *arguments, cwd=tmp_path).refused(*says)
    assert os.listdir(tmp_path) == []


def test_a_config_that_fails_is_named(tmp_path, program):
    (tmp_path / "mine.py").write_text("def get_config():\n    return 1 / 0\n")
    program("sweep", "--config=mine.py", "--workdir=x", cwd=tmp_path).refused("mine.py", "ZeroDivisionError")


def test_truncated_checkpoint_leaves_no_run(shared, tmp_path, program):
    folder = tmp_path / "model"
    shutil.copytree(shared / "checkpoints" / "gpt2-char-shakespeare", folder)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data[: len(data) // 2])
    program("sweep", f"--checkpoint={folder}", f"--workdir={tmp_path / 'run'}").refused("model.safetensors")
    assert not (tmp_path / "run").exists()


def test_help_names_every_option(program):
    done = program("sweep", "--help").succeeded()
    for name in SweepOptions.by_name():
        assert f"\n  {name}  " in done.stdout, name
    assert "eigensweep-sweep --config=minilm" in done.stdout
