"""The study in tables: what the networks learned, what removals cost them, and how their matrices read."""

from typing import Any

import numpy as np

from eigensweep.engine.report.registry import Table
from eigensweep.engine.report.style import aligned, number
from eigensweep.engine.studies.toy_mlp import means
from eigensweep.engine.studies.toy_mlp.study import ToyMlp

ABREAST = 3  # regimes beside each other on a terminal
BY = {"values": "by share of their number", "mass": "by share of their sum"}
FEW, MUCH = 0.2, 0.8  # the shares that the published results speak of
_OUTSIDE = {
    "num_right_outliers": ("right", "singular values beyond the right edge, noise of one scale"),
    "equalised_num_right_outliers": ("right equalised", "the same once rows and columns have one scale"),
    "num_right_outliers_beyond_signs": ("right signs", "above what the same entries with random signs reach"),
    "num_left_outliers": ("left", "singular values below the left edge, noise of one scale"),
    "num_left_outliers_beyond_signs": ("left signs", "below what the same entries with random signs reach"),
}
_INTERVAL = " with Student's 95 % intervals"


def render(found: ToyMlp) -> str:
    """For a terminal of 100 columns."""
    parts = [_plain(networks_table(found))]
    for by in BY:
        table = removal_table(found, by)
        names = [heading for heading, _ in table.headings]
        for i in range(1, len(names), ABREAST):
            columns = [0, *range(i, min(i + ABREAST, len(names)))]
            rows = [[row[c] for c in columns] for row in [names, *table.rows]]
            parts.append(f"{table.heading}\n{aligned(rows)}")
    claims = claims_table(found)
    return "\n\n".join([*parts, *map(_plain, [*matrix_tables(found), *([claims] if claims else [])])])


def _plain(table: Table) -> str:
    return f"{table.heading}\n{aligned([[heading for heading, _ in table.headings], *table.rows])}"


def networks_table(found: ToyMlp) -> Table:
    """A row a regime."""
    layers = sorted(set(found.matrices["layer"]))
    headings = [
        ("regime", "what the study varies"),
        ("seeds", "networks"),
        ("steps", "of gradient descent"),
        ("train %", "accuracy on the rows to learn from"),
        ("test %", "accuracy on the test rows"),
        *((f"moved {k}", f"|W - W0| / |W0| of layer {k}, W0 the first weights") for k in layers),
    ]
    frame, rows = found.matrices, []
    for regime in means.regimes(found):
        of = found.networks[found.networks["regime"] == regime]
        ends = frame[(frame["regime"] == regime) & (frame["at"] == "end")]
        moved = [number(float(ends.loc[ends["layer"] == k, "moved"].mean())) for k in layers]
        scores = [
            means.shown(means.over_seeds(found, regime, f"{part}_accuracy"), _percent) for part in ("train", "test")
        ]
        rows.append([regime, str(len(of)), str(of["steps"].iloc[0]), *scores, *moved])
    return Table(f"Networks: {means.said(found, _INTERVAL)}", headings, rows)


def removal_table(found: ToyMlp, by: str) -> Table:
    """A row a share removed, a column a regime: the test accuracy in per cent."""
    names = means.regimes(found)
    curves = [means.curve(found, regime, by) for regime in names]
    rows = [
        [f"{100 * share:g} %", *(means.shown(points[i], _percent) for _, points in curves)]
        for i, share in enumerate(curves[0][0])
    ]
    layers = ", ".join(map(str, sorted(set(found.matrices["layer"]))))
    heading = f"Test accuracy (%) without the smallest singular values of layers {layers}, {BY[by]}"
    return Table(heading, [("removed", f"share of the singular values, {BY[by]}"), *((n, "") for n in names)], rows)


def matrix_tables(found: ToyMlp) -> list[Table]:
    """The tests and measures of the matrices, a row a regime and layer, the first weights in front."""
    frame, level = found.matrices, float(found.manifest["options"]["level"])
    outside: list[list[str]] = []
    entries: list[list[str]] = []
    vectors: list[list[str]] = []
    for regime in [*dict.fromkeys(frame.loc[frame["at"] == "start", "regime"]), *means.regimes(found)]:
        for layer in sorted(set(frame["layer"])):
            of = frame[(frame["regime"] == regime) & (frame["layer"] == layer)]
            head, total = [regime, str(layer), f"{of['m'].iloc[0]} × {of['n'].iloc[0]}"], f" of {len(of)}"
            outside.append([*head, *(_span(of[column]) for column in _OUTSIDE)])
            small = int((of["kurtosis_p"] <= level).sum())
            holds = int(of["equalised_mp_verdict"].str.startswith(("Marchenko", "holds"), na=False).sum())
            entries.append(
                [*head, _span(of["entries_kurtosis"], 2), f"{small}{total}", f"{holds}{total}", _span(of["alpha"])]
            )
            shares = [_span(100 * of[f"rejected_share_{side}"], 2) for side in ("right", "left")]
            vectors.append([*head, *shares, *(_span(of[f"mean_p_{side}"], 2) for side in ("right", "left"))])
    first = [
        ("regime", "what the study varies; start: the first weights"),
        ("layer", "1 the first"),
        ("shape", "m × n"),
    ]
    of_entries = [
        ("kurtosis", "excess kurtosis of the entries; 0 for Gaussian ones, -1.2 for uniform ones"),
        ("p small", f"matrices with a p-value of the kurtosis, against independent Gaussian entries, up to {level:g}"),
        ("law fits", "matrices whose bulk Marchenko–Pastur's law describes once rows and columns have one scale"),
        ("exponent", "alpha of the power-law tail of the eigenvalues"),
    ]
    of_vectors = [
        ("right %", "of the right singular vectors unlike random directions"),
        ("left %", "of the left singular vectors unlike random directions"),
        ("mean p right", "their mean p-value, 1/2 for random directions"),
        ("mean p left", "the same of the left ones"),
    ]
    said = "medians over seeds, ranges in brackets"
    return [
        Table(f"Singular values outside the noise: {said}", [*first, *_OUTSIDE.values()], outside),
        Table(f"Entries, bulk and tail: {said}", [*first, *of_entries], entries),
        Table(f"Singular vectors: {said}", [*first, *of_vectors], vectors),
    ]


def claims_table(found: ToyMlp) -> Table | None:
    """The published results' own measures, as they came out here; None where the study has neither share."""
    guess = _percent(float(found.manifest["majority"]["accuracy"]))
    rows = []
    for regime in means.regimes(found):
        few = means.change(found, regime, "values", FEW)
        shares, points = means.curve(found, regime, "mass")
        at = np.flatnonzero(np.isclose(shares, MUCH))
        left = means.shown(points[at[0]], _percent) if at.size else "–"
        rows.append([regime, means.shown(few, _signed) if few else "–", left])
    headings = [
        ("regime", "what the study varies"),
        (f"change without {100 * FEW:g} % of the values", "in points, paired by seed"),
        (f"accuracy without {100 * MUCH:g} % of their sum", "per cent"),
    ]
    heading = f"What the published results speak of, in per cent; always the commonest answer: {guess}"
    return Table(heading, headings, rows) if any(set(row[1:]) != {"–"} for row in rows) else None


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _span(values: Any, digits: int = 3) -> str:
    """A median, and the range where there is one, with so many significant digits."""
    known = values.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    known = known[np.isfinite(known)]
    if not known.size:
        return "–"
    low, middle, high = (f"{float(x):.{digits}g}" for x in (known.min(), np.median(known), known.max()))
    return middle if low == high else f"{middle} ({low} to {high})"
