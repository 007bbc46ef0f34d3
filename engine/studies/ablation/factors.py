"""The decomposed matrices of a removal study, and the matrices that a removal leaves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.run.options import MatrixOptions
from eigensweep.engine.run.statistics import statistics
from eigensweep.engine.run.stream import decomposed
from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.removal import Factors, LowRank, Removal
from eigensweep.engine.studies.ablation.scopes import check_bands, resolve_scopes
from eigensweep.engine.tables.matrices import identity_row


def factored(
    sources: Sequence[MatrixSource], options: MatrixOptions
) -> Iterator[tuple[MatrixSource, Factors, dict[str, Any]]]:
    """Every matrix with its factors and its row of the tables of a sweep; one noise level serves both.

    Raises:
      RunError: a matrix without singular vectors (non-finite entries, nothing but zeros, an inaccurate decomposition).
    """
    for source, found in decomposed(sources, options.strategy, ks=True):
        (row,) = statistics(found, options)
        u, s, vt = (np.asarray(part[0], np.float64) for part in (found.u, found.s, found.vt))
        yield source, Factors(found.w[0], u, s, vt, row["sigma"], found.eps), identity_row(source) | row


def low_rank(taken: Removal, name: str, factors: Factors, options: MatrixOptions) -> LowRank:
    """What a removal subtracts from a matrix; draws depend on the seed, the removal and the matrix's name alone."""
    return removal.update(taken, factors, options.level, purpose_key(options.seed, "removal", str(taken), name))


def edit(
    matrices: Sequence[MatrixSource],
    scope: str,
    taken: Removal,
    options: MatrixOptions | None = None,
    factors: Mapping[str, Factors] | None = None,
) -> dict[str, np.ndarray]:
    """The matrices that one removal replaces, float64 (m, n) by name: what `ablate` evaluates with these options.

    Args:
      matrices: a checkpoint's.
      factors: of matrices that are decomposed already.

    Raises:
      RunError: see `ablate`.
    """
    options = options or MatrixOptions()
    scopes = resolve_scopes(matrices, (scope,))
    check_bands(scopes, (taken,))
    known = dict(factors or {})
    edited = {}
    for sources in scopes.values():
        fresh = ((s.name, f) for s, f, _ in factored([s for s in sources if s.name not in known], options))
        for name, found in (*((s.name, known[s.name]) for s in sources if s.name in known), *fresh):
            low = low_rank(taken, name, found, options)
            if low.rank:
                edited[name] = removal.remove(found.w, low)
    return edited
