"""A run's figures and its page, from the run alone."""

from pathlib import Path

from eigensweep.engine.report import heatmaps, pvalues, ranks, spectra, style
from eigensweep.engine.report.page import Picture, page
from eigensweep.engine.report.roles import Run, Spectrum, by_role, level_of
from eigensweep.engine.run.store import write_atomically

_SPECTRUM = (
    "Top: histogram averaged over the matrices, each in units of its own σ √max(m, n). Below: the singular values "
    "near both edges, one row a matrix; blue ones are beyond what noise reaches at the chosen level."
)
_P_VALUES = (
    "p-values of the singular vectors' entries against a random unit vector, averaged over 15 neighbouring indices; "
    "thin: single matrices (of a crowd the range of 80 %), bold: their mean."
)
_RANKS = "Singular values against rank on logarithmic axes, in units of σ √max(m, n)."
_MAPS = "Blocks from left to right, roles from top to bottom; medians where a cell holds several matrices."


def write_report(run: Run, directory: str | Path) -> Path:
    """Draw every figure (PNG and PDF in `directory`/figures) and write `directory`/report.html.

    Args:
      run: a sweep's run, see `eigensweep.engine.run.store.Run`.
      directory: where to write; created where it is missing.

    Returns:
      The path of report.html.

    Raises:
      RunError: if `directory` cannot be written; every file is whole or as it was.
    """
    directory = Path(directory)
    groups = by_role(run)
    figures: dict[str, list[Picture]] = {}
    with style.context():
        overview = _overview(run, groups, directory / "figures")
        if overview:
            figures["All roles"] = overview
        names = style.slugs(groups)
        for role, members in groups.items():
            figures[role] = _of_role(role, members, level_of(run), directory / "figures", names[role])
    target = directory / "report.html"
    text = page(run, groups, figures).encode("utf-8", "replace")
    write_atomically(target, lambda file: file.write(text))
    return target


def _overview(run: Run, groups: dict[str, list[Spectrum]], folder: Path) -> list[Picture]:
    shown = []
    maps = heatmaps.draw(run)
    if maps is not None:
        seen = "; ".join(f"{name}: {what}" for name, what in heatmaps.titles(run))
        shown.append(Picture(style.save(maps, folder / "heatmaps"), seen, "block by role", _MAPS))
    if groups:
        shown.append(Picture(style.save(ranks.draw(groups), folder / "ranks"), *ranks.title(groups), _RANKS))
    return shown


def _of_role(role: str, members: list[Spectrum], level: float, folder: Path, name: str) -> list[Picture]:
    spectrum = style.save(spectra.draw(role, members, level), folder / f"spectrum_{name}")
    p_values = style.save(pvalues.draw(role, members), folder / f"pvalues_{name}")
    return [
        Picture(spectrum, *spectra.title(role, members), _SPECTRUM),
        Picture(p_values, *pvalues.title(role, members), _P_VALUES),
    ]
