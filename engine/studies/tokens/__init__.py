"""The tokens study: singular directions of circuits, read as the tokens that they write or read."""

from eigensweep.engine.report.registry import Reported, Table, View, register
from eigensweep.engine.report.spectrum import checkpoint_name
from eigensweep.engine.studies.tokens import summary
from eigensweep.engine.studies.tokens.page import page_data
from eigensweep.engine.studies.tokens.study import LAYOUT, Tokens, open_tokens


def view_of(found: Tokens) -> View:
    """What the page shows of the study."""
    kinds = [summary.cells(row) for row in summary.kinds_table(found).to_dict("records")]
    headings = [("direction", "blocks and heads from 0, index from 1"), ("side", "what it is to the stream")]
    headings += [("s", "its singular value"), ("+", "tokens with the largest scores"), ("-", "with the smallest")]
    shown = [
        [row["address"], row["side"], f"{row['s']:.3g}", *(" ".join(row["words"][sign]) for sign in (1, -1))]
        for row in summary.shown_directions(found, most=60)
    ]
    note = "Of each block and kind the circuit with the largest singular value; all are in directions.parquet."
    return View(
        f"Directions as tokens of {checkpoint_name(found)}",
        tables=[
            Table("Circuits", [*summary.HEADINGS.values()], kinds),
            Table("First directions", headings, shown, note),
        ],
        data={"tokens": page_data(found)},
    )


REPORTED = register(Reported(LAYOUT, open_tokens, view_of, lambda found: {}))
