"""A language model trained from nothing, its parameters kept at chosen steps: what a series of sweeps is made of.

Every kept step is a checkpoint in Hugging Face layout, `step-00000064` and so on, with the tokenizer beside it. Killed
and started again it continues after its last look at the validation rows, to the same bits.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eigensweep.engine.run.options import LARGEST, Options, option
from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import read_json, write_json
from eigensweep.models import CheckpointError, nn
from eigensweep.models.data import DataOptions, Rows, load_tokenizer, read_rows
from eigensweep.models.data.characters import write_character_tokenizer
from eigensweep.models.data.text import read_text
from eigensweep.models.export import write_parameters
from eigensweep.models.sources.files import read_json as read_config

RECORD = "pretrain.json"
"""What says which training a folder holds, and how it went."""
VALIDATION = 0.9  # the text from this share on is not learned from
GPT2_TINY: dict[str, Any] = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "n_embd": 128,
    "n_layer": 4,
    "n_head": 4,
    "n_inner": 512,
    "n_positions": 128,
    "activation_function": "gelu",
    "tie_word_embeddings": False,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
    "bos_token_id": None,
    "eos_token_id": None,
}
"""The model that is trained where no config.json is given; its vocabulary is the tokenizer's."""


@dataclass(frozen=True)
class PretrainOptions(Options):
    """Options of a training from nothing; equal options, config and data give equal parameters."""

    COMMAND: ClassVar[str] = "pretrain"

    data: str = option("", "file with the text; its last tenth is for validation", counts=False)
    tokenizer: str = option("", "folder or hub id; by default every character of the text is a token", counts=False)
    length: int = option(0, "tokens a row; 0: as many as the model has positions, at most 2048", least=0)
    steps: int = option(2000, "of the optimizer", least=1)
    save_at: tuple[int, ...] = option(
        (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 2000), "steps at which a checkpoint is written; 0: untrained"
    )
    batch_size: int = option(16, "rows a step", least=1)
    learning_rate: float = option(1e-3, "its peak; it falls to 0 at the last step")
    warmup: float = option(0.05, "share of the steps over which the rate rises", least=0)
    weight_decay: float = option(0.1, "AdamW's, on kernels and tables", least=0)
    clip: float = option(1.0, "largest global norm of a gradient")
    evaluate_every: int = option(100, "steps between looks at the validation rows, where a start can continue", least=1)
    validation_rows: int = option(64, "rows of the last tenth that a look takes", least=1)
    seed: int = option(0, "of the first parameters and of the order of the rows", least=0, most=LARGEST)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "save_at", tuple(sorted(step for step in set(self.save_at) if step <= self.steps)))
        if not self.save_at:
            raise ValueError(f"save_at has no step up to steps = {self.steps}")
        self.train_options(1)

    def train_options(self, num_rows: int) -> nn.TrainOptions:
        """The recipe over so many rows."""
        names = ("batch_size", "learning_rate", "warmup", "weight_decay", "clip", "evaluate_every")
        chosen = {name: getattr(self, name) for name in names}
        epochs = -(-self.steps * self.batch_size // num_rows)
        return nn.TrainOptions(**chosen, epochs=epochs, max_steps=self.steps, dropout=False)


@dataclass(frozen=True)
class Pretrained:
    """What a training left: its checkpoints by step, and its looks at the validation rows."""

    directory: Path
    checkpoints: Mapping[int, Path]
    history: list[dict[str, float]] = field(default_factory=list)


def pretrain(
    config: str | Mapping[str, Any], options: PretrainOptions, workdir: str | Path, on_progress: OnProgress = silent
) -> Pretrained:
    """Train a causal language model from random parameters, N(0, 0.02^2), and keep it at `options.save_at`.

    Args:
      config: path of a config.json, or what it holds; "" for GPT2_TINY. Without `vocab_size` it is the tokenizer's.
      workdir: where the checkpoints go; an unfinished training there is continued.

    Raises:
      RunError, InputError: config, data or tokenizer do not serve; `workdir` holds another training.
    """
    workdir, config = Path(workdir), _config_of(config)
    if not options.data:
        raise RunError("no data: give --config.data=FILE, the text")
    text = read_text(options.data)
    identity = {"options": options.to_json(), "config": dict(config), "data_sha256": sha256(text.encode()).hexdigest()}
    with tempfile.TemporaryDirectory() as folder:
        if not options.tokenizer:
            write_character_tokenizer(text, Path(folder))
        tokenizer = load_tokenizer(options.tokenizer or folder)
    config = {"vocab_size": len(tokenizer)} | dict(config)
    model = nn.build(config)
    if not model.architecture.causal:
        raise CheckpointError(f"config: {config.get('model_type')} is no causal model, and only those are trained here")
    rows = _rows(model, tokenizer, options, "train"), _rows(model, tokenizer, options, "validation")
    _claim(workdir, identity)
    tokenizer.save_pretrained(workdir / "tokenizer")
    recipe = options.train_options(len(rows[0].row))
    progress = _train(model, config, rows, recipe, options, workdir, on_progress)
    kept = {step: _folder(workdir, step) for step in options.save_at}
    write_json(workdir / RECORD, {**identity, "history": progress.history})
    return Pretrained(workdir, kept, progress.history)


def _train(
    model: nn.Model, config: Mapping[str, Any], rows: tuple[Rows, Rows], recipe: nn.TrainOptions,
    options: PretrainOptions, workdir: Path, on_progress: OnProgress,
) -> nn.Progress:  # fmt: skip
    def on_save(step: int, params: Any) -> None:
        shutil.rmtree(_folder(workdir, step), ignore_errors=True)  # of an earlier start: the same, or half written
        leaves = {path: np.asarray(leaf) for path, leaf in nn.walk(params)}
        write_parameters(config, leaves, _folder(workdir, step), workdir / "tokenizer")

    def on_look(progress: nn.Progress, total: int) -> None:
        look = progress.history[-1]
        what = f"train {look['train_loss']:.4f}, validation {look['validation_loss']:.4f} nats a token"
        on_progress(Progress(progress.step, total, progress.step, total, what, "training"))

    _, progress = nn.train(
        model, model.init(options.seed), *rows, recipe, options.seed, directory=workdir / "training",
        on_look=on_look, head="unembedding", save_at=options.save_at, on_save=on_save,
    )  # fmt: skip
    return progress


def _rows(model: nn.Model, tokenizer: Any, options: PretrainOptions, part: str) -> Rows:
    """Windows of the text that abut: nine tenths to learn from, of the last tenth some that are evenly spaced."""
    learned = part == "train"
    chosen = DataOptions(
        data=options.data,
        length=options.length,
        data_from=0.0 if learned else VALIDATION,
        data_to=VALIDATION if learned else 1.0,
        max_rows=0 if learned else options.validation_rows,
    )
    arch = model.architecture
    return read_rows(
        chosen, tokenizer, vocab_size=arch.vocab_size, max_positions=arch.max_positions, causal=True, head="unembedding"
    )


def _claim(workdir: Path, identity: Mapping[str, Any]) -> None:
    """Refuse a folder with another training; note in it which one this is.

    Raises:
      RunError: another training is there, or it cannot be written.
    """
    there = read_json(workdir / RECORD)
    if there is None:
        return write_json(workdir / RECORD, identity)
    plain = json.loads(json.dumps(identity))
    if different := [key for key, value in plain.items() if there.get(key) != value]:
        raise RunError(f"{workdir}: holds another training (other {', '.join(different)}); take a new workdir")
    return None


def _folder(workdir: Path, step: int) -> Path:
    return workdir / f"step-{step:08d}"


def _config_of(config: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if not config:
        return GPT2_TINY
    return read_config(Path(config)) if isinstance(config, str) else dict(config)
