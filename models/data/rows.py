"""From options to rows of tokens: the one reader for everything that a model is measured on, or passes through it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigensweep.models.data import text as files
from eigensweep.models.data.batches import IGNORE, Rows, classification_rows, mask_tokens, text_rows, windows
from eigensweep.models.data.prompts import prompt_rows, read_prompts
from eigensweep.models.data.text import TRUTH, DataError, Example
from eigensweep.models.data.tokenizer import FEWEST_TOKENS, added_bos, check_vocabulary, encode_text

TEXTS = ("text", "wikitext", "jsonl", "hub")
EXAMPLES = ("boolq", "boolq_pairs", "wic", "labelled")
FORMATS = (*TEXTS, "passages", "prompts", "sampled", *EXAMPLES)
MOST_TOKENS = 2048  # a row, unless the options ask for more

Sample = Callable[[int, int, int, int], Rows]
"""sample(bos, num_rows, length, seed): rows that a causal model writes itself."""


@dataclass(frozen=True)
class DataOptions:
    """What to read, and how to cut it into rows.

    Attributes:
      data: a file; for "hub" NAME, NAME:SPLIT or NAME:CONFIGURATION:SPLIT, for rows of the hub (passages, labelled) the
        same behind "hub:"; unused for "sampled".
      format: text, wikitext, jsonl (the rows joined), hub: one long text; passages: JSON lines, each row apart;
        prompts: JSON lines with "prompt" and "answer", of which a causal model predicts the answer; sampled: drawn from
        the model; boolq, boolq_pairs (do question and passage belong together?), wic, labelled: labelled examples.
      field: of JSON lines and data sets of the hub, with the text.
      pair_field: of labelled rows, with the second text; "" for none.
      label_field, labels: of labelled rows: the field, and its values in the order of the classifier's outputs.
      data_from, data_to: the share of the text's characters, or of the rows of a file, that is read.
      length: tokens a row; 0 for the model's positions, at most MOST_TOKENS.
      stride: tokens between the beginnings of two windows; 0 for `length`, more leaves text out.
      max_rows: 0 for all.
      choose: which, where there are more: "evenly" spaced, or at "random" by the seed, in the data's order.
      mask_probability: of a masked language model's targets.
      seed: of masks, of the choice and of samples.
      bos: begin every window with the start token; None: where the tokenizer adds one by itself.
      any_tokenizer: allow a tokenizer that has far fewer tokens than the model.
    """

    data: str = ""
    format: str = "text"
    field: str = "text"
    pair_field: str = ""
    label_field: str = "label"
    labels: tuple[str, ...] = ()
    data_from: float = 0.0
    data_to: float = 1.0
    length: int = 0
    stride: int = 0
    max_rows: int = 0
    choose: str = "evenly"
    mask_probability: float = 0.15
    seed: int = 0
    bos: bool | None = None
    any_tokenizer: bool = False

    def __post_init__(self) -> None:
        for name, allowed in (("format", FORMATS), ("choose", ("evenly", "random"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}")
        for name in ("length", "stride", "max_rows", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 0")
        if self.length == 1:
            raise ValueError("length is 1; expected at least 2, or 0 for the longest")
        if not 0 < self.mask_probability < 1:
            raise ValueError(f"mask_probability is {self.mask_probability}; expected a number between 0 and 1")
        if not 0 <= self.data_from < self.data_to <= 1:
            raise ValueError(
                f"data_from and data_to are shares of the data, 0 <= from < to <= 1, not {self.data_from} and "
                f"{self.data_to}"
            )
        if self.format == "labelled" and len(self.labels) < 2:
            raise ValueError(f"labels is {', '.join(self.labels)!r}; expected at least two")
        if self.format == "sampled" and not self.max_rows:
            raise ValueError("format is 'sampled', which needs max_rows of at least 1")

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the examples, in the order of the classifier's outputs; () for anything else."""
        return {"labelled": self.labels}.get(self.format, TRUTH) if self.format in EXAMPLES else ()


