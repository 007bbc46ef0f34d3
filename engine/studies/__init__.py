"""Studies: each a slice of its own, from options to figures. Only here do the engine and the models meet.

A study is a package of this one; importing it registers its view and its figures with the report. A new one is a
folder here, a line in STUDIES, an entry point of a few lines in bin/, and a test.
"""

import importlib
from pathlib import Path

from eigensweep.engine.report import write
from eigensweep.engine.tables.layout import studies_in
from eigensweep.engine.tables.result import Result

STUDIES = (
    "sweep", "overlap", "ablation", "finetune", "causal", "tokens", "labels", "facts", "compare", "series", "slicing",
    "toy_linear", "toy_mlp",
)  # fmt: skip


def load(*names: str) -> None:
    """Import studies, all of them by default, so that the report knows them; others' models are not loaded."""
    for name in names or STUDIES:
        importlib.import_module(f"eigensweep.engine.studies.{name}")


def write_report(run: Result | str | Path, directory: str | Path | None = None, figures: bool = False) -> Path:
    """Write report.html of every finished study of a run, and draw its `figures` where they are wanted.

    See `engine.report.write.write_report`.

    Raises:
      RunError: nothing finished there; `directory` cannot be written.
    """
    home = run.directory if isinstance(run, Result) else Path(run)
    there = studies_in(home) if home is not None and home.is_dir() else {}
    present = {*there, *([run.study] if isinstance(run, Result) else [])}
    load(*(name for name in STUDIES if name in present))
    return write.write_report(run, directory, figures)
