"""The readings of a batch of matrices: as they are, equalised, against random signs, and the same of random controls.

Each adds columns to the rows of its matrices; which ones there are follows from the options alone.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.nulls import purpose_key
from eigensweep.engine.run.statistics import NO_NUMBERS, statistics
from eigensweep.engine.run.stream import Decomposed, decompose_batch
from eigensweep.engine.spectral import controls, equalise, kept, signs
from eigensweep.engine.spectral.cores import num_cores
from eigensweep.engine.spectral.equalise_rounds import two_rounds
from eigensweep.engine.spectral.law import GAUSSIAN, Law
from eigensweep.engine.spectral.null import equalised
from eigensweep.engine.spectral.svd import is_streamed
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.tables.columns import COUNT
from eigensweep.engine.tables.kept import BINS, END, KEPT
from eigensweep.engine.tables.matrices import EQUALISED, PROFILE, SCALARS, SIGNS, VECTORS, control_prefix, identity_row

LAW = Law(
    equalised.right_threshold,
    equalised.left_threshold,
    equalised.p_largest,
    equalised.p_smallest,
    lambda t, a, b, num_bulk: equalised.gof_p(t, a, num_bulk),
)
"""Edges and goodness of fit of a Gaussian matrix that was equalised."""
_NOTHING = {
    EQUALISED: {EQUALISED + key: value for key, value in NO_NUMBERS.items()}
    | {name: None if column.dtype == COUNT else math.nan for name, column in PROFILE.items()},
    "signs": {name: None if column.dtype == COUNT else math.nan for name, column in SIGNS.items()},
}

Rows = list[dict[str, Any]]


def rows_of(sources: Sequence[MatrixSource], ws: list[np.ndarray], options: SweepOptions) -> Rows:
    """A row a matrix: its identity, its statistics, and those of every reading under their names.

    Args:
      sources: B matrices of one shape and dtype.
      ws: what they read, (m, n) each.
      options: which readings, and what they depend on.
    """
    names, shape = [source.name for source in sources], ws[0].shape
    usable = min(shape) > 1
    # an accelerator works on the matrices themselves while the host draws their controls
    eager = options.controls if usable and jax.default_backend() != "cpu" else ()
    drawn = {kind: _draw(kind, sources, ws, options.seed) for kind in eager}
    vectors = needs_vectors(options, shape)
    found = decompose_batch(names, ws, options.strategy, ks=True, vectors=vectors)
    as_is = _statistics(found, options, bootstrap=options.bootstrap)
    rows = [identity_row(source) | row for source, row in zip(sources, as_is, strict=True)]
    good = [i for i in range(len(ws)) if usable and np.isfinite(found.s[i]).all()]
    if options.equalise or options.num_flips:
        rows = [row | {name: [] for name in KEPT} for row in rows]
        if vectors:
            _keep_vectors(found, rows, good)
    if options.equalise:
        rows = [row | _NOTHING[EQUALISED] for row in rows]
        if vectors:
            _read_equalised(found, rows, good, options)
    if options.num_flips:
        rows = [row | _NOTHING["signs"] for row in rows]
        if vectors and math.prod(shape) <= options.max_flip_entries:
            _read_signs(found, rows, good, options)
    for kind in options.controls:
        prefix = control_prefix(kind)
        rows = [row | {prefix + key: value for key, value in NO_NUMBERS.items()} for row in rows]
        if good:
            futures = drawn.pop(kind, None) or _draw(kind, sources, ws, options.seed)
            random = [futures[i].result() for i in good]
            control = decompose_batch([names[i] for i in good], random, options.strategy, ks=True)
            for i, statistic in zip(good, _statistics(control, options), strict=True):
                _add(rows[i], prefix, statistic)
    return rows


def needs_vectors(options: SweepOptions, shape: tuple[int, int]) -> bool:
    """Whether a reading wants the singular vectors themselves; of a streamed matrix there are none to be had."""
    return (options.equalise or options.num_flips > 0) and not is_streamed(shape, options.strategy)


def _keep_vectors(found: Decomposed, rows: Rows, good: list[int]) -> None:
    """The columns of `tables.kept`: how the entries of a few vectors of each matrix lie."""
    for i in good:
        row = rows[i]
        for side, vectors in (("right", found.vt[i]), ("left", found.u[i].T)):
            known = ~np.isnan(row[f"p_{side}"])
            if not known.any():
                known = np.arange(known.size) < row["hard_rank"]
            index = kept.chosen(row[f"ks_{side}"], known)
            row[f"kept_{side}"] = index
            row[f"kept_{side}_counts"] = kept.histogram(vectors[index], BINS, END).ravel()


def _read_equalised(found: Decomposed, rows: Rows, good: list[int], options: SweepOptions) -> None:
    """The statistics of the matrices with rows and columns brought to one scale, against a law of their own."""
    if not good:
        return
    x, y = two_rounds([found.w[i] for i in good], found.u[good], found.s[good], found.vt[good])
    log_sd = equalise.profile(x, y)
    by_shape: dict[tuple[int, ...], dict[int, np.ndarray]] = {}
    for place, i in enumerate(good):
        row, scales = rows[i], (x[place], y[place])
        row |= {"zero_rows": int((scales[0] == 0).sum()), "zero_columns": int((scales[1] == 0).sum())}
        row |= {"profile_rows": float(log_sd[0][place]), "profile_columns": float(log_sd[1][place])}
        w = equalise.without_zeros(equalise.equalise(found.w[i], *scales), *scales)
        # as precise as W was stored, so that the numerical rank means the same
        w = w.astype(np.float64 if found.w[i].dtype == np.float64 else np.float32)
        by_shape.setdefault(w.shape, {})[i] = w
    for members in by_shape.values():
        read = decompose_batch([found.names[i] for i in members], list(members.values()), options.strategy, ks=True)
        for i, statistic in zip(members, _statistics(read, replace(options, sigma="bulk"), LAW), strict=True):
            _add(rows[i], EQUALISED, statistic)
            rows[i] |= _explained(rows[i])


def _explained(row: dict[str, Any]) -> dict[str, float]:
    """The shares of `PROFILE`: what of a count is gone once the scales are."""
    counts = {"right": "num_right_outliers", "left": "num_left_outliers"}
    counts |= {f"rejected_{side}": f"rejected_{side}" for side in ("right", "left")}
    shares = {}
    for what, column in counts.items():
        before, after = row[column], row[EQUALISED + column]
        known = before is not None and after is not None and before > 0
        shares[f"profile_share_{what}"] = (before - after) / before if known else math.nan
    return shares


def _read_signs(found: Decomposed, rows: Rows, good: list[int], options: SweepOptions) -> None:
    """Signflip parallel analysis; what the equalised reading found, at a level of its own, is out in its one round."""
    if not good:
        return
    sides = [f"{EQUALISED}num_{side}_outliers" for side in ("right", "left")]
    read = signs.read(
        np.stack([found.w[i] for i in good]),
        found.u[good],
        found.s[good],
        found.vt[good],
        [purpose_key(options.seed, "flips", found.names[i]) for i in good],
        options.num_flips,
        options.level,
        start=[tuple(rows[i].get(side) or 0 for side in sides) for i in good],  # type: ignore[misc]
        num_rounds=1 if options.equalise else signs.NUM_ROUNDS,
    )
    for place, i in enumerate(good):
        for side in ("right", "left"):
            count = getattr(read, f"num_{side}")[place]
            rows[i][f"num_{side}_outliers_beyond_signs"] = None if math.isnan(count) else int(count)
            rows[i][f"signs_p_{side}"] = float(getattr(read, f"p_{side}")[place])
            rows[i][f"signs_z_{side}"] = float(getattr(read, f"z_{side}")[place])


def _statistics(found: Decomposed, options: SweepOptions, law: Law = GAUSSIAN, bootstrap: int = 0) -> Rows:
    nulls = {"null": options.null, "num_draws": options.num_draws}
    return statistics(found, options, power_law=options.power_law, nulls=nulls, law=law, bootstrap=bootstrap)


def _add(row: dict[str, Any], prefix: str, statistic: dict[str, Any]) -> None:
    row |= {prefix + key: statistic[key] for key in (*SCALARS, *VECTORS)}


def _draw(kind: str, sources: Sequence[MatrixSource], ws: Sequence[np.ndarray], seed: int) -> list[Future[np.ndarray]]:
    """The control of every matrix, a matrix a core."""

    def draw(source: MatrixSource, w: np.ndarray) -> np.ndarray:
        key = purpose_key(seed, kind, source.name)
        if kind != "grid":
            return getattr(controls, kind)(key, w)
        read = getattr(source, "grid", None)
        return controls.grid(key, w, read()) if read else controls.gaussian(key, w)

    pool = ThreadPoolExecutor(num_cores())
    futures = [pool.submit(draw, source, w) for source, w in zip(sources, ws, strict=True)]
    pool.shutdown(wait=False)
    return futures