def read_rows(
    options: DataOptions,
    tokenizer: Any,
    *,
    vocab_size: int,
    max_positions: int,
    causal: bool,
    head: str | None = None,
    num_labels: int | None = None,
    sample: Sample | None = None,
) -> Rows:
    """Rows for one model.

    Args:
      options: what to read.
      tokenizer: of `load_tokenizer`.
      vocab_size, max_positions, causal: of the model.
      head: what the rows are for: "classifier" (labels are targets), "mlm" (masked tokens are), "unembedding" (the
        next token is), None: a forward pass alone; a causal model's windows have targets all the same.
      num_labels: the classifier's outputs, to hold the labels against; None: not held.
      sample: writes the rows of the format "sampled".

    Returns:
      Rows of `options.length` tokens, numbered from 0.

    Raises:
      DataError: the file, the tokenizer or the format does not serve.
    """
    check_vocabulary(tokenizer, vocab_size, fewest=0.0 if options.any_tokenizer else FEWEST_TOKENS)
    length = options.length or min(max_positions, MOST_TOKENS)
    if length > max_positions:
        raise DataError(f"length is {length} tokens; the model has positions for {max_positions}")
    if (head == "classifier") != (options.format in EXAMPLES):
        raise DataError(
            f"format is {options.format!r}; a classifier is measured on {', '.join(EXAMPLES)}, and nothing else is"
        )
    if options.format == "sampled":
        if sample is None or not causal or tokenizer.bos_token_id is None:
            raise DataError("format is 'sampled', which needs a causal model and a tokenizer with a start token")
        return sample(tokenizer.bos_token_id, options.max_rows, length, options.seed)
    if head == "classifier" and num_labels not in (None, len(options.classes)):
        raise DataError(
            f"{options.data}: {len(options.classes)} labels ({', '.join(options.classes)}), but the classifier has "
            f"{num_labels} outputs"
        )
    if options.format in TEXTS:
        rows = _text_rows(options, tokenizer, length, causal)
    elif options.format == "prompts":
        if not causal:
            raise DataError("format is 'prompts', and only a causal language model answers")
        rows = prompt_rows(tokenizer, _share(read_prompts(_named(options)), options), length)
    else:
        examples = read_examples(options)
        rows = classification_rows(tokenizer, examples, length)
        if head != "classifier":
            rows = rows._replace(targets=_next_tokens(rows, head == "unembedding"))
    if head == "mlm":
        rows = mask_tokens(rows, tokenizer, options.seed, options.mask_probability)
    return _chosen(rows, options)


def read_examples(options: DataOptions) -> list[Example]:
    """The rows of a file with labelled examples or passages, before they are tokenized; a passage has the label 0.

    Raises:
      DataError: naming file and line; or the format is that of one long text.
    """
    path = _named(options)
    if options.format == "passages":
        texts = [files.field(row, options.field, f"{path}:{number}") for number, row in files.read_jsonl(path)]
        examples = [Example(text, None, 0) for text in texts]
    elif options.format == "labelled":
        pair = options.pair_field or None
        examples = files.read_labelled(path, options.field, pair, options.labels, options.label_field)
    elif options.format == "wic":
        examples = files.read_wic(path)
    elif options.format in EXAMPLES:
        examples = files.read_boolq(path)
        examples = files.matched(examples) if options.format == "boolq_pairs" else examples
    else:
        raise DataError(f"format is {options.format!r}; examples are passages, {', '.join(EXAMPLES)}")
    return _share(examples, options)


def _text_rows(options: DataOptions, tokenizer: Any, length: int, causal: bool) -> Rows:
    path = _named(options)
    if options.format == "hub":
        text = files.read_hub(*files.hub_address(path), options.field)
    elif options.format == "jsonl":
        text = files.read_jsonl_text(path, options.field)
    else:
        text = (files.read_wikitext if options.format == "wikitext" else files.read_text)(path)
    text = _share(text, options)
    if not causal:
        return text_rows(tokenizer, text, length)
    tokens, added, bos = encode_text(tokenizer, text), added_bos(tokenizer), None
    if options.bos or (options.bos is None and added is not None):
        bos = tokenizer.bos_token_id
        if bos is None:
            raise DataError("bos is on, but the tokenizer has no start token")
        tokens = tokens if added is None else tokens[1:]
    return windows(tokens, length, options.stride or length, bos)


def _named(options: DataOptions) -> str:
    if not options.data:
        raise DataError("data is empty: name the file with the text or the rows")
    return options.data


def _share(items: Any, options: DataOptions) -> Any:
    return items[int(options.data_from * len(items)) : int(options.data_to * len(items))]


def _next_tokens(rows: Rows, scored: bool) -> np.ndarray:
    """(N, T) int32: the token after each one, or nothing to predict."""
    targets = np.full_like(rows.input_ids, IGNORE)
    if scored:
        targets[:, :-1] = np.where(rows.attention_mask[:, 1:], rows.input_ids[:, 1:], IGNORE)
    return targets


def _chosen(rows: Rows, options: DataOptions) -> Rows:
    num, most = len(rows.row), options.max_rows
    if not 0 < most < num:
        return rows
    if options.choose == "evenly":
        order = np.arange(most) * num // most
    else:
        order = np.sort(np.random.default_rng(options.seed).choice(num, most, replace=False))
    return rows.take(order)._replace(row=np.arange(most, dtype=np.int32))
