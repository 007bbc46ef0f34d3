"""The decomposed matrices of a removal study, and the matrices that a removal leaves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.run.options import MatrixOptions
from eigensweep.engine.run.statistics import statistics
from eigensweep.engine.run.stream import decompose_batch, decomposed
from eigensweep.engine.spectral import equalise, removal
from eigensweep.engine.spectral.equalise_rounds import two_rounds
from eigensweep.engine.spectral.matched import NO_MATCH
from eigensweep.engine.spectral.removal import Factors, LowRank, Match, Removal, Terms
from eigensweep.engine.studies.ablation.scopes import check_bands, resolve_scopes
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.matrices import identity_row


def factored(
    sources: Sequence[MatrixSource], options: MatrixOptions, removals: Sequence[Removal] = ()
) -> Iterator[tuple[MatrixSource, Factors, dict[str, Any]]]:
    """Every matrix with its factors and its row of the tables of a sweep; one noise level serves both.

    Args:
      sources: the matrices.
      options: how they are decomposed, and what noise is.
      removals: what is to be taken out; some need the equalised components.

    Raises:
      RunError: a matrix without singular vectors (non-finite entries, nothing but zeros, an inaccurate decomposition).
    """
    for source, found in decomposed(sources, options.strategy, ks=True):
        (row,) = statistics(found, options)
        u, s, vt = (np.asarray(part[0], np.float64) for part in (found.u, found.s, found.vt))
        factors = Factors(found.w[0], u, s, vt, row["sigma"], found.eps)
        if any("equalised" in (taken.kind, taken.controlled and taken.controlled.kind) for taken in removals):
            factors = factors._replace(equalised=_equalised(source.name, factors, options.strategy))
        yield source, factors, identity_row(source) | row


def _equalised(name: str, factors: Factors, strategy: str) -> Terms:
    """`Factors.equalised`, after two rounds of scales as the sweep's equalised reading takes them."""
    w = np.asarray(factors.w, np.float64)
    x, y = (scales[0] for scales in two_rounds([w], factors.u[None], factors.s[None], factors.vt[None]))
    found = decompose_batch([name], [equalise.equalise(w, x, y)], strategy, vectors=True)
    if found.status[0] != "ok":
        raise RunError(f"{name}: has no singular vectors once it is equalised ({found.status[0]})")
    left, right = found.u[0] * found.s[0], found.vt[0]
    return Terms(equalise.relative(x)[:, None] * left, right * equalise.relative(y))


def key_of(taken: Removal, name: str, options: MatrixOptions) -> jax.Array:
    """Of the draws: they depend on the seed, the removal and the matrix's name alone."""
    return purpose_key(options.seed, "removal", str(taken), name)


def low_rank(
    taken: Removal, name: str, factors: Factors, options: MatrixOptions, match: Match | None = None
) -> LowRank:
    """What a removal subtracts from a matrix; `match` as of `removal.update`."""
    return removal.update(taken, factors, options.level, key_of(taken, name, options), match)


def edit(
    matrices: Sequence[MatrixSource],
    scope: str,
    taken: Removal,
    options: MatrixOptions | None = None,
    factors: Mapping[str, Factors] | None = None,
    matches: Mapping[str, Match] | None = None,
) -> dict[str, np.ndarray]:
    """The matrices that one removal replaces, float64 (m, n) by name: what `ablate` evaluates with these options.

    Args:
      matrices: a checkpoint's.
      factors: of matrices that are decomposed already.
      matches: by matrix, for a removal of kind "output" (`outputs.outputs_of`); without one nothing is taken.

    Raises:
      RunError: see `ablate`.
    """
    options = options or MatrixOptions()
    scopes = resolve_scopes(matrices, (scope,))
    check_bands(scopes, (taken,))
    known = dict(factors or {})
    edited = {}
    for sources in scopes.values():
        fresh = ((s.name, f) for s, f, _ in factored([s for s in sources if s.name not in known], options, (taken,)))
        for name, found in (*((s.name, known[s.name]) for s in sources if s.name in known), *fresh):
            low = low_rank(taken, name, found, options, (matches or {}).get(name, NO_MATCH))
            if low.rank:
                edited[name] = removal.remove(found.w, low)
    return edited
