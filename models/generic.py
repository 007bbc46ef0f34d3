"""Reading a checkpoint of unknown architecture: every matrix, stack of matrices and convolution, roles guessed."""

import re
from collections.abc import Iterable, Iterator

from eigensweep.models.errors import listed
from eigensweep.models.families.rules import NO_PARAMETERS, Layout
from eigensweep.models.matrix import FLOATING, PACKED, Cut, Tensor, same_contents
from eigensweep.models.plan import Draft, Leaf, Plan
from eigensweep.models.roles import guess_role, guess_tower, looks_fused
from eigensweep.models.settling import name_plain_mlps, settle_orientation

_TABLES = ("embedding", "position_embedding")
_TURNED = re.compile(r"(?:.*[./])?kernel|(?:.*[./_])?embeddings?(?:[./]weight)?|(?:.*[./])?_?W_(?:in|out|gate|U)")
"""Names of weights that lie (in, out): tables, Flax's kernels, TransformerLens's bare parameters."""
_HEADS = re.compile(r"(?:.*[./])?_?W_([QKVO])")
"""TransformerLens's stacks of heads: (heads, in, head), W_O (heads, head, out)."""
_THIRDS = re.compile(r"(?:.*[.])?in_proj_weight")
"""torch.nn.MultiheadAttention's query, key and value, end to end."""
_BIAS = re.compile(r"(?:.*[._/])?bias|(?:.*[./])?_?b_(?:[QKVOU]|in|out|gate)")
_NAMED = 8  # tensors that one warning lists
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
    if len(tensor.shape) > 1 and _BIAS.fullmatch(tensor.name):
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
        case _ if 0 not in tensor.shape and _is_convolution(tensor):
            return None
        case 3 if "conv" in tensor.name.lower() and "expert" not in tensor.name.lower():
            return "3-D convolution kernel whose taps may come first, no stack of matrices"
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


def _is_convolution(tensor: Tensor) -> bool:
    """Whether a tensor is a convolution's kernel as torch stores it, (out, in, taps, ...)."""
    name = tensor.name.lower()
    if "expert" in name or name.endswith("kernel") or len(tensor.shape) > 5:
        return False
    return "conv" in name if len(tensor.shape) == 3 else len(tensor.shape) > 3 and name.endswith("weight")


def _cuts(tensor: Tensor, role: str) -> Iterator[tuple[Cut, int | None, str]]:
    """The weights in a tensor, with the index of a slice, or the label of a share."""
    if (heads := _HEADS.fullmatch(tensor.name)) and len(tensor.shape) == 3:
        yield Cut(tensor, "head_inputs" if heads[1] == "O" else "head_outputs"), None, ""
    elif len(tensor.shape) > 2 and _is_convolution(tensor):
        yield Cut(tensor, "convolution"), None, ""
    elif _THIRDS.fullmatch(tensor.name) and len(tensor.shape) == 2 and tensor.shape[0] == 3 * tensor.shape[1]:
        size = tensor.shape[1]
        for share, label in enumerate(("query", "key", "value")):
            yield Cut(tensor, "linear", rows=(share * size, (share + 1) * size)), None, label
    else:
        # torch stores linear layers (out, in); tables and Flax kernels lie the other way.
        layout: Layout = "embedding" if role in _TABLES or _TURNED.fullmatch(tensor.name) else "linear"
        for index in range(tensor.shape[0]) if len(tensor.shape) == 3 else (None,):
            yield Cut(tensor, layout, index), index, ""


def _add_matrices(draft: Draft, tensor: Tensor, path: str, tower: str) -> None:
    role, block, expert = guess_role(tensor.name)
    for cut, index, label in _cuts(tensor, role):
        number = index if index is not None and expert is None and "expert" in tensor.name.lower() else expert
        name = tensor.name if index is None else f"{tensor.name}[{index}]"
        what = (label or ("convolution" if cut.layout == "convolution" else role), block, number)
        matrix = cut.as_matrix(
            f"{name}:{label}" if label else name,
            what,
            guessed=True,
            path=path,
            index=index,
            transposed=cut.layout == "embedding",
            tower=tower,
        )
        # Tables first, then the blocks, then what stands outside them: heads, mostly.
        stage = 1 if block is not None else 0 if what[0] in (*_TABLES, "convolution") else 2
        place = 0 if cut.rows is None else cut.rows[0]
        draft.add_matrix((stage, block or 0, 1_000_000, natural(tensor.name), index or place), matrix, cut)


def read_generically(draft: Draft, tensor: Tensor, tower: str = "", stack: str = "") -> None:
    """Adds the matrices in a tensor, or the reason why there are none, and the tensor as a leaf.

    Args:
      draft: takes them up.
      tensor: of unknown architecture.
      tower: that it stands in, beside a stack of known architecture: its leaf lies under this name.
      stack: that it stands in, where all leaves are called as they are stored.
    """
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
    _add_matrices(draft, tensor, path, tower or stack)


def _stacks(tensors: Iterable[Tensor]) -> dict[str, str]:
    """The tower of each tensor, where the names tell of several with blocks; attention to another in any case."""
    guessed = {tensor.name: guess_tower(tensor.name) for tensor in tensors}
    inside = {tower.split(".")[0] for name, tower in guessed.items() if guess_role(name)[1] is not None}
    if len(inside - {"cross"}) > 1:
        return guessed
    return {name: "cross" if tower.endswith("cross") else "" for name, tower in guessed.items()}


def plan_generically(tensors: Iterable[Tensor], aliases: dict[str, str]) -> Plan:
    """The plan of a checkpoint of unknown architecture.

    Args:
      tensors: of the source, aliases included.
      aliases: {second name: name} of tensors known to be the same.
    """
    draft, tensors = Draft(tied=dict(aliases)), list(tensors)
    stacks = _stacks(tensors)
    for tensor in tensors:
        read_generically(draft, tensor, stack=stacks[tensor.name])
    matrices = {draft.cuts[m.name].tensor.name: m for _, m in draft.matrices}
    # Of a table and a head that are the same, the table is kept.
    ordered = sorted((m for name, m in matrices.items() if name not in draft.tied), key=lambda m: m.role != "embedding")
    for first, *others in same_contents(draft.cuts[m.name].tensor for m in ordered):
        draft.tied.update((second.name, first.name) for second in others)
    fused = [name for name, m in matrices.items() if looks_fused(name) and not draft.cuts[m.name].rows]
    if fused:
        draft.warnings.append(
            f"{len(fused)} tensors seem to hold several weights each (query, key and value, or gate and up), how is "
            f"not known: taken whole, in the role other: {listed(fused, _NAMED)}"
        )
    name_plain_mlps(draft)
    settle_orientation(draft)
    return draft.finish()
