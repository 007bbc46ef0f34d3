"""Labels for the directions of a tokens run: by a language model behind an endpoint, and by hand.

    eigensweep-label --workdir=DIR --config.label_url=http://localhost:8000/v1 --config.label_model=NAME [--dry_run]
    eigensweep-label --workdir=DIR --marks=FILE [--marks=FILE]

DIR is the run directory of a finished eigensweep-tokens; no checkpoint is needed. Every list of tokens (a sign of a
side of a direction) is named in one call and, where it has a name, verified in a second one among tokens of other
lists. The key comes from the environment (label_key says from which variable). Answers are kept in
DIR/labels/answers.jsonl: an interrupted or repeated start pays for none of them again. --marks takes over labels given
by hand in the page and exported from it. Writes DIR/labels.parquet and tokens_labels.json, and the page anew.
"""

from absl import flags

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.labels.options import LabelOptions

_MARKS = flags.DEFINE_multi_string("marks", [], "file of labels by hand, as the page exports them (JSON or CSV)")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "print the number of calls, tokens, cost and time, and stop")


def main() -> None:
    """Settings -> labels -> summary and report."""
    from eigensweep.engine.studies.labels.estimate import describe, estimate
    from eigensweep.engine.studies.labels.study import import_marks, label
    from eigensweep.engine.studies.labels.summary import render_labels
    from eigensweep.progress import reporter

    _, options, workdir = runner.settings(LabelOptions, source=runner.WORKDIR, needed=False)
    if not workdir:
        raise UserError("no --workdir given: which run of eigensweep-tokens is to be labelled?")
    if _DRY_RUN.value:
        print(describe(estimate(workdir, options), options))
        return
    if not (_MARKS.value or options.label_url):
        raise UserError("nothing to do: give --config.label_url and --config.label_model, or --marks=FILE")
    found = import_marks(workdir, _MARKS.value) if _MARKS.value else None
    if options.label_url:
        with reporter() as on_progress:
            found = label(workdir, options, on_progress)
        said = f"{found.manifest['judges'][options.label_model]['calls']} calls"
    else:
        said = f"{len(_MARKS.value)} files taken over"
    assert found is not None
    runner.finish(found, render_labels, said)


run = runner.console(main, LabelOptions, source=runner.WORKDIR)

if __name__ == "__main__":
    run()
