"""Models of learning, small enough to be explained: train or simulate one, and hold its weights against the theory.

    eigensweep-toy --model=linear --workdir=DIR [--config.KEY=VALUE ...]
    eigensweep-toy --config=toy_linear --workdir=DIR
    eigensweep-toy --model=mlp --workdir=DIR [--data=cifar-10-batches-bin] [--config.KEY=VALUE ...]
    eigensweep-toy --model=linear --help

--model=linear: ridgeless least squares y = W* x + noise, simulated, beside the generalised Marchenko-Pastur law. Where
the data vary most the noise is least: small singular values whose right vectors are the data's principal axes.

--model=mlp: small networks trained alike but for a few settings (lazily or not, frozen layers, first weights, batch
size), their singular values as a sweep reads them, and what is left of them without the smallest. On scikit-learn's
digits, or CIFAR-10's binary batches. Weights are kept in DIR/networks, a file a network that eigensweep-sweep opens.

Each model has options of its own: --model=linear --help lists those of the linear one. No checkpoint is read. A run
that was interrupted continues where it stopped when it is started again.
"""

import importlib
import sys
import time
from collections.abc import Sequence

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.toy import Toy, ToyOptions

MODELS = {"linear": "toy_linear", "mlp": "toy_mlp"}
"""The models, and the package of engine.studies whose `TOY` each is."""


def main() -> None:
    """Settings -> study -> summary and report."""
    toy = _toy(_model(sys.argv))
    _, options, workdir = runner.settings(toy.options, "model")
    if not workdir:
        raise UserError("no --workdir given: where should the tables and the report go?")
    from eigensweep.progress import reporter

    start = time.monotonic()
    with reporter() as on_progress:
        result = toy.run(options, workdir, on_progress)
    runner.finish(result, toy.render, "\n".join([*runner.notes(result), f"{time.monotonic() - start:.1f} s"]))


def chosen(argv: Sequence[str]) -> type[ToyOptions]:
    """The options of the model that the arguments name; those of all models where they only ask for help.

    Raises:
      UserError: there is no such model, or none is named.
    """
    model = _model(argv)
    return ToyOptions if not model and runner.is_question(argv) else _toy(model).options


def _model(argv: Sequence[str]) -> str:
    """The model that the arguments or the preset name.

    Raises:
      UserError: they name different ones.
    """
    said, of_preset = runner.place("model", argv, ToyOptions)
    if said and of_preset and said != of_preset:
        raise UserError(f"--model={said}: the preset given by --config is one of --model={of_preset}")
    return said or of_preset


def _toy(model: str) -> Toy:
    known = " or ".join(f"--model={name}" for name in MODELS)
    if not model:
        raise UserError(f"no model: give {known}, or a --config that names one")
    if model not in MODELS:
        from eigensweep.engine.report.style import near

        raise UserError(f"--model={model}: there is no such model{near(model, MODELS)}; expected {known}")
    toy: Toy = importlib.import_module(f"eigensweep.engine.studies.{MODELS[model]}").TOY
    return toy


run = runner.console(main, source="model", choose=chosen)

if __name__ == "__main__":
    run()
