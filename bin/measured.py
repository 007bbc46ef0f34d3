"""What a study measures a model by: data from a config, and the model's losses with some of its matrices replaced."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.bin.cli import UserError
from eigensweep.bin.config_flag import check_values, parse_words

MEASURES = {"unembedding": "perplexity", "mlm": "masked", "classifier": "accuracy"}
MOST_TOKENS = 2048  # a window, unless the config asks for more


@dataclass(frozen=True)
class Measure:
    """A model, the rows that it is measured on, and the head that is.

    Attributes:
      name: perplexity, masked or accuracy.
      description: JSON-able; tells one measurement from another.
      evaluate: the scores (`eigensweep.models.nn.Scores`) with the given matrices in place of the model's own.
    """

    name: str
    description: dict[str, Any]
    evaluate: Callable[[Mapping[str, np.ndarray]], Any]


def open_measure(checkpoint: Any, config: Any) -> Measure:
    """Load the model and the data that a config names.

    Raises:
      UserError: the config asks for what is not there; CheckpointError and DataError say what is wrong with the input.
    """
    from eigensweep.models import nn
    from eigensweep.models.data import load_tokenizer

    check(config)
    model = nn.model_of(checkpoint, config.dtype)
    head = _head(model, config.measure, checkpoint.identity["source"])
    if config.stream and (config.data_devices > 1 or config.param_dtype or config.data == "sampled"):
        raise UserError("config: stream goes with neither data_devices, nor param_dtype, nor data = sampled")
    try:
        mesh = nn.make_mesh(config.data_devices) if config.data_devices > 1 else None
    except ValueError as error:
        raise UserError(f"config: data_devices: {error}") from error
    params = None if config.stream else nn.load(checkpoint, config.dtype, mesh, config.param_dtype or None)[1]
    tokenizer = load_tokenizer(config.tokenizer or checkpoint.identity["source"])
    rows = _rows(model, params, tokenizer, head, config)

    def evaluate(replaced: Mapping[str, np.ndarray]) -> Any:
        if params is None:
            scores = streamed_scores(checkpoint, model, replaced, rows, config.batch_size, head)
        else:
            edited = with_matrices(params, checkpoint, replaced)
            scores = nn.score(model, edited, rows, config.batch_size, head, mesh)
        return nn.with_guide_weights(scores, rows) if head == "unembedding" else scores

    description = {
        "measure": MEASURES[head],
        "data": Path(config.data).name,
        "data_sha256": hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in rows)).hexdigest(),
        "rows": len(rows.row),
        "length": int(rows.input_ids.shape[1]),
        "targets": int(np.sum(rows.targets != -100)),
        "dtype": config.dtype,
    }
    return Measure(MEASURES[head], description, evaluate)


def check(config: Any) -> None:
    """Raise UserError for a value that is out of range."""
    least = {"length": 0, "stride": 0, "batch_size": 1, "max_rows": 0, "seed": 0, "data_devices": 1}
    check_values(
        config,
        least,
        {"dtype": ("float32", "bfloat16"), "param_dtype": ("", "float32", "bfloat16", "float16")},
    )
    if config.length == 1:
        raise UserError("config: length is 1; expected at least 2, or 0 for the longest")
    if not 0 < config.mask_probability < 1:
        raise UserError(
            f"config: mask_probability is {config.mask_probability}; expected a number between 0 and 1"
        )


def with_matrices(params: Any, checkpoint: Any, replaced: Mapping[str, np.ndarray]) -> Any:
    """The tree of parameters with matrices (m, n) in place of their leaves; all other leaves are shared.

    They are rounded to the checkpoint's dtype first, as they would be in its files.

    Raises:
      UserError: a matrix that the forward pass does not read.
    """
    import jax

    from eigensweep.models import nn

    for matrix in _read_by(params, checkpoint, replaced):
        leaf = nn.get(params, matrix.path)
        kernel = _kernel(matrix, replaced[matrix.name]).astype(leaf.dtype)
        # committed or not as the leaf was: XLA compiles anew for another placement
        array = jax.device_put(kernel, leaf.sharding if leaf.committed else None)
        if matrix.index is not None:
            array = leaf.at[matrix.index].set(array)
        params = nn.replace(params, matrix.path, array)
    return params


def streamed_scores(
    checkpoint: Any, model: Any, replaced: Mapping[str, np.ndarray], rows: Any, batch_size: int, head: str
) -> Any:
    """The scores with matrices (m, n) in place of the checkpoint's, one block of the model on the device at a time.

    Raises:
      UserError, DeviceMemoryError: as `with_matrices` and `score`.
    """
    from eigensweep.models import data, nn

    matrices = _read_by(model.abstract(), checkpoint, replaced)
    read_stored = nn.reader(checkpoint, model)

    def read(part: str) -> Any:
        params = read_stored(part)
        prefix = f"{part}/" if part.startswith("blocks/") else ""
        inside = {path for path, _ in nn.walk(params)}
        for matrix in matrices:
            path = matrix.path.removeprefix(prefix)
            if matrix.path.startswith(prefix) and path in inside:  # a tied embedding is in two parts
                kernel = _kernel(matrix, replaced[matrix.name])
                if matrix.index is not None:
                    stack = np.array(nn.get(params, path))
                    stack[matrix.index] = kernel
                    kernel = stack
                params = nn.replace(params, path, kernel)
        return params

    def run(size: int, most: int | None = None) -> Any:
        return nn.stream_score(model, read, list(data.batches(rows, size))[:most], head)

    return nn.with_memory_advice(run, batch_size, lambda size: run(size, 1))


def _read_by(params: Any, checkpoint: Any, replaced: Mapping[str, np.ndarray]) -> list[Any]:
    """The checkpoint's matrices of these names, all of which must be leaves of `params`."""
    from eigensweep.models import nn

    paths = {path for path, _ in nn.walk(params)}
    chosen = [matrix for matrix in checkpoint.matrices if matrix.name in replaced]
    for matrix in chosen:
        if matrix.path not in paths:
            raise UserError(f"{matrix.name}: the measured head does not read it; leave it out of scopes")
    return chosen


