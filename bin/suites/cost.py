"""The dry run's estimate of a sweep at Llama-8B's shapes against the sweep itself, and what it says of all blocks."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from eigensweep.bin.suites.measure import Comparison, seconds
from eigensweep.engine import SweepOptions, estimate, make_plan, sweep
from eigensweep.models import open_checkpoint
from eigensweep.models.synth import LLAMA_8B, write_synthetic

ALLOWED = 15.0  # per cent
BLOCKS = 2
PLAIN: dict[str, Any] = {"control": "none", "equalise": False, "num_flips": 0}
EVERY_SHAPE = ("query", "key", "mlp_up")  # 4096 x 4096, 1024 x 4096, 14336 x 4096


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Two blocks as they are, and every reading of one matrix of each shape: a quarter of an hour on two cores."""
    del sizes, repeats
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "llama"
        write_synthetic(model, LLAMA_8B | {"num_hidden_layers": BLOCKS, "vocab_size": 256})
        os.sync()  # the trials are not to be timed beside the writing of gigabytes
        cases = {
            f"{BLOCKS} blocks of Llama-8B, as they are": {"blocks": f"0-{BLOCKS - 1}", **PLAIN},
            "a matrix of every shape, every reading": {"blocks": "0", "roles": EVERY_SHAPE},
        }
        return [_case(str(model), what, SweepOptions(**options)) for what, options in cases.items()]


def _case(folder: str, what: str, options: SweepOptions) -> Comparison:
    checkpoint = open_checkpoint(folder)
    plan = make_plan(checkpoint, options)
    start = time.perf_counter()
    expected = estimate(plan, options)
    trials = time.perf_counter() - start
    spent = seconds(lambda: sweep(checkpoint, options))
    whole = make_plan(checkpoint, SweepOptions(**{**vars(options), "roles": (), "blocks": "0"}))
    hours = LLAMA_8B["num_hidden_layers"] * expected.model.total(whole.matrices, options) / 3600
    note = (
        f"estimated {expected.seconds:.0f} s by {trials:.0f} s of trials, took {spent:.0f} s; {expected.model}; all "
        f"{LLAMA_8B['num_hidden_layers']} blocks: {hours:.1f} hours"
    )
    print(f"  {what}: {note}", flush=True)  # the cases take minutes each
    error = 100 * abs(expected.seconds / spent - 1)
    return Comparison("cost", f"error of the estimate, {what}", "allowed", [error], [ALLOWED], "%", 1.0, note)
