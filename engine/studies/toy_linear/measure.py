"""What is computed for one number of samples: simulations, the edge that isotropic data set, the law, the overlaps."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from eigensweep.engine.report.spectrum import known_mean
from eigensweep.engine.spectral import least_squares, overlap
from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.spectral.covariances import eigenvalues
from eigensweep.engine.spectral.generalised_law import SingularLaw
from eigensweep.engine.spectral.least_squares import CHUNK, Model
from eigensweep.engine.spectral.permutation import permutation_p
from eigensweep.engine.studies.toy_linear.options import ToyLinearOptions

BATCH_ENTRIES = 2**24  # of what a batch of simulations holds, where the options leave its size open
LEAST_BATCH = 2  # XLA multiplies a single matrix in another order than several
GRID = 240  # places at which the law is written down
_NULL = 1  # beside the seed: the random numbers of isotropic data

Rows = dict[str, list[dict[str, Any]]]


class Simulation(NamedTuple):
    """One fitted matrix in numbers: its spectrum, right vectors along Sigma's axes, what is wrong with it.

    Attributes:
      s: (K,) singular values, descending; K = min(m, d).
      v: (K, d) right singular vectors as rows.
      noise: (d,) mean square of the entries of W_hat - W* by column.
      spread: (d,) eigenvalues of the covariance of its rows.
    """

    s: np.ndarray
    v: np.ndarray
    noise: np.ndarray
    spread: np.ndarray


def model_of(options: ToyLinearOptions) -> Model:
    """Where the data of the simulations come from."""
    rank = (options.rank or options.inputs) if options.signal else 0
    evals = eigenvalues(options.covariance, options.inputs)
    return Model(evals, options.outputs, options.noise, options.signal, rank)


def simulated(options: ToyLinearOptions, samples: int) -> Iterator[Simulation]:
    """The simulations in their order; each is the same whatever the batch."""
    d, m = options.inputs, options.outputs
    entries = 4 * m * d + 5 * d * d + CHUNK * (d + m)
    size = max(LEAST_BATCH, options.batch_size or min(options.num_seeds, BATCH_ENTRIES // entries))
    root = jax.random.key(options.seed)
    for first in range(0, options.num_seeds, size):
        keys = jax.vmap(lambda i: jax.random.fold_in(root, i))(np.arange(first, first + size))
        found = least_squares.fit(keys, model_of(options), samples)
        left = options.num_seeds - first  # the last batch is as large as the others, so that nothing is compiled for it
        for fitted, true, spread in zip(*(np.asarray(x)[:left] for x in found), strict=True):
            _, s, v = np.linalg.svd(fitted, full_matrices=False)
            yield Simulation(s, v, np.mean((fitted - true) ** 2, axis=0), np.linalg.eigvalsh(spread))


def threshold(options: ToyLinearOptions, samples: int) -> float:
    """What s_min over the median of s lies below with probability `level` for isotropic data, by their order statistic.

    The floor(level (n + 1))-th smallest of n simulated ratios: a further one lies below it with at most that chance.
    """
    seed = (options.seed, _NULL, samples)
    ratios = least_squares.isotropic_ratios(model_of(options), samples, seed, options.num_null)
    return float(np.sort(ratios)[int(options.level * (options.num_null + 1) + 1e-9) - 1])


def rows_of(options: ToyLinearOptions, samples: int) -> Rows:
    """The rows of one number of samples."""
    model, edge = model_of(options), threshold(options, samples)
    found = list(simulated(options, samples))
    if model.is_exact:
        of_eigenvalues = least_squares.law(model, samples)
        inverse = SingularLaw(least_squares.inverse_law(model, samples), model.outputs)
    else:
        of_eigenvalues, inverse = least_squares.law_of(np.stack([x.spread for x in found]), model.outputs), None
    law = SingularLaw(of_eigenvalues, model.outputs)
    seeds = [_seed(x, i, samples, model.evals, edge, law) for i, x in enumerate(found)]
    row = {
        **{"samples": samples, "ratio": options.inputs / samples, "num_simulations": len(found)},
        **{"population": "law" if model.is_exact else "simulated", "threshold": edge, "covariance": model.evals},
        **_outliers(options, seeds, edge, law),
        **_spectra(np.stack([x.s for x in found]), law, inverse),
        "risk": float(np.mean([seed["risk"] for seed in seeds])),
        "expected_risk": options.noise**2 * options.outputs * options.inputs / (samples - options.inputs - 1),
        "noise": np.mean([x.noise for x in found], axis=0),
        "expected_noise": least_squares.noise_variance(model, samples),
    }
    return {"toy_linear": [row], "toy_linear_seeds": seeds}


def _seed(
    found: Simulation, number: int, samples: int, evals: np.ndarray, edge: float, law: SingularLaw
) -> dict[str, Any]:
    cosines, d = np.abs(found.v), evals.size
    largest = np.minimum(cosines.max(axis=1), 1.0)
    lower = edge * float(np.median(found.s))
    return {
        "samples": samples,
        "simulation": number,
        "num_lower": int(np.sum(found.s < lower)),
        "lower_edge": lower,
        "ks_law": float(law.ks_distance(found.s)),
        "risk": float(found.noise @ evals) * law.outputs,
        "singular_values": found.s,
        "overlap": largest,
        "overlap_partner": cosines.argmax(axis=1),
        "p_overlap": overlap.null_tail(largest, d, d),
        "variance": found.v**2 @ evals / evals.mean(),
    }


def _outliers(options: ToyLinearOptions, seeds: list[dict[str, Any]], edge: float, law: SingularLaw) -> dict[str, Any]:
    """How many lower outliers there are, and how their right vectors lie."""
    counts, d = np.array([seed["num_lower"] for seed in seeds], float), options.inputs
    lower = [seed["singular_values"] < seed["lower_edge"] for seed in seeds]
    overlaps, variances = ([seed[key] for seed in seeds] for key in ("overlap", "variance"))
    mean, low, high = paired_interval(counts, np.ones_like(counts), options.seed)
    chosen = np.concatenate(lower)
    return {
        **{"num_lower": mean, "num_lower_low": low, "num_lower_high": high, "num_any": int(np.sum(counts > 0))},
        "law_num_lower": min(d, options.outputs) * float(law.cdf(edge * law.quantile(0.5))),
        "overlap_lower": known_mean(np.concatenate(overlaps)[chosen]),
        "overlap_inside": known_mean(np.concatenate(overlaps)[~chosen]),
        "overlap_null": overlap.null_mean(d, d),
        "overlap_null_99": float(overlap.null_quantile(0.99, d, d)),
        "p_overlap_lower": permutation_p(overlaps, lower, options.seed),
        "variance_lower": known_mean(np.concatenate(variances)[chosen]),
        "variance_inside": known_mean(np.concatenate(variances)[~chosen]),
    }


def _spectra(s: np.ndarray, law: SingularLaw, inverse: SingularLaw | None) -> dict[str, Any]:
    """The law beside the simulated spectra s (B, K)."""
    grid = _grid(law.support)
    return {
        "ks_law": float(np.mean(law.ks_distance(s))),
        "ks_inverse": float(np.mean(inverse.ks_distance(s))) if inverse else np.nan,
        "ks_simulations": _among(s),
        "largest": float(s[:, 0].mean()),
        "law_largest": float(law.support[-1, 1]),
        "inverse_largest": float(inverse.support[-1, 1]) if inverse else np.nan,
        "smallest": float(s[:, -1].mean()),
        "law_smallest": float(law.support[0, 0]),
        "support": law.support.ravel(),
        "law_at": grid,
        "law_density": law.pdf(grid),
        "law_cdf": law.cdf(grid),
        "inverse_density": inverse.pdf(grid) if inverse else np.full(grid.size, np.nan),
    }


def _grid(support: np.ndarray) -> np.ndarray:
    """Places over the support, denser where it is small, the edges of its intervals among them."""
    low = max(float(support[0, 0]), 1e-3 * float(support[-1, 1]))
    return np.unique(np.r_[np.geomspace(low, support[-1, 1], GRID), support.ravel()])


def _among(s: np.ndarray) -> float:
    """Mean distance of each simulation's values from those of all others together."""
    order, (num, k) = np.sort(s.ravel()), s.shape
    rank = np.arange(k, 0, -1)
    others = (np.searchsorted(order, s, side="right") - rank) / ((num - 1) * k)
    return float(np.mean(np.max(np.maximum(rank / k - others, others - (rank - 1) / k), axis=1)))
