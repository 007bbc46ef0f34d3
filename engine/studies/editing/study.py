"""Editing: directions of circuits scaled or removed, and what that does to predictions and to the loss.

Specificity: the mean change of the log-probabilities of the named next tokens, by its size, ranked among those for
every other direction of the same circuit and for random ones of the same norm. Nothing of a checkpoint is changed in
place; `write_huggingface` writes the edited one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.studies.data import tokenizer_of
from eigensweep.engine.studies.edited_model import param_dtype_of
from eigensweep.engine.studies.editing.columns import CHANGED, EFFECTS, LOSSES
from eigensweep.engine.studies.editing.edits import Edit, Weights
from eigensweep.engine.studies.editing.effects import (
    Predictor,
    Prompts,
    changes,
    check_causal,
    encode_prompts,
    log_probabilities,
)
from eigensweep.engine.studies.editing.losses import Removal, coherent_sets, read_coherent, text_losses
from eigensweep.engine.studies.editing.options import EditOptions
from eigensweep.engine.studies.editing.updates import Editable, Update, open_editable
from eigensweep.engine.tables.columns import to_table
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_json, write_table
from eigensweep.models import Checkpoint
from eigensweep.models.circuits import Address, open_circuits
from eigensweep.models.data import check_vocabulary
from eigensweep.models.data.tokenizer import FEWEST_TOKENS


@dataclass(frozen=True)
class EditRequest:
    """What an edit is to be, and what is asked of it.

    Attributes:
      directions: addresses with an index.
      scale: of their singular values; 0 removes.
      prompts, nexts: see `effects.encode_prompts`.
      tokens_run: run directory of a tokens study that says which directions are coherent; "" for none.
    """

    directions: tuple[str, ...]
    scale: float = 0.0
    prompts: tuple[str, ...] = ()
    nexts: tuple[str, ...] = ()
    tokens_run: str = ""


@dataclass(frozen=True)
class Edited:
    """What an edit did.

    Attributes:
      edit: the matrices and biases after it.
      changed: one row a changed tensor.
      effects: one row a prompt, next token and edit, the comparisons included; None without prompts.
      losses: one row a removal; None without a text.
      manifest: what was asked, the mean loss as it was, the change of all other logits.
    """

    edit: Edit
    changed: pa.Table
    effects: pa.Table | None
    losses: pa.Table | None
    manifest: dict[str, Any]

    def write(self, workdir: Path) -> list[str]:
        """Write the tables, and edit.json; gives the tables' names."""
        tables = {"edit_changed": self.changed, "edit_effects": self.effects, "edit_losses": self.losses}
        there = {name: table for name, table in tables.items() if table is not None}
        for name, table in there.items():
            write_table(workdir / f"{name}.parquet", table)
        write_json(workdir / "edit.json", self.manifest)
        return list(there)


def run_edit(
    checkpoint: Checkpoint, asked: EditRequest, options: EditOptions, on_progress: OnProgress = silent
) -> Edited:
    """Edit a checkpoint in memory, and measure it as far as prompts and a text are given.

    Raises:
      RunError: no direction, one named twice, a kind that is not edited, a scale that is no number, a tokens run that
        says nothing of coherence, prompts for an encoder.
      AddressError, CheckpointError: a direction that is no address, or not there.
      DataError: tokenizer, prompts, next words or text do not serve.
    """
    addresses = _addresses(asked)
    reader = open_circuits(checkpoint, options.fold)
    for address in addresses:
        reader.find(address)
    prompts = _prompts(checkpoint, asked, options)
    coherent = read_coherent(asked.tokens_run, checkpoint) if asked.tokens_run else None
    circuits = {address.circuit: open_editable(reader, address) for address in addresses}
    weights = Weights(checkpoint)
    updates = [circuits[a.circuit].removal(a.index or 0, asked.scale) for a in addresses]
    edit = weights.edit(updates)
    changed = to_table(CHANGED, weights.changes(edit))
    manifest: dict[str, Any] = {
        "checkpoint": checkpoint.identity,
        "options": options.to_json(),
        "directions": [str(a) for a in addresses],
        "scale": asked.scale,
        "notes": [
            f"{path} has no bias: what the norm's shift and the value bias send through the direction goes with it"
            for path in weights.homeless(updates)
        ],
    }
    effects = losses = None
    if prompts is not None:
        param_dtype = param_dtype_of(checkpoint, options.param_dtype)
        predictor = Predictor(checkpoint, prompts, options.dtype, param_dtype)
        rows, about = _effects(predictor, prompts, addresses, circuits, weights, asked.scale, options, on_progress)
        effects, manifest = to_table(EFFECTS, rows), manifest | about
        del predictor
    if options.data:
        removals = [Removal("edit", tuple(addresses))]
        if coherent is not None:
            removals += coherent_sets(coherent, circuits)
        found, loss = text_losses(checkpoint, removals, circuits, weights, asked.scale, options, on_progress)
        losses, manifest["loss"] = to_table(LOSSES, found), loss
    return Edited(edit, changed, effects, losses, manifest)


