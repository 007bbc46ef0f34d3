"""What the page draws of an overlap study: overlaps by singular value, a panel a role, and the covariances' spectra."""

import numpy as np

from eigensweep.engine.report.charts import Axis, Chart, Panel, Rule, Series
from eigensweep.engine.report.spectrum import NULL, block_of
from eigensweep.engine.studies.overlap import figure_covariances
from eigensweep.engine.studies.overlap.figures import BINS, LEAST, Vectors, by_role, title
from eigensweep.engine.studies.overlap.study import Overlap

MAX_INSIDE = 400  # vectors of the bulk drawn in a panel; those outside it are all there
MAX_RANKS = 80  # eigenvalues of a line
_OVERLAP = (
    "Overlap O of every right singular vector with the axes of the activations, over its singular value; vectors "
    "outside the bulk (edges dashed) are dark, of those inside some hundreds are drawn. Black: means over bins."
)
_COVARIANCES = "Eigenvalues of F by rank, a panel a kind of input, a line a block."


def charts(found: Overlap) -> list[Chart]:
    """Overlaps where there are any, and eigenvalues of the activations' covariances."""
    groups = by_role(found)
    result = []
    if groups:
        panels = [_overlaps(label, members) for label, members in groups.items()]
        x, y = Axis("ν / (σ √max(m, n))", "log"), Axis("overlap O", limits=(0.0, _top(groups)))
        result.append(
            Chart("Overlap with the activations' axes", *title(groups, found.centring), _OVERLAP, x, y, panels)
        )
    rank, share = Axis("rank of the eigenvalue", "log"), Axis("share of tr F", "log")
    seen = figure_covariances.title(found)
    panels = [_covariances(kind, rows) for kind, rows in figure_covariances.by_kind(found).items()]
    return [*result, Chart("Covariances of the activations", *seen, _COVARIANCES, rank, share, panels)]


def _top(groups: dict[str, list[Vectors]]) -> float:
    return min(1.05, 1.08 * max(float(np.nanmax(v.overlap)) for group in groups.values() for v in group))


def _overlaps(label: str, members: list[Vectors]) -> Panel:
    values, overlap = (np.concatenate([getattr(v, name) for v in members]) for name in ("values", "overlap"))
    outside = np.concatenate([v.right | v.left for v in members])
    known = np.isfinite(overlap) & (values > NULL * values.max())
    values, overlap, outside = values[known], overlap[known], outside[known]
    inside = np.flatnonzero(~outside)[:: max(1, -(-int((~outside).sum()) // MAX_INSIDE))]
    mean = _means(values, overlap)
    low, high = (float(np.mean([getattr(v, name) for v in members])) for name in ("low", "high"))
    null, null_99 = (float(np.mean([getattr(v, name) for v in members])) for name in ("null", "null_99"))
    first = members[0]
    shape = "" if "×" in label else f"{first.m} × {first.n}"
    return Panel(
        label,
        [
            Series("a vector inside", values[inside], overlap[inside], marks="dots", color="control"),
            Series("a vector outside the bulk", values[outside], overlap[outside], marks="dots", color="raw"),
            Series("mean", *mean, marks="line+points", color="ink"),
        ],
        rules=[
            Rule("random rotation: mean", "y", null, "law", dashed=False),
            Rule("random rotation: 99 % quantile", "y", null_99, "law"),
            *(Rule("", "x", edge) for edge in (low, high) if edge > 0),
        ],
        note=", ".join(filter(None, [shape, f"{len(members)} matrices" if len(members) > 1 else ""])),
    )


def _means(values: np.ndarray, overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over bins of the logarithm that hold a few vectors."""
    bins = np.geomspace(values.min() / 1.05, values.max() * 1.05, BINS // 2 + 1)
    place = np.clip(np.digitize(values, bins) - 1, 0, len(bins) - 2)
    count = np.bincount(place, minlength=len(bins) - 1)
    mean = np.bincount(place, overlap, len(bins) - 1) / np.maximum(count, 1)
    return np.sqrt(bins[1:] * bins[:-1])[count >= LEAST], mean[count >= LEAST]


def _covariances(kind: str, rows: list[dict]) -> Panel:
    blocks = sorted({b for row in rows if (b := block_of(row)) is not None})
    series = []
    for row in rows:
        evals, block = np.asarray(row["evals"], np.float64), block_of(row)
        share = evals[: row["num_axes"]] / evals.sum()
        rank = np.unique(np.geomspace(1, share.size, MAX_RANKS).round().astype(int)) if share.size else np.empty(0, int)
        depth = "ink" if block is None else blocks.index(block) / max(1, len(blocks) - 1)
        series.append(Series("" if block is None else f"block {block}", rank, share[rank - 1], color=depth))
    return Panel(figure_covariances.TAP_TITLES.get(kind, f"into {kind.removesuffix('/kernel')}"), series)
