"""Spectra of a population covariance, by name: what data look like in a model of learning."""

import math

import numpy as np

KINDS = "identity, power:EXPONENT, two_level:SHARE,LEVEL, spiked:NUMBER,LEVEL, list:VALUE,VALUE,..."
LARGEST_CONDITION = 1e8


def eigenvalues(kind: str, d: int) -> np.ndarray:
    """(d,) eigenvalues of the covariance, descending, float64.

    Args:
      kind: `identity`; `power:1.5`, lambda_j = j^-1.5; `two_level:0.1,20`, 20 in a tenth of the directions and 1 in the
        others; `spiked:5,30`, 30 in five directions and 1 in the others; `list:8,4,1`, each in an equal share of them.
      d: dimension.

    Raises:
      ValueError: `kind` is none of these, or not positive and finite; the largest is more than 1e8 times the smallest.
    """
    word, _, rest = kind.partition(":")
    try:
        numbers = [float(x) for x in rest.split(",")] if rest else []
    except ValueError:
        raise _unknown(kind) from None
    if not all(math.isfinite(x) for x in numbers):
        raise _unknown(kind)
    values: np.ndarray
    match word, numbers:
        case "identity", []:
            values = np.ones(d)
        case "power", [exponent]:
            if not 0 <= exponent <= math.log(LARGEST_CONDITION) / math.log(max(d, 2)):
                raise ValueError(
                    f"covariance {kind}: in {d} dimensions the exponent must lie between 0 and "
                    f"{math.log(LARGEST_CONDITION) / math.log(max(d, 2)):.3g}"
                )
            values = np.arange(1, d + 1) ** -exponent
        case "two_level", [share, level]:
            if not 0 < share < 1:
                raise ValueError(f"covariance {kind}: the share must lie between 0 and 1")
            values = _raised(kind, d, max(1, round(share * d)), level)
        case "spiked", [number, level]:
            if number != int(number) or not 0 < number < d:
                raise ValueError(f"covariance {kind}: expected a whole number of spikes between 1 and {d - 1}")
            values = _raised(kind, d, int(number), level)
        case "list", [_, *_]:
            if len(numbers) > d:
                raise ValueError(f"covariance {kind}: has {len(numbers)} values for {d} dimensions")
            values = np.concatenate([np.full(len(of), x) for x, of in _shares(numbers, d)])
        case _:
            raise _unknown(kind)
    if not values.min() > 0 or values.max() > LARGEST_CONDITION * values.min():
        raise ValueError(f"covariance {kind}: eigenvalues must be positive, the largest at most 1e8 times the smallest")
    return np.sort(values)[::-1].astype(np.float64)


def _raised(kind: str, d: int, number: int, level: float) -> np.ndarray:
    if not level > 0:
        raise ValueError(f"covariance {kind}: the level must be positive")
    return np.where(np.arange(d) < number, level, 1.0)


def _shares(numbers: list[float], d: int) -> list[tuple[float, np.ndarray]]:
    return list(zip(numbers, np.array_split(np.arange(d), len(numbers)), strict=True))


def _unknown(kind: str) -> ValueError:
    return ValueError(f"covariance is {kind!r}; expected one of {KINDS}")
