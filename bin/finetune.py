"""Fine-tune an encoder to classify, and find out what removing singular values before or after does.

    eigensweep-finetune --config=finetune_minilm --config.data=BoolQ/val.jsonl --workdir=runs/ft
    eigensweep-finetune --config=finetune_minilm_order --config.data=BoolQ/val.jsonl --workdir=runs/order
    eigensweep-finetune --checkpoint=PATH_OR_HUB_ID --workdir=DIR [--config=NAME_OR_FILE] [--config.KEY=VALUE ...]

Writes DIR/finetune.parquet (one row a fine-tuned model), finetune_rows.parquet (its loss on every held-out row),
finetune_history.parquet, finetune.json, the models in DIR/models/seed-* (eigensweep-sweep takes them), figures/, and
with config.spectra the sweeps before and after in DIR/sweeps and what changed in spectral_change.parquet. A study
(config.study: deciles removed) adds finetune_effects.parquet, a row a decile and order. Started again with the same
workdir it continues after the last finished member, and inside a training after the last look at the validation rows.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from eigensweep.bin import config_flag
from eigensweep.bin.cli import UserError, run_main
from eigensweep.bin.config_flag import parse_numbers, parse_words

if TYPE_CHECKING:
    from eigensweep.bin.finetune_study import StudyOptions, Task
    from eigensweep.engine.run.finetune import Finetuning
    from eigensweep.models import data
    from eigensweep.models.checkpoint import Checkpoint

_CONFIG = config_flag.define("finetune")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder or hub id of an encoder; overrides the config's"
)
_WORKDIR = flags.DEFINE_string("workdir", None, "run directory; continued if it holds an unfinished study")

_TRAIN = (
    "trainable", "epochs", "batch_size", "learning_rate", "warmup", "weight_decay", "clip", "dropout",
    "evaluate_every", "patience",
)  # fmt: skip
SWEPT = ("query", "key", "value", "attention_output", "mlp_gate", "mlp_up", "mlp_down")


def main(argv: list[str]) -> None:
    """Flags -> data -> study -> tables and figures -> summary."""
    del argv
    config = _CONFIG.value
    source = config_flag.checkpoint_of(_CHECKPOINT.value, config)
    if not _WORKDIR.value:
        raise UserError("no --workdir given: where should the models and tables go?")
    if not config.data:
        raise UserError("no data: give --config.data=FILE.jsonl")
    import jax

    from eigensweep import engine, models
    from eigensweep.bin.finetune_study import run_study
    from eigensweep.engine.report.finetune import write_finetune
    from eigensweep.models.errors import InputError

    try:
        options = options_from(config, jax.default_backend() != "cpu")
        checkpoint = models.open_checkpoint(source)
        task = read_task(config, checkpoint, source)
        workdir, start = Path(_WORKDIR.value), time.monotonic()
        run = run_study(checkpoint, task, options, workdir, _teller())
        written = write_finetune(run, workdir)
        if config.spectra:
            written += _compare_spectra(checkpoint, workdir, options.seeds[0])
    except (engine.RunError, InputError) as error:
        raise UserError(str(error)) from error
    print(summary(run))
    print(f"\n{len(run.members)} models measured; {time.monotonic() - start:.0f} s")
    for path in written:
        print(path)


def options_from(config: Any, on_accelerator: bool) -> "StudyOptions":
    """The study that a config describes.

    Raises:
      UserError: on a value that is none of the allowed ones.
    """
    import jax

    from eigensweep.bin.finetune_study import StudyOptions, seeds_and_deciles
    from eigensweep.models.nn.training import TrainOptions

    least = {"length": 4, "batch_size": 1, "num_train": 1, "num_test": 0, "split_seed": 0, "devices": 1}
    config_flag.check_values(config, least, {"dtype": ("float32", "bfloat16")})
    seeds, deciles = seeds_and_deciles(on_accelerator) if config.study else ((0,), ())
    seeds = parse_numbers("seeds", config.seeds) or seeds
    deciles = (parse_numbers("deciles", config.deciles) or deciles) if config.study else ()
    if not set(deciles) <= set(range(1, 11)):
        raise UserError(f"config: deciles is {config.deciles!r}; expected numbers from 1 to 10")
    if config.devices > 1 and config.batch_size % config.devices:
        raise UserError(f"config: batch_size {config.batch_size} is no multiple of devices {config.devices}")
    if config.devices > jax.device_count():
        raise UserError(f"config: devices is {config.devices}, and JAX sees {jax.device_count()}")
    try:
        training = TrainOptions(**{name: config[name] for name in _TRAIN})
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error
    scopes, orders = parse_words(config.scopes), parse_words(config.orders)
    if not orders or not set(orders) <= {"before", "after"}:
        raise UserError(f"config: orders is {config.orders!r}; expected before, after, or both")
    if not deciles:
        scopes = ()
    return StudyOptions(training, seeds, deciles, scopes, orders, config.dtype, config.devices)


def read_task(config: Any, checkpoint: "Checkpoint", source: str) -> "Task":
    """The rows, tokenized for the checkpoint and split.

    Raises:
      UserError, InputError: with the message for the user.
    """
    from eigensweep.bin.finetune_study import Task, split
    from eigensweep.models import data, nn
    from eigensweep.models.nn.training import check_classifier

    readers: dict[str, Callable[[], list[data.Example]]] = {
        "boolq": lambda: data.read_boolq(config.data),
        "boolq_pairs": lambda: matched(data.read_boolq(config.data)),
        "wic": lambda: data.read_wic(config.data),
        "jsonl": lambda: data.read_labelled(
            config.data, config.text, config.pair or None, parse_words(config.labels), config.label
        ),
    }
    if config.task not in readers:
        raise UserError(f"config: task is {config.task!r}; expected one of {', '.join(readers)}")
    labels = parse_words(config.labels) if config.task == "jsonl" else data.tasks.TRUTH
    if len(labels) < 2:
        raise UserError(f"config: labels is {config.labels!r}; expected at least two, separated by commas")
    model = nn.model_of(checkpoint)
    check_classifier(model, len(labels))
    arch = model.architecture
    if config.length > arch.max_positions:
        raise UserError(
            f"config: length is {config.length}, the model has positions for {arch.max_positions}"
        )
    tokenizer = data.load_tokenizer(config.tokenizer or source)
    data.check_vocabulary(tokenizer, arch.vocab_size, str(source))
    rows = data.classification_rows(tokenizer, readers[config.task](), config.length)
    try:
        train, validation, test = split(
            rows, config.num_train, config.validation, config.num_test, config.split_seed
        )
    except ValueError as error:
        raise UserError(f"{config.data}: {error}") from error
    return Task(train, validation, test, tuple(labels))


def matched(examples: "list[data.Example]") -> "list[data.Example]":
    """Does the pair belong together? Every other question keeps its passage (1), the rest gets its neighbour's (0)."""
    from dataclasses import replace

    shifted = [*examples[-1:], *examples[:-1]]
    return [
        replace(example, label=1) if i % 2 else replace(example, pair=other.pair, label=0)
        for i, (example, other) in enumerate(zip(examples, shifted, strict=True))
    ]


