"""eigensweep: every weight matrix of a transformer against random matrix theory.

    import eigensweep as es

    run = es.sweep("owner/name")                 # a hub id, a folder, a transformers or NNX model, a dict of arrays
    run                                          # a notebook shows findings and summary
    run.matrices.sort_values("alpha")            # pandas: one row a matrix
    run.plot(role="mlp_up")                      # a matplotlib figure
    run.vectors("encoder.layer.0.output.dense.weight", 0)
    run.report()                                 # the interactive page, inside the notebook
    es.open_run("runs/mine")                     # what a script left
    es.open_runs("runs/*")                       # one frame of the matrices of all finished runs

`eigensweep.engine` has the studies and, in `engine.spectral`, the mathematics as pure functions of arrays;
`eigensweep.models` reads checkpoints. Both are loaded when they are first used. Loading `engine` turns JAX's float64 on
for the whole process.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eigensweep import engine as engine
    from eigensweep import models as models
    from eigensweep.api import sweep as sweep
    from eigensweep.engine import RunError as RunError
    from eigensweep.engine import SweepOptions as SweepOptions
    from eigensweep.engine import open_run as open_run
    from eigensweep.engine import open_runs as open_runs
    from eigensweep.engine.studies.sweep.study import Run as Run
    from eigensweep.models import CheckpointError as CheckpointError
    from eigensweep.models import open_checkpoint as open_checkpoint

    __version__: str

_PACKAGES = ("engine", "models")
_HOMES = {  # name -> the module that has it
    "sweep": "api",
    "Run": "engine.studies.sweep.study",
    "RunError": "engine",
    "SweepOptions": "engine",
    "open_run": "engine",
    "open_runs": "engine",
    "CheckpointError": "models",
    "open_checkpoint": "models",
}

__all__ = [
    "CheckpointError",
    "Run",
    "RunError",
    "SweepOptions",
    "engine",
    "models",
    "open_checkpoint",
    "open_run",
    "open_runs",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("eigensweep")
    if name in _PACKAGES:
        return importlib.import_module(f"eigensweep.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"eigensweep.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'eigensweep' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
