"""What one name cannot tell about a matrix of unknown architecture, and the whole checkpoint can.

A matrix that takes from or gives to the residual stream has the stream's width, that of the table of embeddings, on
that side. So shapes tell which way matrices lie, but for square ones.
"""

import re
from dataclasses import replace

from eigensweep.models.matrix import Matrix
from eigensweep.models.plan import Draft

_TAKE = ("query", "key", "value", "mlp_up", "mlp_gate", "unembedding")
_GIVE = ("attention_output", "mlp_down")
_FIRST, _THIRD = (re.compile(rf"(?:^|.*[./_])w{number}(?:[./].*)?", re.IGNORECASE) for number in (1, 3))


def name_plain_mlps(draft: Draft) -> None:
    """Llama's w1 is a gate beside its w3; where nothing is called w3, w1 leads up."""
    if any(_THIRD.fullmatch(m.name) for _, m in draft.matrices):
        return
    for i, (key, matrix) in enumerate(draft.matrices):
        if matrix.role == "mlp_gate" and _FIRST.fullmatch(matrix.name):
            draft.matrices[i] = (key, replace(matrix, role="mlp_up"))


def settle_orientation(draft: Draft) -> None:
    """Turns the matrices that lie (in, out) by their shapes, and says how many shapes do not tell.

    Stacks are settled apart from matrices stored alone: modules that hold stacked experts often turn them.
    """
    widths = {m.tower: m.shape[0] for _, m in draft.matrices if m.role == "embedding"}
    for what, stacked in (("matrices", False), ("stacked matrices", True)):
        told: dict[str, list[int]] = {"right": [], "turned": [], "unknown": []}
        for i, (_, m) in enumerate(draft.matrices):
            cut = draft.cuts[m.name]
            plain = cut.layout == "linear" and cut.rows is None and m.role in (*_TAKE, *_GIVE)
            if plain and (m.index is not None) == stacked:
                told[_lies(m, _width(widths, m.tower))].append(i)
        right, turned, unknown = told.values()
        if turned and not right:
            for i in (*turned, *unknown):
                _turn(draft, i)
            more = f", and {len(unknown)} whose shapes do not tell the same way" if unknown else ""
            draft.warnings.append(f"{len(turned)} {what} lie (in, out), as their shapes tell, and are read so{more}")
        elif turned:
            draft.warnings.append(
                f"{len(turned)} {what} have shapes that fit (in, out), {len(right)} others (out, in): all are read as "
                "(out, in), as torch stores them"
            )
        elif unknown and not right:
            draft.warnings.append(
                f"which way {len(unknown)} {what} lie, shapes do not tell: read as (out, in), as torch stores them"
            )


def _width(widths: dict[str, int], tower: str) -> int | None:
    """Of the residual stream of a tower; encoder and decoder may share a table."""
    base = tower.split(".")[0]
    return widths.get(base, widths.get("") if base in ("", "cross", "encoder", "decoder") else None)


def _lies(matrix: Matrix, width: int | None) -> str:
    """Whether a matrix, read as (out, in), is "right", "turned" or "unknown"."""
    outputs, inputs = matrix.shape
    if width is None or outputs == inputs or width not in matrix.shape:
        return "unknown"
    return "right" if (inputs if matrix.role in _TAKE else outputs) == width else "turned"


def _turn(draft: Draft, i: int) -> None:
    key, m = draft.matrices[i]
    cut = draft.cuts[m.name] = replace(draft.cuts[m.name], layout="conv1d")
    what = m.role, m.block, m.expert
    turned = cut.as_matrix(m.name, what, guessed=True, path=m.path, index=m.index, transposed=True, tower=m.tower)
    draft.matrices[i] = (key, turned)
