"""Training: the recipe against NumPy, continued to the same bits, stopped early, written and read back."""

import inspect
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint
from eigensweep.models.data import Rows
from eigensweep.models.nn import save, training

jax.config.update("jax_enable_x64", True)

BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 16,
}
OPTIONS = nn.TrainOptions(epochs=4, learning_rate=1e-2, evaluate_every=5, batch_size=16)


def some_rows(num, seed, targets=None):
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, 40, (num, 8)).astype(np.int32)
    targets = (ids[:, 0] < 20).astype(np.int32) if targets is None else targets(rng, num)
    return Rows(ids, np.ones(ids.shape, bool), np.zeros_like(ids), targets, np.arange(num, dtype=np.int32))


@pytest.fixture(scope="module")
def start():
    model = nn.build(BERT, heads=("pooler", "mlm"))
    return nn.with_classifier(model, model.init(0), 2, seed=3)


@pytest.fixture(scope="module")
def task():
    return some_rows(150, 0), some_rows(64, 1)


@pytest.fixture(scope="module")
def trained(start, task):
    return nn.train(*start, *task, OPTIONS, 7)


def equal(first, second):
    first, second = dict(nn.walk(first)), dict(nn.walk(second))
    return first.keys() == second.keys() and all(np.array_equal(first[path], second[path]) for path in first)


def test_it_learns_and_keeps_the_best(start, task, trained):
    params, progress = trained
    assert progress.step == 4 * 10
    assert [look["step"] for look in progress.history] == list(range(5, 45, 5))
    assert progress.best_loss == min(look["validation_loss"] for look in progress.history) < 0.45
    scores = nn.score(start[0], params, task[1], 16, "classifier")
    assert scores.mean == pytest.approx(progress.best_loss, rel=1e-6)
    assert scores.accuracy > 0.8
    assert {str(leaf.dtype) for _, leaf in nn.walk(params)} == {"float32"}


def test_what_no_gradient_reaches_is_not_decayed(start, trained):
    assert equal(start[1]["mlm"], trained[0]["mlm"])
    assert not equal(start[1]["blocks"], trained[0]["blocks"])


class Killed(Exception):
    pass


@pytest.mark.parametrize("when", [5, 25])
def test_killed_and_started_again_it_ends_with_the_same_bits(start, task, trained, tmp_path, when):
    def kill(progress, total):
        assert total == 40
        if progress.step == when:
            raise Killed

    with pytest.raises(Killed):
        nn.train(*start, *task, OPTIONS, 7, directory=tmp_path, on_look=kill)
    (tmp_path / "step_00000099.orbax-checkpoint-tmp").mkdir()  # what a process killed while writing leaves
    assert [path.name for path in tmp_path.glob("step_*[0-9]")] == [f"step_{when:08d}"]
    params, progress = nn.train(*start, *task, OPTIONS, 7, directory=tmp_path)
    assert equal(params, trained[0])
    assert progress == trained[1]
    # a finished one is read back without another step
    again = nn.train(*start, *task, OPTIONS, 7, directory=tmp_path, on_look=lambda *_: pytest.fail("a step"))
    assert equal(again[0], trained[0])


def test_a_directory_of_another_training_is_refused(start, task, tmp_path):
    model, params = start
    learned = {key: value for key, value in params.items() if key != "mlm"}
    state = {"params": learned, "optimizer": training.optimizer(OPTIONS, 2).init(learned), "best": learned}
    save.write_state(tmp_path, 5, state, {"step": 5, "identity": "another"})
    with pytest.raises(nn.TrainingError, match="holds another training"):
        nn.train(model, params, *task, OPTIONS, 7, directory=tmp_path)


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"norm_eps": 1e-3}])
def test_another_dtype_or_architecture_is_another_training(start, task, tmp_path, change):
    once = replace(OPTIONS, epochs=1, trainable="head")
    nn.train(*start, *task, once, 7, directory=tmp_path)
    model, params = start
    if "dtype" in change:
        other = replace(model, **change)
    else:
        other = replace(model, architecture=replace(model.architecture, **change))
    with pytest.raises(nn.TrainingError, match="holds another training"):
        nn.train(other, params, *task, once, 7, directory=tmp_path)


def test_a_damaged_state_is_named(tmp_path):
    state = {"params": {"kernel": np.arange(6.0, dtype=np.float32)}}
    folder = tmp_path / "step_00000005"
    save.write_state(tmp_path, 5, state, {"step": 5})
    assert save.newest_state(tmp_path, state)[1] == {"step": 5}
    with pytest.raises(nn.TrainingError, match=f"{folder}: the saved state is damaged, or of another"):
        save.newest_state(tmp_path, {**state, "more": np.zeros(3, np.float32)})
    files = [path for path in folder.rglob("*") if path.is_file()]
    messages = []
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        try:
            found = save.newest_state(tmp_path, state)
            np.testing.assert_array_equal(found[0]["params"]["kernel"], state["params"]["kernel"])
        except nn.TrainingError as error:
            messages.append(str(error))
        path.write_bytes(content)
    assert len(messages) >= 2
    assert not any("\n" in message for message in messages)


