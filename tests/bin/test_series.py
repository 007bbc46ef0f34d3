"""eigensweep-series as its user runs it: revisions of a repository on the hub."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import save

HUB = Path(__file__).parents[1] / "models" / "fake_hub.py"


def _fake_hub():
    spec = importlib.util.spec_from_file_location("fake_hub", HUB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_revisions_of_the_hub_are_a_series_and_share_the_cache(tmp_path):
    rng = np.random.default_rng(0)
    shared = {"tokenizer.json": b'{"the": "same in every revision"}'}
    revisions = {
        f"step{step}": shared
        | {"model.safetensors": save({"layers.0.q_proj.weight": rng.standard_normal((16, 16)).astype(np.float32)})}
        for step in (0, 64, 8)
    }
    words = ["--checkpoints=owner/tiny@step{0,8,64,512}", f"--workdir={tmp_path / 'run'}", "--noreport"]
    options = ["--config.control=none", "--config.equalise=False", "--config.num_flips=0"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HTTP"))}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    with _fake_hub().fake_hub({"owner/tiny": revisions}) as (endpoint, requests):
        done = subprocess.run(
            [sys.executable, "-m", "eigensweep.bin.series", *words, *options], capture_output=True, text=True,
            timeout=300, env=environment | {"HF_ENDPOINT": endpoint, "no_proxy": "127.0.0.1"}, check=False,
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: 1 of 4 checkpoints are missing: owner/tiny@step512: ")
    frame = pd.read_parquet(tmp_path / "run" / "series.parquet")
    assert list(frame["step"]) == [0, 8, 64]
    assert list(frame["revision"]) == ["step0", "step8", "step64"]
    assert len([word for word in requests if word.startswith("GET") and word.endswith("tokenizer.json")]) == 1
    assert json.loads((tmp_path / "run" / "series.json").read_text())["steps"] == [0, 8, 64]
    assert max(len(line) for line in done.stdout.splitlines() if not line.startswith("tables:")) <= 100
