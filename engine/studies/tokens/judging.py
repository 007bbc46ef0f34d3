"""Which directions are coherent beyond those of noise: tokens' coherence held against its null, law by law.

A law is what random directions of one side of one kind of circuit look like. Where no norm is folded into a side of a
Gaussian matrix, its directions are uniform, whatever the circuit and the index: one law for all. Where one is, each
block and kind has its own, and each index: Gaussian weights go down the very path of the model's (read, folded,
decomposed), and random signs of the coordinates make many draws of each vector (`spectral.frames`). Indices are taken
together in windows that double in width from either end.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from eigensweep.engine.spectral import coherence
from eigensweep.engine.spectral.frames import flipped_frames, uniform_frames
from eigensweep.engine.spectral.rank_correlation import spearman_of_rows
from eigensweep.engine.spectral.top_scores import top_scores
from eigensweep.engine.studies.tokens.descriptions import Description
from eigensweep.models.circuits import Projection

MOST_FREQUENCY_DRAWS = 2000  # of a window: correlations with frequency need no far tail
AT_ONCE = 2048  # random directions scored together


class Readings(NamedTuple):
    """What is read of D directions; the first axis of pairs is the sign, 1 and then -1.

    Attributes:
      coherence: (2, D).
      frequency: (D,) Spearman's correlation of the scores of sign 1 with the tokens' frequency.
      signs: (D,) cosine of the centroids of the two signs; NaN where tokens are no vectors.
      centroids: (2, D, E), or None.
    """

    coherence: np.ndarray
    frequency: np.ndarray
    signs: np.ndarray
    centroids: np.ndarray | None


@dataclass(frozen=True)
class Frequency:
    """Some tokens and how frequent they are.

    Attributes:
      ids: (n,) tokens.
      counts: (n,) in a text; or a stand-in that rises with it.
    """

    ids: np.ndarray
    counts: np.ndarray

    def __call__(self, vectors: np.ndarray, projection: Projection) -> np.ndarray:
        """Spearman's correlation (D,) of the scores of vectors (D, d) with the tokens' frequency."""
        rows = np.asarray(projection.table[self.ids], np.float32)
        return spearman_of_rows(projection.onto_table(vectors).astype(np.float32) @ rows.T, self.counts)


class Window(NamedTuple):
    """Draws of the null for some indices.

    Attributes:
      larger, smaller: sorted coherence of the end with the larger |score|, and of the other one.
      both: of both together.
      frequency, signs: sorted, of |frequency| and of `signs`.
    """

    larger: np.ndarray
    smaller: np.ndarray
    both: np.ndarray
    frequency: np.ndarray
    signs: np.ndarray


@dataclass(frozen=True)
class Law:
    """The null of one kind and side.

    Attributes:
      windows: by the number that `window_of` gives; a uniform law has window 0 for every index.
      within: (F,) sorted mean cosine between the centroids of a frame's directions, sign 1; empty where unknown.
      across: the same between centroids of different frames.
    """

    windows: Mapping[int, Window]
    within: np.ndarray
    across: float

    def window(self, index: int, rank: int) -> Window:
        """The draws for the direction `index` of `rank`, from 1."""
        found = self.windows.get(window_of(index, rank)) if len(self.windows) > 1 else None
        return found or self.windows.get(0) or next(iter(self.windows.values()))


def window_of(index: int, rank: int) -> int:
    """The window of a direction: from the first one on 1, 2, 3-4, 5-8, ..., from the last one on the same, negative."""
    from_end = rank + 1 - index
    place, side = (index, 1) if index <= from_end else (from_end, -1)
    number = 1
    while place > 2 ** (number - 1):
        number += 1
    return side * number


@dataclass
class Judge:
    """Reads directions, and tells how often random ones of the same law read as much.

    Attributes:
      description: of tokens.
      frequency: None: not read.
      tokens: k, of each direction and sign.
      num_draws: random directions of a law.
      seed: of the draws; each law draws from (seed, its name).
    """

    description: Description
    frequency: Frequency | None
    tokens: int
    num_draws: int
    seed: int
    _laws: dict[tuple[Any, ...], Law] = field(default_factory=dict)

    def read(
        self, vectors: np.ndarray, plus: np.ndarray, minus: np.ndarray, projection: Projection, draws: int | None = None
    ) -> Readings:
        """Of directions (D, d) whose tokens are known: plus and minus (D, k); `draws`: frequency of the first ones."""
        one, summed = self.description(plus)
        other, summed_other = self.description(minus)
        centroids = None if summed is None or summed_other is None else np.stack([summed, summed_other])
        signs = np.full(len(plus), np.nan) if centroids is None else coherence.cosine(*centroids)
        frequency = np.full(len(plus), np.nan)
        if self.frequency is not None:
            frequency[:draws] = self.frequency(vectors[:draws], projection)
        return Readings(np.stack([one, other]), frequency, signs, centroids)

    def law(
        self,
        name: tuple[Any, ...],
        projection: tuple[Projection, Any],
        indices: np.ndarray,
        rank: int,
        frames: Callable[[np.random.Generator, int], np.ndarray] | None,
        centred: bool = False,
    ) -> Law:
        """The null of one law, drawn once.

        Args:
          name: numbers that tell it from every other law of the study.
          projection: and its table as it is searched.
          indices: (n,) of the directions that are read, from 1.
          rank: of the circuits.
          frames: frames(rng, count) are as many draws (count, n, d) of the directions at `indices`; None: uniform.
          centred: of uniform ones: behind a LayerNorm.
        """
        key = (projection[0].name, *name)
        if key not in self._laws:
            rng = np.random.default_rng([self.seed, *[int(x) for x in name]])
            self._laws[key] = self._drawn(rng, projection, indices, rank, frames, centred)
        return self._laws[key]

    def forget(self, block: int) -> None:
        """Let go of the laws of a block, whose names begin with its number."""
        self._laws = {name: law for name, law in self._laws.items() if name[1] != block}

    def _drawn(
        self,
        rng: np.random.Generator,
        projection: tuple[Projection, Any],
        indices: np.ndarray,
        rank: int,
        frames: Callable[[np.random.Generator, int], np.ndarray] | None,
        centred: bool,
    ) -> Law:
        of = np.array([0 if frames is None else window_of(int(i), rank) for i in indices])
        numbers, sizes = np.unique(of, return_counts=True)
        share = -(-self.num_draws // len(numbers))
        wanted = dict(zip(numbers.tolist(), (-(-share // sizes)).tolist(), strict=True))  # frames, by window
        draws: dict[int, list[Readings]] = {number: [] for number in wanted}
        within, summed, count = [], 0.0, 0
        width = projection[0].width
        done = 0
        while done < max(wanted.values()):
            chosen = np.flatnonzero([wanted[number] > done for number in of])
            step = min(max(1, AT_ONCE // len(chosen)), min(wanted[number] for number in set(of[chosen])) - done)
            drawn = uniform_frames(rng, step, len(indices), width, centred) if frames is None else frames(rng, step)
            vectors = drawn[:, chosen].reshape(-1, width)
            read = self._scored(vectors, projection)
            place = np.tile(of[chosen], step)
            for number in draws:
                draws[number].append(_only(read, place == number))
            if read.centroids is not None and len(chosen) == len(indices) > 1:
                groups = read.centroids[0].reshape(step, len(indices), -1)
                within += [coherence.mean_cosine_between(group) for group in groups]
                if step > 1:
                    summed, count = summed + coherence.mean_cosine_across(groups).sum(), count + step
            done += step
        windows = {number: _window(parts) for number, parts in draws.items()}
        return Law(windows, np.sort(within), summed / count if count else np.nan)

    def _scored(self, vectors: np.ndarray, projection: tuple[Projection, Any]) -> Readings:
        """Of random directions: plus is the end with the larger |score|."""
        top = top_scores(projection[1], projection[0].onto_table(vectors), self.tokens)
        turn = (-top.low_scores[:, 0] > top.high_scores[:, 0])[:, None]
        plus, minus = np.where(turn, top.low, top.high), np.where(turn, top.high, top.low)
        most = max(1, MOST_FREQUENCY_DRAWS * len(vectors) // max(self.num_draws, 1))
        return self.read(np.where(turn, -vectors, vectors), plus, minus, projection[0], most)


def _only(read: Readings, mask: np.ndarray) -> Readings:
    return Readings(read.coherence[:, mask], read.frequency[mask], read.signs[mask], None)


def _window(parts: list[Readings]) -> Window:
    values = np.concatenate([part.coherence for part in parts], axis=1)
    frequency, signs = (np.concatenate([getattr(part, name) for part in parts]) for name in ("frequency", "signs"))
    return Window(*map(_known, (values[0], values[1], values, np.abs(frequency), signs)))


def _known(x: np.ndarray) -> np.ndarray:
    x = np.ravel(x)
    return np.sort(x[~np.isnan(x)])


class Judged(NamedTuple):
    """p of D directions under their law: NaN where there is no reading."""

    coherence: np.ndarray
    frequency: np.ndarray
    signs: np.ndarray


def judged(read: Readings, law: Law, index: np.ndarray, rank: int, oriented: bool) -> Judged:
    """How often random directions read at least as much.

    Args:
      index: (D,) from 1.
      rank: of the circuit.
      oriented: whether sign 1 is the end with the larger |score|, which random ones are then held against in turn.
    """
    p, frequency, signs = (
        np.full(read.coherence.shape, np.nan),
        np.full(len(index), np.nan),
        np.full(len(index), np.nan),
    )
    for window, places in _by_window(law, index, rank):
        for sign, null in enumerate((window.larger, window.smaller) if oriented else (window.both, window.both)):
            if null.size:
                p[sign, places] = coherence.exceedance(read.coherence[sign, places], null)
        if window.frequency.size:
            frequency[places] = coherence.exceedance(np.abs(read.frequency[places]), window.frequency)
        if window.signs.size:
            signs[places] = coherence.exceedance(read.signs[places], window.signs)
    return Judged(p, frequency, signs)


def _by_window(law: Law, index: np.ndarray, rank: int) -> Iterator[tuple[Window, np.ndarray]]:
    found = [law.window(int(i), rank) for i in index]
    for window in {id(w): w for w in found}.values():
        yield window, np.flatnonzero([w is window for w in found])


def flips_of(frames: np.ndarray, centred: bool) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Draws from frames (F, n, d) by random signs of their coordinates."""
    return lambda rng, count: flipped_frames(rng, frames, count, centred)
