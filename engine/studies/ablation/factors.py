"""The decomposed matrices of a removal study, what is taken out of them, and what its figure shows of them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import jax.numpy as jnp
import numpy as np

from eigensweep.engine.run.ablation_plan import AblationOptions
from eigensweep.engine.run.analyze import rank_eps
from eigensweep.engine.run.entries import describe, statuses
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.memory import default_budget, resident_bytes
from eigensweep.engine.run.nulls import p_values, purpose_key
from eigensweep.engine.run.options import SweepOptions
from eigensweep.engine.spectral import edges, ks, marchenko_pastur, noise, removal
from eigensweep.engine.spectral.removal import Factors, LowRank, Removal
from eigensweep.engine.spectral.svd import decompose


def factored(
    sources: Sequence[MatrixSource], options: AblationOptions
) -> Iterator[tuple[MatrixSource, Factors]]:
    """Every matrix with its factors; those of one shape are decomposed together, as far as memory allows.

    Raises:
      RunError: a matrix with non-finite entries, or nothing but zeros.
    """
    for shape, group in groupby(sorted(sources, key=lambda s: s.shape), key=lambda s: s.shape):
        members = list(group)
        size = max(1, default_budget() // resident_bytes(shape))
        for start in range(0, len(members), size):
            batch = members[start : start + size]
            ws = [np.asarray(source.read()) for source in batch]
            stack = np.stack([w.astype(np.float64) for w in ws])
            seen = describe(stack)
            for source, status in zip(batch, statuses(seen), strict=True):
                if status != "ok":
                    raise RunError(f"{source.name}: nothing can be taken out of it ({status})")
            found = decompose(stack, options.strategy)
            for i, (source, w) in enumerate(zip(batch, ws, strict=True)):
                u, s, vt = (np.asarray(part[i], np.float64) for part in (found.u, found.s, found.vt))
                yield source, Factors(w, u, s, vt, _sigma(s, shape, float(seen.sigma[i]), options))


def low_rank(
    taken: Removal, source: MatrixSource, factors: Mapping[str, Factors], options: AblationOptions
) -> LowRank:
    """What a removal subtracts from a matrix; draws depend on the seed, the removal and the matrix's name alone."""
    key = purpose_key(options.seed, "removal", str(taken), source.name)
    return removal.update(taken, factors[source.name], options.level, key)


def matrix_row(source: MatrixSource, found: Factors, options: AblationOptions) -> dict[str, Any]:
    """Spectrum, edges and averaged p-values of a matrix: the columns of the tables "matrices" and "spectra"."""
    m, n = source.shape
    nu_minus, nu_plus = marchenko_pastur.edges(m, n, found.sigma)
    right, left = edges.num_outliers(jnp.asarray(found.s), m, n, found.sigma, options.level)
    known = found.s > found.s[0] * max(m, n) * rank_eps(found.w.dtype)
    null = SweepOptions(seed=options.seed)

    def averaged(vectors: np.ndarray, length: int) -> np.ndarray:
        p = p_values(np.asarray(ks.ks_statistic(np.ascontiguousarray(vectors))), length, null)
        return np.asarray(ks.local_average(np.where(known, p, np.nan)))

    return {
        "name": source.name,
        "role": source.role,
        "block": source.block,
        "expert": source.expert,
        "m": m,
        "n": n,
        "dtype": source.dtype,
        "sigma": found.sigma,
        "nu_minus": float(nu_minus),
        "nu_plus": float(nu_plus),
        "num_right_outliers": int(right),
        "num_left_outliers": int(left),
        "status": "ok",
        "singular_values": found.s,
        "p_right_avg": averaged(found.vt, n),
        "p_left_avg": averaged(found.u.T, m),
    }


def _sigma(s: np.ndarray, shape: tuple[int, int], of_entries: float, options: AblationOptions) -> float:
    if options.sigma == "entries":
        return of_entries
    return (
        noise.sigma_init(shape[0])
        if options.sigma == "init"
        else float(noise.sigma_bulk(jnp.asarray(s), *shape))
    )