def _kernel(matrix: Any, w: np.ndarray) -> np.ndarray:
    """W (m, n) as it is stored: rounded to the checkpoint's dtype, contiguous."""
    return np.ascontiguousarray((w.T if matrix.transposed else w).astype(matrix.dtype))


def _head(model: Any, measure: str, source: str) -> str:
    """The head behind a measure; for "auto" the model's default one."""
    heads = {name: head for head, name in MEASURES.items()}
    if measure not in ("auto", *heads):
        raise UserError(f"config: measure is {measure!r}; expected auto, {', '.join(heads)}")
    head = model.head("default" if measure == "auto" else heads[measure])
    if head not in MEASURES:
        raise UserError(
            f"{source}: the model has no head that predicts anything (no language model, no masked language model, no "
            "classifier), so there is no loss to measure; take a checkpoint that has one"
        )
    return head


def _rows(model: Any, params: Any, tokenizer: Any, head: str, config: Any) -> Any:
    from eigensweep.models import data

    fewest = 0.0 if config.any_tokenizer else data.tokenizer.FEWEST_TOKENS
    data.check_vocabulary(tokenizer, model.architecture.vocab_size, fewest=fewest)
    longest = model.architecture.max_positions
    if config.length > longest:
        raise UserError(f"config: length is {config.length} tokens; the model has positions for {longest}")
    length = config.length or min(longest, MOST_TOKENS)
    if not config.data:
        raise UserError("config: data is empty; give --config.data=FILE, the text or rows to measure on")
    if head == "classifier":
        rows = data.classification_rows(tokenizer, _examples(model, config), length)
    elif config.data == "sampled":
        rows = _sampled(model, params, tokenizer, head, length, config)
    elif head == "mlm":
        rows = data.mask_tokens(
            data.text_rows(tokenizer, _text(config), length), tokenizer, config.seed, config.mask_probability
        )
    else:
        rows = text_windows(data.encode_text(tokenizer, _text(config)), length, config.stride or length)
    num = len(rows.row)
    if config.max_rows and num > config.max_rows:
        rows = rows.take(np.arange(config.max_rows) * num // config.max_rows)
        rows = rows._replace(row=np.arange(config.max_rows, dtype=np.int32))
    return rows


def text_windows(tokens: np.ndarray, length: int, stride: int) -> Any:
    """`data.windows`; with a stride beyond the length, windows that far apart, each one scored by itself."""
    from eigensweep.models.data import Rows, windows

    if stride <= length or len(tokens) < length:
        return windows(tokens, length, min(stride, length))
    starts = range(0, len(tokens) - length + 1, stride)
    parts = [windows(tokens[i : i + length], length, length) for i in starts]
    rows = Rows(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    return rows._replace(row=np.arange(len(parts), dtype=np.int32))


def _text(config: Any) -> str:
    """The part of the text that the config names."""
    from eigensweep.models import data

    if config.data_kind == "hub":
        name, *rest = config.data.split(":")  # NAME, NAME:SPLIT, NAME:CONFIGURATION:SPLIT
        split = rest.pop() if rest else "test"
        text = data.read_hub(name, rest[0] if rest else None, split, config.field)
    elif config.data_kind == "jsonl":
        text = data.read_jsonl_text(config.data, config.field)
    elif config.data_kind in ("text", "wikitext"):
        text = {"text": data.read_text, "wikitext": data.read_wikitext}[config.data_kind](config.data)
    else:
        raise UserError(f"config: data_kind is {config.data_kind!r}; a text is text, wikitext, jsonl or hub")
    if not 0 <= config.data_from < config.data_to <= 1:
        raise UserError(
            f"config: data_from and data_to are shares of the text, 0 <= from < to <= 1, not "
            f"{config.data_from} and {config.data_to}"
        )
    return text[int(config.data_from * len(text)) : int(config.data_to * len(text))]


def _examples(model: Any, config: Any) -> Any:
    from eigensweep.models import data

    if config.data_kind in ("boolq", "wic"):
        labels = ["false", "true"]
        examples = {"boolq": data.read_boolq, "wic": data.read_wic}[config.data_kind](config.data)
    elif config.data_kind == "labelled":
        labels = list(parse_words(config.labels))
        examples = data.read_labelled(config.data, config.field, config.pair_field or None, labels)
    else:
        raise UserError(
            f"config: data_kind is {config.data_kind!r}; a classifier is measured on boolq, wic or labelled rows"
        )
    if len(labels) != model.architecture.num_labels:
        raise UserError(
            f"{config.data}: {len(labels)} labels ({', '.join(labels)}), but the classifier has "
            f"{model.architecture.num_labels} outputs"
        )
    return examples


def _sampled(model: Any, params: Any, tokenizer: Any, head: str, length: int, config: Any) -> Any:
    """Rows that the model has drawn itself, as many as `max_rows`."""
    from eigensweep.models.nn.sample import sample_rows

    if head != "unembedding" or tokenizer.bos_token_id is None or not config.max_rows:
        raise UserError(
            "config: data = sampled needs a causal model, a tokenizer with a start token, and max_rows above 0"
        )
    return sample_rows(model, params, tokenizer.bos_token_id, config.max_rows, length, config.seed)
