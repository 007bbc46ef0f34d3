"""Reading a checkpoint of unknown architecture: every 2-D and stacked 3-D floating tensor, roles guessed."""

import re
from collections.abc import Iterable

from eigensweep.models.families.rules import NO_PARAMETERS
from eigensweep.models.matrix import FLOATING, PACKED, Cut, Tensor, same_contents
from eigensweep.models.plan import Draft, Leaf, Plan
from eigensweep.models.roles import guess_role

_TABLES = ("embedding", "position_embedding")
_TURNED = re.compile(r"(?:.*[./])?kernel|(?:.*[./_])?embeddings?(?:[./]weight)?")


_NO_PARAMETERS = [(re.compile(pattern), reason) for pattern, reason in NO_PARAMETERS]
MOST_STACKED = 10_000
"""Matrices in one stack: experts are hundreds at most."""


def leaf_path(name: str) -> str:
    """The path of a tensor in a tree of unknown architecture: its name, split at the dots."""
    return name.replace(".", "/")


def unreadable(tensor: Tensor) -> str | None:
    """Why a tensor cannot be swept, whatever its shape; None if it can."""
    for pattern, reason in _NO_PARAMETERS:
        if pattern.fullmatch(tensor.name):
            return reason
    if len(tensor.shape) > 1 and re.fullmatch(r"(?:.*[._])?bias", tensor.name):
        return "a stack of biases, no matrix"
    if tensor.dtype in PACKED:
        return f"{tensor.dtype} is packed, several numbers to a byte, and means nothing without its scales"
    if tensor.dtype.startswith("float8"):
        return f"{tensor.dtype} weights mean nothing without their scales: dequantize them first"
    if tensor.dtype not in FLOATING:
        return f"dtype {tensor.dtype} is not a floating type of 16 bits or more"
    return None


def reason_to_skip(tensor: Tensor) -> str | None:
    """Why a tensor holds no matrix for the sweep, as far as it tells itself; None if it does."""
    if reason := unreadable(tensor):
        return reason
    match len(tensor.shape):
        case 0:
            return "a scalar"
        case 1:
            return "1-D (a bias or a norm's scale)"
        case 2:
            return None
        case 3 if "conv" in tensor.name and "expert" not in tensor.name:
            return "3-D convolution kernel, no stack of matrices"
        case 3 if 1 in tensor.shape[1:]:
            return "3-D with one row or column, no stack of matrices"
        case 3 if 0 in tensor.shape:
            return "an empty stack"
        case 3:
            most = f"a stack of {tensor.shape[0]} matrices, more than the {MOST_STACKED} that are taken apart"
            return most if tensor.shape[0] > MOST_STACKED else None
    return f"{len(tensor.shape)}-D: neither a matrix nor a stack of matrices"


def natural(name: str) -> tuple:
    """A key that sorts layer 2 before layer 10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name))


def _add_matrix(draft: Draft, tensor: Tensor, index: int | None, path: str, tower: str) -> None:
    role, block, expert = guess_role(tensor.name)
    # torch stores linear layers (out, in); tables and Flax kernels lie the other way.
    transposed = role in _TABLES or _TURNED.fullmatch(tensor.name) is not None
    if index is not None and expert is None and "expert" in tensor.name:
        expert = index
    cut = Cut(tensor, "embedding" if transposed else "linear", index)
    matrix = cut.as_matrix(
        tensor.name if index is None else f"{tensor.name}[{index}]",
        (role, block, expert),
        guessed=True,
        path=path,
        index=index,
        transposed=transposed,
        tower=tower,
    )
    # Tables first, then the blocks, then what stands outside them: heads, mostly.
    stage = 1 if block is not None else 0 if role in _TABLES else 2
    draft.add_matrix((stage, block or 0, 1_000_000, natural(tensor.name), index or 0), matrix, cut)


def read_generically(draft: Draft, tensor: Tensor, tower: str = "") -> None:
    """Adds the matrices in a tensor, or the reason why there are none, and the tensor as a leaf of its tower."""
    path = f"{tower}/{leaf_path(tensor.name)}" if tower else leaf_path(tensor.name)
    if tensor.dtype in PACKED:
        draft.mismatches.append(f"{tensor.name}: {tensor.dtype} is packed, several numbers to a byte, and not read")
    elif path in draft.leaves:
        draft.mismatches.append(f"{tensor.name} and {draft.leaves[path].tensor.name} would both be the leaf {path}")
    else:
        draft.leaves[path] = Leaf(path, tensor.shape, tensor)
    if reason := reason_to_skip(tensor):
        draft.skip(tensor, reason)
        return
    for index in range(tensor.shape[0]) if len(tensor.shape) == 3 else (None,):
        _add_matrix(draft, tensor, index, path, tower)


def plan_generically(tensors: Iterable[Tensor], aliases: dict[str, str]) -> Plan:
    """The plan of a checkpoint of unknown architecture.

    Args:
      tensors: of the source, aliases included.
      aliases: {second name: name} of tensors known to be the same.
    """
    draft = Draft(tied=dict(aliases))
    for tensor in tensors:
        read_generically(draft, tensor)
    # Of the tensors with other names, embeddings and heads are those that models tie.
    tables = [m for _, m in draft.matrices if m.role in ("embedding", "unembedding") and m.index is None]
    tables.sort(key=lambda matrix: matrix.role)
    free = [draft.cuts[m.name].tensor for m in tables if draft.cuts[m.name].tensor.name not in draft.tied]
    for first, *others in same_contents(free):
        draft.tied.update((second.name, first.name) for second in others)
    return draft.finish()
