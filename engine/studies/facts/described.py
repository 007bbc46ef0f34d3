"""A distribution as a row of the table, and back."""

from typing import Any

import numpy as np

from eigensweep.engine.spectral import log_histogram
from eigensweep.engine.spectral.distribution import Distribution


def row_of(what: str, name: str, found: Distribution) -> dict[str, Any]:
    """A row of `distributions`."""
    edges, counts = found.histogram
    fits, tail, whole = found.fits, found.tail, found.all
    fitted = {
        f"{law}_{key}": known(getattr(fit, key))
        for law, fit in fits.items()
        for key in ("aic", "loc", "scale", "shape")
    }
    return {
        **{"what": what, "name": name, "block": block_of(name), "tap": within(name)},
        **{"count": int(whole.count), "non_finite": log_histogram.non_finite(found.counts)},
        **{"mean": known(whole.mean if whole.count else np.nan), "sd": known(whole.sd)},
        **{"skewness": known(whole.skewness), "kurtosis": known(whole.kurtosis)},
        **{"min": known(whole.low), "max": known(whole.high), "quantiles": found.quantiles()},
        **{"edges": edges, "counts": counts, **fitted},
        "best": min(fits, key=lambda law: fits[law].aic) if fits else None,
        **{"tail_shape": known(tail.shape), "tail_straight": known(tail.straight)},
    }


def known(value: Any) -> float | None:
    """A number; None where it is not defined."""
    return float(value) if np.isfinite(value) else None


def block_of(name: str) -> int | None:
    """The block of a path.

    >>> block_of("blocks/3/stream/before")
    3
    """
    parts = name.split("/")
    at = parts.index("blocks") + 1 if "blocks" in parts else len(parts)
    return int(parts[at]) if at < len(parts) and parts[at].isdigit() else None


def within(name: str) -> str:
    """The path within its block; whole outside of blocks.

    >>> within("blocks/3/stream/before")
    'stream/before'
    """
    parts = name.split("/")
    if block_of(name) is None:
        return name
    at = parts.index("blocks")
    return "/".join((*parts[:at], *parts[at + 2 :]))


def unit_of(name: str) -> str:
    """What is done together with this path: its block, or "outside".

    >>> unit_of("blocks/3/stream/before")
    'blocks/3'
    """
    parts = name.split("/")
    return "outside" if block_of(name) is None else "/".join(parts[: parts.index("blocks") + 2])
