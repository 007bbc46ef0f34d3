"""The tail of a spectrum: what its power law is worth, its phase and its class, as columns of a matrix."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.spectral import phases, power_law_bootstrap, power_law_ratios
from eigensweep.engine.spectral.power_law import PowerLaw

_LAW = ("alpha", "xmin", "pl_d", "pl_sigma", "num_pl_spikes")
_GIVEN = ("hard_rank", "nu_plus", "num_right_outliers", "num_left_outliers", "mp_ks", "alpha", "xmin", "pl_d")


def bootstraps(
    s: np.ndarray, scalars: Mapping[str, np.ndarray], names: Sequence[str], seed: int, num: int, method: str
) -> dict[str, np.ndarray]:
    """Interval of alpha, goodness of fit and likelihood ratios of B power laws.

    Args:
      s: (B, b) float64, descending.
      scalars: `scalar_statistics` of s.
      names: of the matrices; each has its own random numbers, whatever the batch.
      seed: root of the random numbers.
      num: number of replicas; 0 for none, and NaN.
      method: see `power_law.fit`.

    Returns:
      (B,) float64 arrays.
    """
    columns = ["alpha_low", "alpha_high", "pl_p"]
    columns += [f"llr_{name}{end}" for name in power_law_ratios.ALTERNATIVES for end in ("", "_p")]
    if not num:
        return {name: np.full(len(s), np.nan) for name in columns}
    rows = []
    for i, name in enumerate(names):
        evals = s[i] ** 2
        if method == "default":  # as in the fit: beyond the numerical rank is rounding
            evals = np.where(np.arange(len(evals)) < scalars["hard_rank"][i], evals, 0.0)
        law = PowerLaw(*(scalars[column][i] for column in _LAW))
        found = power_law_bootstrap.worth(purpose_key(seed, "power_law", name), evals, law, num, method)
        ratios = power_law_ratios.likelihood_ratios(evals, law.xmin)
        pairs = [x for name in power_law_ratios.ALTERNATIVES for x in (ratios[name].ratio, ratios[name].p)]
        rows.append(np.array(jax.device_get([*found, *pairs])))
    return dict(zip(columns, np.array(rows).T, strict=True))


def phase_columns(s: np.ndarray, scalars: Mapping[str, np.ndarray], shape: tuple[int, int]) -> list[dict[str, Any]]:
    """The columns phase, phase_evidence, universality (null where there is none) and mu, a row a matrix.

    Args:
      s: (B, b) float64, descending.
      scalars: the columns that `phases.Evidence` names; mp_gof_p and pl_p are NaN where they are missing.
      shape: (m, n) of the matrices.
    """
    missing = np.full(len(s), np.nan)
    rows = []
    for i, values in enumerate(s):
        given = {name: scalars[name][i].item() for name in _GIVEN}
        found = phases.phase(
            phases.Evidence(
                s=values,
                a=max(shape),
                num_right=given.pop("num_right_outliers"),
                num_left=given.pop("num_left_outliers"),
                num_pl_spikes=scalars["num_pl_spikes"][i].item(),
                mp_gof_p=float(scalars.get("mp_gof_p", missing)[i]),
                pl_p=float(scalars.get("pl_p", missing)[i]),
                **given,
            )
        )
        words = {"phase": found.phase, "phase_evidence": found.evidence, "universality": found.universality or None}
        rows.append(words | {"mu": found.mu})
    return rows
