"""What a run's labels say: the share of lists that are interpretable, by kind, block and index; how judges agree."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from eigensweep.engine.report.style import aligned
from eigensweep.engine.spectral.agreement import cohen_kappa
from eigensweep.engine.spectral.proportions import wilson_interval
from eigensweep.engine.studies.labels.tables import BY_HAND, INTERPRETABLE, KEYS, MALFORMED, NOTHING, Labels

if TYPE_CHECKING:
    import pandas as pd

SHARES = {
    "judge": ("judge", "the model, or a person"),
    "by": ("by", "kind of circuit, block, or index of the direction"),
    "group": ("", ""),
    "lists": ("lists", "of tokens with an answer: a sign of a side of a direction each"),
    "named": ("named", "said to share something"),
    "interpretable": ("interpretable", "named, and the name verified among tokens of other lists"),
    "share": ("share", "interpretable / lists"),
    "low": ("from", "Wilson's 95 % interval, as if lists were independent"),
    "high": ("to", "its upper end"),
}
AGREEMENT = {
    "first": ("judge", ""),
    "second": ("and judge", ""),
    "lists": ("lists", "that both judged"),
    "both": ("both yes", "interpretable to both"),
    "only_first": ("first alone", ""),
    "only_second": ("second alone", ""),
    "neither": ("neither", ""),
    "kappa": ("kappa", "Cohen's; 0: as by chance, 1: in everything"),
    "low": ("from", "95 % interval under the cells' Jeffreys posterior"),
    "high": ("to", "its upper end"),
}


def shares_table(found: Labels) -> "pd.DataFrame":
    """A row a judge and group, the columns of SHARES: all lists, then by kind, block and index (in doubling ranges).

    Malformed answers count nowhere.
    """
    import pandas as pd

    labels = found.labels
    labels = labels[labels["status"] != MALFORMED]
    rows = [
        {"judge": judge, "by": by, "group": group, **_share(part)}
        for judge, of in labels.groupby("judge", sort=False)
        for by, group, part in _groups(of)
    ]
    return pd.DataFrame(rows, columns=list(SHARES))


def _groups(of: "pd.DataFrame") -> Iterator[tuple[str, str, "pd.DataFrame"]]:
    yield "all", "", of
    for kind, part in of.groupby("kind", sort=False):
        yield "kind", str(kind), part
    for block, part in of.groupby("block"):
        yield "block", str(block), part
    top = of["index"].astype(int)
    for first in (1 << i for i in range(int(top.max()).bit_length() if len(top) else 0)):
        part = of[(top >= first) & (top < 2 * first)]
        if len(part):
            yield "index", str(first) if first == 1 else f"{first} to {2 * first - 1}", part


def _share(part: "pd.DataFrame") -> dict[str, Any]:
    lists, yes = len(part), int((part["status"] == INTERPRETABLE).sum())
    low, high = (float(end) for end in wilson_interval(yes, lists))
    named = int((part["status"] != NOTHING).sum())
    return {"lists": lists, "named": named, "interpretable": yes, "share": yes / lists, "low": low, "high": high}


def agreement_table(found: Labels) -> "pd.DataFrame":
    """A row a pair of judges that share lists, the columns of AGREEMENT; persons after models."""
    import pandas as pd

    labels = found.labels
    labels = labels[labels["status"] != MALFORMED]
    yes = {
        judge: of.set_index(list(KEYS))["status"].eq(INTERPRETABLE) for judge, of in labels.groupby("judge", sort=False)
    }
    rows = []
    for first, second in itertools.combinations(sorted(yes, key=lambda judge: judge.startswith(BY_HAND)), 2):
        both = pd.concat([yes[first], yes[second]], axis=1, join="inner")
        if len(both):
            kappa = cohen_kappa(both.iloc[:, 0].to_numpy(), both.iloc[:, 1].to_numpy())
            (neither, only_second), (only_first, together) = kappa.counts
            rows.append({
                "first": first, "second": second, "lists": len(both), "both": together, "only_first": only_first,
                "only_second": only_second, "neither": neither, "kappa": kappa.value, "low": kappa.low,
                "high": kappa.high,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(AGREEMENT))


def render_labels(found: Labels) -> str:
    """Shares, agreement and what is still open as plain text for a terminal."""
    parts = []
    shares = shares_table(found)
    for judge, of in shares.groupby("judge", sort=False):
        columns = [name for name in SHARES if name != "judge"]
        lines = [[SHARES[name][0] for name in columns]]
        lines += [[_cell(name, row[name]) for name in columns] for row in of.to_dict("records")]
        parts += [f"{judge}\n{aligned(lines, left=2)}"]
    agreement = agreement_table(found)
    if len(agreement):
        lines = [[heading for heading, _ in AGREEMENT.values()]]
        lines += [[_cell(name, row[name]) for name in AGREEMENT] for row in agreement.to_dict("records")]
        parts += [aligned(lines, left=2)]
    return "\n\n".join([*parts, *open_lines(found)])


def open_lines(found: Labels) -> list[str]:
    """A line a model of what it has not answered, if anything."""
    malformed = found.labels.loc[found.labels["status"] == MALFORMED, "judge"].value_counts()
    lines = []
    for judge, record in found.manifest["judges"].items():
        said = [
            f"{count} {what}"
            for count, what in (
                (int(malformed.get(judge, 0)), "lists with a malformed answer, which count nowhere"),
                (record.get("without_answer", 0), "lists without an answer"),
                (record.get("open", 0), "lists for which the budget did not suffice; start again to go on"),
            )
            if count
        ]
        if said:
            lines.append(f"{judge}: {'; '.join(said)}")
    return lines


def cells(row: dict[str, Any], columns: Any) -> list[str]:
    """One row of a table as text."""
    return [_cell(name, row[name]) for name in columns]


def _cell(name: str, value: Any) -> str:
    if name in ("share", "low", "high", "kappa"):
        return "–" if value != value else f"{value:.3f}"
    return str(value)
