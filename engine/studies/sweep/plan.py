"""Which matrices are swept, in which batches, and what memory that takes."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eigensweep.engine.report.style import aligned, duration, near
from eigensweep.engine.run.inputs import MatrixCollection, MatrixSource
from eigensweep.engine.run.memory import GIB, default_budget
from eigensweep.engine.run.stream import batches
from eigensweep.engine.spectral.svd.auto import working_bytes
from eigensweep.engine.studies.sweep.cost import CostModel, cost_model
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.groups import Group
from eigensweep.models.roles import guess_role

MOST_NAMED = 5  # tensors that a dry run names of those left out for one reason


@dataclass(frozen=True)
class Plan:
    """What a sweep will do.

    Attributes:
      matrices: the matrices to sweep, in model order.
      left_out: the `LEFT_OUT` of every tensor of the checkpoint that is not swept.
    """

    matrices: tuple[MatrixSource, ...]
    left_out: tuple[tuple[str, tuple[int, ...], str, str], ...]


@dataclass(frozen=True)
class Estimate:
    """The seconds of a whole sweep, and the cost model that they come from."""

    seconds: float
    model: CostModel


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
    if "grid" in options.controls:
        _refuse_unknown_grids(chosen)
    return Plan(tuple(chosen), tuple(left_out))


def _refuse_unknown(checkpoint: MatrixCollection, options: SweepOptions) -> None:
    for key, attribute in (("roles", "role"), ("blocks", "block")):
        there = {getattr(matrix, attribute) for matrix in checkpoint.matrices}
        if unknown := [str(wanted) for wanted in getattr(options, key) if wanted not in there]:
            raise RunError(
                f"{key}: {', '.join(unknown)} not in {checkpoint.identity.get('source')}{_meant(unknown[0], there)}; "
                f"it has {_what_there_is(checkpoint)}"
            )


def _refuse_unknown_grids(matrices: list[MatrixSource]) -> None:
    """RunError where the control `grid` would be no control: nothing is quantised, or its grid is not known."""
    unknown = [m for m in matrices if getattr(m, "quantised", "") and not getattr(m, "grid", None)]
    if unknown:
        kinds = ", ".join(dict.fromkeys(str(getattr(m, "quantised", "")) for m in unknown))
        raise RunError(
            f"control=grid: the grid of {len(unknown)} matrices is not known ({kinds}): its levels are not equally far "
            f"apart in a block, or the checkpoint was converted; the first is {unknown[0].name}"
        )
    if not any(getattr(m, "grid", None) for m in matrices):
        raise RunError("control=grid: none of the matrices to sweep is quantised; control=gaussian is the same")


def _meant(unknown: str, there: set[Any]) -> str:
    """What an unknown role was meant to be: a tensor's name for it (q_proj), or a slip."""
    role, _, _ = guess_role(f"{unknown}.weight")
    return f" (did you mean {role}?)" if role in there and role != "other" else near(unknown, map(str, there))


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


def describe_plan(plan: Plan, memory_bytes: int | None = None, expected: Estimate | None = None) -> str:
    """The plan as text: a row a role and shape, the memory and time expected, what is left out and why.

    Args:
      plan: of a sweep.
      memory_bytes: budget of one batch; from the devices' free memory when None.
      expected: what `estimate` said of the time.
    """
    budget = memory_bytes or default_budget()
    groups: dict[tuple[str, ...], list[MatrixSource]] = {}
    for matrix in plan.matrices:
        group = Group(
            matrix.role, getattr(matrix, "tower", ""), getattr(matrix, "guessed", False), matrix.expert is not None
        )
        quantised = getattr(matrix, "quantised", "")
        dtype = f"{matrix.dtype} (of {quantised})" if quantised else matrix.dtype
        groups.setdefault((group.label, _x(matrix.shape), dtype), []).append(matrix)
    rows = [[role, _blocks(found), str(len(found)), shape, dtype] for (role, shape, dtype), found in groups.items()]
    lines = [f"{len(plan.matrices)} matrices to sweep", ""]
    lines += [aligned([["role", "blocks", "matrices", "shape", "dtype"], *rows], left=2)]
    if tied := [(m.name, names) for m in plan.matrices if (names := getattr(m, "tied", ()))]:
        lines += [
            "",
            *(f"{name} serves as {', '.join(names)}, too: analysed once" for name, names in tied[:MOST_NAMED]),
        ]
    planned = batches(plan.matrices, budget)
    largest = max(len(batch.sources) * working_bytes(batch.shape) for batch in planned)
    lines += ["", f"{len(planned)} batches within {budget / GIB:.2f} GiB, the largest takes {largest / GIB:.2f} GiB"]
    if expected is not None:
        lines += [
            f"about {duration(expected.seconds)} on this machine once programs are compiled, by trials on small "
            "matrices",
            *textwrap.wrap(f"cost model: {expected.model}", 100, subsequent_indent="  "),
        ]
    return "\n".join([*lines, "", *_left_out(plan)])


def estimate(plan: Plan, options: SweepOptions, memory_bytes: int | None = None) -> Estimate:
    """What a sweep will take once its programs are compiled, by trials on this machine; see `cost.cost_model`."""
    model = cost_model(plan.matrices, options, memory_bytes)
    return Estimate(model.total(plan.matrices, options), model)


def _left_out(plan: Plan) -> list[str]:
    """What is left out by reason, with the first names of each."""
    reasons: dict[str, list[str]] = {}
    for name, shape, dtype, reason in plan.left_out:
        reasons.setdefault(reason, []).append(f"{name} ({_x(shape) or 'scalar'} {dtype})")
    lines = [f"{len(plan.left_out)} tensors left out" + (" (the manifest names all):" if reasons else "")]
    for reason, names in reasons.items():
        more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        lines += textwrap.wrap(
            f"{len(names)}: {reason}: {', '.join(names[:MOST_NAMED])}{more}", 100, initial_indent="  ",
            subsequent_indent="    ", break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    return lines


def _blocks(matrices: list[MatrixSource]) -> str:
    blocks = sorted({m.block for m in matrices if m.block is not None})
    if not blocks:
        return "-"
    return str(blocks[0]) if len(blocks) == 1 else f"{blocks[0]} to {blocks[-1]}"


def _x(shape: Iterable[int]) -> str:
    return " x ".join(map(str, shape))
