"""What a notebook calls: one function from a model to its run."""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eigensweep import engine, models
from eigensweep.engine.run.progress import OnProgress, silent
from eigensweep.engine.studies.sweep.study import Run


def sweep(
    model: Any,
    workdir: str | Path | None = None,
    *,
    roles: str | Sequence[str] = (),
    blocks: str | int | Sequence[int] = (),
    config: Mapping[str, Any] | Any | None = None,
    base: Any = None,
    progress: bool | OnProgress = True,
    **options: Any,
) -> Run:
    """Decompose every weight matrix of a model and hold it against random matrix theory.

    Args:
      model: a folder, a `.safetensors` file, a hub id ("owner/name", "owner/name@revision"), a live model of
        transformers (torch), a flax.nnx module, a dict of arrays by name (a `state_dict`), or an opened checkpoint.
      workdir: a run directory for the tables; None keeps the run in memory. An unfinished run there is continued, a
        finished one is read back.
      roles: the roles to sweep, as "query,key" or a list; empty for all.
      blocks: the blocks to sweep, as "0-3,7", a number or a list; empty for all.
      config: what config.json would hold (a dict, or transformers' config object), for a dict of arrays, which brings
        none: without it the architecture, and with it the orientation of matrices, is a guess.
      base: for an adapter, the model that it was trained on: W, W + delta W and delta W of every matrix that it changes
        are swept side by side.
      progress: True for a bar, False for silence, or a function of `engine.Progress`.
      options: any other option of `engine.SweepOptions`, as `control="permutation"`.

    Returns:
      The finished run. What the user should know of the checkpoint and of the run comes as warnings.

    Raises:
      CheckpointError: the checkpoint cannot be read.
      RunError: nothing to sweep; `workdir` belongs to another run, is in use, or cannot be written.
      ValueError: an unknown option, or a value that is not allowed.
      TypeError: `model` is none of these.
    """
    chosen = engine.SweepOptions.of({"roles": roles, "blocks": blocks, **options})
    already = isinstance(model, models.Checkpoint)
    opened = model if already else models.open_checkpoint(model, config=config, base=base)
    with _reporter(progress) as on_progress:
        run = engine.sweep(opened, chosen, workdir, on_progress=on_progress)
    for text in run.manifest.get("warnings", ()):
        warnings.warn(text, stacklevel=2)
    return run


def _reporter(progress: bool | OnProgress) -> contextlib.AbstractContextManager[OnProgress]:
    if progress is True:
        from eigensweep.progress import reporter

        return reporter()
    return contextlib.nullcontext(progress or silent)
