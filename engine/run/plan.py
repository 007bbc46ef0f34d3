"""Which matrices are swept, in which batches, and what memory that takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp

from eigensweep.engine.run.errors import RunError
from eigensweep.engine.run.inputs import MatrixCollection, MatrixSource
from eigensweep.engine.run.memory import GIB, is_streamed, working_bytes
from eigensweep.engine.run.options import SweepOptions

HOST_BYTES = GIB


@dataclass(frozen=True)
class Batch:
    """Matrices of one shape and dtype that are decomposed together; `indices` are their places in the plan."""

    shape: tuple[int, int]
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What a sweep will do.

    Attributes:
      matrices: the matrices to sweep, in model order.
      left_out: (name, shape, dtype, reason) of every tensor of the checkpoint that is not swept.
    """

    matrices: tuple[MatrixSource, ...]
    left_out: tuple[tuple[str, tuple[int, ...], str, str], ...]

    def batches(self, memory_bytes: int, *, only: Sequence[int] | None = None) -> list[Batch]:
        """Buckets by shape and dtype, cut so that a batch's working memory stays within `memory_bytes`.

        As stored, a batch stays within `HOST_BYTES`: the host holds it, the next one, and a copy.

        A matrix that alone exceeds the budget is a batch of one: it is never left out.

        Args:
          memory_bytes: budget for one batch.
          only: places in the plan still to do (all when None).
        """
        buckets: dict[tuple[tuple[int, int], str], list[int]] = {}
        for index in range(len(self.matrices)) if only is None else only:
            matrix = self.matrices[index]
            buckets.setdefault((matrix.shape, matrix.dtype), []).append(index)
        result = []
        for (shape, dtype), indices in buckets.items():
            stored = math.prod(shape) * jnp.dtype(dtype).itemsize
            fitting = min(memory_bytes // max(1, working_bytes(shape)), HOST_BYTES // max(1, stored))
            size = 1 if is_streamed(shape) else max(1, min(len(indices), fitting))
            count = math.ceil(len(indices) / size)
            size = math.ceil(len(indices) / count)  # even batches: fewer distinct shapes to compile
            result += [Batch(shape, tuple(indices[i : i + size])) for i in range(0, len(indices), size)]
        return result


def make_plan(checkpoint: MatrixCollection, options: SweepOptions) -> Plan:
    """Choose what `options` asks for from `checkpoint`; everything else is listed with its reason.

    Raises:
      RunError: if nothing remains, naming what the checkpoint has.
    """
    chosen, left_out = [], [(t.name, tuple(t.shape), str(t.dtype), t.reason) for t in checkpoint.skipped]
    for matrix in checkpoint.matrices:
        reason = _why_not(matrix, options)
        if reason is None:
            chosen.append(matrix)
        else:
            left_out.append((matrix.name, tuple(matrix.shape), matrix.dtype, reason))
    if not chosen:
        roles = sorted({m.role for m in checkpoint.matrices})
        blocks = sorted({m.block for m in checkpoint.matrices if m.block is not None})
        raise RunError(
            f"nothing to sweep in {checkpoint.identity.get('source')}: it has {len(checkpoint.matrices)} matrices "
            f"(roles {', '.join(roles) or 'none'}; blocks {_span(blocks)}), none of which is asked for by "
            f"roles={list(options.roles)}, blocks={list(options.blocks)}, min_dim={options.min_dim}"
        )
    return Plan(tuple(chosen), tuple(left_out))


def _why_not(matrix: MatrixSource, options: SweepOptions) -> str | None:
    if options.roles and matrix.role not in options.roles:
        return f"role {matrix.role} is not among the roles asked for"
    if options.blocks and matrix.block not in options.blocks:
        return f"block {matrix.block} is not among the blocks asked for"
    if 0 < min(matrix.shape) < options.min_dim:
        return f"smaller side {min(matrix.shape)} is below min_dim = {options.min_dim}"
    return None


def _span(blocks: list[int]) -> str:
    return f"{blocks[0]} to {blocks[-1]}" if blocks else "none"


def describe_plan(plan: Plan, memory_bytes: int | None = None) -> str:
    """The plan as text: matrices by role and shape, expected memory, and every tensor left out with its reason."""
    from eigensweep.engine.run.memory import default_budget

    budget = memory_bytes or default_budget()
    lines = [f"{len(plan.matrices)} matrices to sweep", "", _row("matrix", "role", "block", "shape", "dtype")]
    for matrix in plan.matrices:
        guessed = " (guessed)" if getattr(matrix, "guessed", False) else ""
        block = "-" if matrix.block is None else str(matrix.block)
        tied = getattr(matrix, "tied", ())
        note = f"  tied with {', '.join(tied)}: analysed once" if tied else ""
        lines.append(_row(matrix.name, matrix.role + guessed, block, _x(matrix.shape), matrix.dtype) + note)
    batches = plan.batches(budget)
    lines += ["", f"{len(batches)} batches within {budget / GIB:.2f} GiB:"]
    lines += [
        f"  {len(b.indices):4d} x {_x(b.shape):>15}  {len(b.indices) * working_bytes(b.shape) / GIB:8.3f} GiB"
        for b in batches
    ]
    lines += ["", f"{len(plan.left_out)} tensors left out" + (":" if plan.left_out else "")]
    lines += [
        f"  {name}  {_x(shape) or 'scalar'} {dtype}: {reason}" for name, shape, dtype, reason in plan.left_out
    ]
    return "\n".join(lines)


def _row(name: str, role: str, block: str, shape: str, dtype: str) -> str:
    return f"{name:<60} {role:<20} {block:>5} {shape:>15} {dtype:<9}"


def _x(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
