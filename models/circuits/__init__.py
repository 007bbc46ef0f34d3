"""Circuits of a checkpoint as factors, block by block, and the projections of their directions to the vocabulary.

reader = open_circuits(checkpoint)
for circuits in reader.read(3):  # one kind of one block at a time
    circuits.left @ circuits.right  # (H, m, n): the product that nobody should form
table = open_projection(checkpoint, "unembedding")
table.rows(0, 1000) @ directions.T
"""

from eigensweep.models.circuits.address import KINDS, Address, AddressError
from eigensweep.models.circuits.folding import Fold
from eigensweep.models.circuits.projection import PROJECTIONS, Projection, open_projection
from eigensweep.models.circuits.reading import SIDES, Circuits, Outline, Reader, open_circuits

__all__ = [
    "KINDS", "PROJECTIONS", "SIDES", "Address", "AddressError", "Circuits", "Fold", "Outline", "Projection", "Reader",
    "open_circuits", "open_projection",
]  # fmt: skip
