"""The address of a circuit or of one of its directions: "block.3.head.2.ov:1". Blocks and heads from 0, directions
from 1."""

import re
from dataclasses import dataclass, replace

from eigensweep.models.errors import InputError, shown

OF_HEADS = ("ov", "qk", "q", "k")
"""Kinds that every head has; of "k" the head is a key head, of all others a query head."""
KINDS = (*OF_HEADS, "mlp_in", "mlp_gate", "mlp_out")
_FORM = re.compile(r"block\.([0-9]{1,6})(?:\.head\.([0-9]{1,6}))?\.([a-z_]{1,20})(?::([0-9]{1,6}))?")


class AddressError(InputError, ValueError):
    """A text is no address; the message says what one looks like."""


@dataclass(frozen=True)
class Address:
    """A circuit of one block, and, where `index` is given, one of its singular directions.

    Attributes:
      block: from 0.
      kind: one of KINDS.
      head: from 0; None for the MLP's.
      index: of the direction, from 1, in the order of descending singular values; None for the circuit as a whole.
    """

    block: int
    kind: str
    head: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        head = "" if self.head is None else f".head.{self.head}"
        index = "" if self.index is None else f":{self.index}"
        return f"block.{self.block}{head}.{self.kind}{index}"

    @property
    def circuit(self) -> "Address":
        """The circuit that a direction belongs to."""
        return replace(self, index=None)

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address that a text is.

        Raises:
          AddressError: it is none.

        >>> Address.parse("block.3.head.2.ov:1")
        Address(block=3, kind='ov', head=2, index=1)
        """
        found = _FORM.fullmatch(text.strip())
        block, head, kind, index = found.groups() if found else ("", None, "", None)
        if kind not in KINDS or index == "0":
            why = "directions count from 1" if index == "0" else f"kinds are {', '.join(KINDS)}"
            raise AddressError(
                f"{shown(text)} is no address of a circuit; expected such as block.3.head.2.ov:1 or block.3.mlp_out:7 "
                f"({why})"
            )
        if (head is None) == (kind in OF_HEADS):
            needs = "needs a head" if head is None else "has no heads"
            raise AddressError(f"{shown(text)} is no address of a circuit: {kind} {needs}")
        return cls(int(block), kind, None if head is None else int(head), None if index is None else int(index))
