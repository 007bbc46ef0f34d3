"""What removals change of the outputs of their matrices: one pass of the rows through the model, block by block.

The rows are those that the loss is taken on, all of them: a control is matched where it is compared. Of the activations
only F = mean x x^T of one block's layers is held at a time, in float64; what stays are a few numbers a matrix.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigensweep.engine.spectral import covariance, matched
from eigensweep.engine.spectral.covariance import Moments
from eigensweep.engine.spectral.matched import NO_MATCH
from eigensweep.engine.spectral.removal import Match, Removal
from eigensweep.engine.studies.ablation.factors import Decompositions
from eigensweep.engine.studies.activations import tokens_of
from eigensweep.engine.studies.edited_model import Measure
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import nn
from eigensweep.models.data import Rows


@dataclass(frozen=True)
class Outputs:
    """Of one matrix, over the x that enter it.

    Attributes:
      whole: mean |W x|^2 = tr(W F W^T).
      changed: mean |dW x|^2 by removal, dW what it takes away.
      matches: of the removals of kind "output".
    """

    whole: float
    changed: Mapping[str, float]
    matches: Mapping[str, Match]


def outputs_of(
    matrices: Iterable[Any], removals: Sequence[Removal], measure: Measure, decompositions: Decompositions
) -> dict[str, Outputs] | None:
    """The outputs of matrices by name, as far as activations enter them; None where no removal needs them.

    Nothing enters a table of embeddings, nor an expert to which no token went.

    Args:
      matrices: of the checkpoint; what is named twice is looked at once.
      removals: what is to be known of.
      measure: whose rows pass through the model.
      decompositions: nobody else's; a matrix is decomposed when its activations are there.

    Raises:
      RunError: activations that are not finite; a matrix that cannot be decomposed; a measure without activations.
    """
    wanted = list({matrix.name: matrix for matrix in matrices}.values())
    if not wanted or not any(taken.kind == "output" for taken in removals):
        return None
    if measure.activations is None:
        raise RunError("removals output:… need the activations that enter the matrices; this measurement has none")
    collected = _Pass(wanted, removals, decompositions)
    measure.activations(collected.visit, any("blocks" not in tap.split("/") for tap in collected.groups))
    return collected.found


def match_of(taken: Removal, name: str, outputs: Mapping[str, Outputs] | None) -> Match:
    """How many random directions a removal takes from a matrix; none where nothing is known of its outputs."""
    found = (outputs or {}).get(name)
    return found.matches.get(str(taken), NO_MATCH) if found else NO_MATCH


@dataclass
class _Pass:
    matrices: Sequence[Any]
    removals: Sequence[Removal]
    decompositions: Decompositions
    found: dict[str, Outputs] = field(default_factory=dict)
    _moments: dict[str, Moments] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.groups: dict[str, list[Any]] = {}
        for matrix in self.matrices:
            if matrix.path.endswith("/kernel"):
                self.groups.setdefault(nn.tap_of(matrix.path), []).append(matrix)

    def visit(self, batch: Rows, last: bool, taps: Mapping[str, Any]) -> None:
        """A batch's activations; all batches of one block come one after another."""
        for tap in [tap for tap in taps if tap in self.groups]:
            moments = self._moments.pop(tap, None) or covariance.zero(taps[tap].shape[-1])
            tokens = tokens_of(tap, taps, batch.attention_mask)
            self._moments[tap] = covariance.accumulate(moments, taps[tap], tokens)
        if not last:
            return
        for tap in [tap for tap in taps if tap in self._moments]:
            moments = self._moments.pop(tap)
            if not int(moments.tokens):
                continue  # no token went to this expert
            f = np.asarray(covariance.covariance(moments))
            if not np.isfinite(f).all():
                raise RunError(f"{tap}: the covariance of its activations is not finite: they overflow")
            for source, _ in self.decompositions.needed(self.groups[tap]):
                self.found[source.name] = self._outputs(source, f)

    def _outputs(self, source: Any, f: np.ndarray) -> Outputs:
        changed, matches = {}, {}
        for taken in self.removals:
            name = str(taken)
            if taken.kind == "output":
                matches[name] = self.decompositions.output_match(taken, source, f)
            low = self.decompositions.low_rank(taken, source, matches.get(name))
            changed[name] = float(matched.change(low.left, low.right, f).sum())
        w = np.asarray(source.read(), np.float64)
        return Outputs(float(np.sum((w @ f) * w)), changed, matches)
