"""How every figure and printed table looks, and how a figure gets to disk."""

import difflib
import io
import itertools
import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.tables.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches: the text width of a two-column page
DPI = 150

# Okabe and Ito's palette: told apart with every common colour vision.
TRAINED = "#0072B2"
LAW = "#D55E00"
CONTROL = "#8a8a8a"
EQUALISED = "#009E73"
INK = "#222222"
FAINT = "#d9d9d9"
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a", "#222222")
MARKERS = "osD^vPX*"

RC: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.0,
    "figure.dpi": DPI,
    "figure.facecolor": "white",
    "savefig.dpi": DPI,
    "text.parse_math": False,  # a name from a checkpoint may hold a `$`
    "pdf.fonttype": 42,  # journals refuse Type 3
    "svg.hashsalt": "eigensweep",
}


@contextmanager
def context() -> Iterator[None]:
    """The context in which figures are drawn and saved; nothing outside it changes."""
    import matplotlib

    fonts = logging.getLogger("fontTools")  # tells every step of embedding a font
    level = fonts.level
    fonts.setLevel(logging.ERROR)
    try:
        with matplotlib.rc_context(dict(RC)):  # type: ignore[arg-type]
            yield
    finally:
        fonts.setLevel(level)


def new_figure(width: float = WIDTH, height: float = 3.0) -> "Figure":
    """An empty figure in inches, free of pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


_HEADLINE = 95  # characters that fit at full size


def headline(figure: "Figure", seen: str, note: str) -> None:
    """The sentence that says what is seen, and below it, smaller, what it was taken from; 0.36 inches in all."""
    height = figure.get_size_inches()[1]
    seen = shorten(seen, 115)
    figure.text(0.012, 1 - 0.06 / height, seen, va="top", fontsize=9 * min(1, _HEADLINE / max(1, len(seen))))
    figure.text(0.012, 1 - 0.22 / height, shorten(note, 160), va="top", fontsize=7, color="#666666")


def save(figure: "Figure", stem: Path) -> bytes:
    """Write `stem`.png and `stem`.pdf, each whole or not at all and without a time stamp; returns the PNG."""
    pdf = io.BytesIO()
    figure.savefig(pdf, format="pdf", metadata={"Creator": "eigensweep", "Producer": None, "CreationDate": None})
    picture = png(figure)
    for suffix, data in (("png", picture), ("pdf", pdf.getvalue())):
        write_bytes(stem.with_name(f"{stem.name}.{suffix}"), data)
    return picture


def png(figure: "Figure") -> bytes:
    """The figure in 256 colours: a third of the size, the same to the eye."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    png = io.BytesIO()
    picture.quantize(256, method=Image.Quantize.MEDIANCUT).save(png, "png", dpi=(DPI, DPI))
    return png.getvalue()


def slug(text: str) -> str:
    """`text` as a part of a file name or an anchor: letters, digits, `_` and `-`, at most 60 of them."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:60].strip("_") or "unnamed"


def slugs(names: Iterable[str]) -> dict[str, str]:
    """A different slug for each of the names, also where letter case does not count."""
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        stem = candidate = slug(name)
        for i in itertools.count(2):
            if candidate.lower() not in taken:
                break
            candidate = f"{stem}-{i}"
        taken.add(candidate.lower())
        result[name] = candidate
    return result


def natural(text: str) -> list[tuple[bool, int, str]]:
    """A sorting key by which numbers count as numbers."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.findall(r"\d+|\D+", text)]


def near(word: str, known: Iterable[str]) -> str:
    """ " (did you mean X?)" for the known word that is most like `word`; "" where none is."""
    found = difflib.get_close_matches(word, [*map(str, known)], 1)
    return f" (did you mean {found[0]}?)" if found else ""


def shorten(text: str, length: int) -> str:
    """`text` on one line and at most `length` characters long; the middle goes first."""
    text = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[-half:]}"


def number(x: float) -> str:
    """`x` with three significant digits; an en dash where it is not defined."""
    if not math.isfinite(x):
        return "–"
    return f"{x:.3g}" if abs(x) < 1000 or abs(x) >= 1e6 else f"{x:.0f}"


def percent(share: float) -> str:
    """A share as a percentage with two significant digits below one per cent; an en dash where it is not defined."""
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:.2g} %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours.

    >>> duration(59.2), duration(600), duration(9000)
    ('60 s', '10 minutes', '2.5 hours')
    """
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def aligned(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """A table for a terminal: the first `left` columns of text to the left, the others, numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ((*map(str.ljust, line[:left], widths), *map(str.rjust, line[left:], widths[left:])) for line in lines)
    return "\n".join("  ".join(cells).rstrip() for cells in padded)


def interval(low: float, high: float) -> str:
    """As text; an infinite change has none."""
    return f"[{signed(low)}, {signed(high)}]" if math.isfinite(low) and math.isfinite(high) else "–"


def signed(x: float) -> str:
    """A change as text, to 1e-4 or in two digits."""
    return f"{x:+.4f}" if abs(x) >= 1e-3 else f"{x:+.1e}"


_STEPS = (  # decades an axis spans at most -> where a decade has ticks
    (0.25, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)),
    (0.6, (1, 1.5, 2, 3, 4, 5, 6, 8)),
    (1.2, (1, 2, 3, 5)),
    (2.2, (1, 2, 5)),
    (math.inf, (1,)),
)


def log_axis(axes: "Axes", which: str, low: float, high: float) -> None:
    """Make an axis logarithmic from `low` to `high`, with plain numbers as ticks."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = getattr(axes, f"{which}axis")
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    decades = math.log10(high / low)
    steps = next(s for limit, s in _STEPS if decades < limit)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, round(decades / 5))
    ticks = [k * 10.0**e for e in exponents if e % every == 0 for k in steps]
    axis.set_major_locator(FixedLocator([t for t in ticks if low * 0.999 <= t <= high * 1.001]))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_locator(NullLocator())
