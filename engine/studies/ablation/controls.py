"""What is told of a removal as a control: of which one, how well it matches, and what changes of the outputs."""

import math
from collections.abc import Mapping
from typing import Any

from eigensweep.engine.spectral.removal import MATCHED, LowRank, Removal
from eigensweep.engine.studies.ablation.outputs import Outputs


def control_columns(
    taken: Removal, low: Mapping[str, LowRank], squares: Mapping[str, float], outputs: Mapping[str, Outputs] | None
) -> dict[str, Any]:
    """The columns control_of, matched, unmatched and output_energy of one removal from the matrices of a scope.

    Args:
      low: what goes, by matrix.
      squares: |W|_F^2, by matrix.
      outputs: by matrix, as far as activations enter it; None where none were asked for.
    """
    outputs = outputs or {}
    name, entered = str(taken), {n: outputs[n] for n in low if n in outputs}
    whole = sum(found.whole for found in entered.values())
    columns: dict[str, Any] = {
        "control_of": str(taken.controlled or ""),
        "matched": math.nan,
        "unmatched": None,
        "output_energy": sum(found.changed[name] for found in entered.values()) / whole if whole > 0 else None,
    }
    if taken.kind in MATCHED:
        matches = {n: found.match for n, found in low.items() if found.match}
        reached = {
            n: low[n].energy * squares[n] if taken.kind == "energy" else outputs[n].changed[name]
            for n in matches
            if taken.kind == "energy" or n in outputs
        }
        target = sum(match.target for match in matches.values())
        columns["unmatched"] = sum(not match.had for match in matches.values())
        columns["matched"] = sum(reached.values()) / target if target > 0 else math.nan
    return columns
