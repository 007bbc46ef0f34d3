"""From a batch of circuits to rows: decomposed, held against random signs, projected to the vocabulary.

Whatever is computed of a block's directions is computed here: `directions_of` gives them side by side as arrays
(`Found`), `direction_rows` makes them rows.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np

from eigensweep.engine.spectral import controls, product_signs, spans
from eigensweep.engine.spectral.factored import product_svd, product_values, side_svd
from eigensweep.engine.spectral.noise import sigma_bulk
from eigensweep.engine.spectral.top_scores import top_scores
from eigensweep.engine.studies.tokens import turning
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.studies.tokens.records import Decomposed, Found
from eigensweep.models.circuits import Circuits, Projection, Reader

MOST_FLIPPED = 1024  # shorter side of the matrices that are flipped: larger ones have the sweep's reading


def decompose(circuits: Circuits, eps: float) -> Decomposed:
    """Singular values and the directions in the stream of a batch of circuits.

    Args:
      eps: of the numerical rank.
    """
    left_name, right_name = circuits.sides
    longest = max(circuits.m, circuits.n)
    if circuits.left is not None:
        found = product_svd(circuits.left, circuits.right)
        s = found.s
        rank = _rank(s, longest, eps)
        sigmas = [_noise(np.swapaxes(circuits.left, 1, 2)), _noise(circuits.right)]
        noise = spans.product_noise(found.left, found.right, *sigmas)
        sides = {left_name: np.swapaxes(found.u, 1, 2), right_name: found.vt}
        return Decomposed(circuits, s, sides, rank, spans.spans(s, noise, rank), *sigmas)
    side = "left" if left_name else "right"
    s, vectors = side_svd(circuits.right, side)
    rank, sigma = _rank(s, longest, eps), _sigmas(s, circuits.m, circuits.n)
    sides = {left_name or right_name: vectors}
    return Decomposed(circuits, s, sides, rank, spans.spans(s, sigma[:, None], rank), sigma, None)


def _rank(s: np.ndarray, longest: int, eps: float) -> np.ndarray:
    return np.count_nonzero(s > s[:, :1] * longest * eps, axis=1)


def _noise(w: np.ndarray) -> np.ndarray:
    """(H,) sigma_bulk of wide matrices (H, r, d)."""
    triangles = np.linalg.qr(np.swapaxes(w, 1, 2), mode="r")
    return _sigmas(np.linalg.svd(triangles, compute_uv=False), w.shape[1], w.shape[2])


def _sigmas(s: np.ndarray, m: int, n: int) -> np.ndarray:
    return np.asarray(_batched_sigma(m, n)(s))


@lru_cache(maxsize=64)
def _batched_sigma(m: int, n: int) -> Callable[[np.ndarray], jax.Array]:
    return jax.jit(jax.vmap(partial(sigma_bulk, m=m, n=n)))


def chosen(rank: int, first: int, last: int) -> np.ndarray:
    """Indices from 0 of the first and the last directions within the rank, each once."""
    return np.unique(np.r_[: min(first, rank), max(rank - last, 0) : rank])


def directions_of(
    decomposed: Decomposed, projections: Mapping[str, tuple[Projection, Any]], options: TokensOptions
) -> list[Found]:
    """The directions of a batch of circuits with their tokens, a `Found` a side.

    Args:
      projections: by side, and the table as it is searched (on an accelerator its copy there).
    """
    if options.varimax:
        decomposed = turning.turned(decomposed, projections)
    picked = [chosen(int(rank), options.first, options.last) for rank in decomposed.rank]
    circuit = np.repeat(np.arange(len(picked)), [len(index) for index in picked])
    index = np.concatenate(picked)
    result, turned = [], None
    for side, vectors in decomposed.sides.items():
        projection, table = projections[side]
        x = vectors[circuit, index]
        top = top_scores(table, projection.onto_table(x), options.tokens)
        if turned is None:  # the left side's largest score decides, the other side goes along
            turned = -top.low_scores[:, 0] > top.high_scores[:, 0]
        turn = turned[:, None]
        plus, minus = np.where(turn, top.low, top.high), np.where(turn, top.high, top.low)
        scores = np.where(turn, -top.low_scores, top.high_scores), np.where(turn, top.high_scores, -top.low_scores)
        x = np.where(turn, -x, x)
        result.append(Found(circuit, index + 1, side, projection, x, plus, scores[0], minus, scores[1]))
    return result


def direction_rows(
    found: Found,
    decomposed: Decomposed,
    options: TokensOptions,
    text: Sequence[str] | None,
    tested: Callable[[int, int], Mapping[str, Any]] = lambda row, sign: {},
) -> Iterator[dict[str, Any]]:
    """The rows of the table `directions`: two of every direction, one a sign.

    Args:
      tested: columns of a row of `found` and a sign, from its tests.
    """
    addresses = decomposed.circuits.addresses
    groups = decomposed.spans
    for row, (i, index) in enumerate(zip(found.circuit, found.index, strict=True)):
        address, at = addresses[i], (i, index - 1)
        about = {
            "circuit": str(address),
            "index": int(index),
            "side": found.side,
            "block": address.block,
            "head": address.head,
            "kind": address.kind,
            "end": "first" if index <= options.first else "last",
            "projection": found.projection.name,
            "s": decomposed.s[at],
            "gap": groups.gap[at],
            "least_gap": groups.least[at],
            "group": int(groups.group[at]),
            "group_size": int(groups.size[at]),
        }
        for sign, ids, scores in (
            (1, found.plus[row], found.plus_scores[row]),
            (-1, found.minus[row], found.minus_scores[row]),
        ):
            words = None if text is None else [text[token] for token in ids]
            told = {"sign": sign, "token_ids": ids, "tokens": words, "scores": scores.astype(np.float64)}
            yield {**about, **told, **tested(row, sign)}


def circuit_rows(decomposed: Decomposed, flips: np.ndarray | None, options: TokensOptions) -> Iterator[dict[str, Any]]:
    """The rows of the table `circuits`.

    Args:
      flips: (num_flips, H, k) singular values under random signs; None: no reading.
    """
    circuits = decomposed.circuits
    for i, (address, kv_head) in enumerate(zip(circuits.addresses, circuits.kv_heads, strict=True)):
        s, rank = decomposed.s[i], int(decomposed.rank[i])
        signs = None
        if flips is not None and rank:
            long = max(circuits.m, circuits.n)
            signs = product_signs.read(s[:rank], flips[:, i, :rank], (long, rank), options.level)._asdict()
            signs = {key: value if np.isfinite(value) else None for key, value in signs.items()}
        signs = signs or {}
        groups = np.unique(decomposed.spans.group[i, :rank])
        yield {
            "circuit": str(address),
            "block": address.block,
            "head": address.head,
            "kind": address.kind,
            "kv_head": kv_head,
            "m": circuits.m,
            "n": circuits.n,
            "rank": rank,
            "singular_values": s,
            "stable_rank": float(np.sum(np.square(s / s[0]))) if s[0] else np.nan,
            "sigma": decomposed.sigma[i],
            "sigma_right": None if decomposed.sigma_right is None else decomposed.sigma_right[i],
            "num_groups": len(groups),
            "signs_s1": signs.get("largest"),
            "signs_last": signs.get("smallest"),
            "num_right_beyond_signs": _count(signs.get("num_right")),
            "num_left_beyond_signs": _count(signs.get("num_left")),
            "p_right_signs": signs.get("p_right"),
            "p_left_signs": signs.get("p_left"),
        }


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)


def flipped_values(
    reader: Reader, block: int, kinds: Sequence[str], num_flips: int, seed: int
) -> dict[str, np.ndarray]:
    """Singular values (num_flips, H, k) of a block's circuits whose weights have random signs, by kind.

    The signs are those of the stored weights, before norms are folded; each depends on the seed, its flip and its
    tensor alone. Matrices of more than MOST_FLIPPED on both sides have none.
    """
    outlines = [outline for outline in reader.outlines(block) if outline.kind in kinds]
    wanted = [o.kind for o in outlines if o.factored or min(o.m, o.n) <= MOST_FLIPPED]
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in wanted}
    for flip in range(num_flips):
        for circuits in reader.with_weights(partial(_flipped, seed, flip)).read(block, wanted):
            found[circuits.kind].append(_values(circuits))
    return {kind: np.stack(values) for kind, values in found.items() if values}


def _flipped(seed: int, number: int, path: str, w: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng((seed, number, zlib.crc32(path.encode())))
    return controls.flip(w, controls.packed_bits(rng, w.size))


def _values(circuits: Circuits) -> np.ndarray:
    """(H, k) singular values; small ones of matrices to 1e-8 of the largest, which is enough for their logarithms."""
    if circuits.left is not None:
        return product_values(circuits.left, circuits.right)
    w = circuits.right if circuits.m <= circuits.n else np.swapaxes(circuits.right, 1, 2)
    return np.sqrt(np.maximum(np.linalg.eigvalsh(w @ np.swapaxes(w, 1, 2))[:, ::-1], 0.0))
