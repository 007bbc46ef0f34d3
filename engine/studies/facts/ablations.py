"""What the loss becomes without dimensions of the residual stream: outliers, and as many random ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from eigensweep.engine.spectral.bootstrap import paired_interval
from eigensweep.engine.studies.facts.gradients import positions
from eigensweep.models import nn

BASELINE = "baseline"
NUM_SETS = 3  # random sets that stand beside all outliers together
Evaluate = Callable[[nn.Intervention], nn.Scores]


@dataclass(frozen=True)
class Ablation:
    """Dimensions that are taken away together."""

    name: str
    kind: str
    dims: tuple[int, ...] = ()


def ablations(outliers: Sequence[int], d: int, number: int, seed: int) -> list[Ablation]:
    """The baseline, the first `number` outliers one by one and together, and as many others, drawn by the seed.

    Args:
      outliers: dimensions, the most extreme first; none of them is drawn.
      d: width of the stream.
    """
    chosen, rng = list(outliers[:number]), np.random.default_rng(seed)
    others = np.setdiff1d(np.arange(d), outliers)
    count = min(len(chosen), len(others))
    drawn = sorted(rng.choice(others, count, replace=False).tolist())
    result = [Ablation(BASELINE, BASELINE)]
    result += [Ablation(f"dim:{dim}", "outlier", (dim,)) for dim in chosen]
    result += [Ablation(f"random:{dim}", "random", (dim,)) for dim in drawn]
    if len(chosen) > 1:
        number = NUM_SETS if count == len(chosen) else 0
        sets = [sorted(rng.choice(others, count, replace=False).tolist()) for _ in range(number)]
        result.append(Ablation("outliers", "outliers", tuple(sorted(chosen))))
        result += [Ablation(f"random_set:{i}", "random_set", tuple(dims)) for i, dims in enumerate(sets)]
    return result


def intervention(model: nn.Model, dims: Sequence[int], means: Mapping[str, np.ndarray] | None) -> nn.Intervention:
    """Sets dimensions of the stream to 0 wherever it is read; to their means at each tap where these are given."""
    arch, taps = model.architecture, positions(model)
    mask = np.ones((len(taps), arch.width), np.float32)
    mask[:, list(dims)] = 0
    if means is None:
        return nn.Intervention(jnp.asarray(mask))
    nothing = np.zeros(arch.width)
    offset = np.stack([means.get(tap, nothing) for tap in taps])  # parallel blocks have no middle
    return nn.Intervention(jnp.asarray(mask), offset=jnp.asarray(np.where(mask == 0, offset, 0), jnp.float32))


def ablation_row(
    wanted: Ablation,
    model: nn.Model,
    evaluate: Evaluate,
    baseline: Mapping[str, Any] | None,
    means: Mapping[str, np.ndarray] | None,
    seed: int,
    num_resamples: int,
) -> dict[str, Any]:
    """A row of `dimension_ablations`; `baseline` is its row, None for itself."""
    scores = evaluate(intervention(model, wanted.dims, means))
    before = scores.loss if baseline is None else np.asarray(baseline["row_loss"])
    with np.errstate(invalid="ignore"):  # of infinite losses
        difference = scores.loss - before
    change, low, high = paired_interval(difference, scores.weight, seed, num_resamples)
    return {
        **{"name": wanted.name, "kind": wanted.kind, "dims": list(wanted.dims), "loss": scores.mean},
        **{"change": change, "change_low": low, "change_high": high},
        **{"row_loss": scores.loss, "row_weight": scores.weight},
    }
