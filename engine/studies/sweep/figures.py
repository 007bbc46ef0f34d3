"""A sweep's figures for papers: two of the whole run, two a role."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from eigensweep.engine.report import style
from eigensweep.engine.report.spectrum import by_role, control_label, level_of, shown_control
from eigensweep.engine.studies.sweep import figure_heatmaps, figure_pvalues, figure_ranks, figure_spectra
from eigensweep.engine.studies.sweep.study import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figures_of(run: Run) -> Mapping[str, Callable[[], "Figure"]]:
    """By the stem of their files: heatmaps, ranks, spectrum_ROLE and pvalues_ROLE; those that there is data for."""
    groups = by_role(run)
    drawn: dict[str, Callable[[], Figure]] = {}
    if figure_heatmaps.grid(run, "alpha")[1]:
        drawn["heatmaps"] = partial(figure_heatmaps.draw, run)
    if groups:
        drawn["ranks"] = partial(figure_ranks.draw, groups)
    names, of = style.slugs(groups), (level_of(run), control_label(shown_control(run)))
    for role, members in groups.items():
        drawn[f"spectrum_{names[role]}"] = partial(figure_spectra.draw, role, members, *of)
        drawn[f"pvalues_{names[role]}"] = partial(figure_pvalues.draw, role, members, *of)
    return drawn
