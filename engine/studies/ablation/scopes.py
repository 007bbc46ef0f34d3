"""What a removal is done to: the matrices behind the words for them."""

from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from eigensweep.engine.spectral import removal
from eigensweep.engine.spectral.removal import Removal
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.groups import Group

Scopes = dict[str, tuple[Any, ...]]


def resolve_scopes(matrices: Iterable[Any], scopes: Sequence[str]) -> Scopes:
    """The matrices of every scope, in the order given. Vectors (1 x n) are left out.

    Args:
      matrices: with name, role, block and shape, and the tower where there are several.
      scopes: a role (all its matrices; those of one tower as "encoder query"), a matrix's name, "roles" (each role in
        the blocks by itself, tower by tower), "matrices" (each matrix in the blocks by itself), "blocks" (all of them
        together), "all".

    Raises:
      RunError: a scope without matrices; names the roles that there are.
    """
    usable = [m for m in matrices if min(m.shape) > 1]
    in_blocks = [m for m in usable if m.block is not None]
    groups = {
        "roles": {role: [m for m in in_blocks if _label(m) == role] for role in _roles(in_blocks)},
        "matrices": {m.name: [m] for m in in_blocks},
        "blocks": {"blocks": in_blocks},
        "all": {"all": usable},
    }
    result: dict[str, list[Any]] = {}
    for scope in scopes:
        result |= groups.get(scope) or {scope: [m for m in usable if scope in (m.role, _label(m), m.name)]}
    empty = [scope for scope, found in result.items() if not found]
    if empty:
        raise RunError(
            f"scope {', '.join(empty)}: no matrix; there are the roles {', '.join(_roles(usable))}, every matrix's "
            "own name, and the words roles, matrices, blocks, all"
        )
    return {scope: tuple(found) for scope, found in result.items()}


def check_bands(scopes: Scopes, removals: Sequence[Removal]) -> None:
    """Refuse bands that reach beyond the singular values of a matrix, before anything is computed.

    Raises:
      RunError: naming the matrix.
    """
    bands = {other for taken in removals if (other := taken.controlled or taken).kind == "band"}
    for source in (s for sources in scopes.values() for s in sources):
        for taken in bands:
            s, key = np.zeros(min(source.shape)), jax.random.key(0)
            try:
                removal.indices(taken, s, source.shape, sigma=0.0, eps=0.0, level=0.01, key=key)
            except ValueError as error:
                raise RunError(f"{source.name}: {error}") from error


def _roles(matrices: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(map(_label, matrices)))


def _label(matrix: Any) -> str:
    return Group(matrix.role, getattr(matrix, "tower", "")).label
