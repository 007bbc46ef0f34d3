"""A run directory's page, and its figures for papers: every study that it holds, from its tables alone."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

from eigensweep.engine.report import style
from eigensweep.engine.report.page import page
from eigensweep.engine.report.registry import STUDIES
from eigensweep.engine.spectral.cores import num_cores
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import write_bytes
from eigensweep.engine.tables.layout import studies_in
from eigensweep.engine.tables.result import Result

LEAST_SHARE = 6  # figures: a process of its own takes about as long to start as two take to draw


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
    write_bytes(target / "report.html", _page_of(results).encode("utf-8", "replace"))
    if figures:
        write_figures(results, target / "figures")
    return target / "report.html"


def report_html(run: Result) -> str:
    """The page of one result as a string; nothing is written."""
    return _page_of([run])


def _page_of(results: list[Result]) -> str:
    shown = [(result, STUDIES[result.study].view(result)) for result in results]
    tables = {name: table for result in results for name, table in STUDIES[result.study].layout.tables.items()}
    return page(shown, tables)


def write_figures(results: list[Result], folder: Path) -> None:
    """Draw every figure of these studies into `folder`: a process a core where there are many, each its share.

    Raises:
      RunError: a figure cannot be written.
    """
    stems = [(i, stem) for i, result in enumerate(results) for stem in STUDIES[result.study].figures(result)]
    workers = min(num_cores(), len(stems) // LEAST_SHARE)
    if workers < 2 or any(result.directory is None for result in results):
        _draw(results, folder, 0, 1)
        return
    others = [_process(results, folder, i, workers) for i in range(1, workers)]
    try:
        _draw(results, folder, 0, workers)
    finally:
        ended = [(process.communicate()[1], process.returncode) for process in others]
    for said, status in ended:
        if status:
            raise RunError(f"{folder}: figures could not be drawn: {said.strip().splitlines()[-1]}")


def _draw(results: list[Result], folder: Path, share: int, of: int) -> None:
    """Draw every `of`-th figure, from `share` on."""
    drawn = [pair for result in results for pair in STUDIES[result.study].figures(result).items()]
    with style.context():
        for stem, draw in drawn[share::of]:
            style.save(draw(), folder / stem)


def _process(results: list[Result], folder: Path, share: int, of: int) -> "subprocess.Popen[str]":
    """A process that draws a share; a new one, because a fork of one with JAX's threads may hang."""
    said = {
        "studies": [type(result).__module__ for result in results],  # importing them makes the studies known
        "directories": [str(result.directory) for result in results],
        "folder": str(folder), "share": share, "of": of, "rc": style.RC,
    }  # fmt: skip
    code = "import sys, json; from eigensweep.engine.report import write; write.draw_share(**json.loads(sys.argv[1]))"
    words = [sys.executable, "-c", code, json.dumps(said)]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def draw_share(
    studies: list[str], directories: list[str], folder: str, share: int, of: int, rc: dict[str, object]
) -> None:
    """What the other processes of `write_figures` do: they open the same results in the same order."""
    style.RC.update(rc)
    for module in studies:
        importlib.import_module(module)
    results = [result for directory in dict.fromkeys(directories) for result in finished_in(directory)]
    _draw(results, Path(folder), share, of)
