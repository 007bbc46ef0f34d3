"""Train a small language model from nothing and keep it at chosen steps, for a series of sweeps.

    eigensweep-pretrain --config=pretrain_tiny --config.data=tinyshakespeare.txt --workdir=models/tiny
    eigensweep-pretrain --config_json=config.json --config.data=FILE --workdir=DIR [--config.KEY=VALUE ...]
    eigensweep-series --checkpoints='models/tiny/step-*' --workdir=runs/tiny

Writes DIR/step-<number> for every step of config.save_at, each a checkpoint in Hugging Face layout that transformers
loads, and DIR/pretrain.json with the losses. Started again with the same workdir it continues after the last look at
the validation rows.
"""

import time

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.pretraining import PretrainOptions, pretrain


def main() -> None:
    """Settings -> training -> where the checkpoints are."""
    config, options, workdir = runner.settings(PretrainOptions, "config_json", needed=False)
    if not workdir:
        raise UserError("no --workdir given: where should the checkpoints go?")
    from eigensweep.progress import reporter

    start = time.monotonic()
    with reporter() as on_progress:
        found = pretrain(config, options, workdir, on_progress)
    last = found.history[-1]
    print(f"step {last['step']}: train {last['train_loss']:.4f}, validation {last['validation_loss']:.4f} nats a token")
    print(f"{len(found.checkpoints)} checkpoints in {time.monotonic() - start:.1f} s: {workdir}/step-*")


run = runner.console(main, PretrainOptions, "config_json", report=False)

if __name__ == "__main__":
    run()
