"""Options of eigensweep-finetune: of classifiers, and of language models (format = prompts, or a text)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from eigensweep.engine.run.options import LARGEST, option
from eigensweep.engine.studies.data import DataFields, uncounted
from eigensweep.engine.studies.factors import FactorFields
from eigensweep.engine.studies.finetune.effects import ORDERS
from eigensweep.models.nn import TrainOptions

SWEPT = ("query", "key", "value", "attention_output", "mlp_gate", "mlp_up", "mlp_down")
LANGUAGE = ("prompts", "text", "wikitext", "jsonl", "hub")
"""Formats of the data that a language model learns from; a classifier learns from the others."""
_OF_LANGUAGE = ("fixed_answer", "text_data", "steps", "save_at", "undecayed")
_TRAIN = [name for name in TrainOptions.__dataclass_fields__ if name != "max_steps"]


@dataclass(frozen=True)
class FinetuneOptions(DataFields, FactorFields):
    """Options of a fine-tuning study; equal options, checkpoint and data give equal tables."""

    COMMAND: ClassVar[str] = "finetune"
    ALIASES: ClassVar[Mapping[str, str]] = {
        "task": "format", "text": "field", "pair": "pair_field", "label": "label_field",
    }  # fmt: skip

    format: str = option(
        "boolq",
        "of the rows: a classifier's, a language model's prompts with answers, or a text",
        choices=("boolq", "boolq_pairs", "wic", "labelled", *LANGUAGE),
        counts=False,
    )
    length: int = option(128, "tokens a row", least=4, counts=False)
    batch_size: int = option(16, "rows a step", least=1)
    dtype: str = option(
        "float32", "of the computation; parameters are trained in float32", choices=("float32", "bfloat16")
    )
    devices: int = option(1, "deal batches out over that many", least=1)
    num_train: int = option(2600, "rows to learn from, validation rows among them; the rest is held out", least=1)
    validation: float = option(0.1, "share of num_train that early stopping looks at", inside=(0, 1))
    num_test: int = option(0, "held-out rows to use, 0 for all", least=0)
    split_seed: int = option(0, "which passages are held out: the same for all members", least=0, most=LARGEST)
    trainable: str = option("all", "all parameters, or the head", choices=("all", "head"))
    epochs: int = option(3, "passes over the rows, at most", least=1)
    learning_rate: float = option(5e-5, "its peak")
    warmup: float = option(0.1, "share of the steps over which the rate rises", least=0)
    weight_decay: float = option(0.01, "AdamW's", least=0)
    clip: float = option(1.0, "largest global norm of a gradient")
    dropout: bool = option(True, "drop out as the model's config says")
    evaluate_every: int = option(0, "steps between looks at the validation rows; 0: an epoch", least=0)
    patience: int = option(
        -1, "looks without a better loss after which training stops; 0: never; by default 2 of a classifier", least=-1
    )
    seeds: tuple[int, ...] = option((), "of head, order and dropout; by default 0, of a study 0,1")
    study: bool = option(False, "remove deciles before and after fine-tuning")
    deciles: tuple[int, ...] = option((1, 5, 10), "which, 1 the largest; as 1-10")
    scopes: tuple[str, ...] = option(
        ("blocks",),
        "what a decile is taken from: blocks (all matrices there at once), roles, or roles and matrices; stream: of "
        "eigenvectors of its covariance, out of what norms read",
    )
    orders: tuple[str, ...] = option(("before", "after"), "remove, then fine-tune; fine-tune, then remove (cheap)")
    fixed_answer: str = option(
        "", "one token that a language model is taught to answer to everything: prompts are pieces of the text"
    )
    text_data: str = uncounted("", "of prompts: a text file, to see what a language model forgets meanwhile")
    steps: int = option(0, "of a language model's training; 0: those of the epochs", least=0)
    save_at: tuple[int, ...] = option(
        (), "steps at which a language model is kept, besides the first and the last; by default the quarters"
    )
    undecayed: bool = option(False, "train a language model once more without weight decay, to tell its part")
    spectra: bool = option(True, "sweep the model before and after fine-tuning, and compare", counts=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience < 0:
            object.__setattr__(self, "patience", 0 if self.is_language else 2)
        object.__setattr__(self, "seeds", self.seeds or ((0, 1) if self.study else (0,)))
        if not self.study:
            for name in ("deciles", "scopes"):
                object.__setattr__(self, name, ())
        if not set(self.deciles) <= set(range(1, 11)) or self.study > bool(self.deciles):
            raise ValueError(f"deciles is {self.deciles}; expected numbers from 1 to 10")
        if not self.orders or not set(self.orders) <= set(ORDERS[1:]):
            raise ValueError(f"orders is {self.orders}; expected before, after, or both")
        if self.batch_size % self.devices:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of devices {self.devices}")
        self.train_options()
        if self.is_language:
            self._check_language()
        elif given := [name for name in _OF_LANGUAGE if getattr(self, name)]:
            raise ValueError(
                f"{given[0]} is of language models (format {', '.join(LANGUAGE)}), and format is {self.format}"
            )

    @property
    def is_language(self) -> bool:
        """Whether a language model is trained, and no classifier."""
        return self.format in LANGUAGE

    def train_options(self, num_rows: int = 0) -> TrainOptions:
        """What determines a training; with `steps`, as many epochs as so many rows need for them."""
        recipe = TrainOptions(**{name: getattr(self, name) for name in _TRAIN})
        if not (self.steps and num_rows):
            return recipe
        return replace(recipe, epochs=math.ceil(self.steps * self.batch_size / num_rows), max_steps=self.steps)

    def to_json(self) -> dict[str, Any]:
        """As every study's; what is of language models alone is no part of a classifier's identity."""
        found = super().to_json()
        return {key: value for key, value in found.items() if self.is_language or key not in _OF_LANGUAGE}

    def _check_language(self) -> None:
        for name in ("study", "patience"):
            if getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)}, and only a classifier's training knows it")
        if self.trainable != "all":
            raise ValueError(f"trainable is {self.trainable}; of a language model all parameters are trained")
        if len(self.seeds) > 1:
            raise ValueError(f"seeds is {self.seeds}; a language model is trained with one")
        if self.fixed_answer and self.format == "prompts":
            raise ValueError("fixed_answer answers pieces of a text, and format is prompts, which have their own")
        if self.text_data and self.format != "prompts":
            raise ValueError("text_data is of format = prompts; else the text itself is what is forgotten")
        if self.undecayed and not self.weight_decay:
            raise ValueError("undecayed is on, and weight_decay is 0: that is the same training")
        if self.learning_rate * self.weight_decay >= 1:
            raise ValueError(
                f"learning_rate * weight_decay is {self.learning_rate * self.weight_decay:g}; expected less than 1: "
                "a step of decay would take away all of a weight"
            )
