"""A facts study in a table: a row a kind of numbers, which shape they have and how far their tails reach."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from eigensweep.engine.report.style import aligned, number
from eigensweep.engine.studies.facts.depth_charts import dataset_ranks, stream_ranks, trend_sentence, weight_ranks
from eigensweep.engine.studies.facts.study import Facts

if TYPE_CHECKING:
    import pandas as pd

# Column -> (heading, what it is).
HEADINGS = {
    "what": ("what", "kind of numbers"),
    "tap": ("tap", "name within the block; all blocks together"),
    "number": ("n", "how many tensors or taps"),
    "sd": ("sd", "median of their standard deviations"),
    "kurtosis": ("kurtosis", "median excess kurtosis; 0 for a normal distribution"),
    "reach": ("reach", "median of the largest |x - mean| in standard deviations"),
    "best": ("best shape", "the law with the lowest AIC in most of them, and in how many"),
    "gain": ("AIC gain", "median of the normal law's AIC a value less that of the best"),
    "tail": ("tail", "median exponent of the tail: 1 exponential, 2 Gaussian"),
    "straight": ("straight", "tails that a straight line (exponential) describes better than a parabola, by AIC"),
}
_WORDS = {"generalised_normal": "gennorm", "student_t": "Student t"}


def facts_table(found: Facts) -> "pd.DataFrame":
    """A row a kind and tap, in the table's order: the columns of HEADINGS, NaN where undefined."""
    import pandas as pd

    frame = found.distributions
    rows = []
    for (what, tap), of in frame.groupby(["what", "tap"], sort=False):
        reach = np.maximum(of["max"] - of["mean"], of["mean"] - of["min"]) / of["sd"]
        best, straight = of["best"].dropna(), of["tail_straight"].dropna()
        aic = of[[name for name in of if name.endswith("_aic")]]
        first = best.mode().iloc[0] if len(best) else ""
        rows.append(
            {
                **{"what": what, "tap": tap, "number": len(of), "sd": of["sd"].median()},
                **{"kurtosis": of["kurtosis"].median(), "reach": reach.median()},
                "best": f"{_WORDS.get(first, first)} {int((best == first).sum())}/{len(of)}" if first else "",
                "gain": (of["normal_aic"] - aic.min(axis=1)).median(),
                "tail": of["tail_shape"].median(),
                "straight": f"{int((straight > 0).sum())}/{len(straight)}" if len(straight) else "",
            }
        )
    return pd.DataFrame(rows, columns=list(HEADINGS))


def cells(row: dict) -> list[str]:
    """One row of the table as text, a cell a heading; what all matrices' names end with is left out."""
    row = row | {"tap": row["tap"].removesuffix("/kernel").removesuffix("/embedding")}
    return [value if isinstance(value := row[name], str) else number(float(value)) for name in HEADINGS]


def by_depth(found: Facts) -> list[str]:
    """Sentences with numbers on what changes with depth, and on rank plots."""
    said = [trend_sentence(found)]
    for make in (weight_ranks, stream_ranks, dataset_ranks):
        if (chart := make(found)) is not None:
            said.append(f"{chart.heading}: {chart.seen}")
    return ["\n".join(textwrap.fill(sentence, 100) for sentence in said)]


def render_facts(found: Facts) -> str:
    """The summary as plain text for a terminal of a hundred columns: without `n`, which `best shape` tells."""
    lines = [[heading for heading, _ in HEADINGS.values()]]
    lines += [cells(row) for row in facts_table(found).to_dict("records")]
    at = list(HEADINGS).index("number")
    lines = [line[:at] + line[at + 1 :] for line in lines]
    return "\n\n".join([aligned(lines, left=2), *by_depth(found)])
