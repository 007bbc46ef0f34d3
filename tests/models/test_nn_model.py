"""The model as pure functions of a tree: its shape, its errors, taps, replaced parameters, precision, streaming."""

import json
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from eigensweep.models import CheckpointError, nn, open_checkpoint
from eigensweep.models.nn import model as model_module
from eigensweep.models.nn.modules import Block

jax.config.update("jax_enable_x64", True)

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
}
BERT = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
}
LLAMA3 = {
    "type": "llama3",
    "factor": 2.0,
    "low_freq_factor": 1,
    "high_freq_factor": 4,
    "original_max_position_embeddings": 8,
}
IDS = np.random.default_rng(0).integers(0, 50, (3, 10)).astype(np.int32)
MASK = np.arange(10) < np.array([[10], [7], [2]])


@pytest.fixture(scope="module")
def llama():
    model = nn.build(LLAMA)
    return model, model.init(1)


@pytest.fixture(scope="module")
def bert():
    model = nn.build(BERT)
    return model, model.init(1)


def test_tree_is_the_canonical_one(llama, bert):
    paths = {path for path, _ in nn.walk(llama[0].abstract())}
    linears = (
        "attention/query",
        "attention/key",
        "attention/value",
        "attention/output",
        "mlp/gate",
        "mlp/up",
        "mlp/down",
    )
    assert paths == {
        "embedding/embedding",
        "final_norm/scale",
        "unembedding/kernel",
        *(f"blocks/{i}/{name}/kernel" for i in range(3) for name in linears),
        *(f"blocks/{i}/{name}/scale" for i in range(3) for name in ("attention_norm", "mlp_norm")),
    }
    assert {"pooler/kernel", "classifier/output/bias", "type_embedding/embedding", "embedding_norm/bias"} <= {
        path for path, _ in nn.walk(bert[0].abstract())
    }
    for model, params in (llama, bert):
        assert dict(nn.walk(params)).keys() == dict(nn.walk(model.abstract())).keys()
        assert {leaf.dtype for _, leaf in nn.walk(params)} == {np.dtype(np.float32)}


