"""What a sweep found, in sentences that its calibrated tests stand behind.

Two readings keep their level whatever the scales of rows and columns: random signs, and the equalised matrix
(`eigensweep-calibrate`). A sentence that something is there counts matrices whose p-value survives
Benjamini-Hochberg over the whole run in one of these two; a sentence that nothing is there needs every one of their
tests, and none of them at the run's level. The reading as it is appears as evidence alone: beside what remains of it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report.registry import Finding
from eigensweep.engine.report.spectrum import level_of
from eigensweep.engine.report.style import number, percent, shorten
from eigensweep.engine.spectral.multiple_testing import benjamini_hochberg, simes
from eigensweep.engine.studies.sweep.study import Run
from eigensweep.engine.tables.groups import labelled
from eigensweep.engine.tables.matrices import EQUALISED

if TYPE_CHECKING:
    import pandas as pd

SIDES = {"right": "largest", "left": "smallest"}
BEYOND = {"right": "above the upper", "left": "below the lower"}
MOST_ROLES = 4  # named in one sentence
FEW = 5  # outliers of a role together, below which shares of them say nothing
REMAINS = 0.75  # of a role's outliers: where more remain, the scales are no story
_SHARES = {
    0.0: "none", 0.05: "hardly any", 0.1: "a tenth", 0.2: "a fifth", 0.25: "a quarter", 1 / 3: "a third",
    0.4: "two fifths", 0.5: "half", 0.6: "three fifths", 2 / 3: "two thirds", 0.75: "three quarters",
}  # fmt: skip
_NOTHING_TO_SAY = (
    "Nothing here tells a signal from rows and columns of different scale: the sweep took neither the equalised "
    "reading nor random signs"
)


def findings(run: Run) -> Sequence[Finding]:
    """Up to six sentences, each with its evidence and the state of the page that shows it; none without matrices."""
    frame = run.matrices[run.matrices["status"] == "ok"].reset_index(drop=True)
    if frame.empty:
        return []
    tests = _tests(run, frame)
    if not tests:
        evidence = "Its counts are against independent entries of one scale, which is no test of a trained matrix."
        return [Finding(_NOTHING_TO_SAY, evidence, {"view": "table"})]
    seen = _Seen(*labelled(frame), tests, level_of(run))
    found = [*_beyond_signs(seen), *_noise(seen), *_scales(seen), *_vectors(seen), *_law(seen)]
    return found[:6]


@dataclass(frozen=True)
class _Seen:
    """Matrices with statistics, `role` as its group's label; all labels in their order; the p-values (matrices,) of
    each calibrated test by its column; the run's level.
    """

    frame: "pd.DataFrame"
    groups: list[str]
    tests: dict[str, np.ndarray]
    level: float

    def surviving(self, test: str) -> np.ndarray:
        return np.asarray(benjamini_hochberg(self.tests[test], self.level))

    def tested(self, test: str) -> int:
        return int(np.isfinite(self.tests[test]).sum())

    def numbers(self, column: str) -> np.ndarray:
        if column not in self.frame:
            return np.full(len(self.frame), np.nan)
        return self.frame[column].astype("Float64").to_numpy(np.float64, na_value=np.nan)

    def roles(self, chosen: np.ndarray | None = None) -> list[str]:
        there = set(self.frame["role"] if chosen is None else self.frame["role"][chosen])
        return [label for label in self.groups if label in there]

    def of_role(self, role: str) -> np.ndarray:
        return np.asarray(self.frame["role"].astype(str) == role)


def _tests(run: Run, frame: "pd.DataFrame") -> dict[str, np.ndarray]:
    columns = ("signs_p_right", "signs_p_left", f"{EQUALISED}p_largest", f"{EQUALISED}p_smallest")
    known = {c: frame[c].astype("Float64").to_numpy(np.float64, na_value=np.nan) for c in columns if c in frame}
    lists = run.spectra.set_index("name")
    for side in SIDES:
        column = f"{EQUALISED}p_{side}"
        if column in lists:
            vectors = lists[column].reindex(frame["name"])
            known[column] = np.array(
                [simes(np.asarray(p, np.float64)) if np.ndim(p) == 1 else np.nan for p in vectors], np.float64
            )
    return {name: p for name, p in known.items() if np.isfinite(p).any()}


def _beyond_signs(seen: _Seen) -> Iterator[Finding]:
    """How many matrices have singular values that their own entries with random signs do not reach."""
    for side, extreme in SIDES.items():
        test, column = f"signs_p_{side}", f"num_{side}_outliers_beyond_signs"
        if test not in seen.tests:
            continue
        there, tested = seen.surviving(test), seen.tested(test)
        where = {"view": "map", "measure": column}
        whose = f"the {extreme} singular values are {'above' if side == 'right' else 'below'} what the same entries"
        if not there.any():
            text = f"In none of {tested} matrices {whose} with random signs reach"
            yield Finding(text, f"No p-value survives at level {seen.level:g} over the run.", where)
            continue
        text = f"In {there.sum()} of {tested} matrices {whose} with random signs reach"
        roles = seen.roles(there)
        if len(roles) <= MOST_ROLES and len(roles) < len(seen.roles()):
            text += f": {_listed(roles)}"
        counts = seen.numbers(column)
        medians = {role: float(np.nanmedian(counts[seen.of_role(role) & there])) for role in roles}
        best = sorted(medians, key=lambda role: -medians[role])[:MOST_ROLES]
        named = ", ".join(f"{shorten(role, 40)} {number(medians[role])}" for role in best)
        evidence = (
            f"Median number of such values in these matrices: {named}; level {seen.level:g}, Benjamini-Hochberg over "
            "the run."
        )
        yield Finding(text, evidence, where)


def _noise(seen: _Seen) -> Iterator[Finding]:
    """Roles, at least one, in which no test at all fires."""
    p = np.array(list(seen.tests.values()))
    quiet = np.all(p > seen.level, axis=0)  # NaN is not quiet: what could not be tested is not noise
    roles = [role for role in seen.roles() if quiet[seen.of_role(role)].all()]
    if roles:
        members = sum(int(seen.of_role(role).sum()) for role in roles)
        smallest = float(np.nanmin(p[:, np.isin(seen.frame["role"].astype(str), roles)]))
        evidence = (
            f"{p.shape[0]} tests of {'each of ' if members > 1 else ''}{_counted(members, 'matrix', 'matrices')} "
            f"against random signs and equalised; smallest p {number(smallest)}."
        )
        state = {"view": "table", "q": _role_filter(roles)}
        yield Finding(f"{_listed(roles)}: nothing beyond noise by any test", evidence, state)


def _scales(seen: _Seen) -> Iterator[Finding]:
    """The role and side that lose most values beyond the raw edge when rows and columns are brought to one scale.

    It describes: the raw edge is that of entries of one scale, beyond which noise with scales or heavy tails lies, too.
    """
    losses = []
    for side in SIDES:
        before, after = (seen.numbers(f"{prefix}num_{side}_outliers") for prefix in ("", EQUALISED))
        both = np.isfinite(before) & np.isfinite(after)
        for role in seen.roles():
            chosen = seen.of_role(role) & both
            was, remain = before[chosen].sum(), after[chosen].sum()
            if was >= FEW and remain < REMAINS * was:
                losses.append((was - remain, role, side, chosen, was, remain))
    if not losses:
        return
    _, role, side, chosen, was, remain = max(losses, key=lambda loss: loss[:3])
    share = _SHARES[min(_SHARES, key=lambda known: abs(known - remain / was))]
    verb = "remains" if share in ("none", "hardly any") else "remain"
    text = (
        f"`{shorten(role, 40)}`: {share} of the values {BEYOND[side]} edge {verb} when rows and columns are equalised"
    )
    kinds = {"": "as they are", "beyond": "beyond random signs", EQUALISED: "equalised"}
    columns = {"beyond": f"num_{side}_outliers_beyond_signs"}
    medians = [
        f"{number(float(np.median(x[np.isfinite(x)])))} {what}"
        for kind, what in kinds.items()
        if np.isfinite(x := seen.numbers(columns.get(kind, f"{kind}num_{side}_outliers"))[chosen]).any()
    ]
    evidence = (
        f"{number(was)} in {_counted(int(chosen.sum()), 'matrix', 'matrices')} as they are, {number(remain)} "
        f"equalised; medians a matrix: {', '.join(medians)}. The raw edge is that of entries of one scale: "
        "for what is gone, scales of rows and columns or heavy tails are enough."
    )
    column = f"num_{side}_outliers"
    state = {"view": "scatter", "x": column, "y": EQUALISED + column, "q": _role_filter([role])}
    yield Finding(text, evidence, state)


def _vectors(seen: _Seen) -> Iterator[Finding]:
    """Matrices with singular vectors whose entries are not those of a random direction."""
    tests = [test for side in SIDES if (test := f"{EQUALISED}p_{side}") in seen.tests]
    if not tests:
        return
    there = np.any([seen.surviving(test) for test in tests], axis=0)
    tested = int(np.isfinite([seen.tests[test] for test in tests]).any(axis=0).sum())
    if not there.any():
        text = f"In none of {tested} matrices the singular vectors look unlike random directions once equalised"
        yield Finding(text, f"No p-value survives at level {seen.level:g} over the run.", {"view": "table"})
        return
    shares = {side: seen.numbers(f"{EQUALISED}rejected_share_{side}") for side in SIDES}
    highest = {side: float(np.nanmax(np.where(there, x, np.nan))) for side, x in shares.items() if np.isfinite(x).any()}
    side = max(highest, key=lambda side: highest[side])
    place = int(np.nanargmax(np.where(there, shares[side], np.nan)))
    text = f"{there.sum()} of {tested} matrices have singular vectors unlike random directions, also once equalised"
    evidence = (
        f"Right or left vectors, Simes's p-value of a matrix, Benjamini-Hochberg over the run; most in "
        f"{shorten(str(seen.frame['name'][place]), 80)}: {percent(highest[side])} of its {side} vectors are rejected."
    )
    yield Finding(text, evidence, {"view": "map", "measure": f"{EQUALISED}rejected_share_{side}"})


def _law(seen: _Seen) -> Iterator[Finding]:
    """Whose bulk the Marchenko-Pastur law describes, once rows and columns have one scale."""
    column = f"{EQUALISED}mp_gof_p"
    p = seen.numbers(column)
    tested = int(np.isfinite(p).sum())
    if not tested:
        return
    fits = np.isfinite(p) & (p > seen.level)
    text = f"The Marchenko-Pastur law describes the bulk of {fits.sum()} of {tested} matrices, once equalised"
    roles = seen.roles(fits)
    if 0 < len(roles) <= MOST_ROLES and not fits.all():
        text += f": {_listed(roles)}"
    distance = seen.numbers(f"{EQUALISED}mp_ks")[np.isfinite(p) & ~fits]
    evidence = f"Goodness of fit at level {seen.level:g}"
    if np.isfinite(distance).any():
        evidence += f"; of the others the law misplaces {percent(float(np.nanmedian(distance)))} of the values (median)"
        evidence += ", so counts beyond its edges describe them and test nothing"
    state = {"view": "table", "q": f"{column}>{seen.level:g}", "sort": column}
    yield Finding(text, f"{evidence}.", state if fits.any() else {"view": "map", "measure": f"{EQUALISED}mp_ks"})


def _listed(roles: Sequence[str]) -> str:
    """Roles in a sentence."""
    shown = [f"`{shorten(role, 40)}`" for role in roles[:MOST_ROLES]]
    if len(roles) > MOST_ROLES:
        shown.append(f"{len(roles) - MOST_ROLES} more roles")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _role_filter(roles: Sequence[str]) -> str:
    """The page's expression for these roles."""
    return 'role="{}"'.format("|".join(re.sub(r'(["|\\])', r"\\\1", role) for role in roles))


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