def _compare_spectra(checkpoint: "Checkpoint", workdir: Path, seed: int) -> list[Path]:
    """Sweep the model before and after, and write what changed."""
    from eigensweep import engine, models
    from eigensweep.engine.report.drift import write_drift

    trained = models.open_checkpoint(workdir / "models" / f"seed-{seed}")
    options = engine.SweepOptions(roles=SWEPT, control="none")
    before, after = (
        engine.sweep(opened, options, workdir / "sweeps" / name)
        for name, opened in (("before", checkpoint), ("after", trained))
    )
    return write_drift(before, after, workdir)


def summary(run: "Finetuning") -> str:
    """A line a model, then a line an effect."""
    from eigensweep.engine.run.finetune import effects

    majority = run.manifest["majority"]
    lines = [f"majority of the labels: loss {majority['loss']:.4f}, accuracy {majority['accuracy']:.3f}"]
    for row in run.members.to_dict("records"):
        what = f"{row['scope']} decile {row['decile']}" if row["decile"] else ""
        lines.append(
            f"seed {row['seed']}  {row['order']:6s} {what:24s} loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}"
        )
    for measure in ("loss", "accuracy"):
        for row in effects(run, measure):
            lines.append(
                f"{measure} change, {row['scope']} decile {row['decile']}, {row['order']}: {row['change']:+.4f} "
                f"[{row['low']:+.4f}, {row['high']:+.4f}] over rows, "
                f"[{row['seed_low']:+.4f}, {row['seed_high']:+.4f}] over seeds"
            )
    return "\n".join(lines)


def _teller() -> Callable[[str], None]:
    start = time.monotonic()

    def tell(line: str) -> None:
        import sys

        print(f"{time.monotonic() - start:7.1f} s  {line}", file=sys.stderr, flush=True)

    return tell


def run() -> None:
    """Console script."""
    config_flag.expand_argv()
    run_main(main)


if __name__ == "__main__":
    run()
