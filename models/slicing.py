"""Llama-like models with a narrower residual stream: one rotation for the whole of it, of which some axes stay.

An RMSNorm without its gain commutes with any orthogonal matrix, so gains go into the weights that follow, and then a
rotation of the stream changes nothing (Ashkboos et al. 2024, SliceGPT, arXiv 2401.15024). With Q (d, d') orthonormal
columns, g a norm's gain and kernels (in, out), y = x K:

    embedding E -> E Q             readers (query, key, value, gate, up, unembedding) K -> Q^T diag(g) K
    writers (attention output, down) K, b -> K Q, b Q

A norm over d' entries divides z = x Q by |z|/sqrt(d'), and the model's own divided by |x|/sqrt(d). With gain
sqrt(d/d') and eps d/d' it is z / sqrt(|z|^2/d + eps): at d' = d what the original's norm gives, at d' < d what it
gives of a stream that is projected on the columns of Q. A gain may take a further factor for what that norm has lost.

The family's layout has one stream for all blocks, and so there is one Q. A tied model is untied: the gain of the final
norm goes into the unembedding alone.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eigensweep.models.errors import CheckpointError
from eigensweep.models.nn import Model, build, get, stream_norms, walk
from eigensweep.models.nn.architecture import Architecture

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_READERS = {
    "attention_norm": ("attention/query", "attention/key", "attention/value"),
    "mlp_norm": ("mlp/gate", "mlp/up"),
}
_WRITERS = ("attention/output", "mlp/down")


def check_sliceable(arch: Architecture) -> None:
    """Can the stream of such a model be rotated and cut?

    Raises:
      CheckpointError: it has no room for it, with the reason.
    """
    reason = ""
    if arch.norm != "rms":
        reason = "its norms are no plain RMSNorms" if arch.norm != "layer" else "its norms are LayerNorms"
    elif arch.residual != "pre":
        reason = "its norms do not stand before attention and MLP alone"
    elif arch.num_experts:
        reason = "its MLPs are mixtures of experts"
    elif arch.family not in FAMILIES:
        reason = "its config.json has no head_dim of its own"
    if reason:
        raise CheckpointError(
            f"config.json: model_type {arch.family} cannot be sliced: {reason} (what can: {', '.join(FAMILIES)})"
        )


def check_width(arch: Architecture, width: int) -> None:
    """Can the stream have this width?

    Raises:
      CheckpointError: it is not below the model's own, or not what the class of its config takes.
    """
    check_sliceable(arch)
    if not 0 < width <= arch.width or width % _step(arch):
        multiple = f" multiple of the {arch.num_heads} heads" if _step(arch) > 1 else " number"
        raise CheckpointError(f"width {width}: expected a{multiple} from {_step(arch)} to {arch.width}")


def sliced_widths(arch: Architecture, shares: Sequence[float]) -> tuple[int, ...]:
    """Widths d' for shares of d, rounded to what the class of the config takes, each once."""
    step = _step(arch)
    return tuple(dict.fromkeys(max(step, round(share * arch.width / step) * step) for share in shares))


def _step(arch: Architecture) -> int:
    """Llama's class wants a multiple of the number of heads, although head_dim is given."""
    return arch.num_heads if arch.family == "llama" and arch.width % arch.num_heads == 0 else 1


def sliced_config(config: Mapping[str, Any], arch: Architecture, width: int) -> dict[str, Any]:
    """config.json of the narrower model."""
    kept = {key: value for key, value in config.items() if key != "quantization_config"}
    return {
        **kept,
        "hidden_size": width,
        "head_dim": arch.head_dim,
        "tie_word_embeddings": False,
        "rms_norm_eps": arch.norm_eps * arch.width / width,
    }


def sliced(
    model: Model, params: Mapping[str, Any], basis: np.ndarray, config: Mapping[str, Any], factors: Sequence[float] = ()
) -> tuple[Model, dict[str, np.ndarray]]:
    """The narrower model and its leaves by path, on the host, in the dtypes of the original's.

    Args:
      model, params: the original.
      basis: Q (d, d'), orthonormal columns.
      config: of `sliced_config`.
      factors: of the norms' gains, one a norm of `stream_norms`; none: 1.

    Raises:
      CheckpointError: see `check_sliceable`.
    """
    arch = model.architecture
    check_sliceable(arch)
    width = basis.shape[1]
    leaves = {path: leaf for path, leaf in walk(params) if not path.startswith("embedding/")}
    found: dict[str, Any] = {}

    def put(path: str, value: np.ndarray, like: Any) -> None:
        found[path] = np.ascontiguousarray(value.astype(like.dtype))

    table = params["embedding"]["embedding"]
    put("embedding/embedding", _exact(table) @ basis, table)
    for number, norm in enumerate(stream_norms(arch)):
        scale = get(params, f"{norm}/scale")
        gain = math.sqrt(arch.width / width) * (factors[number] if factors else 1.0)
        put(f"{norm}/scale", np.full(width, gain), scale)
        block, _, name = norm.rpartition("/")
        readers = [f"{block}/{reader}/kernel" for reader in _READERS.get(name, ())] or ["unembedding/kernel"]
        for path in readers:
            kernel = leaves.get(path, table.T)  # where it is tied
            put(path, basis.T @ (_exact(scale)[:, None] * _exact(kernel)), kernel)
    for path, leaf in leaves.items():
        if path in found:
            continue
        writes = path.rpartition("/")[0].endswith(_WRITERS)
        put(path, _exact(leaf) @ basis if writes else _exact(leaf), leaf)
    return build(config, model.dtype, ("unembedding",)), found


def _exact(leaf: Any) -> np.ndarray:
    return np.asarray(leaf).astype(np.float64)