def test_every_mismatch_is_named_in_one_error(llama):
    model, params = llama
    broken = jax.tree.map(lambda leaf: leaf, params)
    del broken["blocks"]["1"]["mlp"]["up"]
    broken["unembedding"] = {"kernel": jnp.zeros((24, 49)), "bias": jnp.zeros(50)}
    with pytest.raises(CheckpointError) as caught:
        model.apply(broken, IDS)
    message = str(caught.value)
    assert "missing blocks/1/mlp/up/kernel (24, 40)" in message
    assert "not in the model: unembedding/bias (50,)" in message
    assert "unembedding/kernel is (24, 49), the model has (24, 50)" in message
    assert "\n" not in message

    broken = {key: value for key, value in params.items() if key != "blocks"}
    with pytest.raises(CheckpointError, match=r"; and 19 more"):
        model.apply(broken, IDS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "mamba"}, "no forward pass for model_type 'mamba'"),
        ({"hidden_size": None}, "'hidden_size' expected int, got NoneType"),
        ({"hidden_size": 0}, "hidden_size = 0: expected a whole number from 1"),
        ({"num_attention_heads": 0}, "ZeroDivisionError|by zero"),
        ({"vocab_size": 10**9}, "vocab_size = 1000000000: expected a whole number from 1"),
        ({"vocab_size": True}, "vocab_size.*expected"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000: expected at most 10000 blocks"),
        ({"num_key_value_heads": 4}, "num_key_value_heads = 4: expected a divisor of the 6 query heads"),
        ({"num_key_value_heads": 0}, "num_key_value_heads = 0: expected a whole number"),
        ({"rope_scaling": {"type": "proportional", "factor": 2.0}}, "rope_type 'proportional' is not supported"),
        ({"rope_scaling": {"type": "yarn", "factor": -2.0}}, r"factor = -2.0: expected a positive number"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}, "rope_theta": 1}, "needs a rope_theta"),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": [1, 1], "long_factor": [1, "x"]}},
            "long_factor = 'x': expected a positive number",
        ),
        (
            {"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [1, 1]}},
            "short_factor: expected a list of 2 numbers",
        ),
        ({"rope_scaling": {"type": "llama3", "factor": 2.0}}, "rope_parameters.*low_freq_factor"),
        ({"rope_scaling": {**LLAMA3, "high_freq_factor": 1}}, "high_freq_factor = 1: expected more than"),
        ({"is_causal": False}, "is_causal = False is not supported for llama"),
        ({"model_type": "gemma", "use_bidirectional_attention": True}, "use_bidirectional_attention = True"),
        ({"model_type": "bert", "is_decoder": True}, "is_decoder = True is not supported for bert"),
        ({"model_type": "bert", "position_embedding_type": "relative_key"}, "'relative_key' is not supported"),
        ({"model_type": "bert", "type_vocab_size": -1}, "type_vocab_size = -1: expected a whole number"),
        ({"model_type": "bert", "hidden_dropout_prob": 1.5}, "hidden_dropout_prob = 1.5: expected a number"),
        ({"model_type": "bert", "num_attention_heads": 5}, "num_attention_heads = 5: expected a divisor"),
        ({"model_type": "roberta", "max_position_embeddings": 2}, "more than the 2 rows before"),
        ({"model_type": "opt", "do_layer_norm_before": False}, "do_layer_norm_before = False is not"),
        ({"model_type": "opt", "word_embed_proj_dim": 8}, "word_embed_proj_dim = 8 is not supported"),
        ({"rope_theta": "abc"}, "rope_theta = 'abc': expected a positive number"),
        ({"rope_theta": 0}, "rope_theta = 0: expected a positive number"),
        ({"rope_scaling": "linear"}, "'rope_parameters' with value 'linear'"),
        ({"rope_scaling": {"full_attention": {"rope_theta": 1.0}}}, "the same for all blocks"),
        ({"rope_scaling": {"rope_type": ["linear"]}}, r"rope_type \['linear'\] is not supported"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor = 0: expected a positive"),
        (
            {"rope_scaling": {"rope_type": "linear", "factor": 2, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor = 0.5: expected 1",
        ),
        ({"model_type": "phi3", "partial_rotary_factor": 1.5}, "partial_rotary_factor = 1.5: expected at most 1"),
        ({"model_type": "mistral", "sliding_window": "x"}, "'sliding_window' with value 'x'"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window = 0: expected a whole number"),
        ({"model_type": "qwen2", "layer_types": ["full_attention"]}, r"must be equal to .*`layer_types` \(1\)"),
        ({"model_type": "qwen2", "layer_types": ["sliding_attention"] * 3}, "without use_sliding_window"),
        ({"rms_norm_eps": "x"}, "'rms_norm_eps' expected float, got str"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps = nan: expected a number"),
        ({"hidden_act": None}, "'hidden_act' expected str, got NoneType"),
        ({"hidden_act": "quick_gelu"}, "hidden_act = 'quick_gelu': expected one of gelu"),
        ({"max_position_embeddings": "512"}, "'max_position_embeddings' expected int, got str"),
        ({"tie_word_embeddings": "no"}, "'tie_word_embeddings' expected bool, got str"),
        ({"num_attention_heads": 25, "num_key_value_heads": 1}, r"24\) is not a multiple of .*heads \(25\)"),
        ({"model_type": "gpt2", "num_attention_heads": 9}, "n_head = 9: expected a divisor of the 24"),
        ({"architectures": "LlamaModel"}, "architectures = 'LlamaModel': expected a list"),
        ({"model_type": ["llama"]}, "no forward pass for model_type"),
    ],
)
def test_unusable_configs_are_refused(change, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        nn.build({**LLAMA, **change})
    assert str(caught.value).startswith("config.json: ")
    assert "\n" not in str(caught.value)


def test_nothing_of_a_config_is_executed(monkeypatch):
    given = {**LLAMA, "auto_map": {"AutoConfig": "code.Config"}, "rope_scaling": {"type": "linear", "factor": 2}}
    before = json.dumps(given)
    assert nn.architecture(given) == nn.architecture({**given, "auto_map": None, "dtype": "save"})
    assert json.dumps(given) == before  # transformers fills dictionaries in where they stand
    done = subprocess.run(
        [sys.executable, "-c", "import sys, eigensweep.models.nn; assert 'transformers' not in sys.modules"],
        timeout=120,
    )
    assert done.returncode == 0


def test_old_and_new_spellings_of_rotary_settings_agree():
    old = nn.architecture({**LLAMA, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}})
    new = nn.architecture({**LLAMA, "rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2.0}})
    assert old == new
    assert (old.ropes[0].theta, old.ropes[0].kind, old.ropes[0].factor) == (5e5, "linear", 2.0)
    neox = {**LLAMA, "model_type": "gpt_neox"}
    assert nn.architecture({**neox, "rotary_pct": 0.5, "rotary_emb_base": 99}).ropes[0].dim == 2
    assert nn.architecture({**neox, "rotary_pct": 0.5, "rotary_emb_base": 99}).ropes[0].theta == 99


def test_wrong_inputs_are_named(llama, bert):
    with pytest.raises(ValueError, match=r"expected \(batch, tokens\), got shape \(10,\)"):
        llama[0].apply(llama[1], IDS[0])
    with pytest.raises(ValueError, match="attention_mask: expected"):
        llama[0].apply(llama[1], IDS, MASK[:2])
    with pytest.raises(ValueError, match="40 tokens, but the model has positions for 32"):
        bert[0].apply(bert[1], np.zeros((1, 40), np.int32))
    with pytest.raises(CheckpointError, match="no 'mlm' head, which this needs; heads it has: pooler, classifier"):
        bert[0].apply(bert[1], IDS, head="mlm")
    with pytest.raises(ValueError, match="dtype: expected one of float32, bfloat16, got 'float16'"):
        nn.build(LLAMA, "float16")


def test_an_id_outside_the_vocabulary_is_seen(llama):
    model, params = llama
    ids = IDS.copy()
    ids[1, 4] = 50
    finite = np.isfinite(model.apply(params, ids).logits).all((1, 2))
    np.testing.assert_array_equal(finite, [True, False, True])


def test_padding_on_either_side_changes_nothing(llama, bert):
    for model, params in (llama, bert):
        right = model.apply(params, IDS, MASK)
        flipped = np.stack([np.roll(row, 10 - mask.sum()) for row, mask in zip(IDS, MASK, strict=True)])
        left = model.apply(params, flipped, MASK[:, ::-1])
        alone = model.apply(params, IDS[1:2, :7])
        np.testing.assert_allclose(left.hidden[1, 3:], right.hidden[1, :7], atol=2e-6)
        np.testing.assert_allclose(alone.hidden[0], right.hidden[1, :7], atol=2e-6)
        np.testing.assert_allclose(left.logits[0], right.logits[0], atol=2e-6)


def test_a_replaced_parameter_acts_and_never_recompiles(llama):
    model, params = llama
    path = "blocks/1/attention/value/kernel"
    before = model.apply(params, IDS).logits
    compiled = model_module._block._cache_size()
    changed = nn.replace(params, path, nn.get(params, path) * 0)
    after = model.apply(changed, IDS).logits
    assert model_module._block._cache_size() == compiled
    assert np.abs(after - before).max() > 1e-4
    assert changed["blocks"]["0"] is params["blocks"]["0"]
    np.testing.assert_array_equal(model.apply(params, IDS).logits, before)
    with pytest.raises(ValueError, match=r"expected an array \(24, 8\), got \(8, 24\)"):
        nn.replace(params, path, np.zeros((8, 24)))
    with pytest.raises(KeyError, match="under 'blocks/1' there is"):
        nn.replace(params, "blocks/1/attn/value/kernel", np.zeros((8, 24)))


def test_blocks_share_one_compilation(llama):
    model, params = llama
    x, context = model.embed(params, IDS, MASK)
    start = model_module._block._cache_size()
    for i in range(3):
        x, _ = model.block(params["blocks"][str(i)], i, x, context)
    assert model_module._block._cache_size() - start <= 1
    np.testing.assert_allclose(
        model.unembed(params, x, context).logits, model.apply(params, IDS, MASK).logits, atol=1e-5
    )


def test_what_is_compiled_does_not_grow_with_the_depth(monkeypatch):
    products = []
    for depth in (4, 32):
        model = nn.build({**LLAMA, "num_hidden_layers": depth, "vocab_size": 51 + depth})
        params = model.init(0)
        chex.clear_trace_counter()
        with monkeypatch.context() as patch:
            patch.setattr(Block, "__call__", chex.assert_max_traces(Block.__call__, n=1))
            model.apply(params, IDS, MASK)
            model.apply(params, IDS + 1, MASK)
            slope = jax.jit(jax.grad(lambda params, model: model.apply(params, IDS).logits.std()), static_argnums=1)
            products.append(slope.lower(params, model).as_text().count("dot_general"))
    assert products[0] == products[1] > 20


def test_under_a_transformation_nothing_changes(llama, bert):
    for model, params in (llama, bert):
        key = None if model.architecture.causal else jax.random.key(0, impl="rbg")

        def run(params, model=model, key=key):
            return model.apply(params, IDS, MASK, hidden_states=True, taps=True, dropout_key=key)

        plain, traced = run(params), jax.jit(run)(params)
        assert plain.taps.keys() == traced.taps.keys()
        for ours, theirs in zip(jax.tree.leaves(plain), jax.tree.leaves(traced), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("which", ["llama", "bert", "tied"])
def test_the_whole_module_gives_the_same_and_can_be_trained(which, llama, bert):
    if which == "tied":
        model = nn.build({**LLAMA, "tie_word_embeddings": True})
        params = model.init(0)
    else:
        model, params = {"llama": llama, "bert": bert}[which]
    module, forward = model.module(params), nnx.jit(lambda module: module(IDS, MASK).logits)
    np.testing.assert_allclose(forward(module), model.apply(params, IDS, MASK).logits, atol=2e-6)
    back = nn.params_of(module)
    assert dict(nn.walk(back)).keys() == dict(nn.walk(params)).keys()
    optimizer = nnx.Optimizer(module, optax.adam(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer):
        def loss(module):
            logits = module(IDS, MASK).logits
            targets = jnp.asarray(IDS % logits.shape[-1])
            targets = targets if logits.ndim == 3 else targets[:, 0]
            return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

        value, gradient = nnx.value_and_grad(loss)(module)
        optimizer.update(module, gradient)
        return value

    losses = [float(step(module, optimizer)) for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]
    trained = nn.params_of(module)
    np.testing.assert_allclose(forward(module), model.apply(trained, IDS, MASK).logits, atol=1e-5)
    np.testing.assert_array_equal(nn.get(params, "embedding/embedding"), nn.get(back, "embedding/embedding"))


def test_low_rank_adapters_can_be_put_around_its_layers(llama):
    model, params = llama
    module = model.module(params)
    for block in module.blocks:
        query = block.attention.query
        block.attention.query = nnx.LoRA(24, 2, 24, base_module=query, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(module(IDS).logits, model.apply(params, IDS).logits, atol=2e-6)
    gradient_of = nnx.grad(lambda module: module(IDS).logits.std(), argnums=nnx.DiffState(0, nnx.LoRAParam))
    gradient = nnx.jit(gradient_of)(module)
    found = jax.tree.leaves(gradient)
    assert len(found) == 2 * 3
    assert max(float(np.abs(leaf).max()) for leaf in found) > 0
    nnx.display(module)
    with pytest.raises(CheckpointError, match="missing blocks/0/mlp/up/kernel"):
        model.module({**params, "blocks": {**params["blocks"], "0": {}}})


def test_bfloat16_computes_in_bfloat16_and_stays_close(llama):
    model, params = llama
    half = nn.build(LLAMA, "bfloat16")
    exact, rough = model.apply(params, IDS, MASK), half.apply(params, IDS, MASK)
    assert rough.hidden.dtype == jnp.bfloat16
    assert rough.logits.dtype == exact.logits.dtype == jnp.float32
    scale = np.abs(exact.logits).max()
    assert 1e-5 * scale < np.abs(rough.logits - exact.logits)[MASK].max() < 3e-2 * scale
    stored_half = nn.place(params, dtype=jnp.bfloat16, keep=True)
    assert model.apply(stored_half, IDS, MASK).hidden.dtype == jnp.float32


def test_dropout_needs_a_key_and_follows_it(bert):
    model, params = bert
    plain = model.apply(params, IDS, MASK).logits
    one, two = (model.apply(params, IDS, MASK, dropout_key=jax.random.key(seed, impl="rbg")).logits for seed in (0, 1))
    again = model.apply(params, IDS, MASK, dropout_key=jax.random.key(0, impl="rbg")).logits
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - two).max() > 1e-4
    assert np.abs(one - plain).max() > 1e-4


def test_added_heads_are_drawn_from_the_seed_and_share_the_rest():
    model = nn.build({**BERT, "architectures": ["BertModel"]})
    params = model.init(0)
    wider, more = nn.add_heads(model, params, ("classifier",), seed=3)
    assert wider.heads == ("pooler", "classifier")
    assert more["pooler"] is params["pooler"]
    same = nn.add_heads(model, params, ("classifier",), seed=3)[1]
    other = nn.add_heads(model, params, ("classifier",), seed=4)[1]
    kernel = more["classifier"]["output"]["kernel"]
    np.testing.assert_array_equal(kernel, same["classifier"]["output"]["kernel"])
    assert np.abs(kernel - other["classifier"]["output"]["kernel"]).max() > 0
    assert float(np.std(kernel)) == pytest.approx(0.02, rel=0.3)
    assert wider.apply(more, IDS).logits.shape == (3, 2)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("LlamaForCausalLM", LLAMA), ("BertForSequenceClassification", BERT), ("BertForMaskedLM", BERT)],
)
def test_taps_are_what_torch_feeds_its_linear_layers(name, settings):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config_class = getattr(transformers, name[: 5 if name[0] == "L" else 4] + "Config")
    config = config_class(**{key: value for key, value in settings.items() if key not in ("model_type",)})
    torch.manual_seed(0)
    reference = getattr(transformers, name)(config).eval()
    entering = {}
    for module_name, module in reference.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda _, args, __, at=module_name: entering.update({at: args[0].detach()}))
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    checkpoint = open_checkpoint(state, config={**settings, "architectures": [name]})
    model, params = nn.load(checkpoint)
    with torch.no_grad():
        reference(torch.tensor(IDS.astype(int)), attention_mask=torch.tensor(MASK.astype(int)))
    taps = model.apply(params, IDS, MASK, taps=True).taps
    linear = [matrix for matrix in checkpoint.matrices if matrix.path.endswith("/kernel")]
    assert {matrix.name.removesuffix(".weight") for matrix in linear} <= entering.keys()
    assert len(linear) == len(entering) - (name == "BertForMaskedLM")  # the tied decoder is the embedding's matrix
    for matrix in linear:
        ours, theirs = taps[nn.tap_of(matrix.path)], entering[matrix.name.removesuffix(".weight")].numpy()
        assert ours.shape[-1] == matrix.shape[1]
        tokens = MASK if ours.ndim == 3 else slice(None)
        np.testing.assert_allclose(np.asarray(ours)[tokens], theirs[tokens], atol=2e-5)
    if name == "BertForMaskedLM":
        theirs = entering["cls.predictions.decoder"].numpy()
        np.testing.assert_allclose(np.asarray(taps["mlm/decoder/kernel"])[MASK], theirs[MASK], atol=2e-5)
