"""Redraw a run's figures and report, or compare several runs.

    eigensweep-report --run=runs/minilm
    eigensweep-report --run=runs/step-500 --run=runs/step-1000 --out=runs/comparison

One run: writes figures/ and report.html into the run directory, or into --out; no checkpoint is needed.
Several runs, in the order given: writes comparison.html and its figure into --out.
"""

from absl import flags

from eigensweep.bin.cli import UserError, run_main

_RUN = flags.DEFINE_multi_string("run", [], "run directory; several are compared in the order given")
_OUT = flags.DEFINE_string("out", None, "where to write; by default the run directory itself")


def main(argv: list[str]) -> None:
    """Run directories -> figures and a page."""
    del argv
    if not _RUN.value:
        raise UserError("no --run given: which run directory is to be drawn?")
    out = _OUT.value or (_RUN.value[0] if len(_RUN.value) == 1 else "")
    if not out:
        raise UserError("several runs need --out: where should the comparison go?")
    from eigensweep import engine
    from eigensweep.engine.report import write_comparison, write_report

    try:
        runs = [engine.open_run(directory) for directory in _RUN.value]
        print(write_report(runs[0], out) if len(runs) == 1 else write_comparison(runs, out))
    except engine.RunError as error:
        raise UserError(str(error)) from error


def run() -> None:
    """Console script."""
    run_main(main)


if __name__ == "__main__":
    run()
