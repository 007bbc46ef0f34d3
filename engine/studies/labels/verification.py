"""Whether a label tells the tokens that it was given for from others, judged by a call that knows neither.

The tokens of a list are mixed with as many of other lists; a judge says which of them the label fits. A judge that
cannot tell them apart, whether it says yes to all, to none or at random, chooses as an urn does: the number X of the
list's tokens among c chosen ones is hypergeometric, and p = P(X >= x). Verified are labels that fit most tokens of
their list, x >= K/2, at p <= level.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom


@dataclass(frozen=True)
class Mixed:
    """A list's tokens among others.

    Attributes:
      tokens: all of them, in random order.
      own: which are the list's, as numbers from 1.
    """

    tokens: tuple[str, ...]
    own: frozenset[int]


@dataclass(frozen=True)
class Verdict:
    """What the choice of a judge says: x of the K own tokens and y of the others were chosen, p = P(X >= x)."""

    own: int
    others: int
    p: float
    verified: bool


def mixed(tokens: Sequence[str], pool: Sequence[str], seed: int) -> Mixed:
    """A list's tokens among as many of the pool, drawn by the seed and the list alone.

    Args:
      tokens: of the list.
      pool: tokens of many lists, each once; what looks like one of the list's own is left out.
      seed: of the draw.
    """
    own = {looks(token): token for token in tokens}  # tokens that look alike count once
    digest = hashlib.sha256("\0".join(tokens).encode("utf-8", "surrogatepass")).digest()
    rng = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    others: dict[str, str] = {}
    enough = len(pool) if len(pool) <= 64 * len(own) else 8 * len(own)
    for i in rng.choice(len(pool), enough, replace=False):
        if len(others) == len(own):
            break
        if (look := looks(pool[i])) not in own:
            others.setdefault(look, pool[i])
    every = [*own.values(), *others.values()]
    order = rng.permutation(len(every))
    return Mixed(tuple(every[i] for i in order), frozenset(k for k, i in enumerate(order, 1) if i < len(own)))


def judged(mix: Mixed, chosen: set[int], level: float) -> Verdict:
    """What a choice of numbers says of the label."""
    own, others = len(mix.own & chosen), len(chosen - mix.own)
    p = float(hypergeom.sf(own - 1, len(mix.tokens), len(mix.own), len(chosen)))
    return Verdict(own, others, p, 2 * own >= len(mix.own) and p <= level)


def looks(token: str) -> str:
    """What of a token tells it from others at a glance: marks of word beginnings and case do not."""
    return token.removeprefix("##").strip(" Ġ▁").casefold()
