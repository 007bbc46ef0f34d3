"""Rows to learn from, to stop by, and held out, with no passage in two of them."""

from collections.abc import Sequence

import numpy as np

from eigensweep.models.data.batches import Rows
from eigensweep.models.data.text import Example


def groups_of(examples: Sequence[Example]) -> np.ndarray:
    """Numbers from 0, (N,) int64: rows with the same passage, which is the pair or else the text, share one."""
    numbers: dict[str, int] = {}
    passages = (example.text if example.pair is None else example.pair for example in examples)
    return np.array([numbers.setdefault(passage, len(numbers)) for passage in passages], np.int64)


def duplicates(examples: Sequence[Example]) -> int:
    """How many rows have a passage that another row has, too."""
    _, counts = np.unique(groups_of(examples), return_counts=True)
    return int(counts[counts > 1].sum())


def split(
    rows: Rows, groups: np.ndarray, num_train: int, validation: float, num_test: int, seed: int
) -> tuple[Rows, Rows, Rows]:
    """Deals rows out in a random order, a group as a whole where its first row falls.

    Args:
      rows: the data, N rows.
      groups: (N,) int, see `groups_of`. Where each row is a group of its own, the parts have exactly the sizes below;
        else a part may exceed its size by less than one group.
      num_train: rows before the held-out ones.
      validation: share of them to stop by.
      num_test: rows held out; 0 for all others.
      seed: of the order.

    Returns:
      train, validation, test; `row` counts within each.

    Raises:
      ValueError: one of them would be empty, or `groups` has another length.
    """
    num, looks = len(rows.row), round(num_train * validation)
    if groups.shape != (num,):
        raise ValueError(f"groups: expected a number for each of {num} rows, got shape {groups.shape}")
    order = np.random.default_rng(seed).permutation(num)
    _, first, group = np.unique(groups[order], return_index=True, return_inverse=True)
    order = order[np.argsort(first[group], kind="stable")]  # a group's rows follow its first
    begins = np.concatenate(([True], np.diff(groups[order]) != 0))
    place = np.maximum.accumulate(np.where(begins, np.arange(num), 0))  # where the row's group begins
    end = num if num_test < 1 else min(num, num_train + num_test)
    bounds = ((looks, num_train), (0, looks), (num_train, end))
    parts = [order[(low <= place) & (place < high)] for low, high in bounds]
    if not 0 < looks < num_train < num or not all(map(len, parts)):
        raise ValueError(
            f"{num} rows in {begins.sum()} groups cannot be split: num_train {num_train} (validation rows among them: "
            f"{looks}) must leave rows to learn from, to validate on and to hold out"
        )
    train, look, test = (rows.take(part)._replace(row=np.arange(len(part), dtype=np.int32)) for part in parts)
    return train, look, test
