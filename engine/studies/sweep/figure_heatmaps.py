"""Block by role maps of outlier counts, stable rank and the power-law exponent."""

from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import block_of, outliers_column, scalar
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.groups import Group, group_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

ANNOTATED = 16  # blocks up to which the cells carry their numbers


def measures(run: Run) -> dict[str, str]:
    """The columns of the four maps, and their names."""
    outliers = dict(outliers_column(run, side) for side in ("right", "left"))
    return outliers | {"stable_rank": "stable rank", "alpha": "power-law exponent α"}


def grid(run: Run, measure: str) -> tuple[list[str], list[int], np.ndarray]:
    """Roles, blocks and the (roles, blocks) values of `measure`: medians where a cell has several matrices.

    Only matrices inside blocks whose status is ok; NaN where there is none.
    """
    cells: dict[tuple[Group, int], list[float]] = {}
    for row in run.matrices.to_dict("records"):
        block = block_of(row)
        if block is not None and row["status"] == "ok":
            cells.setdefault((group_of(row), block), []).append(scalar(row, measure))
    groups = sorted({group for group, _ in cells}, key=lambda group: group.order)
    blocks = sorted({block for _, block in cells})
    values = np.full((len(groups), len(blocks)), np.nan)
    for (group, block), entries in cells.items():
        finite = [x for x in entries if np.isfinite(x)]
        if finite:
            values[groups.index(group), blocks.index(block)] = np.median(finite)
    return [group.label for group in groups], blocks, values


def title(name: str, roles: list[str], values: np.ndarray) -> tuple[str, str]:
    """The measure's name, and where it is smallest and largest, as medians over the blocks."""
    known = {role: row[np.isfinite(row)] for role, row in zip(roles, values, strict=True)}
    medians = {role: float(np.median(row)) for role, row in known.items() if row.size}
    if not medians:
        return name, "not determined"
    top, bottom = max(medians.values()), min(medians.values())
    if top == bottom:
        return name, f"median {style.number(top)} in every role"
    return name, f"medians from {_with_role(bottom, medians)} to {_with_role(top, medians)}"


def _with_role(value: float, medians: dict[str, float]) -> str:
    roles = [role for role, median in medians.items() if median == value]
    return f"{style.number(value)} ({roles[0] if len(roles) == 1 else f'{len(roles)} roles'})"


def draw(run: Run) -> "Figure":
    """Four maps, blocks from left to right; of a run with matrices in blocks."""
    names = measures(run)
    grids = {measure: grid(run, measure) for measure in names}
    roles, blocks, _ = grids["alpha"]
    side_by_side = len(blocks) <= ANNOTATED // 2
    across, down = (2, 2) if side_by_side else (1, 4)
    row_height = (0.2 if len(blocks) <= ANNOTATED else 0.15) * max(2, len(roles))
    height = down * (row_height + 0.7)
    figure = style.new_figure(height=height)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    right, top, bottom = 0.985 if len(blocks) <= ANNOTATED else 0.95, 1 - 0.36 / height, 0.34 / height
    figure.subplots_adjust(left=0.135, right=right, top=top, bottom=bottom, wspace=0.08, hspace=0.7 / row_height)
    for axes, (measure, (_, _, values)) in zip(panels, grids.items(), strict=True):
        image = _panel(axes, title(names[measure], roles, values), roles, blocks, values)
        if measure.startswith("num_"):  # one outlier must not look like many
            image.set_clim(0, max(10, image.get_clim()[1]))
        _name_values(figure, axes, image, values)
    for axes in panels[-across:]:
        axes.set_xlabel("block", labelpad=1)
    return figure


def _panel(
    axes: "Axes", heading: tuple[str, str], roles: list[str], blocks: list[int], values: np.ndarray
) -> "AxesImage":
    import matplotlib

    colors = matplotlib.colormaps["cividis"].with_extremes(bad="#eeeeee")
    image = axes.imshow(np.ma.masked_invalid(values), aspect="auto", cmap=colors, interpolation="nearest")
    every = max(1, -(-len(blocks) // ANNOTATED))
    axes.set_xticks(range(0, len(blocks), every), [str(b) for b in blocks[::every]])
    axes.set_yticks(range(len(roles)), [style.shorten(r, 18) for r in roles])
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    axes.set_title(heading[0], pad=15)
    note = style.shorten(heading[1], 70)
    axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=7, color="#666666", va="bottom")
    return image


def _name_values(figure: "Figure", axes: "Axes", image: "AxesImage", values: np.ndarray) -> None:
    """Numbers in the cells where they fit, else a colour bar."""
    if values.shape[1] <= ANNOTATED:
        low, high = image.get_clim()
        for (i, j), value in np.ndenumerate(values):
            color = "white" if value < low + 0.55 * (high - low) else style.INK
            axes.text(j, i, style.number(value), ha="center", va="center", fontsize=6.5, color=color)
    elif np.isfinite(values).any():
        bar = figure.colorbar(image, ax=axes, fraction=0.02, pad=0.01)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=6.5, length=0)
