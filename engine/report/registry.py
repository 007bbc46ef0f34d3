"""What a study hands to the report: how it is read back, its tables' columns, what the page shows, and its figures.

The report knows no study: `register` is called by each (engine/studies), and `eigensweep-report` draws whatever it
finds in a run directory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Finding:
    """A sentence about a run that its tests stand behind.

    Attributes:
      text: the sentence.
      evidence: the numbers behind it.
      state: the state of the page that shows them, such as {"view": "table", "q": "role:query"}.
    """

    text: str
    evidence: str
    state: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table of plain text; `headings` are names and what they mean ("" where it is plain)."""

    heading: str
    headings: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class View:
    """What the page shows of one study's result; plain text throughout.

    Attributes:
      title: of a page that shows this study alone.
      findings: what it says first.
      tables: of the study's own tab, in their order.
      warnings: what the reader should know, besides the manifest's own.
      facts: identity of what was studied, by name, besides checkpoint and options.
      data: for the study's own charts: dicts, lists, text, numbers and one-dimensional NumPy arrays.
    """

    title: str
    findings: Sequence[Finding] = ()
    tables: Sequence[Table] = ()
    warnings: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reported:
    """One study, as the report sees it.

    Attributes:
      layout: its files and columns; those of tables that are derived for the report belong here, too.
      open: reads its result from a run directory.
      view: what the page shows of it; draws nothing.
      figures: its figures for papers, by the stem of their files; each is drawn when it is called.
      derive: writes tables that follow from the study's own into a folder.
    """

    layout: Layout
    open: Callable[[Path], Result]
    view: Callable[[Any], View]
    figures: Callable[[Any], Mapping[str, Callable[[], "Figure"]]]
    derive: Callable[[Any, Path], None] = lambda result, directory: None


STUDIES: dict[str, Reported] = {}


def register(study: Reported) -> Reported:
    """Make a study known to the report."""
    STUDIES[study.layout.study] = study
    return study
