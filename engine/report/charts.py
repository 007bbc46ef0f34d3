"""Charts as data: what a study hands to the page, which draws any of them (js/plots.js).

A chart is a sentence, its panels on common axes, and how to read it. All texts are plain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

Numbers = Sequence[float] | np.ndarray
_NUMBERS = ("x", "y", "low", "high", "values")


@dataclass(frozen=True)
class Axis:
    """One axis of all panels.

    Attributes:
      label: what it shows, with its unit.
      scale: linear, log, or symlog, linear up to `threshold` either side of 0.
      ticks: values and their texts, where plain numbers would not do.
      limits: by default those of what is drawn.
    """

    label: str
    scale: str = "linear"
    threshold: float = 1.0
    ticks: Sequence[tuple[float, str]] | None = None
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Series:
    """Values over x; NaN leaves a gap.

    Attributes:
      name: in the legend, which has each name once; "" keeps it out.
      x, y: of one length.
      low, high: ends of each value's interval.
      marks: line, points, line+points, or dots (many small ones).
      color: a word of the style sheet (raw, law, control, equalised, ink, c0 to c6), or a place from 0 to 1 on a ramp.
    """

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None
    marks: str = "line"
    color: str | float = "raw"


@dataclass(frozen=True)
class Band:
    """A shaded range over x."""

    name: str
    x: Numbers
    low: Numbers
    high: Numbers
    color: str = "control"


@dataclass(frozen=True)
class Rule:
    """A straight line across a panel at one value of an axis, "x" or "y"."""

    name: str
    axis: str
    at: float
    color: str = "ink"
    dashed: bool = True


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    series: Sequence[Series]
    bands: Sequence[Band] = ()
    rules: Sequence[Rule] = ()
    note: str = ""


@dataclass(frozen=True)
class Amount:
    """What the colours of a chart's grids stand for.

    Attributes:
      label: what it is, with its unit.
      limits: values of the first and the last colour; what lies beyond has theirs.
      signed: two colours that meet at the middle of the limits; else one ramp.
      threshold: of a symlog scale, see Axis; 0: linear.
    """

    label: str
    limits: tuple[float, float]
    signed: bool = False
    threshold: float = 0.0


@dataclass(frozen=True)
class Grid:
    """A heat map: a colour a cell.

    Attributes:
      title: of the panel.
      rows, columns: names, from the top and from the left.
      values: (rows * columns), row by row; NaN has no colour.
      note: beside the title.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Numbers
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Panels on common axes, or grids of one amount.

    Attributes:
      heading: of the chart.
      seen: a sentence with the numbers.
      note: what the numbers are.
      reading: how to read it.
      panels: of one kind, Grids where there is an amount.
      amount: what the colours stand for.
    """

    heading: str
    seen: str
    note: str
    reading: str
    x: Axis
    y: Axis
    panels: Sequence[Panel] | Sequence[Grid]
    amount: Amount | None = None


def as_data(value: Any) -> Any:
    """A chart for `View.data`: dicts, lists, texts and numbers; numbers of a series as float32 arrays."""
    if is_dataclass(value):
        return {
            f.name: short_floats(x) if f.name in _NUMBERS and not is_dataclass(x) else as_data(x)
            for f in fields(value)
            if (x := getattr(value, f.name)) is not None
        }
    return [as_data(x) for x in value] if isinstance(value, list | tuple) else value


def short_floats(values: Numbers) -> np.ndarray:
    """float32 with 16 of its 24 bits: five digits."""
    bits = np.asarray(values, np.float64).astype(np.float32).view(np.uint32)
    finite = (bits & np.uint32(0x7F800000)) != np.uint32(0x7F800000)
    return np.where(finite, (bits + np.uint32(0x80)) & np.uint32(0xFFFFFF00), bits).astype(np.uint32).view(np.float32)
