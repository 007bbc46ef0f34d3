"""What a removal study would take: how many measurements in how many passes, memory, disk and time by parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np

from eigensweep.engine.report.style import aligned, duration
from eigensweep.engine.run import factors, memory
from eigensweep.engine.run.inputs import MatrixSource
from eigensweep.engine.run.memory import GIB
from eigensweep.engine.run.stream import batches
from eigensweep.engine.spectral import deciles, removal
from eigensweep.engine.spectral.removal import Removal
from eigensweep.engine.spectral.svd.auto import working_bytes
from eigensweep.engine.studies.ablation.options import AblationOptions
from eigensweep.engine.studies.ablation.passes import MOST_TOGETHER, TOGETHER_BYTES
from eigensweep.engine.studies.ablation.scopes import Scopes, check_bands, resolve_scopes
from eigensweep.engine.studies.ablation.trial import Trial
from eigensweep.engine.studies.data import rows_for
from eigensweep.engine.studies.edited_model import checked_mesh, head_of, param_dtype_of, rows_at_once
from eigensweep.engine.studies.stream_covariances import calibration_part
from eigensweep.models import Checkpoint, nn


@dataclass(frozen=True)
class Plan:
    """A study that is not begun.

    Attributes:
      num_rows, length: of the data.
      batch_size: rows that go through the model at a time.
      head: which of the model's predicts.
      program_bytes: what the program takes without any of it.
      num_others: removals from the stream, each a pass of its own.
    """

    checkpoint: Checkpoint
    options: AblationOptions
    scopes: Scopes
    removals: Sequence[Removal]
    model: nn.Model
    num_rows: int
    length: int
    batch_size: int
    head: str
    program_bytes: int
    num_others: int = 0

    @cached_property
    def param_dtype(self) -> str:
        """What parameters are cast to; "" for as they are stored."""
        return param_dtype_of(self.checkpoint, self.options.param_dtype)

    @cached_property
    def part_bytes(self) -> dict[str, int]:
        """Of the parameters of every part of the model, in its order."""
        parts = {}
        for part in nn.parts_of(self.model):
            keys = nn.part_keys(self.model, part)
            leaves = [leaf for leaf in self.checkpoint.leaves if leaf.path.startswith(keys)]
            parts[part] = sum(
                math.prod(leaf.shape) * jnp.dtype(self.param_dtype or leaf.dtype).itemsize for leaf in leaves
            )
        return parts

    @property
    def stream_bytes(self) -> int:
        """The residual stream of all rows."""
        return self.num_rows * self.length * self.model.architecture.width * jnp.dtype(self.options.dtype).itemsize

    def subtracted_bytes(self, taken: Removal, sources: Sequence[MatrixSource]) -> int:
        """L and R of a removal; outliers and what matches them are taken for a tenth of the values."""
        return sum(8 * _rank(taken, min(s.shape)) * sum(s.shape) for s in sources)

    @cached_property
    def passes(self) -> list[tuple[str, list[Removal]]]:
        """What goes through the model together, by scope."""
        result: list[tuple[str, list[Removal]]] = []
        for scope, sources in self.scopes.items():
            held, group = 0, list[Removal]()
            for taken in self.removals:
                size = self.stream_bytes + self.subtracted_bytes(taken, sources)
                if group and (held + size > TOGETHER_BYTES or len(group) == MOST_TOGETHER):
                    result.append((scope, group))
                    held, group = 0, []
                group = [*group, taken]
                held += size
            result.append((scope, group))
        return result

    def first_part(self, scope: str) -> int:
        """The number of the first part of the model that a scope changes."""
        paths = [source.path for source in self.scopes[scope]]
        keys = [nn.part_keys(self.model, part) for part in nn.parts_of(self.model)]
        return min(i for i, key in enumerate(keys) for path in paths if path.startswith(key))

    @cached_property
    def part_work(self) -> list[float]:
        """Multiplications and additions of every part for all rows."""
        arch, tokens = self.model.architecture, self.num_rows * self.length
        sizes = {path: math.prod(leaf.shape) for path, leaf in nn.walk(self.model.abstract())}
        work = []
        for part in nn.parts_of(self.model):
            keys = nn.part_keys(self.model, part)
            kernels = sum(size for path, size in sizes.items() if path.startswith(keys) and path.endswith("kernel"))
            if part == "head" and self.model.is_tied(self.head):
                kernels += arch.vocab_size * arch.width
            scores = 4.0 * self.length * arch.width if part.startswith("blocks/") else 0.0
            work.append(tokens * (2.0 * kernels + scores))
        return work

    @cached_property
    def work(self) -> float:
        """Of all measurements: what several share up to their first change is done once a pass."""
        total = sum(self.part_work) * (1 + self.num_others)  # the baseline, and what changes the stream
        for scope, group in self.passes:
            first = self.first_part(scope)
            total += sum(self.part_work[:first]) + len(group) * sum(self.part_work[first:])
        return total

    def memory(self, stream: bool) -> dict[str, int]:
        """Peak bytes by what they are needed for; on CPU the host's, else those of both."""
        parts, sources = self.part_bytes, [source for found in self.scopes.values() for source in found]
        model = {"the program": self.program_bytes} | ({} if stream else {"the model": sum(parts.values())})
        if stream:
            model["a part of the model, the next one, a copy on the device"] = 3 * max(parts.values())
        if not sources:
            return model | {"residual streams": 2 * self.stream_bytes, "activations": self.trial.activation_bytes}
        m, n = max((source.shape for source in sources), key=math.prod)
        stored = m * n * jnp.dtype(sources[0].dtype).itemsize
        subtracted = [
            [self.subtracted_bytes(taken, self.scopes[scope]) for taken in group] for scope, group in self.passes
        ]
        held = max(sum(sizes) for sizes in subtracted) + max(max(sizes) for sizes in subtracted)
        streams = (1 + max(len(group) for _, group in self.passes)) * self.stream_bytes
        measuring = {
            "what is subtracted": held,
            "one replaced matrix": 2 * 8 * m * n + 3 * stored,
            "residual streams": streams,
            "activations": self.trial.activation_bytes,
        }
        decomposing = max(len(b.sources) * working_bytes(b.shape) for b in batches(sources)) + 2 * stored
        if decomposing > sum(measuring.values()) + stream * 3 * max(parts.values()):
            program = {key: model[key] for key in ("the program", "the model") if key in model}
            return program | {"decomposing": decomposing}
        return model | measuring

    @property
    def disk(self) -> int:
        """Of the decompositions of the largest scope."""
        sizes = (sum(factors.stored_bytes(s.shape) for s in found) for found in self.scopes.values())
        return max(sizes, default=0)

    @cached_property
    def trial(self) -> Trial:
        """Of this model on this machine."""
        return Trial(self.checkpoint, self.model, self.head, self.batch_size, self.length, self.param_dtype)

    def seconds(self) -> dict[str, float]:
        """By what they are spent on."""
        trial, names = self.trial, {s.name: s for found in self.scopes.values() for s in found}
        found = {
            "decomposing": sum(trial.decomposing(s.shape) for s in names.values()),
            "replacing": sum(
                trial.replacing(s.shape, _rank(taken, min(s.shape)), taken.kind)
                for sources in self.scopes.values()
                for s in sources
                for taken in self.removals
            ),
            "the model": self.work * trial.seconds_of_work,
        }
        if self.options.stream:
            found["reading it"] = (
                (1 + len(self.passes) + self.num_others) * sum(self.part_bytes.values()) * trial.seconds_of_byte
            )
        return found


