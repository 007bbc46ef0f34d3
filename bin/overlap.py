"""Overlap of the singular vectors of a checkpoint's weights with the activations that enter them.

    eigensweep-overlap --config=overlap_gpt2_char --checkpoint=PATH --data=FILE --workdir=DIR [--config.KEY=VALUE ...]

Passes the data through the model one block at a time, accumulates F = mean x x^T of the input of every linear layer,
and compares O_k = max_j |v_k . f_j| with a random rotation. --config.centring=positions takes the mean over examples of
each position off the activations first. Adds overlap.parquet, overlap_covariances.parquet and overlap.json to the run
directory of the sweep (which is done first where DIR holds none), and its figures to the report. Interrupted and
started again, it passes over the blocks that are finished.
"""

from eigensweep.bin import runner
from eigensweep.engine.studies.overlap.study import Overlap, OverlapOptions, run_overlap
from eigensweep.engine.studies.overlap.summary import overlap_table, render_covariances, render_overlap


def main() -> None:
    """Settings -> study -> summary and report."""
    runner.run_study(OverlapOptions, run_overlap, _render)


def _render(found: Overlap) -> str:
    loss = found.manifest.get("loss")
    said = f", {loss:.4f} nats a token" if loss is not None else ""
    tokens = f"{found.manifest['num_tokens']} tokens in {found.manifest['data']['rows']} rows{said}"
    return f"{render_overlap(overlap_table(found))}\n\n{render_covariances(found)}\n\n{tokens}"


run = runner.console(main, OverlapOptions)

if __name__ == "__main__":
    run()