def test_seeds_differ_by_order_and_nothing_else_does(start, task):
    one = replace(OPTIONS, epochs=1, evaluate_every=0, dropout=False, trainable="head")
    first, again, other = (nn.train(*start, *task, one, seed)[0] for seed in (0, 0, 1))
    assert equal(first, again)
    assert not equal(first, other)
    assert equal(first["blocks"], start[1]["blocks"])
    assert not equal(first["classifier"], start[1]["classifier"])
    assert not equal(first["pooler"], start[1]["pooler"])


def test_it_stops_when_it_gets_no_better(start, task):
    noise = some_rows(64, 5, lambda rng, num: rng.integers(0, 2, num).astype(np.int32))
    options = replace(OPTIONS, patience=2)
    _, progress = nn.train(*start, task[0], noise, options, 7)
    losses = [look["validation_loss"] for look in progress.history]
    assert progress.step < 40
    assert progress.stale == 2
    assert np.argmin(losses) == len(losses) - 3


def test_a_training_that_diverges_says_so(start, task):
    params = nn.replace(start[1], "classifier/output/bias", np.full(2, np.nan, np.float32))
    options = replace(OPTIONS, epochs=1, evaluate_every=0, dropout=False, trainable="head")
    with pytest.raises(nn.TrainingError, match="not finite"):
        nn.train(start[0], params, *task, options, 0)


_NUMBER = [*inspect.signature(training._step).parameters].index("number")


def test_a_training_that_diverges_keeps_its_last_good_state(start, task, tmp_path, monkeypatch):
    """From step 8 on the loss is not finite: said so, and neither the state of step 10 nor a model is written."""
    step, saved = training._step, []

    def poisoned(*given):
        state, loss = step(*given)
        return state, (loss * np.nan if given[_NUMBER] >= 7 else loss)

    monkeypatch.setattr(training, "_step", poisoned)
    with pytest.raises(nn.TrainingError, match=r"diverges: the loss is not finite at step 8: .* keeps .* step 5"):
        nn.train(
            *start, *task, OPTIONS, 7, directory=tmp_path, save_at=(3, 9, 10), on_save=lambda at, _: saved.append(at)
        )
    assert saved == [3]
    assert [path.name for path in tmp_path.glob("step_*[0-9]")] == ["step_00000005"]


@pytest.mark.parametrize("step", [0, 1, 4, 10])
def test_decay_alone_is_what_the_optimizer_does_without_a_gradient(step):
    options = nn.TrainOptions(learning_rate=0.1, weight_decay=3.0, warmup=0.3)
    tool, w = training.optimizer(options, 10), {"kernel": np.full((2, 2), 5.0, np.float32)}
    moments = tool.init(w)
    for _ in range(step):
        updates, moments = tool.update({"kernel": np.zeros((2, 2), np.float32)}, moments, w)
        w = optax.apply_updates(w, updates)
    rates = [0.1 * (t / 3 if t <= 3 else (10 - t + 1) / 7) for t in range(1, step + 1)]
    assert nn.decay_alone(options, 10, step) == pytest.approx(np.prod([1 - 3.0 * rate for rate in rates]), rel=1e-6)
    np.testing.assert_allclose(w["kernel"], 5.0 * nn.decay_alone(options, 10, step), rtol=1e-5)


def reference_adamw(params, gradients, options, total):
    """Loshchilov and Hutter's algorithm 2 with clipping, linear warm-up and decay, in float64."""
    params = {key: value.astype(np.float64) for key, value in params.items()}
    m, v = ({key: 0 * value for key, value in params.items()} for _ in range(2))
    rising = round(options.warmup * total)
    for t, gradient in enumerate(gradients, 1):
        norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradient.values()))
        rate = options.learning_rate * (t / rising if t <= rising else (total - t + 1) / (total - rising))
        for key, g in gradient.items():
            g = g * min(1, options.clip / norm)
            m[key] = 0.9 * m[key] + 0.1 * g
            v[key] = 0.999 * v[key] + 0.001 * g**2
            step = m[key] / (1 - 0.9**t) / (np.sqrt(v[key] / (1 - 0.999**t)) + 1e-8)
            decay = options.weight_decay * params[key] if key == "kernel" else 0
            params[key] = params[key] - rate * (step + decay)
    return params


