"""The decomposed matrices of a removal study, and the matrices that a removal leaves, one at a time."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run.factors import FactorStore
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.run.options import MatrixOptions
from eigensweep.engine.run.statistics import statistics
from eigensweep.engine.run.stream import Decomposed, decomposed
from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.matched import NO_MATCH
from eigensweep.engine.spectral.removal import Factors, LowRank, Match, Removal
from eigensweep.engine.studies.ablation.even import Even, even_of, needs_equalised
from eigensweep.engine.studies.ablation.scopes import check_bands, resolve_scopes
from eigensweep.engine.tables.matrices import identity_row


class Decompositions:
    """The factors of matrices in a store, and their rows of the tables of a sweep; one noise level serves both."""

    def __init__(self, store: FactorStore, options: MatrixOptions):
        self.store, self._options = store, options
        self._sigma: dict[str, float] = {}
        self._even: dict[str, Even] = {}
        self.squares: dict[str, float] = {}  # |W|_F^2

    def needed(self, sources: Sequence[MatrixSource]) -> Iterator[tuple[MatrixSource, dict[str, Any]]]:
        """Decompose what is not in the store, and hold it there until the next call. Every new matrix with its row.

        Raises:
          RunError: a matrix without singular vectors (non-finite entries, nothing but zeros, an inaccurate
            decomposition).
        """
        for source, found in self.store.decomposed(sources):
            if source.name not in self._sigma:
                row = _row(source, found, self._options)
                self._sigma[source.name] = row["sigma"]
                self.squares[source.name] = float(np.sum(found.s**2))
                yield source, row

    def factors(self, source: MatrixSource, taken: Removal) -> Factors:
        """A matrix that was `needed`: read, and its factors, mapped; equalised too where the removal needs it."""
        found = _factors(source.read(), self.store.one(source), self._sigma[source.name])
        if not needs_equalised(taken):
            return found
        if source.name not in self._even:
            self._even[source.name] = even_of(source, found)
        even = self._even[source.name]
        return found._replace(equalised=even.equalised(self.store.one(even)))

    def low_rank(self, taken: Removal, source: MatrixSource, match: Match | None = None) -> LowRank:
        """What a removal subtracts from it; `match` as of `removal.update`."""
        return low_rank(taken, source.name, self.factors(source, taken), self._options, match, checked=True)

    def output_match(self, taken: Removal, source: MatrixSource, f: np.ndarray) -> Match:
        """`removal.output_match`, F (n, n) of what enters the matrix."""
        key, level = _key(taken, source.name, self._options), self._options.level
        return removal.output_match(taken, self.factors(source, taken), level, key, f, checked=True)


class Removed(Mapping[str, np.ndarray]):
    """W - L R by the matrix's name, float64 (m, n), computed when it is asked for: one replaced matrix at a time."""

    def __init__(self, sources: Sequence[MatrixSource], low: Mapping[str, LowRank]):
        self._low = {name: update for name, update in low.items() if update.rank}
        self._sources = {source.name: source for source in sources if source.name in self._low}

    def __getitem__(self, name: str) -> np.ndarray:
        return removal.remove(self._sources[name].read(), self._low[name])

    def __contains__(self, name: object) -> bool:
        return name in self._low

    def __iter__(self) -> Iterator[str]:
        return iter(self._low)

    def __len__(self) -> int:
        return len(self._low)


def factored(
    sources: Sequence[MatrixSource], options: MatrixOptions, taken: Removal | None = None
) -> Iterator[tuple[MatrixSource, Factors, dict[str, Any]]]:
    """Every matrix with its factors and its row, held by nobody; otherwise as `Decompositions.needed`.

    Args:
      taken: what is to be taken out; some removals need the equalised matrix.
    """
    for source, found in decomposed(sources, options.strategy, ks=True):
        row = _row(source, found, options)
        factors = _factors(found.w[0], found, row["sigma"])
        if taken is not None and needs_equalised(taken):
            even = even_of(source, factors)
            ((_, again),) = decomposed([even], options.strategy)
            factors = factors._replace(equalised=even.equalised(again))
        yield source, factors, row


def _row(source: MatrixSource, found: Decomposed, options: MatrixOptions) -> dict[str, Any]:
    (row,) = statistics(found, options)
    return identity_row(source) | row


def _factors(w: np.ndarray, found: Decomposed, sigma: float) -> Factors:
    u, s, vt = (np.asarray(part[0], np.float64) for part in (found.u, found.s, found.vt))
    return Factors(w, u, s, vt, sigma, found.eps)


def _key(taken: Removal, name: str, options: MatrixOptions) -> jax.Array:
    """Of the draws: they depend on the seed, the removal and the matrix's name alone."""
    return purpose_key(options.seed, "removal", str(taken), name)


def low_rank(
    taken: Removal,
    name: str,
    factors: Factors,
    options: MatrixOptions,
    match: Match | None = None,
    checked: bool = False,
) -> LowRank:
    """What a removal subtracts from a matrix; `match` and `checked` as of `removal.update`."""
    return removal.update(taken, factors, options.level, _key(taken, name, options), match, checked)


def edit(
    matrices: Sequence[MatrixSource],
    scope: str,
    taken: Removal,
    options: MatrixOptions | None = None,
    matches: Mapping[str, Match] | None = None,
) -> Mapping[str, np.ndarray]:
    """The matrices that one removal replaces, float64 (m, n) by name: what `ablate` evaluates with these options.

    What is subtracted is kept; the matrices themselves are read and computed when they are asked for.

    Args:
      matrices: a checkpoint's.
      matches: by matrix, for a removal of kind "output" (`outputs.outputs_of`); without one nothing is taken.

    Raises:
      RunError: see `ablate`.
    """
    options = options or MatrixOptions()
    scopes = resolve_scopes(matrices, (scope,))
    check_bands(scopes, (taken,))
    sources, known = [source for found in scopes.values() for source in found], matches or {}
    low = {
        source.name: low_rank(taken, source.name, factors, options, known.get(source.name, NO_MATCH))
        for source, factors, _ in factored(sources, options, taken)
    }
    return Removed(sources, low)
