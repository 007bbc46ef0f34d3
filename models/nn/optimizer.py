"""AdamW (Loshchilov and Hutter 2019), its rate over a linear warm-up and decay, and what weight decay alone does."""

import jax
import numpy as np
import optax

from eigensweep.models.nn.parameters import Params, map_with_path
from eigensweep.models.nn.recipe import TrainOptions


def optimizer(options: TrainOptions, total: int) -> optax.GradientTransformation:
    """Clipping, AdamW, and the rate: 0 -> peak over the warm-up, then -> 0 at step `total`."""

    def decays(params: Params) -> Params:
        return map_with_path(lambda path, _: path.split("/")[-1] not in ("bias", "scale"), params)

    adamw = optax.adamw(rate(options, total), weight_decay=options.weight_decay, mask=decays)
    return optax.chain(optax.clip_by_global_norm(options.clip), adamw)


def decay_alone(options: TrainOptions, total: int, step: int) -> float:
    """What `step` steps of weight decay without any gradient leave of a kernel or table W: the factor c of c W.

    c = prod over t < step of (1 - rate_t weight_decay): AdamW's decay is apart from the gradient's step.
    """
    rates = np.asarray(jax.vmap(rate(options, total))(np.arange(step)), np.float64)
    return float(np.prod(1.0 - rates * options.weight_decay))


def rate(options: TrainOptions, total: int) -> optax.Schedule:
    """The learning rate by the number of steps done."""
    rising = max(1, round(options.warmup * total))
    up = optax.schedules.linear_schedule(0.0, options.learning_rate, rising)
    down = optax.schedules.linear_schedule(options.learning_rate, 0.0, max(1, total - rising))
    return optax.schedules.join_schedules([lambda step: up(step + 1), down], [rising])