def test_the_optimizer_is_adamw_with_warm_up_and_clipping():
    options = nn.TrainOptions(learning_rate=0.1, weight_decay=0.3, clip=2.0, warmup=0.3)
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 4), "bias": (4,), "scale": (4,)}
    params = {key: rng.standard_normal(shape).astype(np.float32) for key, shape in shapes.items()}
    gradients = [
        {key: (size * rng.standard_normal(shape)).astype(np.float32) for key, shape in shapes.items()}
        for size in (0.1, 5, 1, 0.01, 3, 1, 1, 1, 1, 1)
    ]
    tool = training.optimizer(options, 10)
    moments, found = tool.init(params), params
    for gradient in gradients:
        updates, moments = tool.update(gradient, moments, found)
        found = optax.apply_updates(found, updates)
    expected = reference_adamw(params, gradients, options, 10)
    for key in shapes:
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5)
        assert found[key].dtype == np.float32


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"trainable": "tail"}, "tail"),
        ({"epochs": 0}, "epochs is 0"),
        ({"patience": -1}, "patience is -1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"clip": 0.0}, "clip is 0"),
        ({"warmup": 1.0}, "warmup is 1.0"),
    ],
)
def test_options_are_checked(wrong, says):
    with pytest.raises(ValueError, match=says):
        nn.TrainOptions(**wrong)


def test_models_that_cannot_classify_are_refused(start):
    gpt2 = {"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 4}
    causal = nn.build(gpt2)
    with pytest.raises(CheckpointError, match=r"causal model \(gpt2\).*an encoder"):
        nn.with_classifier(causal, {}, 2, 0)
    with pytest.raises(CheckpointError, match="classifier has 2 labels, the data 3"):
        nn.with_classifier(*start, 3, 0)
    assert nn.with_classifier(*start, 2, 9) == start


def test_heads_are_drawn_by_seed_and_for_the_labels():
    model = nn.build(BERT, heads=())
    params = model.init(0)
    drawn = [nn.with_classifier(model, params, 5, seed)[1] for seed in (0, 0, 1)]
    kernels = [np.asarray(nn.get(tree, "classifier/output/kernel")) for tree in drawn]
    assert kernels[0].shape == (16, 5)
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    assert "pooler" in drawn[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BertModel as transformers writes it."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bert")
    config = {key: value for key, value in BERT.items() if key != "architectures"}
    transformers.BertModel(transformers.BertConfig(**config)).save_pretrained(path)
    return path


def test_a_trained_model_is_read_back_with_its_names(folder, tmp_path):
    checkpoint = open_checkpoint(folder)
    model, params = nn.with_classifier(*nn.load(checkpoint), 3, seed=0)
    out = nn.write_trained(checkpoint, model, params, tmp_path / "model")
    opened = open_checkpoint(out)
    again, same = nn.load(opened)
    assert equal(same, params)
    assert again == model
    by_name = {matrix.name: matrix for matrix in opened.matrices}
    assert set(by_name) == {m.name for m in checkpoint.matrices} | {"classifier/output/kernel"}
    for matrix in checkpoint.matrices:
        np.testing.assert_array_equal(by_name[matrix.name].read(), matrix.read())
        assert (by_name[matrix.name].role, by_name[matrix.name].block) == (matrix.role, matrix.block)
    assert by_name["classifier/output/kernel"].role == "classifier"
    assert by_name["classifier/output/kernel"].shape == (3, 16)
    assert opened.identity["sha256"] != checkpoint.identity["sha256"]
    other = nn.replace(params, "classifier/output/bias", np.ones(3, np.float32))
    second = open_checkpoint(nn.write_trained(checkpoint, model, other, tmp_path / "other"))
    assert second.identity["sha256"] != opened.identity["sha256"]
    with pytest.raises(CheckpointError, match="not empty"):
        nn.write_trained(checkpoint, model, params, tmp_path / "model")


@pytest.mark.parametrize(("kind", "stem"), [("Roberta", "Roberta"), ("XLMRoberta", "XLMRoberta"), ("Bert", "Bert")])
def test_a_trained_model_without_architectures_is_saved_as_what_it_is(tmp_path, kind, stem):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    settings = {key: value for key, value in BERT.items() if key not in ("architectures", "model_type")}
    made = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**settings))
    config = {**made.config.to_dict(), "architectures": None, "id2label": {0: "no", 1: "yes"}}
    state = {key: value.numpy() for key, value in made.state_dict().items()}
    checkpoint = open_checkpoint(state, config=config)
    model, params = nn.with_classifier(*nn.load(checkpoint), 3, seed=0)
    opened = open_checkpoint(nn.write_trained(checkpoint, model, params, tmp_path / "model"))
    assert opened.config["architectures"] == [f"{stem}ForSequenceClassification"]
    assert nn.architecture(opened.config).num_labels == len(opened.config["id2label"]) == 3
    assert nn.load(opened)[0] == model
