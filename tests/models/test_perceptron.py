"""The plain perceptron against NumPy and torch: forward pass, first weights, gradient descent, divergence."""

import jax
import numpy as np
import pytest
from scipy import stats

from eigensweep.models.data.images import Images
from eigensweep.models.nn import perceptron
from eigensweep.models.nn.perceptron import DivergedError, Recipe

torch = pytest.importorskip("torch")
WIDTHS = (6, 8, 8, 3)
KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def rows():
    """Training and test rows: 24 and 10 pictures of 6 pixels, their class written in one of them."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 34).astype(np.int32)
    x = rng.integers(0, 100, (34, 6)).astype(np.uint8)
    x[:, 0] = 100 * y
    return perceptron.rows_of(Images(x[:24], y[:24], x[24:], y[24:], ("a", "b", "c")))


@pytest.fixture(scope="module")
def params():
    return perceptron.initial(WIDTHS, "gaussian", 2.0, 0.1, KEY)


def inputs(rows):
    return (np.asarray(rows.x, np.float64) - np.asarray(rows.mean, np.float64)) / float(rows.sd)


def recipe(**changes):
    return Recipe(**{"alpha": 1.0, "frozen": 0, "batch_size": 8, "steps": 5, "learning_rate": 0.1} | changes)


def test_inputs_are_centred_and_of_one_scale(rows):
    x = inputs(rows[0])
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(), 1, rtol=1e-6)


def test_the_forward_pass_is_numpys(rows, params):
    x = inputs(rows[1])
    h = x
    for k in (1, 2, 3):
        layer = {name: np.asarray(leaf, np.float64) for name, leaf in params[f"layer_{k}"].items()}
        h = h @ layer["kernel"] + layer["bias"]
        h = np.maximum(h, 0) if k < 3 else h
    np.testing.assert_allclose(perceptron.logits(params, x.astype(np.float32)), h, rtol=2e-5, atol=2e-5)
    z = 15.0 * h
    expected = np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[range(10), rows[1].y])
    loss, right = perceptron.evaluate(params, rows[1], 15.0)
    assert loss == pytest.approx(expected, rel=1e-4)
    assert right == np.mean(h.argmax(1) == np.asarray(rows[1].y))


@pytest.mark.parametrize(("alpha", "momentum", "frozen"), [(1.0, 0.0, 0), (15.0, 0.9, 1)])
def test_training_is_torchs_gradient_descent(rows, params, alpha, momentum, frozen):
    """Five steps over two epochs: the loss is that of softmax(alpha z), divided by alpha^2; frozen layers stay."""
    ours, history = perceptron.train(params, *rows, recipe(alpha=alpha, momentum=momentum, frozen=frozen), KEY)
    w = [torch.tensor(np.asarray(params[f"layer_{k}"]["kernel"], np.float64), requires_grad=True) for k in (1, 2, 3)]
    b = [torch.zeros(width, dtype=torch.float64, requires_grad=True) for width in WIDTHS[1:]]
    optimizer = torch.optim.SGD([*w[frozen:], *b[frozen:]], lr=0.1, momentum=momentum)
    x, y = torch.tensor(inputs(rows[0])), torch.tensor(np.asarray(rows[0].y), dtype=torch.long)
    keys = [jax.random.fold_in(jax.random.fold_in(KEY, 1), epoch) for epoch in (0, 1)]
    orders = [np.array(jax.random.permutation(key, 24)) for key in keys]
    losses = []
    for order in [*orders[0].reshape(3, 8), *orders[1].reshape(3, 8)[:2]]:
        h = x[order]
        for k in range(3):
            h = h @ w[k] + b[k]
            h = torch.relu(h) if k < 2 else h
        loss = torch.nn.functional.cross_entropy(alpha * h, y[order])
        losses.append(loss.item())
        optimizer.zero_grad()
        (loss / alpha**2).backward()
        optimizer.step()
    for k in range(3):
        np.testing.assert_allclose(ours[f"layer_{k + 1}"]["kernel"], w[k].detach(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours[f"layer_{k + 1}"]["bias"], b[k].detach(), rtol=1e-4, atol=1e-5)
    assert [look["step"] for look in history] == [3, 5]
    assert history[0]["train_loss"] == pytest.approx(np.mean(losses[:3]), rel=1e-4)
    assert history[1]["train_loss"] == pytest.approx(np.mean(losses[3:]), rel=1e-4)
    if frozen:
        assert np.array_equal(ours["layer_1"]["kernel"], params["layer_1"]["kernel"])


@pytest.mark.parametrize(("init", "kurtosis"), [("gaussian", 0.0), ("uniform", -1.2), ("sparse", 3 / 0.2 - 3)])
def test_first_weights_have_their_law(init, kurtosis):
    w = np.asarray(perceptron.initial((300, 200, 2), init, 0.5, 0.2, KEY)["layer_1"]["kernel"], np.float64)
    assert w.mean() == pytest.approx(0, abs=4 * w.std() / np.sqrt(w.size))
    assert np.mean(w**2) == pytest.approx(0.5 / 300, rel=0.05)
    assert stats.kurtosis(w.ravel()) == pytest.approx(kurtosis, abs=0.5 if init == "sparse" else 0.06)
    assert np.mean(w != 0) == pytest.approx(0.2 if init == "sparse" else 1.0, abs=0.01)


def test_layers_and_laws_draw_on_their_own():
    """The second layer's weights do not depend on the first's width, beyond their number of inputs."""
    other = perceptron.initial((4, 8, 8, 3), "gaussian", 2.0, 0.1, KEY)
    params = perceptron.initial(WIDTHS, "gaussian", 2.0, 0.1, KEY)
    assert np.array_equal(other["layer_2"]["kernel"], params["layer_2"]["kernel"])
    fresh = perceptron.initial(WIDTHS, "gaussian", 2.0, 0.1, jax.random.key(4))
    assert not np.array_equal(fresh["layer_2"]["kernel"], params["layer_2"]["kernel"])


def test_a_diverging_training_tells_the_step_and_keeps_the_state_before_it(rows, params):
    wild = recipe(learning_rate=1e5, steps=9)
    with pytest.raises(DivergedError) as told:
        perceptron.train(params, *rows, wild, KEY)
    step = told.value.step
    assert 1 <= step <= 9
    kept = told.value.params
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))
    before, _ = perceptron.train(params, *rows, recipe(learning_rate=1e5, steps=step - 1), KEY)
    assert all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(kept)))
    assert f"after step {step}" in str(told.value)
    first, worse = (perceptron.evaluate(p, rows[0], 1.0)[0] for p in (params, kept))
    assert not told.value.loss <= 1e3 * first
    assert worse <= 1e4 * max(1.0, first)
