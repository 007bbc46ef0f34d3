"""Which matrices are swept, in which batches, and what memory that takes."""

from collections.abc import Iterable
from dataclasses import dataclass

from eigensweep.engine.run.inputs import MatrixCollection, MatrixSource
from eigensweep.engine.run.memory import GIB, default_budget
from eigensweep.engine.run.stream import batches
from eigensweep.engine.spectral.svd.auto import working_bytes
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.groups import Group

LEFT_OUT = ("name", "shape", "dtype", "reason")


@dataclass(frozen=True)
class Plan:
    """What a sweep will do.

    Attributes:
      matrices: the matrices to sweep, in model order.
      left_out: the `LEFT_OUT` of every tensor of the checkpoint that is not swept.
    """

    matrices: tuple[MatrixSource, ...]
    left_out: tuple[tuple[str, tuple[int, ...], str, str], ...]


def make_plan(checkpoint: MatrixCollection, options: SweepOptions) -> Plan:
    """Choose what `options` asks for from `checkpoint`; everything else is listed with its reason.

    Raises:
      RunError: a role or block that the checkpoint has not, or nothing remains; names what there is.
    """
    _refuse_unknown(checkpoint, options)
    chosen, left_out = [], [(t.name, tuple(t.shape), str(t.dtype), t.reason) for t in checkpoint.skipped]
    for matrix in checkpoint.matrices:
        reason = _why_not(matrix, options)
        if reason is None:
            chosen.append(matrix)
        else:
            left_out.append((matrix.name, tuple(matrix.shape), matrix.dtype, reason))
    if not chosen:
        raise RunError(
            f"nothing to sweep in {checkpoint.identity.get('source')}: it has {len(checkpoint.matrices)} matrices "
            f"({_what_there_is(checkpoint)}), none of which is asked for by "
            f"roles={list(options.roles)}, blocks={list(options.blocks)}, min_dim={options.min_dim}"
        )
    return Plan(tuple(chosen), tuple(left_out))


def _refuse_unknown(checkpoint: MatrixCollection, options: SweepOptions) -> None:
    for key, attribute in (("roles", "role"), ("blocks", "block")):
        there = {getattr(matrix, attribute) for matrix in checkpoint.matrices}
        if unknown := [str(wanted) for wanted in getattr(options, key) if wanted not in there]:
            raise RunError(
                f"{key}: {', '.join(unknown)} not in {checkpoint.identity.get('source')}, which has "
                f"{_what_there_is(checkpoint)}"
            )


def _what_there_is(checkpoint: MatrixCollection) -> str:
    roles = sorted({m.role for m in checkpoint.matrices})
    blocks = sorted({m.block for m in checkpoint.matrices if m.block is not None})
    span = f"{blocks[0]} to {blocks[-1]}" if blocks else "none"
    return f"roles {', '.join(roles) or 'none'}; blocks {span}"


def _why_not(matrix: MatrixSource, options: SweepOptions) -> str | None:
    if options.roles and matrix.role not in options.roles:
        return f"role {matrix.role} is not among the roles asked for"
    if options.blocks and matrix.block not in options.blocks:
        return f"block {matrix.block} is not among the blocks asked for"
    if 0 < min(matrix.shape) < options.min_dim:
        return f"smaller side {min(matrix.shape)} is below min_dim = {options.min_dim}"
    return None


def describe_plan(plan: Plan, memory_bytes: int | None = None) -> str:
    """The plan as text: matrices by role and shape, expected memory, and every tensor left out with its reason."""
    budget = memory_bytes or default_budget()
    lines = [f"{len(plan.matrices)} matrices to sweep", "", _row("matrix", "role", "block", "shape", "dtype")]
    for matrix in plan.matrices:
        group = Group(matrix.role, getattr(matrix, "tower", ""), getattr(matrix, "guessed", False))
        block = "-" if matrix.block is None else str(matrix.block)
        tied = getattr(matrix, "tied", ())
        note = f"  tied with {', '.join(tied)}: analysed once" if tied else ""
        lines.append(_row(matrix.name, group.label, block, _x(matrix.shape), matrix.dtype) + note)
    planned = batches(plan.matrices, budget)
    lines += ["", f"{len(planned)} batches within {budget / GIB:.2f} GiB:"]
    for batch in planned:
        count = len(batch.sources)
        lines.append(f"  {count:4d} x {_x(batch.shape):>15}  {count * working_bytes(batch.shape) / GIB:8.3f} GiB")
    lines += ["", f"{len(plan.left_out)} tensors left out" + (":" if plan.left_out else "")]
    lines += [f"  {name}  {_x(shape) or 'scalar'} {dtype}: {reason}" for name, shape, dtype, reason in plan.left_out]
    return "\n".join(lines)


def _row(name: str, role: str, block: str, shape: str, dtype: str) -> str:
    return f"{name:<60} {role:<28} {block:>5} {shape:>15} {dtype:<9}"


def _x(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))
