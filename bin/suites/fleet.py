"""A fleet in one process: models an hour against a process a model and WeightWatcher, and whether memory grows."""

import importlib.util
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from eigensweep.bin.suites.measure import Comparison, last_line, seconds
from eigensweep.bin.suites.sweep import ALIKE
from eigensweep.bin.suites.sweep import ROLES as EVERY_ROLE
from eigensweep.models.synth import write_synthetic

ROLES = tuple(role for role in EVERY_ROLE if role != "pooler")  # synthetic models have none
MODELS = 3  # of MiniLM's size
MINILM = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
}
SMALL, WARM = 200, 40  # models of the test of memory, and after how many of them growth is counted
LIMIT = 0.05

_FLEET = f"""
import sys
from pathlib import Path
from eigensweep import engine
from eigensweep.engine.studies.fleet.sweeps import Member, sweep_all
members = [Member(str(path), Path(sys.argv[2]) / path.name) for path in sorted(Path(sys.argv[1]).iterdir())]
options = engine.SweepOptions(roles={ROLES!r}, **{ALIKE!r})
rows = sweep_all(members, options)
assert all(row["status"] == "done" for row in rows), rows
"""
_ONE = f"""
import sys
from eigensweep import engine, models
engine.sweep(models.open_checkpoint(sys.argv[1]), engine.SweepOptions(roles={ROLES!r}, **{ALIKE!r}), sys.argv[2])
"""
_PEER = """
import logging, sys
logging.disable(logging.CRITICAL)
import transformers, weightwatcher
from pathlib import Path
for path in sorted(Path(sys.argv[1]).iterdir()):
    model = transformers.AutoModel.from_pretrained(path)
    weightwatcher.WeightWatcher(model=model).analyze(mp_fit=True, randomize=True)
"""
_MEMORY = """
import gc, json, sys
import numpy as np
from pathlib import Path
from safetensors.numpy import save_file
from eigensweep import engine
from eigensweep.engine.studies.fleet.sweeps import Member, sweep_all

def resident():
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, int(status["VmHWM"].split()[0]) / 1024

home, count, warm = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
found = {}
for i in range(count):
    rng = np.random.default_rng(i)
    sizes = (16, 16), (16 + 8 * (i % 3), 16)
    names = "layers.0.q_proj.weight", "layers.0.up_proj.weight"
    folder = home / "models" / str(i)
    folder.mkdir(parents=True)
    arrays = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in zip(names, sizes)}
    save_file(arrays, folder / "model.safetensors")
    rows = sweep_all([Member(str(folder), home / "runs" / str(i))], engine.SweepOptions())
    assert rows[0]["status"] == "done", rows
    if i + 1 in (warm, count):
        found[i + 1] = resident()
print(json.dumps(found))
"""


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Throughput on synthetic models of MiniLM's size, whole processes; and the memory of a long fleet."""
    del sizes
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "models"
        for i in range(MODELS):
            write_synthetic(home / str(i), MINILM, seed=i, dtype="float32", spikes=2)
        return [*_throughput(home, Path(folder), repeats), memory()]


def _throughput(home: Path, folder: Path, repeats: int) -> list[Comparison]:
    case = f"{MODELS} models of MiniLM's size"
    alone = Comparison("fleet", case, "a process of eigensweep-sweep a model")
    other = Comparison("fleet", case, "WeightWatcher analyze(mp_fit=True, randomize=True)")
    has_peer = importlib.util.find_spec("weightwatcher") is not None
    last_line(_ONE, str(home / "0"), str(folder / "warm"))  # programs are compiled and kept once, for both

    def one_by_one(repeat: int) -> None:
        for i in range(MODELS):
            last_line(_ONE, str(home / str(i)), str(folder / f"alone-{repeat}-{i}"))

    for repeat in range(repeats):
        ours = seconds(lambda repeat=repeat: last_line(_FLEET, str(home), str(folder / f"fleet-{repeat}")))  # type: ignore[misc]
        alone.ours.append(ours)
        alone.theirs.append(seconds(lambda repeat=repeat: one_by_one(repeat)))  # type: ignore[misc]
        if has_peer:
            other.ours.append(ours)
            other.theirs.append(seconds(lambda: last_line(_PEER, str(home), cwd=str(folder))))
    alone.note = f"{3600 * MODELS / min(alone.ours):.0f} models an hour, the start of the process included"
    if not has_peer:
        print("  WeightWatcher is not installed: left out", flush=True)
    return [alone, other] if has_peer else [alone]


def memory(count: int = SMALL, warm: int = WARM) -> Comparison:
    """Peak resident memory after `count` small models against that after the first `warm` of them, MiB."""
    with tempfile.TemporaryDirectory() as folder:
        found: Mapping[str, list[float]] = json.loads(last_line(_MEMORY, folder, str(count), str(warm)))
    (now, peak), (then, peak_then) = found[str(count)], found[str(warm)]
    note = (
        f"resident {then:.0f} -> {now:.0f} MiB, peak {peak_then:.0f} -> {peak:.0f} MiB ({peak / peak_then - 1:+.1%}; "
    )
    note += f"the limit set is {LIMIT:.0%})"
    case = f"peak after {count} small models"
    return Comparison("fleet", case, f"the same process after {warm}", [peak], [peak_then], unit="MiB", note=note)
