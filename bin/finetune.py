"""Fine-tune an encoder to classify, or a language model to answer, and find out what that does to its spectra.

    eigensweep-finetune --config=finetune_minilm --data=BoolQ/val.jsonl --workdir=runs/ft
    eigensweep-finetune --config=finetune_minilm_order --data=BoolQ/val.jsonl --workdir=runs/order
    eigensweep-finetune --config=overregularised --checkpoint=openai-community/gpt2 --data=TEXT --workdir=runs/over
    eigensweep-finetune --checkpoint=PATH_OR_HUB_ID --config.format=prompts --data=ROWS.jsonl --workdir=DIR
    eigensweep-finetune --checkpoint=PATH_OR_HUB_ID --workdir=DIR [--config=NAME_OR_FILE] [--config.KEY=VALUE ...]

A classifier (config.format boolq, boolq_pairs, wic, labelled): writes DIR/finetune.parquet (one row a fine-tuned
model), finetune_rows.parquet (its loss on every held-out row), finetune_history.parquet, finetune.json, the models in
DIR/models/seed-* (eigensweep-sweep takes them), figures/ and report.html, and with config.spectra the sweeps before and
after in DIR/sweeps and what changed in spectral_change.parquet. A study (config.study: deciles removed) adds
finetune_effects.parquet, a row a decile and order.

A language model (config.format prompts: JSON lines with "prompt" and "answer", the loss on the answers alone; or a
text, with config.fixed_answer the one token that is the answer to every piece of it): writes DIR/causal.parquet (a row
a step at which the model was kept, config.save_at), causal_matrices.parquet (how far each matrix moved, beside what
weight decay alone would do), causal_history.parquet, causal.json, the models in DIR/snapshots/*/step-* in Hugging Face
layout, and with config.spectra a series of their sweeps in DIR/series/* and causal_spectra.parquet: ranks, phases and
p-values before, along and after. config.undecayed does it all once more without weight decay.

Started again with the same workdir it continues after the last finished member, and inside a training after the last
look at the validation rows. A training that diverges ends at that step with what was kept before it.
"""

from pathlib import Path

from eigensweep.bin import runner
from eigensweep.engine.run.progress import OnProgress
from eigensweep.engine.studies.causal import study as causal
from eigensweep.engine.studies.causal import summary as of_causal
from eigensweep.engine.studies.causal.tables import Causal
from eigensweep.engine.studies.finetune import summary
from eigensweep.engine.studies.finetune.effects import Finetuning
from eigensweep.engine.studies.finetune.options import FinetuneOptions
from eigensweep.engine.studies.finetune.study import run_finetune
from eigensweep.models import Checkpoint


def main() -> None:
    """Settings -> study -> summary and report."""
    runner.run_study(FinetuneOptions, _run, _render)


def _run(
    checkpoint: Checkpoint, options: FinetuneOptions, workdir: str | Path, on_progress: OnProgress
) -> Finetuning | Causal:
    study = causal.run_causal if options.is_language else run_finetune
    return study(checkpoint, options, workdir, on_progress)


def _render(run: Finetuning | Causal) -> str:
    return of_causal.render(run) if isinstance(run, Causal) else summary.render(run)


run = runner.console(main, FinetuneOptions)

if __name__ == "__main__":
    run()
