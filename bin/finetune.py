"""Fine-tune an encoder to classify, and find out what removing singular values before or after does.

    eigensweep-finetune --config=finetune_minilm --data=BoolQ/val.jsonl --workdir=runs/ft
    eigensweep-finetune --config=finetune_minilm_order --data=BoolQ/val.jsonl --workdir=runs/order
    eigensweep-finetune --checkpoint=PATH_OR_HUB_ID --workdir=DIR [--config=NAME_OR_FILE] [--config.KEY=VALUE ...]

Writes DIR/finetune.parquet (one row a fine-tuned model), finetune_rows.parquet (its loss on every held-out row),
finetune_history.parquet, finetune.json, the models in DIR/models/seed-* (eigensweep-sweep takes them), figures/ and
report.html, and with config.spectra the sweeps before and after in DIR/sweeps and what changed in
spectral_change.parquet. A study (config.study: deciles removed) adds finetune_effects.parquet, a row a decile and
order. Started again with the same workdir it continues after the last finished member, and inside a training after the
last look at the validation rows.
"""

from eigensweep.bin import runner
from eigensweep.engine.studies.finetune.study import FinetuneOptions, run_finetune
from eigensweep.engine.studies.finetune.summary import render


def main() -> None:
    """Settings -> study -> summary and report."""
    runner.run_study(FinetuneOptions, run_finetune, render)


run = runner.console(main, FinetuneOptions)

if __name__ == "__main__":
    run()
