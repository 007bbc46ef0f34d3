"""Training a language model: one step against torch, checkpoints that transformers loads, the same bits when killed."""

import jax
import numpy as np
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint
from eigensweep.models.data import batches, encode_text, load_tokenizer, windows
from eigensweep.models.data.characters import write_character_tokenizer
from eigensweep.models.data.text import DataError
from eigensweep.models.export import write_parameters
from eigensweep.models.nn import training

jax.config.update("jax_enable_x64", True)

TEXT = "To be, or not to be: that is the question.\n" * 12
GPT2 = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 16,
    "tie_word_embeddings": False,
}
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 16,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("characters")
    num = write_character_tokenizer(TEXT, folder)
    tokenizer = load_tokenizer(folder)
    assert len(tokenizer) == num == len(set(TEXT))
    assert tokenizer.decode(encode_text(tokenizer, TEXT)) == TEXT
    return tokenizer


@pytest.fixture(scope="module")
def rows(tokenizer):
    return windows(encode_text(tokenizer, TEXT), 16, 16)


@pytest.fixture(scope="module")
def start(tokenizer):
    model = nn.build(LLAMA | {"vocab_size": len(tokenizer)})  # fewer leaves than GPT-2: it compiles faster
    return model, model.init(0)


def leaves(params):
    return {path: np.asarray(leaf) for path, leaf in nn.walk(params)}


def test_loss_and_gradient_of_one_step_are_torchs(start, tokenizer, rows, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    (model, params), config = start, LLAMA | {"vocab_size": len(tokenizer)}
    write_parameters(config, leaves(params), tmp_path / "model")
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "model").eval()
    batch = next(batches(rows, 4))
    logits = theirs(torch.tensor(batch.input_ids, dtype=torch.long)).logits
    targets = torch.tensor(batch.targets, dtype=torch.long)
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
    loss.backward()
    gradient_of = jax.jit(lambda params: training._gradient(model, "unembedding", params, {}, batch, None))
    ours, gradient = gradient_of(params)
    assert float(ours) == pytest.approx(loss.item(), rel=1e-6)
    write_parameters(config, leaves(gradient), tmp_path / "gradient")
    ours = open_checkpoint(tmp_path / "gradient").source.tensors
    theirs = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        scale = np.abs(theirs[name]).max()
        np.testing.assert_allclose(tensor.read(), theirs[name], atol=2e-6 + 1e-4 * scale, err_msg=name)


@pytest.mark.parametrize("config", [GPT2, LLAMA, LLAMA | {"tie_word_embeddings": False}])
def test_written_parameters_are_read_back(config, tmp_path):
    config = config | {"vocab_size": 18}
    rng = np.random.default_rng(0)
    shapes = {path: leaf.shape for path, leaf in nn.walk(nn.build(config).abstract())}
    drawn = {path: rng.standard_normal(shape).astype(np.float32) for path, shape in shapes.items()}
    opened = open_checkpoint(write_parameters(config, drawn, tmp_path / "model"))
    assert not opened.plan.mismatches
    read = {leaf.path: leaf.read() for leaf in opened.leaves}
    assert read.keys() == drawn.keys()
    assert all(np.array_equal(read[path], drawn[path]) for path in drawn)


OPTIONS = nn.TrainOptions(epochs=3, batch_size=8, learning_rate=1e-2, evaluate_every=3, max_steps=8, dropout=False)


def run(start, rows, **more):
    return nn.train(*start, rows, rows.take(np.arange(4)), OPTIONS, 5, head="unembedding", **more)


class Killed(Exception):
    pass


def test_it_learns_and_ends_with_the_same_bits_when_it_was_killed(start, rows, tmp_path):
    def kill(progress, total):
        assert total == 8
        if progress.step == 3:
            raise Killed

    whole, again = {}, {}
    _, progress = run(start, rows, save_at=(0, 1, 8), on_save=lambda step, params: whole.update({step: leaves(params)}))
    assert progress.step == 8
    assert [look["step"] for look in progress.history] == [3, 6, 8]
    assert list(whole) == [0, 1, 8]
    assert same(whole[0], leaves(start[1]))
    assert min(np.abs(whole[8][path] - leaf).max() for path, leaf in whole[1].items()) > 0
    assert progress.best_loss < 0.9 * np.log(len(set(TEXT)))
    keep = {"save_at": (0, 1, 8), "on_save": lambda step, params: again.update({step: leaves(params)})}
    with pytest.raises(Killed):
        run(start, rows, directory=tmp_path, on_look=kill, **keep)
    assert list(again) == [0, 1]
    run(start, rows, directory=tmp_path, **keep)
    assert list(again) == [0, 1, 8]
    assert all(same(again[step], whole[step]) for step in whole)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[path], b[path]) for path in a)


def test_parameters_of_another_config_are_refused(start, tokenizer, tmp_path):
    config = LLAMA | {"vocab_size": len(tokenizer)}
    params = leaves(start[1])
    with pytest.raises(CheckpointError, match=r"not those of the config: blocks/1/"):
        write_parameters(config | {"num_hidden_layers": 2}, params, tmp_path / "a")
    with pytest.raises(CheckpointError, match="no known architecture"):
        write_parameters({"model_type": "unheard"}, params, tmp_path / "b")
    short = params | {"final_norm/scale": np.zeros(3, np.float32)}
    with pytest.raises(CheckpointError, match=r"final_norm/scale is \[3\]"):
        write_parameters(config, short, tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_text_without_characters_is_refused(tmp_path):
    with pytest.raises(DataError, match="0 different characters"):
        write_character_tokenizer("", tmp_path)
