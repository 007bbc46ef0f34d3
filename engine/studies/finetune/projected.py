"""Fine-tuning where a member's norms read less of the residual stream, before the training or after it.

Scope "stream": a tenth of the eigenvectors of the stream's covariance is taken out of what every norm reads, as
`covariance:decile` of eigensweep-ablate does. The covariance is that of the member's own model before the removal (the
pretrained one for order "before", the fine-tuned one for "after"), on rows that are trained on. Of order "before" the
projection stays while the model is trained: what it took away cannot be learned again.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from eigensweep.engine.spectral.removal import Removal
from eigensweep.engine.studies.ablation.covariance import KIND, SCOPE, stream_projection
from eigensweep.engine.studies.ablation.scopes import Scopes, resolve_scopes
from eigensweep.models import Checkpoint, data, nn

CALIBRATION_ROWS = 256


def scopes_of(checkpoint: Checkpoint, words: Sequence[str]) -> Scopes:
    """The matrices of every scope, none for the stream, in the order given.

    Raises:
      RunError: see `resolve_scopes`. CheckpointError: norms that do not read the stream.
    """
    found: Scopes = {}
    for word in words:
        if word == SCOPE:
            nn.stream_norms(nn.model_of(checkpoint).architecture)
            found[SCOPE] = ()
        else:
            found |= resolve_scopes(checkpoint.matrices, (word,))
    return found


def projected(
    model: nn.Model, params: Any, decile: int, train: data.Rows, batch_size: int, mesh: Any = None
) -> tuple[nn.Model, Any, nn.Intervention, dict[str, Any]]:
    """The model of RMSNorms, its parameters, the projection, and the columns of the table.

    Args:
      model, params: as loaded.
      train: the rows that are learned from, of which the covariance takes CALIBRATION_ROWS, evenly spaced.
      mesh: where the parameters lie.
    """
    rows = train.take(np.unique(np.linspace(0, len(train.row) - 1, CALIBRATION_ROWS).astype(int)))
    rows = rows._replace(row=np.arange(len(rows.row), dtype=np.int32))
    projection = stream_projection(model, params, None, rows, batch_size=batch_size, factor="energy", seed=0)
    change = projection.change(Removal(KIND, f"decile:{decile}"))
    narrowed = nn.with_gains(projection.model, dict(projection.params or {}), change.factors)
    if mesh is not None:
        narrowed = jax.device_put(narrowed, nn.shardings(projection.model.abstract(), mesh))
    taken = {"num_matrices": 0, "energy": change.columns["energy"]}
    return projection.model, narrowed, change.intervention, taken