def _addresses(asked: EditRequest) -> list[Address]:
    if not asked.directions:
        raise RunError("no --direction given: which should be edited? such as --direction=block.3.head.2.ov:1")
    if not np.isfinite(asked.scale):
        raise RunError(f"--scale={asked.scale}: expected a finite number; 0 removes")
    addresses = [Address.parse(text) for text in asked.directions]
    for text, address in zip(asked.directions, addresses, strict=True):
        if address.index is None:
            raise RunError(f"--direction={text}: names a circuit; say which direction of it, as {address}:1")
        if addresses.count(address) > 1:
            raise RunError(f"--direction={text}: is given twice")
    return addresses


def _prompts(checkpoint: Checkpoint, asked: EditRequest, options: EditOptions) -> Prompts | None:
    if not asked.prompts:
        if asked.nexts:
            raise RunError("--next says which tokens to look at behind a --prompt, and that is not given")
        return None
    check_causal(checkpoint)
    if options.stream:
        raise RunError("stream serves the loss on a text alone; leave out --prompt")
    arch = open_circuits(checkpoint).architecture
    tokenizer = tokenizer_of(checkpoint, options.tokenizer)
    fewest = 0.0 if options.any_tokenizer else FEWEST_TOKENS
    check_vocabulary(tokenizer, arch.vocab_size, checkpoint.source.name, fewest)
    return encode_prompts(tokenizer, asked.prompts, asked.nexts, arch.max_positions)


def _compared(
    address: Address, circuit: Editable, scale: float, options: EditOptions
) -> list[tuple[str, int | None, float, Update]]:
    """The direction, others of its circuit and random ones: kind, index, singular value, update."""
    index = address.index or 0
    s = float(circuit.s[index - 1])
    rest = np.delete(np.arange(1, len(circuit.s) + 1), index - 1)
    most = min(options.others, len(rest))
    others = rest[np.arange(most) * len(rest) // max(most, 1)].tolist()
    found: list[tuple[str, int | None, float, Update]] = [("edit", index, s, circuit.removal(index, scale))]
    found += [("other", i, float(circuit.s[i - 1]), circuit.removal(i, scale)) for i in others]
    rng = np.random.default_rng([options.seed, *str(address).encode()])
    return found + [("random", None, s, circuit.random(s, rng, scale)) for _ in range(options.random)]


def _effects(
    predictor: Predictor,
    prompts: Prompts,
    addresses: Sequence[Address],
    circuits: dict[Address, Editable],
    weights: Weights,
    scale: float,
    options: EditOptions,
    on_progress: OnProgress,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of EFFECTS, and what is said of all other tokens."""
    before = predictor.logits()
    known = log_probabilities(before, prompts)
    compared = {str(a): _compared(a, circuits[a.circuit], scale, options) for a in addresses}
    done, total = 0, sum(map(len, compared.values()))
    rows, others = [], {}

    def said(direction: str, kind: str, removed: str | None, s: float | None, change: np.ndarray) -> None:
        for i, value in enumerate(change.tolist()):
            rows.append({
                "direction": direction, "kind": kind, "removed": removed, "s": s, "next": prompts.words[i],
                "prompt": prompts.texts[prompts.row[i]], "token": int(prompts.token[i]),
                "log_probability": float(known[i]), "change": value,
            })  # fmt: skip

    for address in addresses:
        variants = compared[str(address)]
        edits = (weights.edit([update]) for *_, update in variants)
        for (kind, index, s, _), (change, logits) in zip(
            variants, changes(predictor, prompts, before, edits), strict=True
        ):
            removed = None if index is None else f"{address.circuit}:{index}"
            said(str(address), kind, removed, s, change)
            if kind == "edit":
                others[str(address)] = _others(logits, prompts)
            done += 1
            on_progress(Progress(done, total, done, total, phase="comparing"))
    if len(addresses) > 1:
        whole = weights.edit([circuits[a.circuit].removal(a.index or 0, scale) for a in addresses])
        ((change, logits),) = changes(predictor, prompts, before, [whole])
        said("all", "edit", "all", None, change)
        others["all"] = _others(logits, prompts)
    return rows, {"logits": others}


def _others(change: np.ndarray, prompts: Prompts) -> dict[str, float]:
    """How the logits (P, vocab) of named and of all other tokens change."""
    named = np.zeros(change.shape, bool)
    named[prompts.row, prompts.token] = True
    rest = np.abs(change[~named])
    return {
        "named_mean": float(change[named].mean()),
        "others_mean_size": float(rest.mean()) if rest.size else 0.0,
        "others_largest": float(rest.max()) if rest.size else 0.0,
    }


def specificity(effects: pa.Table, direction: str) -> dict[str, Any]:
    """The rank, from 1, of a direction's edit by |mean change| of the named tokens' log-probabilities.

    Returns:
      rank, compared (edits in all), change (mean, nats), and mean changes of the others and the random ones, by their
      kind, as arrays.
    """
    frame = effects.to_pandas()
    frame = frame[frame["direction"] == direction]
    pairs = len(frame[frame["kind"] == "edit"])
    means = frame["change"].to_numpy().reshape(-1, pairs).mean(axis=1)
    kinds = frame["kind"].to_numpy().reshape(-1, pairs)[:, 0]
    rank = 1 + int(np.sum(np.abs(means[1:]) >= abs(means[0])))
    found = {kind: means[kinds == kind] for kind in ("other", "random")}
    return {"rank": rank, "compared": len(means), "change": float(means[0]), **found}
