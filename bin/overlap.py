"""Overlap of the singular vectors of a checkpoint's weights with the activations that enter them.

    eigensweep-overlap --config=overlap_gpt2_char --checkpoint=PATH --text=FILE --workdir=DIR [--config.KEY=VALUE ...]

Passes the text through the model one block at a time, accumulates F = mean x x^T of the input of every linear layer,
and compares O_k = max_j |v_k . f_j| with a random rotation. Adds overlap.parquet, overlap_covariances.parquet and
overlap.json to the run directory of the sweep (which is done first where DIR holds none), figures to DIR/figures.
Interrupted and started again, it passes over the blocks that are finished.
"""

import hashlib
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from eigensweep.bin import config_flag, texts
from eigensweep.bin.cli import UserError, run_main

if TYPE_CHECKING:
    from eigensweep.engine import Run
    from eigensweep.engine.run.overlap import Collector, OverlapRun
    from eigensweep.models import Checkpoint
    from eigensweep.models.data import Rows
    from eigensweep.models.nn import Model, Output

_CONFIG = config_flag.define("overlap")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "folder or hub id; overrides the config's")
_TEXT = flags.DEFINE_string("text", None, "file with the text; overrides the config's")
_WORKDIR = flags.DEFINE_string("workdir", None, "run directory of the sweep that the columns join")


def main(argv: list[str]) -> None:
    """Flags -> rows -> forward pass, block by block -> tables -> figures -> summary."""
    del argv
    from eigensweep import engine, models
    from eigensweep.engine.report import overlap as figures
    from eigensweep.engine.report.overlap_table import overlap_table, render_overlap
    from eigensweep.models import nn

    config = _CONFIG.value
    source = config_flag.checkpoint_of(_CHECKPOINT.value, config)
    if not _WORKDIR.value:
        raise UserError("no --workdir given: where is the sweep's run directory?")
    check(config)
    start = time.monotonic()
    try:
        checkpoint = models.open_checkpoint(source)
        model = nn.model_of(checkpoint, config.dtype)
        there = existing(checkpoint, Path(_WORKDIR.value))
        rows = texts.rows_of(
            config, _TEXT.value or config.text, config.tokenizer or source, checkpoint, model
        )
        options = engine.SweepOptions(level=config.level)
        run = there or engine.sweep(checkpoint, options, _WORKDIR.value)
        found = study(config, checkpoint, model, rows, run, Path(_WORKDIR.value))
        files = figures.write_overlap(found, Path(_WORKDIR.value))
    except (engine.RunError, nn.DeviceMemoryError) as error:
        raise UserError(str(error)) from error
    print(render_overlap(overlap_table(found, config.seed)))
    loss = found.manifest.get("loss")
    said = f"; loss {loss:.4f} nats/token" if loss is not None else ""
    print(
        f"\n{found.manifest['num_tokens']} tokens in {len(rows.row)} rows{said}; {time.monotonic() - start:.1f} s"
    )
    print(f"tables: {_WORKDIR.value}/overlap.parquet, overlap_covariances.parquet")
    print(f"figures: {', '.join(map(str, files))}")


def check(config: Any) -> None:
    """Raise UserError for a value that is out of range."""
    least = {"length": 2, "batch_size": 1, "num_rows": 0, "seed": 0}
    config_flag.check_values(config, least, {"dtype": ("float32", "bfloat16")})
    if not 0 < config.level < 0.5:
        raise UserError(f"config: level is {config.level}; expected a number between 0 and 0.5")


def existing(checkpoint: "Checkpoint", workdir: Path) -> "Run | None":
    """The finished sweep in `workdir`; None if there is none yet, or an unfinished one, which is then continued.

    Raises:
      UserError: it is another checkpoint's, or no sweep's.
    """
    from eigensweep import engine
    from eigensweep.engine.run.store import read_manifest

    manifest = read_manifest(workdir)
    if manifest is None:
        return None
    if "study" in manifest:
        raise UserError(f"{workdir}: holds a removal study, not a sweep; take another --workdir")
    there = manifest["checkpoint"]
    if there.get("sha256") != checkpoint.identity["sha256"]:
        raise UserError(f"{workdir}: is the sweep of {there.get('source')}, not of this checkpoint")
    return engine.open_run(workdir) if engine.is_finished(workdir) else None


def study(
    config: Any, checkpoint: "Checkpoint", model: "Model", rows: "Rows", run: "Run", workdir: Path
) -> "OverlapRun":
    """The overlap study of a run in `workdir`, done or continued."""
    from eigensweep.engine.run.overlap import open_overlap, overlap_study
    from eigensweep.models import data, nn

    groups: dict[str, list[Any]] = {}
    for matrix in checkpoint.matrices:
        if matrix.path.endswith("/kernel"):  # a table of embeddings is entered by no activation
            groups.setdefault(nn.tap_of(matrix.path), []).append(matrix)
    identity = {"data_sha256": fingerprint(rows), "dtype": config.dtype}

    def run_all(batch_size: int, most: int | None = None) -> "OverlapRun | None":
        batches = list(data.batches(rows, batch_size))[:most]
        masks = [batch.attention_mask for batch in batches]
        with overlap_study(run, groups, masks, identity, config.centred) as collector:
            if collector is None:
                return open_overlap(workdir)
            return collect(checkpoint, model, batches, collector, most is None)

    found = nn.with_memory_advice(run_all, config.batch_size, partial(run_all, most=1))
    return found or open_overlap(workdir)


def collect(
    checkpoint: "Checkpoint", model: "Model", batches: list["Rows"], collector: "Collector", finish: bool
) -> "OverlapRun | None":
    """Every batch through every block, past the collector; the language model's loss on the way."""
    import numpy as np

    from eigensweep.models import data, nn

    def loss(batch: "Rows", output: "Output") -> tuple[float, int]:
        if output.logits is None or not (batch.targets != data.IGNORE).any():
            return 0.0, 0
        total, count, _ = nn.score_logits(output.logits, batch.targets)
        return float(total.sum()), int(count.sum())

    start = time.monotonic()
    visit = collector.visit if finish else None
    parts = nn.stream(model, nn.reader(checkpoint, model), batches, loss, visit=visit)
    if not finish:
        return None
    total, count = np.sum(parts, axis=0)
    record = {
        "loss": total / count if count else None,
        "num_tokens": int(sum(batch.attention_mask.sum() for batch in batches)),
        "seconds": round(time.monotonic() - start, 1),
    }
    return collector.finish(record)


def fingerprint(rows: "Rows") -> str:
    """SHA-256 of the tokens and their masks."""
    digest = hashlib.sha256(repr(rows.input_ids.shape).encode())
    for array in (rows.input_ids, rows.attention_mask, rows.type_ids):
        digest.update(array.tobytes())
    return digest.hexdigest()


def run() -> None:
    """Console script."""
    config_flag.expand_argv()
    run_main(main)


if __name__ == "__main__":
    run()
