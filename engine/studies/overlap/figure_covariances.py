"""Spectra of the activations' covariances F: a panel a kind of input, a line a block."""

from typing import TYPE_CHECKING, Any

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import block_of
from eigensweep.engine.studies.overlap.study import Overlap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CENTRED = {"none": "not centred", "mean": "centred", "positions": "the mean of each position taken off"}
TAP_TITLES = {  # last parts of a tap's path -> what enters there
    "attention/query/kernel": "into query, key, value",
    "attention/output/kernel": "into attention output",
    "mlp/up/kernel": "into MLP up (and gate)",
    "mlp/down/kernel": "into MLP down",
}


def by_kind(found: Overlap) -> dict[str, list[dict]]:
    """The covariances by what enters there; those inside the blocks alone where there are any."""
    panels: dict[str, list[dict]] = {}
    for row in found.covariances.to_dict("records"):
        kind = "/".join(row["tap"].split("/")[2:]) if row["tap"].startswith("blocks/") else row["tap"]
        panels.setdefault(kind, []).append(row)
    inside = {kind: rows for kind, rows in panels.items() if any(block_of(r) is not None for r in rows)}
    return inside or panels


def draw(found: Overlap) -> "Figure":
    """Eigenvalues of F by rank, a panel a kind of input, a line a block."""
    panels = by_kind(found)
    figure = style.new_figure(height=2.75)
    style.headline(figure, *title(found))
    left, gap = 0.1, 0.045
    width = (0.992 - left - gap * (len(panels) - 1)) / len(panels)
    blocks = sorted({b for rows in panels.values() for r in rows if (b := block_of(r)) is not None})
    low, high = _limits(panels)
    for i, (kind, rows) in enumerate(panels.items()):
        axes = figure.add_axes((left + i * (width + gap), 0.16, width, 0.62))
        for row in rows:
            evals = np.asarray(row["evals"])[: row["num_axes"]]
            share = evals / np.asarray(row["evals"]).sum()
            color = _block_color(block_of(row), blocks)
            axes.plot(np.arange(1, len(share) + 1), share, color=color, lw=1.0)
        style.log_axis(axes, "x", 0.9, 1.1 * max(r["d"] for r in rows))
        style.log_axis(axes, "y", low, high)
        axes.set_title(TAP_TITLES.get(kind, f"into {kind.removesuffix('/kernel')}"), pad=3)
        axes.set_xlabel("rank of the eigenvalue", labelpad=1)
        if i == 0:
            axes.set_ylabel("share of tr F", labelpad=1)
            _block_legend(axes, blocks)
        else:
            axes.tick_params(labelleft=False)
    return figure


def title(found: Overlap) -> tuple[str, str]:
    """What the figure shows, in a sentence of numbers; and what the numbers are."""
    panels = by_kind(found)
    first = [r["evals"][0] / np.sum(r["evals"]) for rows in panels.values() for r in rows]
    tokens = max(r["num_tokens"] for rows in panels.values() for r in rows)
    what = "F = mean x xᵀ" if found.centring == "none" else "the covariance of the activations"
    seen = f"The first eigenvalue of {what} holds {min(first):.0%} to {max(first):.0%} of its trace"
    return seen, f"{len(first)} inputs of linear layers, {tokens} tokens, {CENTRED[found.centring]}"


def _limits(panels: dict[str, list[dict]]) -> tuple[float, float]:
    shares = [np.asarray(r["evals"])[: r["num_axes"]] / np.sum(r["evals"]) for rows in panels.values() for r in rows]
    return max(0.5 * min(float(x[-1]) for x in shares), 1e-12), 2.0


def _block_color(block: int | None, blocks: list[int]) -> Any:
    import matplotlib

    if block is None:
        return style.INK
    return matplotlib.colormaps["viridis"](0.92 * blocks.index(block) / max(1, len(blocks) - 1))


def _block_legend(axes: "Axes", blocks: list[int]) -> None:
    from matplotlib.lines import Line2D

    shown = blocks if len(blocks) <= 6 else [blocks[round(i * (len(blocks) - 1) / 5)] for i in range(6)]
    handles = [Line2D([], [], color=_block_color(b, blocks), lw=1.2, label=f"block {b}") for b in shown]
    axes.legend(handles=handles, loc="lower left", borderaxespad=0.2, labelspacing=0.2, handlelength=1.2)
