"""A run directory's figures and its page: every study that it holds, from its tables alone."""

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


def write_report(run: Result | str | Path, directory: str | Path | None = None) -> Path:
    """Draw every figure (PNG and PDF in `directory`/figures) and write `directory`/report.html.

    Args:
      run: a finished study, or the run directory of one or several.
      directory: where to write; created where it is missing. Default: the run directory.

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
    with style.context():
        shown = [(result, STUDIES[result.study].panels(result, target)) for result in results]
    tables = {name: table for result in results for name, table in STUDIES[result.study].layout.tables.items()}
    write_bytes(target / "report.html", page(shown, tables).encode("utf-8", "replace"))
    return target / "report.html"
