"""What a study hands to the report: how it is read back, its tables' columns, and its panels.

The report knows no study: `register` is called by each (engine/studies), and `eigensweep-report` draws whatever it
finds in a run directory.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result


@dataclass(frozen=True)
class Section:
    """A part of the page: its heading, which the navigation shows, and its HTML; texts are escaped already."""

    heading: str
    html: str


@dataclass(frozen=True)
class Panels:
    """What the page shows of one study's result.

    Attributes:
      title: of a page that shows this study alone.
      sections: in their order.
      warnings: what the reader should know, plain text, besides the manifest's own.
      facts: for the page's head, plain text by name, besides checkpoint and options.
    """

    title: str
    sections: Sequence[Section]
    warnings: Sequence[str] = ()
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reported:
    """One study, as the report sees it.

    Attributes:
      layout: its files and columns; those of tables that are written with the figures belong here, too.
      open: reads its result from a run directory.
      panels: draws its figures (and derived tables) into a folder, and gives what the page shows.
    """

    layout: Layout
    open: Callable[[Path], Result]
    panels: Callable[[Any, Path], Panels]


STUDIES: dict[str, Reported] = {}


def register(study: Reported) -> Reported:
    """Make a study known to the report."""
    STUDIES[study.layout.study] = study
    return study
