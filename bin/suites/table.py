"""The benchmark's table and figure: ratios against peers."""

import statistics
from pathlib import Path

from eigensweep.bin.suites.measure import Comparison, spread
from eigensweep.engine.report.style import aligned


def text(comparisons: list[Comparison]) -> str:
    """One line a comparison: medians, ratio, spread of the repeats, target."""
    header = ("suite", "case", "peer", "ours", "peer's", "ratio", "spread", "target")
    rows = [header] + [
        (
            c.suite,
            c.case,
            c.peer,
            _figure(statistics.median(c.ours), c.unit),
            _figure(statistics.median(c.theirs), c.unit),
            f"{c.ratio:.3g}x",
            f"{100 * max(spread(c.ours), spread(c.theirs)):.0f} %",
            "" if c.target is None else f">= {c.target:g}x {'met' if c.ratio >= c.target else 'NOT MET'}",
        )
        for c in comparisons
    ]
    notes = [f"{c.suite}, {c.case}: {c.note}" for c in comparisons if c.note]
    return "\n".join([aligned(rows, left=len(header)), *dict.fromkeys(notes)])


def _figure(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if unit in ("s", "MiB", "%", "GiB") else f"{value:.1e}"


def figure(comparisons: list[Comparison], path: Path) -> None:
    """Horizontal bars of the ratios on a log axis; the line at 1 is the peer."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    shown = [c for c in comparisons if c.unit in ("s", "MiB")][::-1]
    if not shown:
        return
    fig, ax = plt.subplots(figsize=(11, 0.9 + 0.24 * len(shown)), layout="constrained")
    colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(c.suite for c in comparisons))}
    ax.barh(range(len(shown)), [c.ratio - 1 for c in shown], color=[colors[c.suite] for c in shown], left=1)
    ax.set_yticks(range(len(shown)), [f"{c.suite}: {c.case} vs {c.peer}" for c in shown], fontsize=8)
    for i, c in enumerate(shown):
        ax.annotate(
            f"{c.ratio:.3g}x", (max(c.ratio, 1), i), (3, 0), textcoords="offset points", va="center", fontsize=8
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.axvline(1, color="0.3", lw=0.8)
    ax.margins(x=0.15, y=0.01)
    ax.set_xlabel("peer's median / eigensweep's (time or memory)")
    ax.set_title("Right of 1, eigensweep needs less than its peer", fontsize=10, loc="left")
    fig.savefig(path, dpi=150)
    plt.close(fig)
