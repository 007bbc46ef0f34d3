"""Models that are alive in this process: transformers' (torch) and Flax NNX modules, under the names of their files.

Nothing is written: a tensor shares the model's memory where its framework allows.
"""

import functools
import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from eigensweep.models.sources import Source, tensors_sha256
from eigensweep.models.sources.arrays import named_tensors, torch_to_numpy


def is_model(source: Any) -> bool:
    """Whether this is a torch module or an NNX module; neither framework is imported to find out."""
    return _is_torch(source) or _is_nnx(source)


def config_of(config: Any) -> dict[str, Any] | None:
    """A config as config.json would hold it: a dict, transformers' config object, or None.

    Raises:
      TypeError: it is neither.
    """
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if config is not None and not hasattr(config, "items"):
        raise TypeError(f"config is {type(config).__name__}: expected a dict or a config object of transformers")
    return None if config is None else dict(config)


def open_model(model: Any, config: dict[str, Any] | None = None) -> Source:
    """A live model as a source.

    Args:
      model: a torch module, whose `config` (transformers' models have one) says which architecture it is; or a
        `flax.nnx.Module`, which is read generically.
      config: what config.json would hold, instead of the model's own.
    """
    kind = type(model)
    if _is_torch(model):
        arrays = {name: torch_to_numpy(tensor) for name, tensor in _state_dict(model).items()}
        config = config or config_of(getattr(model, "config", None))
        if config is not None and not config.get("architectures"):
            config["architectures"] = [kind.__name__]
    else:
        arrays = dict(_nnx_arrays(model))
    tensors, aliases = named_tensors(arrays)
    warnings = () if config else (f"{kind.__name__} has no config: its architecture is unknown",)
    sha256 = functools.partial(tensors_sha256, tensors)
    return Source(f"{kind.__module__}.{kind.__qualname__}", "model", tensors, config, {}, sha256, aliases, warnings)


def _is_torch(source: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(source, torch.nn.Module)


def _is_nnx(source: Any) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(source, nnx.Module)


def _state_dict(model: Any) -> dict[str, Any]:
    """The parameters under the names that `save_pretrained` writes; transformers renames and stacks some in memory."""
    state = model.state_dict()
    if "transformers" not in sys.modules or not hasattr(model, "save_pretrained"):
        return state
    from transformers.core_model_loading import revert_weight_conversion

    return revert_weight_conversion(model, state)


def _nnx_arrays(model: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Every parameter by its path; kernels over several axes, as attention's (d, heads, head size), are (in, out)."""
    from flax import nnx

    for path, module in nnx.iter_graph(model):
        if not isinstance(module, nnx.Module):
            continue
        for name, value in vars(module).items():
            if not isinstance(value, nnx.Param):
                continue
            array = np.asarray(value[...])
            if isinstance(module, nnx.LinearGeneral) and not module.batch_axis:
                outputs = math.prod(module.out_features)
                array = array.reshape((math.prod(module.in_features), outputs) if name == "kernel" else outputs)
            yield ".".join((*map(str, path), name)), array
