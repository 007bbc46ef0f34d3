"""The table of labels: a row a judge and list of tokens. A judge is a model behind an endpoint, or a person."""

from pathlib import Path
from typing import ClassVar

from eigensweep.engine.studies.tokens.tables import DIRECTIONS
from eigensweep.engine.tables.check import SUMS
from eigensweep.engine.tables.columns import COUNT, FLOAT, TEXT, Column
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result, frame_of

NAME = "labels"
KEYS = ("circuit", "index", "side", "sign")
PLACE = (*KEYS, "block", "head", "kind", "end")
BY_HAND = "by hand: "
INTERPRETABLE, UNVERIFIED, NOTHING, MALFORMED = "interpretable", "unverified", "nothing", "malformed"

LABELS = {
    "judge": Column(TEXT, "", f"the model, or '{BY_HAND}' and a person's name"),
    **{name: DIRECTIONS[name] for name in PLACE},
    "status": Column(
        TEXT,
        "",
        f"{INTERPRETABLE}: named and verified (by hand: said to share something); {UNVERIFIED}: named, but the name "
        f"did not tell the list's tokens from others; {NOTHING}: said to share nothing; {MALFORMED}: no usable answer",
    ),
    "label": Column(TEXT, "", "what most of the tokens are said to have in common"),
    "chosen": Column(COUNT, "", "x: tokens of the list that the second call chose as fitting the label"),
    "chosen_others": Column(COUNT, "", "tokens of other lists that it chose, among as many"),
    "p": Column(
        FLOAT,
        "",
        "P(X >= x), X hypergeometric: a choice of as many that does not tell the list's tokens from others. Verified "
        "is x of at least half the list at p <= label_level",
    ),
    "note": Column(TEXT, "", "what was wrong with a malformed answer"),
}
LAYOUT = Layout(
    NAME,
    {"labels": LABELS},
    "tokens_labels.json",  # behind the tokens' own, which heads the page
    ("tokens",),
    keys={"labels": ("judge", *KEYS)},
    needed={"labels": ("block", "kind", "status")},
    record=("of", "judges"),
)


class Labels(Result):
    """The labels of a tokens run."""

    layout: ClassVar[Layout] = LAYOUT
    labels = frame_of("labels", "One row a judge and list of tokens.")

    def check(self, directory: Path) -> None:
        """They are of the directions beside them.

        Raises:
          RunError: they are not.
        """
        if self.manifest["of"] != directions_sum(directory):
            raise RunError(f"{directory / LAYOUT.manifest}: these labels are not of the directions beside them")


open_labels = Labels.read


def directions_sum(directory: Path) -> str:
    """The sum of the table of directions by its manifest: what labels are of.

    Raises:
      RunError: there is no finished tokens run.
    """
    from eigensweep.engine.studies.tokens.tables import LAYOUT as TOKENS

    manifest = TOKENS.read_manifest(directory)
    if manifest is None or manifest.get("status") != "done":
        raise RunError(
            f"{directory}: no finished run of eigensweep-tokens is there, whose directions could be labelled"
        )
    return str(manifest.get(SUMS, {}).get("directions.parquet", ""))
