"""What is averaged together: matrices of one role, in one tower, whose role is known or guessed alike."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

ROLES = (
    "convolution", "embedding", "position_embedding",
    "query_latent", "query", "position_query", "key_value_latent", "rotary_key", "key", "position_key", "value",
    "attention_gate", "attention_output",
    "linear_query", "linear_key", "linear_value", "linear_gate", "linear_beta", "linear_decay", "linear_output",
    "ssm_input", "ssm_gate", "ssm_step_latent", "ssm_step", "ssm_b", "ssm_c", "ssm_output",
    "mlp_gate", "mlp_up", "mlp_down", "shared_mlp_gate", "shared_mlp_up", "shared_mlp_down",
    "expert", "pooler", "classifier", "unembedding", "other",
)  # fmt: skip
TOWERS = ("vision", "audio", "text", "encoder", "decoder")


class Group(NamedTuple):
    """Matrices that do the same work.

    Attributes:
      role: what they do.
      tower: the stack that they do it in, "" where a model is one stack; "decoder.cross" for the attention of a
        decoder to an encoder.
      guessed: whether their role was guessed from their names.
      expert: whether they belong to the experts of a mixture, each of which sees a part of the tokens.
    """

    role: str
    tower: str = ""
    guessed: bool = False
    expert: bool = False

    @property
    def label(self) -> str:
        """What tables and figures call the group.

        >>> Group("query", "decoder.cross").label
        'decoder cross query'
        """
        words = (*self.tower.split("."), self.role, "of experts" * self.expert, "(guessed)" * self.guessed)
        return " ".join(word for word in words if word)

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorting key: the order in which activations meet them, tower by tower; unknown names last."""
        role = ROLES.index(self.role) if self.role in ROLES else len(ROLES)
        tower, *part = self.tower.split(".")
        place = TOWERS.index(tower) if tower in TOWERS else len(TOWERS)
        shared = -1 if role < ROLES.index("pooler") else len(TOWERS) + 1  # before all towers, or behind them
        return (place if tower else shared, tower, part, role, self.role, self.expert, self.guessed)


def group_of(row: Mapping[str, Any]) -> Group:
    """The group of a row of a table of matrices; tables of older versions know neither towers nor guesses."""
    tower, guessed, expert = row.get("tower"), row.get("guessed"), row.get("expert")  # pandas reads null as NaN or NA
    named = tower if isinstance(tower, str) else ""
    in_mixture = isinstance(expert, float | int | np.integer) and bool(expert >= 0)
    return Group(str(row["role"]), named, guessed in (True,), in_mixture)


def labelled(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """A table of matrices with each role by its group's label, and the labels in their order."""
    groups = [group_of(row) for row in frame.to_dict("records")]
    named = frame.assign(role=[group.label for group in groups])
    return named, [group.label for group in sorted(set(groups), key=lambda group: group.order)]
