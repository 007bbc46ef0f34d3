"""A run directory's page, and its figures for papers: every study that it holds, from its tables alone."""

from pathlib import Path

from eigensweep.engine.report import style
from eigensweep.engine.report.page import page
from eigensweep.engine.report.registry import STUDIES
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_bytes
from eigensweep.engine.tables.layout import studies_in
from eigensweep.engine.tables.result import Result


def finished_in(directory: str | Path) -> list[Result]:
    """The finished studies of a run directory, the main one first.

    Raises:
      RunError: there is none.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise RunError(f"{directory}: no such folder")
    found = studies_in(directory)
    done = [name for name, manifest in found.items() if manifest["status"] == "done" and name in STUDIES]
    if not done:
        running = f"; {', '.join(found)} not finished: start it again with the same workdir" if found else ""
        raise RunError(f"{directory}: not a run directory with a finished study{running}")
    return [STUDIES[name].open(directory) for name in done]


def write_report(run: Result | str | Path, directory: str | Path | None = None, figures: bool = False) -> Path:
    """Write `directory`/report.html; with `figures` also every figure for papers, as PNG and PDF.

    Args:
      run: a finished study, or the run directory of one or several.
      directory: where to write; created where it is missing. Default: the run directory.
      figures: whether to draw the figures into `directory`/figures, which takes longer than the page.

    Returns:
      The path of report.html.

    Raises:
      RunError: nothing finished there; `directory` cannot be written; every file is whole or as it was.
    """
    if isinstance(run, Result):
        results = [run] if run.directory is None else finished_in(run.directory)
        home = run.directory
    else:
        results, home = finished_in(run), Path(run)
    if directory is None and home is None:
        raise RunError("a run in memory has no directory of its own: say where the report should go")
    target = Path(directory if directory is not None else home)  # type: ignore[arg-type]
    for result in results:
        STUDIES[result.study].derive(result, target)
    shown = [(result, STUDIES[result.study].view(result)) for result in results]
    tables = {name: table for result in results for name, table in STUDIES[result.study].layout.tables.items()}
    write_bytes(target / "report.html", page(shown, tables).encode("utf-8", "replace"))
    if figures:
        write_figures(results, target / "figures")
    return target / "report.html"


def write_figures(results: list[Result], folder: Path) -> None:
    """Draw every figure of these studies into `folder`, one after another."""
    with style.context():
        for result in results:
            for stem, draw in STUDIES[result.study].figures(result).items():
                style.save(draw(), folder / stem)
