"""Peak memory of a sweep at Llama-8B shapes, embedding and two blocks, against torch on the model and one matrix."""

import tempfile
from pathlib import Path

from eigensweep.bin.suites.measure import Comparison, last_line
from eigensweep.models.synth import LLAMA_8B, write_synthetic

BLOCKS = 2
LIMIT_MIB = 6 * 1024  # on CPU, everything included

_PEAK = """
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
_OURS = """
import sys
from eigensweep import engine, models
options = engine.SweepOptions(control="none", equalise=False, num_flips=0, roles=tuple(sys.argv[2].split(",")))
run = engine.sweep(models.open_checkpoint(sys.argv[1]), options, sys.argv[1] + "-run")
assert (run.matrices["status"] == "ok").all(), run.matrices
assert (run.matrices["num_right_outliers"] - 4).isin([0, 1]).all(), run.matrices  # one false one in a hundred
"""
_THEIRS = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
torch.linalg.svd(model.model.layers[0].mlp.up_proj.weight.detach().double(), full_matrices=False)
"""
ROLES = "embedding,query,key,value,attention_output,mlp_gate,mlp_up,mlp_down"


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Peak resident memory of the two processes, MiB; the planted spikes must be found."""
    del sizes, repeats
    config = LLAMA_8B | {"num_hidden_layers": BLOCKS}
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "llama"
        write_synthetic(model, config)
        ours = float(last_line(_OURS + _PEAK, str(model), ROLES))
        theirs = float(last_line(_THEIRS + _PEAK, str(model)))
    note = f"ours {ours / 1024:.2f} GiB in all; the limit set is {LIMIT_MIB / 1024:.0f} GiB"
    case, peer = f"{BLOCKS} Llama-8B blocks and the embedding", "torch: the model and one block matrix"
    return [Comparison("memory", case, peer, [ours], [theirs], unit="MiB", note=note)]
