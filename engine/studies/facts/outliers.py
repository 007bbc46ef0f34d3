"""Which dimensions of the residual stream are outliers, and whether they are the same ones elsewhere."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.engine.spectral.moments import Moments
from eigensweep.engine.spectral.sets import overlap
from eigensweep.engine.studies.facts.described import block_of, known, within

THRESHOLD = 6.0  # robust standard deviations
LARGE, LEAST_LARGE, LEAST_BLOCKS = 6.0, 0.06, 0.25
"""LLM.int8's magnitude, share of the tokens and share of the blocks (Dettmers et al. 2022)."""
_OVERLAP = {"jaccard": "jaccard", "jaccard_chance": "chance", "p": "p"}
_MAD = 1.4826  # median absolute deviations of a normal distribution in its standard deviation


def robust(values: np.ndarray) -> np.ndarray:
    """(values - median) in robust standard deviations, 1.4826 median |values - median|; 0 where that is 0."""
    centred = values - np.median(values)
    spread = _MAD * np.median(np.abs(centred))
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def robust_z(parts: Moments) -> np.ndarray:
    """(d,) how far a dimension's mean, in either direction, or its sd, upwards, is from those of the others."""
    return np.maximum(np.abs(robust(parts.mean)), robust(parts.sd))


def flags(rows: Sequence[Mapping[str, Any]], column: str = "outlier") -> dict[str, np.ndarray]:
    """Tap -> (d,) one of the flags of `dimensions`."""
    found: dict[str, list[bool]] = {}
    for row in rows:
        found.setdefault(row["tap"], []).append(row[column])
    return {tap: np.array(values, bool) for tap, values in found.items()}


def means_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Tap -> (d,) mean over tokens, of `dimensions`."""
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["tap"], []).append(row["mean"])
    return {tap: np.array(values) for tap, values in found.items()}


def gain_flags(gains: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Norm -> (d,) whose gain is beyond THRESHOLD robust standard deviations of its gains."""
    return {name: np.abs(robust(gain.astype(np.float64))) > THRESHOLD for name, gain in gains.items()}


def outlier_rows(rows: Sequence[Mapping[str, Any]], gains: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """`outlier_dimensions`, the largest robust z first."""
    outlier, large, gain = flags(rows), flags(rows, "outlier_int8"), gain_flags(gains)
    largest: dict[int, float] = {}
    for row in rows:
        largest[row["dim"]] = max(largest.get(row["dim"], 0.0), row["robust_z"])
    before = [values for tap, values in large.items() if tap.endswith("stream/before")]
    share = np.mean(before, axis=0)
    num_taps = np.sum(list(outlier.values()), axis=0)
    num_gains = np.sum(list(gain.values()), axis=0) if gain else np.zeros(len(share), int)
    chosen = [dim for dim in range(len(share)) if num_taps[dim] or share[dim] >= LEAST_BLOCKS]
    return [
        {
            **{"dim": dim, "num_taps": int(num_taps[dim]), "share_taps": num_taps[dim] / len(outlier)},
            **{"robust_z": largest[dim], "share_int8": float(share[dim])},
            **{"outlier_int8": bool(share[dim] >= LEAST_BLOCKS), "num_gains": int(num_gains[dim])},
        }
        for dim in sorted(chosen, key=lambda dim: -largest[dim])
    ]


def overlap_rows(rows: Sequence[Mapping[str, Any]], gains: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """`dimension_overlaps`: between blocks at one tap, between halves of the text, with the gains of the block's norms.

    A post-norm's gain stands before the stream that it makes, another's behind the stream that it reads: each is held
    against every tap of its own block.
    """
    outlier, first, second = (flags(rows, f"outlier{half}") for half in ("", "_first", "_second"))
    pairs = [
        ("blocks", a, b, outlier[a], outlier[b])
        for a, b in itertools.combinations(outlier, 2)
        if within(a) == within(b)
    ]
    pairs += [("halves", tap, "second half", first[tap], second[tap]) for tap in outlier]
    pairs += [
        ("gains", tap, norm, outlier[tap], values)
        for norm, values in gain_flags(gains).items()
        for tap in outlier
        if block_of(tap) == block_of(norm)
    ]
    return [
        {
            **{"what": what, "a": a, "b": b, "num_a": int(one.sum()), "num_b": int(other.sum())},
            **{"num_both": (found := overlap(one, other)).both},
            **{name: known(getattr(found, key)) for name, key in _OVERLAP.items()},
        }
        for what, a, b, one, other in pairs
    ]
