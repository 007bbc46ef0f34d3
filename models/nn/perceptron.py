"""A plain multilayer perceptron (Flax NNX) and its training by stochastic gradient descent (optax): lazy or not.

The network has linear layers 1 to L with biases, ReLU between them. It is trained on

    loss = mean CE(softmax(alpha z), y) / alpha^2,        z the logits.

A large alpha makes a small change of the weights enough to fit the data (lazy training: the network stays close to its
linearisation about the initial weights); with alpha = 1 it must find features.

Every random number belongs to a key: that of layer k's weights to (key, 0, k), the order of the rows in epoch e to
(key, 1, e). So a network is the same whichever others are trained beside it.

References: L. Chizat, E. Oyallon, F. Bach, On Lazy Training in Differentiable Programming, 2019; M. Geiger, S. Spigler,
A. Jacot, M. Wyart, Disentangling Feature and Lazy Training in Deep Neural Networks, 2020.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from eigensweep.models.data.images import Images
from eigensweep.models.errors import InputError
from eigensweep.models.nn.parameters import Params

INITS = ("gaussian", "uniform", "sparse")
EXPLODED = 1e4  # times the first loss (or 1 nat, if that is less): no training comes back from there
_ROWS = 2000  # evaluated at a time


class Perceptron(nnx.Module):
    """Layers of these widths, the first the inputs', the last the classes'."""

    def __init__(self, widths: Sequence[int], rngs: nnx.Rngs):
        self.depth = len(widths) - 1
        for k in range(1, len(widths)):
            setattr(self, f"layer_{k}", nnx.Linear(widths[k - 1], widths[k], rngs=rngs))

    def __call__(self, x: Array) -> Array:
        for k in range(1, self.depth):
            x = nnx.relu(getattr(self, f"layer_{k}")(x))
        return getattr(self, f"layer_{self.depth}")(x)


class Rows(NamedTuple):
    """Pictures and labels on the device, and what makes inputs of bytes: (x - mean) / sd."""

    x: Array
    y: Array
    mean: Array
    sd: Array


@dataclass(frozen=True)
class Recipe:
    """What determines a training besides the network's first weights, the rows and the key.

    Attributes:
      alpha: the factor of the logits.
      frozen: so many first layers stay as they are.
      steps: of the optimizer.
    """

    alpha: float
    frozen: int
    batch_size: int
    steps: int
    learning_rate: float
    momentum: float = 0.0


class DivergedError(InputError):
    """After `step` steps the loss is not finite, or EXPLODED times the first; `params` are those of the step before."""

    def __init__(self, step: int, loss: float, params: Params):
        super().__init__(f"the training diverges: the loss is {loss:.3g} after step {step}")
        self.step, self.loss, self.params = step, loss, params


def initial(widths: Sequence[int], init: str, gain: float, density: float, key: Array) -> Params:
    """First parameters, float32: kernels (in, out) with independent entries of mean square gain/in, biases 0.

    Args:
      init: "gaussian"; "uniform" over an interval about 0; "sparse", 0 but for a share `density` of Gaussian entries.
    """
    weights = jax.random.fold_in(key, 0)
    params = {}
    for k in range(1, len(widths)):
        shape = widths[k - 1], widths[k]
        values, places = jax.random.split(jax.random.fold_in(weights, k))
        if init == "uniform":
            w = math.sqrt(3) * jax.random.uniform(values, shape, jnp.float32, -1.0, 1.0)
        else:
            w = jax.random.normal(values, shape, jnp.float32)
        if init == "sparse":
            w = w * (jax.random.uniform(places, shape, jnp.float32) < density) / math.sqrt(density)
        params[f"layer_{k}"] = {"kernel": w * math.sqrt(gain / shape[0]), "bias": jnp.zeros(shape[1], jnp.float32)}
    return params


def rows_of(images: Images) -> tuple[Rows, Rows]:
    """The rows to learn from and to test with: pixels less the mean and over the one sd of the first."""
    total, square = np.zeros(images.train_x.shape[1]), 0.0
    for i in range(0, len(images.train_x), _ROWS):
        x = images.train_x[i : i + _ROWS].astype(np.float64)
        total, square = total + x.sum(axis=0), square + float(np.sum(x * x))
    mean = total / len(images.train_x)
    variance = square / images.train_x.size - float(np.mean(mean**2))
    scale = jnp.asarray(mean, jnp.float32), jnp.float32(math.sqrt(variance) or 1.0)
    train = Rows(jnp.asarray(images.train_x), jnp.asarray(images.train_y, jnp.int32), *scale)
    return train, Rows(jnp.asarray(images.test_x), jnp.asarray(images.test_y, jnp.int32), *scale)


def logits(params: Params, x: Array) -> Array:
    """(B, in) -> (B, classes), not multiplied by alpha."""
    widths = tuple(params[f"layer_{k}"]["kernel"].shape[0] for k in range(1, len(params) + 1))
    classes = params[f"layer_{len(params)}"]["kernel"].shape[1]
    with jax.default_matmul_precision("highest"):
        return nnx.merge(_definition((*widths, classes)), params)(x)


def evaluate(params: Params, rows: Rows, alpha: float) -> tuple[float, float]:
    """Mean cross-entropy of softmax(alpha z) in nats, not divided by alpha^2, and the share of rows that are right."""
    parts = [
        _scores(params, rows._replace(x=rows.x[i : i + _ROWS], y=rows.y[i : i + _ROWS]), jnp.float32(alpha))
        for i in range(0, len(rows.y), _ROWS)
    ]
    loss, right = np.sum([[float(x) for x in part] for part in parts], axis=0) / len(rows.y)
    return float(loss), float(right)


def train(
    params: Params,
    rows: Rows,
    test: Rows,
    recipe: Recipe,
    key: Array,
    on_look: Callable[[int, int], None] | None = None,
) -> tuple[Params, list[dict[str, float]]]:
    """The trained parameters, and a look at the test rows after every epoch.

    The rows of an epoch come in a new order; what does not fill a batch is left for another epoch.

    Args:
      on_look: called with the steps done and those to do.

    Returns:
      Parameters; per look step, train_loss (mean over the steps since the last look), test_loss, test_accuracy.

    Raises:
      DivergedError: at the first step after which the loss is not finite or has exploded.
    """
    history: list[dict[str, float]] = []
    found, step, most = params, 0, math.inf
    for found, losses in _epochs(params, rows, recipe, key):
        most = min(most, EXPLODED * max(1.0, float(losses[0])))
        loss, accuracy = evaluate(found, test, recipe.alpha)
        steady = np.isfinite([*losses, loss]) & ([*losses, loss] <= np.float64(most))
        if not steady.all():
            first = int(np.argmin(steady))
            raise _diverged(step + first, [*losses, loss][first], params, rows, recipe, key)
        step += len(losses)
        means = {"train_loss": float(np.mean(losses)), "test_loss": loss, "test_accuracy": accuracy}
        history.append({"step": step, **means})
        if on_look:
            on_look(step, recipe.steps)
    return found, history


def _epochs(params: Params, rows: Rows, recipe: Recipe, key: Array) -> Iterator[tuple[Params, np.ndarray]]:
    """The parameters after every epoch, and the losses before each of its steps."""
    per_epoch = len(rows.y) // recipe.batch_size
    momentum = recipe.momentum or None
    trained, frozen = _split(params, recipe.frozen)
    rates = jnp.float32(recipe.alpha), jnp.float32(recipe.learning_rate)
    state = trained, optax.sgd(rates[1], momentum).init(trained)
    for epoch, first in enumerate(range(0, recipe.steps, per_epoch)):
        order = jax.random.permutation(jax.random.fold_in(jax.random.fold_in(key, 1), epoch), len(rows.y))
        batches = order[: per_epoch * recipe.batch_size].reshape(per_epoch, -1)[: recipe.steps - first]
        state, losses = _epoch(state, frozen, rows, batches, *rates, momentum=momentum)
        yield {**frozen, **state[0]}, np.asarray(losses)


@partial(jax.jit, static_argnames="momentum")
def _epoch(
    state: Any, frozen: Params, rows: Rows, batches: Array, alpha: Array, rate: Array, momentum: float | None
) -> tuple[Any, Array]:
    """One step a row of `batches`; the losses (S,) are before each step, not divided by alpha^2."""
    optimizer = optax.sgd(rate, momentum)

    def loss(trained: Params, batch: Rows) -> tuple[Array, Array]:
        total = _losses({**frozen, **trained}, batch, alpha)[0].mean()
        return total / alpha**2, total

    def step(state: Any, chosen: Array) -> tuple[Any, Array]:
        trained, moments = state
        (_, total), gradient = jax.value_and_grad(loss, has_aux=True)(
            trained, rows._replace(x=rows.x[chosen], y=rows.y[chosen])
        )
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(trained, updates), moments), total

    return jax.lax.scan(step, state, batches)


def _diverged(step: int, loss: float, params: Params, rows: Rows, recipe: Recipe, key: Array) -> DivergedError:
    """The parameters of the step before are those of a training that ends there."""
    states = (found for found, _ in _epochs(params, rows, replace(recipe, steps=step - 1), key))
    return DivergedError(step, loss, deque(chain([params], states), maxlen=1).pop())


def _split(params: Params, frozen: int) -> tuple[Params, Params]:
    names = [f"layer_{k}" for k in range(1, len(params) + 1)]
    return {name: params[name] for name in names[frozen:]}, {name: params[name] for name in names[:frozen]}


def _losses(params: Params, rows: Rows, alpha: Array) -> tuple[Array, Array]:
    """Cross-entropy of every row, and whether it is right."""
    z = logits(params, (rows.x.astype(jnp.float32) - rows.mean) / rows.sd)
    return optax.losses.softmax_cross_entropy_with_integer_labels(alpha * z, rows.y), z.argmax(axis=1) == rows.y


@jax.jit
def _scores(params: Params, rows: Rows, alpha: Array) -> tuple[Array, Array]:
    losses, right = _losses(params, rows, alpha)
    return losses.sum(), right.sum()


@lru_cache(maxsize=64)
def _definition(widths: tuple[int, ...]) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(lambda: Perceptron(widths, nnx.Rngs(0))))[0]
