"""The tokens study on a terminal: what there is, and the first directions of some circuits with their tokens."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from eigensweep.engine.report.style import aligned, number, percent, shorten
from eigensweep.engine.studies.tokens.study import Tokens

if TYPE_CHECKING:
    import pandas as pd

MOST_SHOWN = 8  # circuits whose first direction is shown
WIDTH = 100  # characters of a line
HEADINGS = {
    "kind": ("kind", "which circuits"),
    "circuits": ("circuits", "how many there are"),
    "rank": ("rank", "median numerical rank"),
    "stable_rank": ("stable rank", "median of sum s^2 / s_1^2"),
    "alone": ("alone", "share of the directions read whose singular value stands apart from its neighbours'"),
    "beyond": ("beyond signs", "median number of singular values beyond what random signs of the weights reach"),
}


def kinds_table(found: Tokens) -> "pd.DataFrame":
    """A row a kind of circuit: the columns of HEADINGS."""
    import pandas as pd

    circuits = found.circuits
    columns = ["circuit", "index", "kind", "group_size"]
    once = found.tables["directions"].select(columns).to_pandas().drop_duplicates(["circuit", "index"])
    rows = []
    for kind, of in circuits.groupby("kind", sort=False):
        alone = once.loc[once["kind"] == kind, "group_size"] == 1
        beyond = of["num_right_beyond_signs"].dropna()
        rows.append({
            "kind": kind,
            "circuits": len(of),
            "rank": float(of["rank"].median()),
            "stable_rank": float(of["stable_rank"].median()),
            "alone": float(alone.mean()) if len(alone) else float("nan"),
            "beyond": float(beyond.median()) if len(beyond) else float("nan"),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(HEADINGS))


def cells(row: Mapping[str, Any]) -> list[str]:
    """One row of the table as text, a cell a heading."""
    share = percent(row["alone"]) if row["alone"] == row["alone"] else "–"
    return [
        row["kind"], str(row["circuits"]), number(row["rank"]), number(row["stable_rank"]), share, number(row["beyond"])
    ]  # fmt: skip


def shown_directions(found: Tokens, most: int = MOST_SHOWN) -> list[dict[str, Any]]:
    """The first direction of some circuits, spread evenly over kinds and blocks: of each block's heads the one whose
    first singular value is the largest. A dict a side, with address, side, s, and the tokens of both signs."""
    circuits, directions = found.circuits, found.tables["directions"]
    best = circuits.assign(s1=[values[0] if len(values) else 0.0 for values in circuits["singular_values"]])
    best = best.sort_values("s1", ascending=False, kind="stable").drop_duplicates(["block", "kind"]).sort_index()
    share = max(1, most // best["kind"].nunique())
    picked = [c for _, of in best.groupby("kind", sort=False) for c in of["circuit"].iloc[:: -(-len(of) // share)]]
    first = directions.filter((pc.field("index") == 1) & pc.field("circuit").isin(picked)).to_pandas()
    if first.empty:
        return []
    rows = []
    for (circuit, side), of in first.groupby(["circuit", "side"], sort=False):
        by_sign = of.set_index("sign")
        words = {sign: token_words(by_sign.loc[sign]) for sign in (1, -1)}
        rows.append({"address": f"{circuit}:1", "side": side, "s": by_sign.loc[1, "s"], "words": words})
    order = {circuit: i for i, circuit in enumerate(picked)}
    return sorted(rows, key=lambda row: order[row["address"][:-2]])


def token_words(row: Any) -> list[str]:
    """A direction's tokens as short words: their text without spaces around, else their numbers."""
    if row["tokens"] is None:
        return [str(token) for token in row["token_ids"]]
    return [" ".join(text.split()) or repr(text) for text in row["tokens"]]


def render_tokens(found: Tokens) -> str:
    """Both tables as plain text for a terminal."""
    lines = [[heading for heading, _ in HEADINGS.values()]]
    lines += [cells(row) for row in kinds_table(found).to_dict("records")]
    shown = shown_directions(found)
    if not shown:
        return aligned(lines)
    about = [["direction", "side", "s"], *([row["address"], row["side"], number(row["s"])] for row in shown)]
    left = aligned(about, left=2).split("\n")
    room = WIDTH - max(map(len, left)) - 3
    result, previous = [aligned(lines), "", f"{left[0].ljust(WIDTH - room - 1)}tokens, + above -"], ""
    for line, row in zip(left[1:], shown, strict=True):
        begin = line if row["address"] != previous else line.replace(row["address"], " " * len(row["address"]), 1)
        for sign, start in ((1, begin), (-1, "")):
            mark = "+" if sign == 1 else "-"
            result.append(f"{start.ljust(WIDTH - room - 2)} {mark} {_fitted(row['words'][sign], room - 1)}".rstrip())
        previous = row["address"]
    return "\n".join(result)


def _fitted(words: list[str], room: int) -> str:
    """As many words as there is room for; of the first at least its beginning."""
    text = words[0]
    for word in words[1:]:
        if len(text) + 1 + len(word) > room:
            break
        text += f" {word}"
    return shorten(text, room)
