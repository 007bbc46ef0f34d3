"""Removals against their matched controls: what costs more, as a table and in sentences."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from eigensweep.engine.report.style import interval, signed
from eigensweep.engine.spectral.matched import TOLERANCE
from eigensweep.engine.spectral.removal import MATCHED, parse
from eigensweep.engine.studies.ablation.study import Ablation

HEADING = "removals against matched controls"
CAPTION = (
    "change of the loss by the removal, by the control (mean of its draws), and by how much the removal's is more, in "
    "nats; it costs more, or less, where it does so beside every single draw"
)
HEADINGS = ("scope", "control", "change", "control's", "more by", "interval", "it costs")
WHAT = {"energy": "as much |W|² from the bulk", "output": "random directions that change the outputs as much"}
MORE, LESS, LEVEL, UNMATCHED, UNKNOWN = "more", "less", "unclear", "no match", "not finite"
_SAID = {
    MORE: "costs more in {}",
    LESS: "costs less in {}",
    LEVEL: "not to be told apart in {}",
    UNKNOWN: "a loss is not finite in {}",
}


@dataclass(frozen=True)
class Matched:
    """A removal of one scope against its control of one kind.

    Attributes:
      removal, control: their texts, the control's without the number of a draw.
      change, control_change: of the loss; the mean over the draws.
      difference: of these, with its interval over rows, the draws as they are.
      verdict: more or less where the difference from every single draw has its interval apart from 0.
      unmatched, matrices: how many matrices of the scope have no match, and how many it has.
      draws: of the control.
    """

    scope: str
    kind: str
    removal: str
    control: str
    change: float
    control_change: float
    difference: tuple[float, float, float]
    verdict: str
    unmatched: int
    matrices: int
    draws: int


def matched_controls(study: Ablation) -> list[Matched]:
    """Every removal that takes something and has matched controls, in the study's order."""
    rows = {(row["scope"], row["removal"]): row for row in study.results.to_dict("records")}
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for (scope, name), row in rows.items():
        if row["kind"] in MATCHED:
            taken = parse(name)
            groups.setdefault((scope, f"{taken.kind}:{taken.which}"), []).append(row)
    found = []
    for (scope, control), draws in groups.items():
        of = rows.get((scope, str(parse(control).controlled)))
        if of is not None and of["removed"]:
            found.append(_compared(study, of, control, draws))
    return found


def _compared(study: Ablation, of: Mapping[str, Any], control: str, draws: list[Mapping[str, Any]]) -> Matched:
    scope, names = of["scope"], [row["removal"] for row in draws]
    single = np.array([study.contrast(scope, [of["removal"]], [name]) for name in names])
    near = all(abs(row["matched"] - 1) <= TOLERANCE for row in draws)
    verdict = UNMATCHED if not near else _verdict(single)
    return Matched(
        scope,
        draws[0]["kind"],
        of["removal"],
        control,
        of["change"],
        float(np.mean([row["change"] for row in draws])),
        study.contrast(scope, [of["removal"]], names),
        verdict,
        int(draws[0]["unmatched"]),
        int(of["matrices"]),
        len(draws),
    )


def _verdict(single: np.ndarray) -> str:
    """From (difference, low, high) of every draw."""
    if not np.isfinite(single).all():
        return UNKNOWN
    return MORE if (single[:, 1] > 0).all() else LESS if (single[:, 2] < 0).all() else LEVEL


def cells(found: Iterable[Matched]) -> list[tuple[str, ...]]:
    """A row of text each."""
    return [
        (
            pair.scope,
            pair.control,
            signed(pair.change),
            *(
                (signed(pair.control_change), signed(pair.difference[0]), interval(*pair.difference[1:]))
                if pair.verdict != UNMATCHED
                else ("–", "–", "–")
            ),
            pair.verdict,
        )
        for pair in found
    ]


def sentences(found: Iterable[Matched]) -> list[str]:
    """What they say, over the scopes: a sentence a control, and how often chance alone would say so.

    Of a removal and D draws that are all alike, each costs most in one scope of D + 1, and least in another one.
    """
    found = list(found)
    groups: dict[str, list[Matched]] = {}
    for pair in found:
        groups.setdefault(pair.control, []).append(pair)
    said = []
    for pairs in groups.values():
        first, without = pairs[0], [pair for pair in pairs if pair.verdict == UNMATCHED]
        counts = {word: sum(pair.verdict == word for pair in pairs) for word in _SAID}
        told = [_SAID[word].format(count) for word, count in counts.items() if count]
        if without:
            parts = sum(pair.unmatched for pair in without), sum(pair.matrices for pair in without)
            told.append(f"no match in {len(without)} ({parts[0]} of their {parts[1]} matrices)")
        scopes = f"{len(pairs)} scopes" if len(pairs) > 1 else "1 scope"
        said.append(f"{first.removal} against {WHAT[first.kind]}, {scopes}: {', '.join(told)}")
    if found:
        draws = min(pair.draws for pair in found)
        said.append(
            f"by chance a removal that is like its {f'{draws} draws' if draws > 1 else 'one draw'} costs more in up to "
            f"one scope of {draws + 1}, and less in as many"
        )
    return said


def without_match(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of the rows of one scope, what has no match in which share of the matrices, a few words each."""
    found = {}
    for row in rows:
        if row["kind"] in MATCHED and row["unmatched"]:
            control = parse(row["removal"])
            found[f"{control.kind}:{control.which}"] = f"{row['unmatched']} of {row['matrices']}"
    return [f"no match for {name} in {share} matrices" for name, share in found.items()]
