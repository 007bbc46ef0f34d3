"""Redraw the figures and the page of a run directory, or compare several sweeps.

    eigensweep-report --run=runs/minilm
    eigensweep-report --run=runs/step-500 --run=runs/step-1000 --out=runs/comparison

One run: writes figures/ and report.html of every finished study in it into the run directory, or into --out; no
checkpoint is needed. Several sweeps, in the order given: writes comparison.html and its figure into --out.
"""

from absl import flags

from eigensweep.bin.runner import UserError, console

_RUN = flags.DEFINE_multi_string("run", [], "run directory; several are compared in the order given")
_OUT = flags.DEFINE_string("out", None, "where to write; by default the run directory itself")


def main() -> None:
    """Run directories -> figures and a page."""
    if not _RUN.value:
        raise UserError("no --run given: which run directory is to be drawn?")
    if len(_RUN.value) > 1 and not _OUT.value:
        raise UserError("several runs need --out: where should the comparison go?")
    from eigensweep import engine

    if len(_RUN.value) == 1:
        print(engine.write_report(_RUN.value[0], _OUT.value))
    else:
        runs = [engine.open_run(directory) for directory in _RUN.value]
        print(engine.write_comparison(runs, _OUT.value or ""))


run = console(main)

if __name__ == "__main__":
    run()
