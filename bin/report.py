"""Write the page of a run directory anew, draw its figures for papers, or compare several sweeps.

    eigensweep-report --run=runs/minilm [--figures]
    eigensweep-report --run=runs/step-500 --run=runs/step-1000 --out=runs/comparison

One run: writes report.html of every finished study in it into the run directory, or into --out, and with --figures
each study's figures as PNG and PDF into figures/ beside it; no checkpoint is needed. Several sweeps: --out becomes the
run directory of their comparison, each against the first, from their tables alone; eigensweep-compare does more.
"""

from absl import flags

from eigensweep.bin.runner import UserError, console

_RUN = flags.DEFINE_multi_string("run", [], "run directory; several are compared in the order given")
_OUT = flags.DEFINE_string("out", None, "where to write; by default the run directory itself")
_FIGURES = flags.DEFINE_bool("figures", False, "draw the figures for papers, too (PNG and PDF)")


def main() -> None:
    """Run directories -> a page, and figures."""
    if not _RUN.value:
        raise UserError("no --run given: which run directory is it to be of?")
    if len(_RUN.value) > 1 and not _OUT.value:
        raise UserError("several runs need --out: where should the comparison go?")
    from eigensweep import engine

    if len(_RUN.value) == 1:
        print(engine.write_report(_RUN.value[0], _OUT.value, figures=_FIGURES.value))
    else:
        runs = [engine.open_run(directory) for directory in _RUN.value]
        print(engine.write_comparison(runs, _OUT.value or "", _FIGURES.value))


run = console(main)

if __name__ == "__main__":
    run()
