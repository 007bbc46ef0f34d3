"""What the weights, activations and gradients of a checkpoint look like.

    eigensweep-facts --checkpoint=PATH --data=FILE --workdir=DIR [--config.KEY=VALUE ...]

One pass of the data through the model, one block at a time: moments, quantiles, histograms and fitted shapes of every
weight tensor, of the residual stream, of what attention and MLP add to it and of what enters every linear layer; of
gradients of the loss for single rows; the stream's outlier dimensions, whether they are the same everywhere, and what
ablating them costs. Without --data the weights alone. Interrupted and started again, it passes over what is finished.
"""

from eigensweep.bin import runner
from eigensweep.engine.studies.facts.options import FactsOptions
from eigensweep.engine.studies.facts.outlier_summary import render_outliers
from eigensweep.engine.studies.facts.study import Facts, run_facts
from eigensweep.engine.studies.facts.summary import render_facts


def main() -> None:
    """Settings -> study -> summary and report."""
    runner.run_study(FactsOptions, run_facts, _render)


def _render(found: Facts) -> str:
    return "\n\n".join(part for part in (render_facts(found), render_outliers(found)) if part)


run = runner.console(main, FactsOptions)

if __name__ == "__main__":
    run()
