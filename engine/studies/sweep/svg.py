"""A matrix's small pictures for the page: spectrum, rank plot, p-values, as SVG that follows the page's colours."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from eigensweep.engine.report.spectrum import NULL, Spectrum, bins_of, law, mean_density, null_sd, scalar
from eigensweep.engine.report.style import number

WIDTH, HEIGHT = 260, 170
LEFT, RIGHT, TOP, BOTTOM = 30, 252, 20, 144
POINTS = 160  # of a curve; more do not show at this size


def pictures(spectrum: Spectrum, row: Mapping[str, Any]) -> str:
    """Three `<svg>` elements of one matrix; `row` is its row of `run.matrices`."""
    return _spectrum(spectrum) + _ranks(spectrum, row) + _p_values(spectrum)


@dataclass(frozen=True)
class Scale:
    """From data to the picture's coordinates along one axis; values outside are clipped to the frame."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, x: Any) -> np.ndarray:
        x = np.clip(np.asarray(x, dtype=np.float64), self.low, self.high)
        low, high = self.low, self.high
        if self.log:
            x, low, high = np.log(x), math.log(low), math.log(high)
        return self.start + (self.stop - self.start) * (x - low) / (high - low)

    def ticks(self) -> list[float]:
        """Decades on a logarithmic axis (with 2 and 5 where few), else round numbers."""
        if self.log:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1,) if math.log10(self.high / self.low) > 1.6 else (1, 2, 5)
            ticks = [k * 10.0**e for e in exponents for k in steps]
        else:
            rough = (self.high - self.low) / 5
            unit = 10.0 ** math.floor(math.log10(rough))
            step = next(k * unit for k in (1, 2, 5, 10) if rough <= k * unit)
            ticks = [step * i for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [t for t in ticks if self.low <= t <= self.high]


_x, _y = partial(Scale, start=LEFT, stop=RIGHT), partial(Scale, start=BOTTOM, stop=TOP)


def _svg(title: str, label: str, xlabel: str, x: Scale, y: Scale, marks: Sequence[str]) -> str:
    frame = f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>'
    for t in x.ticks():
        frame += f'<text x="{x(t):.0f}" y="{BOTTOM + 11}" text-anchor="middle">{number(t)}</text>'
    for t in y.ticks():
        frame += f'<text x="{LEFT - 3}" y="{y(t) + 3:.0f}" text-anchor="end">{number(t)}</text>'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<text class="t" x="{LEFT}" y="11">{title}</text>{frame}{"".join(marks)}'
        f'<text x="{(LEFT + RIGHT) // 2}" y="{HEIGHT - 4}" text-anchor="middle">{xlabel}</text></svg>'
    )


def _line(name: str, x: np.ndarray, y: np.ndarray) -> str:
    """A polyline of class `name`; gaps where y is not finite."""
    path, pen = [], "M"
    for px, py in zip(x, y, strict=True):
        if math.isfinite(py):
            path.append(f"{pen}{px:.1f} {py:.1f}")
            pen = "L"
        else:
            pen = "M"
    return f'<path class="{name}" d="{"".join(path)}"/>' if path else ""


def _spectrum(s: Spectrum) -> str:
    bins = bins_of([s])[::2]
    density = mean_density([s], bins)
    grid, curve = law(s.m, s.n, s.right, s.left)
    x, y = _x(0, bins[-1]), _y(0, min(1.15 * max(density.max(), curve.max()), 3 * curve.max()))
    heights = y(np.repeat(density, 2))
    limits = x(np.repeat(bins, 2)[1:-1])
    marks = [_line("bars", np.r_[limits[0], limits, limits[-1]], np.r_[BOTTOM, heights, BOTTOM])]
    marks.append(_line("law", x(grid[:: max(1, len(grid) // 80)]), y(curve[:: max(1, len(grid) // 80)])))
    marks += [f'<path class="edge" d="M{x(e):.1f} {TOP}V{BOTTOM}"/>' for e in s.edges if e > 0]
    beyond = int(np.sum(s.values > bins[-1]))
    if beyond:
        marks.append(f'<text x="{RIGHT}" y="{TOP + 8}" text-anchor="end">{beyond} further right →</text>')
    size = s.values.size
    outliers = f"{s.right} right, {s.left} left outliers" if s.tested else "no test of the edges"
    label = f"Histogram of {size} singular values with the Marchenko-Pastur density: {outliers}"
    return _svg(f"spectrum: {outliers}", label, "ν / (σ √max(m, n))", x, y, marks)


def _thin(count: int, log: bool) -> np.ndarray:
    """At most POINTS of the indices 0 .. count - 1, evenly spaced on the axis they are drawn on."""
    if count <= POINTS:
        return np.arange(count)
    spaced = np.geomspace(1, count, POINTS) - 1 if log else np.linspace(0, count - 1, POINTS)
    return np.unique(spaced.round().astype(int))


def _ranks(s: Spectrum, row: Mapping[str, Any]) -> str:
    positive = s.values[s.values > NULL * s.values[0]]
    if positive.size == 0:
        return ""
    control = s.control.values[s.control.values > 0] if s.control else np.empty(0)
    top = 1.2 * max(positive[0], s.edges[1], *control[:1])
    x = _x(1, max(2, s.values.size), log=True)
    y = _y(max(float(np.quantile(positive, 0.02)) / 1.5, 1e-5 * top), top, log=True)
    marks = []
    for name, values in (("control", control), ("right", positive)):
        index = _thin(values.size, log=True)
        marks.append(_line(name, x(index + 1), y(values[index])))
    alpha, xmin, tail = (scalar(row, c) for c in ("alpha", "xmin", "num_pl_spikes"))
    if min(alpha - 1, xmin, tail - 1) > 0:
        # p(lambda) ~ lambda^-alpha above xmin puts rank r at lambda = xmin (r/tail)^(-1/(alpha - 1)).
        ends = np.array([1.0, tail])
        fit = np.sqrt(xmin * (ends / tail) ** (-1 / (alpha - 1))) / s.unit
        marks.append(_line("law", x(ends), y(fit)))
    title = f"rank plot: α = {number(alpha)}, tail of {number(tail)}"
    label = f"Singular value against rank on log axes, power law with exponent {number(alpha)}"
    return _svg(title, label, "rank", x, y, marks)


def _band(s: Spectrum, x: Scale, y: Scale) -> str:
    """One standard deviation of noise's averages: of the side that has p-values, the right one where both have."""
    sds = [null_sd([s], side)[0] for side in ("right", "left")]
    sd = next((sd for sd in sds if np.isfinite(sd).any()), sds[0])
    index = np.flatnonzero(np.isfinite(sd))
    index = index[_thin(index.size, log=False)]
    points = np.r_[x(index + 1), x(index[::-1] + 1)], np.r_[y(0.5 + sd[index]), y(0.5 - sd[index[::-1]])]
    return _line("band", *points)


def _p_values(s: Spectrum) -> str:
    if not max(s.p_right.size, s.p_left.size):
        return ""
    x, y = _x(1, max(2, s.p_right.size, s.p_left.size)), _y(0, 1)
    marks = [_band(s, x, y)]
    for name, p in (("left", s.p_left), ("right", s.p_right)):
        index = _thin(p.size, log=False)
        marks.append(_line(name, x(index + 1), y(p[index])))
    title = 'averaged p-values: <tspan class="right">right</tspan>, <tspan class="left">left</tspan> vectors'
    return _svg(title, "Locally averaged p-values of right and left singular vectors", "index", x, y, marks)