def make_plan(checkpoint: Checkpoint, options: AblationOptions) -> Plan:
    """What the options ask for; reads the data and no weight.

    Raises:
      RunError, CheckpointError, DataError: as of `study.run_ablation`.
    """
    removals, of_stream = options.expanded()
    scopes = resolve_scopes(checkpoint.matrices, options.scopes) if removals else {}
    check_bands(scopes, removals)
    checked_mesh(options)
    model = nn.model_of(checkpoint, options.dtype)
    if of_stream:
        calibration_part(options)
        nn.stream_norms(model.architecture)
    head = head_of(model, options.measure, checkpoint.source.name)
    if options.format == "sampled":
        num_rows, length = options.max_rows, options.length or min(model.architecture.max_positions, 2048)
    else:
        num_rows, length = rows_for(checkpoint, model, None, options, options.seed, head, "evenly").input_ids.shape
    batch_size = min(num_rows, rows_at_once(model, length, options.batch_size, options.devices))
    there = memory.resident_bytes()
    return Plan(checkpoint, options, scopes, removals, model, num_rows, length, batch_size, head, there, len(of_stream))


def describe_plan(plan: Plan) -> str:
    """The plan as text."""
    names = {source.name for found in plan.scopes.values() for source in found}
    scopes, removals, stream = len(plan.scopes), len(plan.removals), plan.options.stream
    measured, passes = (number + plan.num_others for number in (scopes * removals, len(plan.passes)))
    there, seconds = plan.memory(stream), plan.seconds()
    other = sum(plan.memory(not stream).values()) / GIB
    can = stream or (plan.options.devices == 1 and plan.options.format != "sampled")
    otherwise = f"; with --config.stream={not stream} {other:.2f} GiB" if can else ""
    return "\n".join([
        f"{_several(len(names), 'matrix', 'matrices')} in {_several(scopes, 'scope')}, "
        f"{_several(removals, 'removal')} each: {_several(measured, 'measurement')} in "
        f"{_several(passes, 'pass', 'passes')}",
        f"{_several(plan.num_rows, 'row')} of {plan.length} tokens, {plan.batch_size} at a time",
        "",
        f"memory: about {sum(there.values()) / GIB:.2f} GiB{otherwise}",
        aligned([[f"  {what}", f"{size / GIB:.2f} GiB"] for what, size in there.items()]),
        f"disk: {plan.disk / GIB:.2f} GiB, the decompositions of the largest scope",
        "",
        f"time: about {duration(sum(seconds.values()))} on this machine, by a trial",
        aligned([[f"  {what}", duration(spent)] for what, spent in seconds.items()]),
    ])  # fmt: skip


def _several(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _rank(taken: Removal, b: int) -> int:
    """How many values or directions go."""
    if taken.kind == "band":
        import jax

        return removal.indices(taken, np.zeros(b), (b, b), 0.0, 0.0, 0.01, jax.random.key(0)).size
    return deciles.decile(int(taken.which) if taken.kind == "decile" else 1, b).size
