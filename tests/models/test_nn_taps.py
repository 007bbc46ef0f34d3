"""Taps of the residual stream, in every arrangement of the norms, and interventions on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eigensweep.models import nn
from eigensweep.models.data import Rows
from eigensweep.models.nn import model as model_module

jax.config.update("jax_enable_x64", True)

SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "max_position_embeddings": 32,
}
CONFIGS = {
    "pre": {**SIZES, "model_type": "llama", "architectures": ["LlamaForCausalLM"]},
    "parallel": {**SIZES, "model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"]},
    "post": {**SIZES, "model_type": "bert", "architectures": ["BertForMaskedLM"], "type_vocab_size": 2},
    "sandwich": {**SIZES, "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "head_dim": 8},
    "output": {**SIZES, "model_type": "olmo2", "architectures": ["Olmo2ForCausalLM"]},
}
IDS = np.random.default_rng(0).integers(0, 50, (3, 10)).astype(np.int32)
MASK = np.arange(10) < np.array([[10], [7], [2]])
TARGETS = np.where(MASK, np.roll(IDS, -1, 1), -100).astype(np.int32)
ROWS = Rows(IDS, MASK, np.zeros_like(IDS), TARGETS, np.arange(3, dtype=np.int32))


def draw(name):
    """A model with norms and biases that matter."""
    model = nn.build(CONFIGS[name])
    assert model.architecture.residual == name
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: np.float32(x + 0.2 * rng.standard_normal(x.shape)), model.init(1))
    return name, model, jax.tree.map(jnp.asarray, params)


@pytest.fixture(params=CONFIGS)
def drawn(request):
    """One of each arrangement, run primitive by primitive: that takes a third of the time of compiling each."""
    with jax.disable_jit():
        yield draw(request.param)


@pytest.fixture(scope="module")
def pre():
    return draw("pre")


def normed(x, params, arch):
    """LayerNorm or RMSNorm in NumPy, float64."""
    x, scale = np.asarray(x, np.float64), np.asarray(params["scale"], np.float64)
    if arch.norm == "layer":
        x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + arch.norm_eps)
    x = x * (scale + 1 if arch.norm == "rms_plus_one" else scale)
    return x + np.asarray(params["bias"], np.float64) if arch.norm == "layer" else x


def test_the_stream_is_its_updates_and_norms_in_every_arrangement(drawn):
    name, model, params = drawn
    arch = model.architecture
    output = model.apply(params, IDS, MASK, hidden_states=True, taps=nn.TAPPED)
    taps = {path: np.asarray(tap) for path, tap in output.taps.items()}
    for i in range(arch.num_blocks):
        block, own = f"blocks/{i}", params["blocks"][str(i)]
        before, after = taps[f"{block}/stream/before"], taps[f"{block}/stream/after"]
        attention, mlp = taps[f"{block}/update/attention"], taps[f"{block}/update/mlp"]
        np.testing.assert_array_equal(before, output.hidden_states[i])
        if name == "parallel":
            assert f"{block}/stream/middle" not in taps
            middle, expected = before, before + attention + mlp
        elif name == "post":
            middle = taps[f"{block}/stream/middle"]
            np.testing.assert_allclose(middle, normed(before + attention, own["attention_norm"], arch), atol=2e-5)
            expected = normed(middle + mlp, own["mlp_norm"], arch)
        else:
            middle, expected = taps[f"{block}/stream/middle"], before + attention + mlp
            np.testing.assert_allclose(middle, before + attention, atol=2e-5)
        np.testing.assert_allclose(after, expected, atol=2e-5)
        reads = middle if name in ("post", "output") else normed(middle, own["mlp_norm"], arch)
        np.testing.assert_allclose(taps[f"{block}/mlp/up/kernel"], reads, atol=5e-5)
        inner, down = taps[f"{block}/mlp/down/kernel"].astype(np.float64), own["mlp"]["down"]
        raw = inner @ np.asarray(down["kernel"], np.float64) + np.asarray(down.get("bias", 0.0), np.float64)
        if name in ("sandwich", "output"):
            raw = normed(raw, own["mlp_post_norm"], arch)
        np.testing.assert_allclose(mlp, raw, atol=5e-5)
    inputs = model.apply(params, IDS, MASK, taps=True).taps
    assert set(inputs) == {path for path in taps if nn.kind_of(path) == "inputs"}
    assert set(model.apply(params, IDS, MASK, taps=("updates",)).taps) == {p for p in taps if "/update/" in p}


def test_block_by_block_and_under_jit_taps_and_interventions_are_the_same(drawn):
    name, model, params = drawn
    rng, positions, d = np.random.default_rng(2), 2 * model.architecture.num_blocks + 1, 24
    basis = np.linalg.qr(rng.standard_normal((positions, d, 2)))[0].astype(np.float32)
    mask, offset = (rng.standard_normal((positions, d)).astype(np.float32) for _ in range(2))
    change, found = nn.Intervention(mask, basis, offset), {}
    whole = model.apply(params, IDS, MASK, taps=nn.TAPPED, intervention=change)
    passed = {"visit": lambda _, taps: found.update(taps), "taps": nn.TAPPED, "intervention": change}
    (logits,) = nn.stream(model, nn.reader_of(params, model), [ROWS], lambda _, out: out.logits, **passed)
    ways = [(found, logits)]
    if name == "pre":
        with jax.disable_jit(False):
            looped = jax.jit(lambda p, c: model.apply(p, IDS, MASK, taps=nn.TAPPED, intervention=c))(params, change)
        ways.append((looped.taps, looped.logits))
    for taps, logits in ways:
        assert set(taps) == set(whole.taps)
        for path, tap in whole.taps.items():
            np.testing.assert_allclose(tap, taps[path], atol=1e-4)
        np.testing.assert_allclose(np.asarray(whole.logits)[MASK], np.asarray(logits)[MASK], atol=2e-4)
    x = np.asarray(whole.taps["blocks/1/stream/after"])
    before = model.embed(params, IDS, MASK)[0]
    expected = before * mask[0] - (before @ basis[0]) @ basis[0].T + offset[0]
    np.testing.assert_allclose(whole.taps["blocks/0/stream/before"], expected, atol=1e-4)
    if name == "pre":
        last = x * mask[4] - (x @ basis[4]) @ basis[4].T + offset[4]
        np.testing.assert_allclose(whole.hidden, normed(last, params["final_norm"], model.architecture), atol=1e-4)
    if name != "parallel":
        attention, block = np.asarray(whole.taps["blocks/0/update/attention"]), params["blocks"]["0"]
        middle = expected + attention
        middle = normed(middle, block["attention_norm"], model.architecture) if name == "post" else middle
        middle = middle * mask[1] - (middle @ basis[1]) @ basis[1].T + offset[1]
        np.testing.assert_allclose(whole.taps["blocks/0/stream/middle"], middle, atol=1e-4)


def test_the_identity_changes_nothing_and_another_mask_compiles_nothing(pre):
    _, model, params = pre
    ones = np.ones((2 * model.architecture.num_blocks + 1, 24), np.float32)
    plain = nn.score(model, params, ROWS, 3).loss
    np.testing.assert_allclose(nn.score(model, params, ROWS, 3, intervention=nn.Intervention(ones)).loss, plain)
    known, losses = model_module._block._cache_size(), []
    for dim in range(4):
        mask = ones.copy()
        mask[:, dim] = 0
        losses.append(nn.score(model, params, ROWS, 3, intervention=nn.Intervention(mask)).loss)
    assert model_module._block._cache_size() == known
    assert len({tuple(loss) for loss in losses}) == 4


def test_without_taps_the_program_is_the_same_and_holds_none_of_them(pre):
    """Compiled without taps, a block computes one output; an intervention adds its own products and no more."""
    _, model, params = pre
    x, context = model.embed(params, IDS, MASK)
    layer = model_module.layer(model.architecture, 0)
    block = params["blocks"]["0"]

    def text(kinds, change):
        return model_module._block.lower(model, block, layer, x, context, kinds, change).as_text()

    plain, mask = text((), None), nn.Intervention(np.ones((2, 24), np.float32))
    assert plain.count("stablehlo.dot_general") == text(nn.TAPPED, None).count("stablehlo.dot_general")
    results = [len(jax.tree.leaves(jax.eval_shape(
        lambda p, kinds=kinds: model_module._block(model, p, layer, x, context, kinds, None), block
    ))) for kinds in ((), ("stream",), ("updates",))]  # fmt: skip
    assert results == [1, 1 + 3, 1 + 2]
    multiplied = text((), mask).count("stablehlo.multiply") - plain.count("stablehlo.multiply")
    assert multiplied == 2


def test_the_derivative_in_an_offset_is_that_in_the_stream(pre):
    _, model, params = pre
    head = model.head()

    @jax.jit
    @jax.value_and_grad
    def loss(offset):
        total, _, _ = nn.row_losses(model, params, ROWS, head, intervention=nn.Intervention(offset=offset))
        return total.sum()

    step = np.zeros((2 * model.architecture.num_blocks + 1, *IDS.shape, 24), np.float32)
    gradient = np.asarray(loss(step)[1])
    step[2, 0, 1, 5] = 1e-2
    finite = (float(loss(step)[0]) - float(loss(-step)[0])) / 2e-2
    assert finite == pytest.approx(gradient[2, 0, 1, 5], rel=2e-2, abs=1e-4)
    assert abs(finite) > 1e-3
    assert np.abs(gradient[:, ~MASK]).max() < 1e-6


def test_what_does_not_fit_is_refused(pre):
    _, model, params = pre
    for change in (nn.Intervention(np.ones((4, 24))), nn.Intervention(basis=np.ones((5, 23, 2)))):
        with pytest.raises(ValueError, match=r"expected a (mask|basis) of 5 positions and width 24"):
            model.apply(params, IDS, intervention=change)
    with pytest.raises(ValueError, match="taps: expected some of inputs, stream, updates, got inner"):
        model.apply(params, IDS, taps=("inner",))
