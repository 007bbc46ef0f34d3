"""The training steps of checkpoints, read from their names."""

import re
from collections.abc import Sequence

from eigensweep.engine.tables.errors import RunError
from eigensweep.models.errors import shown

_STEP = re.compile(
    r"(?:^|[^a-z])(?:global_?)?(?:steps?|checkpoint|ckpt|iter|iteration)[-_=.]?(\d{1,15})(k|m)?(?![a-z0-9])", re.I
)
_NUMBER = re.compile(r"\d{1,15}(?!\d)")
_TIMES = {"": 1, "k": 1000, "m": 1000_000}


def steps_of(sources: Sequence[str], given: Sequence[int] = ()) -> list[int]:
    """The step of every checkpoint.

    It is the number behind `step`, `checkpoint`, `ckpt` or `iter` in the revision (behind the @) or in the last part of
    the path (`step-00500`, `checkpoint_500`, `step5k`, `stage1-step1000-tokens4B`); where not all names have such a
    word, the one number in which the names differ.

    Args:
      sources: paths and hub ids.
      given: steps that the user says himself, one a checkpoint; then nothing is read from names.

    Raises:
      RunError: no step can be read from a name, two checkpoints have the same, or `given` has another length.
    """
    if given and len(given) != len(sources):
        raise RunError(f"--steps has {len(given)} numbers, and there are {len(sources)} checkpoints")
    steps = list(given) or _read(sources)
    first: dict[int, str] = {}
    for step, source in zip(steps, sources, strict=True):
        if (other := first.setdefault(step, source)) != source:
            raise RunError(f"{shown(other)} and {shown(source)} are both step {step}: a series has every step once")
    return steps


def _read(sources: Sequence[str]) -> list[int]:
    last = [source.rstrip("/").rpartition("@")[2].rpartition("/")[2] for source in sources]
    found = [_STEP.search(text) for text in last]
    named = [int(match[1]) * _TIMES[(match[2] or "").lower()] for match in found if match]
    if len(named) == len(last):
        return named
    numbers = [list(map(int, _NUMBER.findall(text))) for text in last]
    if len({_NUMBER.sub("#", text) for text in last}) == 1 and numbers[0]:
        differing = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
        if len(differing) == 1 or (len(last) == 1 and len(numbers[0]) == 1):
            return list(differing[0]) if differing else numbers[0]
    nameless = next((source for source, match in zip(sources, found, strict=True) if not match), sources[0])
    raise RunError(
        f"no training step can be read from {shown(nameless)}: expected names such as step-500, checkpoint-500 or "
        "owner/name@step500; or say them, one a checkpoint: --steps=0,500,1000"
    )
