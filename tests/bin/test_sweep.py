"""eigensweep-sweep as its user runs it: a real checkpoint, its files, its errors."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep import engine, models


def sweep(*arguments, cwd=None, check=True):
    """Run the entry point in a process of its own; returns the finished process."""
    command = [sys.executable, "-m", "eigensweep.bin.sweep", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    assert not check or done.returncode == 0, done.stderr
    return done


def fails(*arguments, says, cwd=None):
    """The command ends with status 2 and one line on standard error that holds every text in `says`."""
    done = sweep(*arguments, cwd=cwd, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for text in says:
        assert text in lines[0]


def test_stories260k_end_to_end(shared, tmp_path):
    checkpoint = shared / "checkpoints" / "llama-stories260k"
    done = sweep(f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'run'}")
    assert "query" in done.stdout
    assert "report.html" in done.stdout
    run = engine.open_run(tmp_path / "run")
    assert len(run.matrices) == 5 * 7 + 1
    assert set(run.matrices["role"]) == {
        "query", "key", "value", "attention_output", "mlp_gate", "mlp_up", "mlp_down", "embedding",
    }  # fmt: skip
    files = {p.name for p in (tmp_path / "run").iterdir()}
    assert {"manifest.json", "matrices.parquet", "spectra.parquet", "report.html", "figures"} <= files
    again = sweep(f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'run'}")
    assert "finished before" in again.stdout
    assert "36 matrices" in again.stdout
    other = "--config.level=0.05"
    fails(f"--checkpoint={checkpoint}", f"--workdir={tmp_path / 'run'}", other, says=["level", "workdir"])


@pytest.mark.parametrize(("step", "outliers"), [("00500", 2), ("08610", 4)])
def test_classifier_of_the_lora_series(shared, step, outliers):
    """MP edge 2*0.02*sqrt(768) = 1.109: two singular values above it at step 500, four at 8610, none at the control."""
    folder = shared / "checkpoints" / "roberta-lora-series" / f"step-{step}"
    options = engine.SweepOptions(roles=("classifier",), min_dim=10)
    run = engine.sweep(models.open_checkpoint(folder), options)
    (row,) = [r for r in run.matrices.itertuples() if r.m == r.n == 768]
    assert row.num_right_outliers == outliers
    assert row.control_num_right_outliers == 0
    assert row.nu_plus == pytest.approx(2 * 0.02 * np.sqrt(768), rel=0.01)


def test_lora_deltas_have_no_p_values_beyond_their_rank(shared):
    folder = shared / "checkpoints" / "roberta-lora-series" / "step-08610"
    run = engine.sweep(models.open_checkpoint(folder), engine.SweepOptions(roles=("query",), blocks=(0,)))
    (row,), (spectra,) = run.matrices.itertuples(), run.spectra.itertuples()
    assert (row.hard_rank, row.undetermined) == (8, 760)
    assert np.isfinite(spectra.p_right[:8]).all()
    assert np.isnan(spectra.p_right[8:]).all()


def test_dry_run_writes_nothing(shared, tmp_path):
    done = sweep(f"--checkpoint={shared / 'checkpoints' / 'gpt2-char-shakespeare'}", "--dry_run", cwd=tmp_path)
    assert "transformer.h.0.attn.c_attn.weight:query" in done.stdout
    assert "tensors left out" in done.stdout
    assert os.listdir(tmp_path) == []


def test_overrides_and_config_file(tmp_path):
    rng = np.random.default_rng(0)
    weights = {f"layers.{i}.q_proj.weight": rng.standard_normal((32, 32)) for i in range(3)}
    save_file(weights, tmp_path / "w.safetensors")
    (tmp_path / "mine.py").write_text(
        "from eigensweep.configs import sweep\n\n"
        "def get_config():\n    config = sweep.get_config()\n    config.control = 'gaussian'\n    return config\n"
    )
    sweep(
        "--checkpoint=w.safetensors", "--workdir=run", "--config=mine.py", "--config.blocks=1-2", "--noreport",
        cwd=tmp_path,
    )  # fmt: skip
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["options"]["control"] == "gaussian"
    assert manifest["options"]["blocks"] == [1, 2]
    assert manifest["matrices"] == 2


def test_wrong_use_is_told_in_one_line(shared, tmp_path):
    good = f"--checkpoint={shared / 'checkpoints' / 'gpt2-char-shakespeare'}"
    fails("--workdir=x", says=["--checkpoint"], cwd=tmp_path)
    fails(good, says=["--workdir"], cwd=tmp_path)
    fails(good, "--workdir=x", "--config=nonsense", says=["nonsense", "minilm"], cwd=tmp_path)
    fails(good, "--workdir=x", "--config.sigma=median", says=["sigma", "median", "bulk"], cwd=tmp_path)
    fails(good, "--workdir=x", "--config.roles=queries", says=["queries", "query"], cwd=tmp_path)
    fails("--checkpoint=no/such/path", "--workdir=x", says=["no/such/path"], cwd=tmp_path)
    fails(good, "--workdir=/dev/null/x", says=["/dev/null/x"], cwd=tmp_path)
    assert os.listdir(tmp_path) == []


def test_truncated_checkpoint_leaves_no_run(shared, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(shared / "checkpoints" / "gpt2-char-shakespeare", folder)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(data[: len(data) // 2])
    fails(f"--checkpoint={folder}", f"--workdir={tmp_path / 'run'}", says=["model.safetensors"])
    assert not (tmp_path / "run").exists()
