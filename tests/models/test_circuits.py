"""Circuits against the weights cut by hand, and against what torch's modules do with the stream."""

import numpy as np
import pytest

from eigensweep.models import open_checkpoint
from eigensweep.models.circuits import Address, AddressError, open_circuits, open_projection
from eigensweep.models.errors import CheckpointError
from eigensweep.models.synth import write_synthetic

D, MLP, VOCAB = 24, 40, 30
SIZES = {
    "hidden_size": D,
    "intermediate_size": MLP,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCAB,
    "max_position_embeddings": 16,
}
CONFIGS = {
    "gpt2": {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": D, "n_layer": 2, "n_head": 4,
        "n_positions": 16, "vocab_size": VOCAB,
    },
    "gpt_neox": {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], **SIZES},
    "opt": {
        "model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": D, "ffn_dim": MLP,
        "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": VOCAB, "max_position_embeddings": 16,
        "word_embed_proj_dim": D,
    },
    "llama": {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], **SIZES, "num_key_value_heads": 2,
        "tie_word_embeddings": False,
    },
    "gemma2": {
        "model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], **SIZES, "num_key_value_heads": 2,
        "head_dim": 6, "query_pre_attn_scalar": 6,
    },
    "qwen3": {
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], **SIZES, "num_key_value_heads": 2, "head_dim": 6,
        "tie_word_embeddings": True,
    },
    "bert": {"model_type": "bert", "architectures": ["BertForMaskedLM"], **SIZES, "type_vocab_size": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Family -> (checkpoint, its torch model): noise everywhere, norms and biases included."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "model"
            write_synthetic(folder, CONFIGS[name], dtype="float32", spikes=0)
            torch.manual_seed(0)
            (model_class,) = CONFIGS[name]["architectures"]
            model = getattr(transformers, model_class).from_pretrained(folder, attn_implementation="eager").eval()
            with torch.no_grad():
                for tensor in model.parameters():
                    tensor.add_(0.3 * torch.randn_like(tensor))
            model.save_pretrained(folder)
            made[name] = open_checkpoint(folder), model
        return made[name]

    return make


def stream(model, count=5):
    """Vectors that may stand in the residual stream."""
    import torch

    return torch.randn(count, D, generator=torch.Generator().manual_seed(1))


def blocks_of(model):
    inner = model.base_model
    if hasattr(inner, "decoder"):
        inner = inner.decoder
    return getattr(inner, "h", None) or getattr(inner, "layers", None) or inner.encoder.layer


def kinds(reader, block=1):
    return {circuits.kind: circuits for circuits in reader.read(block)}


PARTS = {
    "gpt2": ("ln_1", "attn", "ln_2", "mlp.c_fc"),
    "gpt_neox": ("input_layernorm", "attention", "post_attention_layernorm", "mlp.dense_h_to_4h"),
    "opt": ("self_attn_layer_norm", "self_attn", "final_layer_norm", "fc1"),
    "llama": ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp.up_proj"),
    "gemma2": ("input_layernorm", "self_attn", "pre_feedforward_layernorm", "mlp.up_proj"),
    "qwen3": ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp.up_proj"),
}


def scalar_of(norm, x):
    """What the norm divides each vector by."""
    import torch

    name = type(norm).__name__
    eps = getattr(norm, "eps", None) or getattr(norm, "variance_epsilon", None)
    if name == "LayerNorm":
        return torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + eps)
    return torch.sqrt((x * x).mean(-1, keepdim=True) + eps)


@pytest.mark.parametrize("family", PARTS)
def test_what_reads_the_mlp_reads_behind_its_norm(models, family):
    """up(norm(x)) of torch is W x over the norm's scalar plus the bias, W with everything folded in."""
    checkpoint, model = models(family)
    _, _, norm, up = PARTS[family]
    block, x = blocks_of(model)[1], stream(model)
    norm = block.get_submodule(norm)
    found = kinds(open_circuits(checkpoint))["mlp_in"]
    expected = block.get_submodule(up)(norm(x)).detach().numpy()
    ours = (x / scalar_of(norm, x)).detach().numpy() @ found.matrix(0).T
    ours = ours + found.biases.get("up", 0.0)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("family", PARTS)
def test_ov_circuits_are_what_attention_writes_of_one_token(models, family):
    """A token that attends to itself alone: attention(norm x) is the sum of all OV circuits over the norm's scalar,
    plus W_O of the value bias, plus the output's bias."""
    import torch

    checkpoint, model = models(family)
    norm, attention, _, _ = PARTS[family]
    block, x = blocks_of(model)[1], stream(model)
    norm, attention = block.get_submodule(norm), block.get_submodule(attention)
    found = kinds(open_circuits(checkpoint))["ov"]
    keywords = {}
    if family in ("gpt_neox", "llama", "gemma2", "qwen3"):
        positions = torch.zeros(len(x), 1, dtype=torch.long)
        keywords["position_embeddings"] = model.base_model.rotary_emb(x[:, None], positions)
        keywords["attention_mask"] = None
    with torch.no_grad():
        written = attention(norm(x)[:, None], **keywords)[0][:, 0]
    if family == "gemma2":  # the norm behind attention, up to its scalar
        gain = 1 + block.post_attention_layernorm.weight
        written = written * gain
    ours = np.zeros((len(x), D))
    inputs = (x / scalar_of(norm, x)).detach().numpy()
    for h in range(len(found.heads)):
        ours += inputs @ found.matrix(h).T
        if "value" in found.biases:
            ours += found.left[h] @ found.biases["value"][h]
    np.testing.assert_allclose(ours + found.biases.get("output", 0.0), written.detach().numpy(), rtol=0, atol=5e-5)


@pytest.mark.parametrize("family", ["gpt2", "opt"])
def test_qk_circuits_are_the_scores(models, family):
    """Attention weights of torch are the softmax of x_q^T QK x_k / sqrt(head_dim) and the biases' terms."""
    import torch

    checkpoint, model = models(family)
    norm, attention, _, _ = PARTS[family]
    block, x = blocks_of(model)[1], stream(model)
    norm, attention = block.get_submodule(norm), block.get_submodule(attention)
    found = kinds(open_circuits(checkpoint))["qk"]
    with torch.no_grad():
        weights = attention(norm(x)[None], output_attentions=True)[1][0].numpy()
    z = (x / scalar_of(norm, x)).numpy()
    for h in range(4):
        query = z @ found.left[h] + found.biases["query"][h]
        key = z @ found.right[h].T + found.biases["key"][h]
        scores = query @ key.T / np.sqrt(D // 4)
        bilinear = z @ found.matrix(h) @ z.T
        np.testing.assert_allclose((z @ found.left[h]) @ (z @ found.right[h].T).T, bilinear, atol=1e-10)
        expected = np.exp(scores - scores.max(-1, keepdims=True))  # its own call masks nothing
        np.testing.assert_allclose(expected / expected.sum(-1, keepdims=True), weights[h], atol=1e-5)


def test_grouped_queries_share_keys_and_values(models):
    checkpoint, model = models("llama")
    found = kinds(open_circuits(checkpoint, fold=False))
    attention = blocks_of(model)[1].self_attn
    w_q, w_k, w_v, w_o = (
        getattr(attention, f"{name}_proj").weight.detach().numpy().astype(np.float64) for name in "qkvo"
    )
    assert found["ov"].kv_heads == (0, 0, 1, 1)
    for h in range(4):
        own, shared = slice(6 * h, 6 * h + 6), slice(6 * (h // 2), 6 * (h // 2) + 6)
        np.testing.assert_allclose(found["ov"].matrix(h), w_o[:, own] @ w_v[shared], atol=1e-12)
        np.testing.assert_allclose(found["qk"].matrix(h), w_q[own].T @ w_k[shared], atol=1e-12)


def test_normed_queries_and_keys_are_read_alone(models):
    checkpoint, model = models("qwen3")
    reader = open_circuits(checkpoint)
    found = kinds(reader)
    assert "qk" not in found
    assert found["q"].right.shape == (4, 6, D)
    assert found["k"].right.shape == (2, 6, D)
    assert any("no bilinear form" in note for note in reader.notes)
    block = blocks_of(model)[1]
    x = stream(model)
    attention, norm = block.self_attn, block.input_layernorm
    queries = attention.q_norm(attention.q_proj(norm(x)).view(-1, 4, 6)).detach().numpy()
    ours = np.einsum("td,hrd->thr", x.numpy(), found["q"].right)
    cosine = (ours * queries).sum(-1) / np.linalg.norm(ours, axis=-1) / np.linalg.norm(queries, axis=-1)
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_an_encoder_has_nothing_to_fold(models):
    checkpoint, model = models("bert")
    found = kinds(open_circuits(checkpoint))
    layer = blocks_of(model)[1]
    np.testing.assert_allclose(found["mlp_in"].matrix(0), layer.intermediate.dense.weight.detach().numpy(), atol=1e-7)
    for a, b in zip(kinds(open_circuits(checkpoint, fold=False)).values(), found.values(), strict=True):
        np.testing.assert_array_equal(a.right, b.right)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "gpt_neox"])
def test_the_unembedding_reads_the_stream_through_the_final_norm(models, family):
    """Logits of torch are those of the folded rows over the final norm's scalar, up to the norm's shift."""
    checkpoint, model = models(family)
    inner, x = model.base_model, stream(model)
    norm = next(n for name in ("ln_f", "norm", "final_layer_norm") if (n := getattr(inner, name, None)) is not None)
    head = model.get_output_embeddings()
    shift = norm.bias if getattr(norm, "bias", None) is not None else 0.0
    expected = head(norm(x) - shift).detach().numpy()
    projection = open_projection(checkpoint, "unembedding")
    scaled = (x / scalar_of(norm, x)).detach().numpy()
    np.testing.assert_allclose(scaled @ projection.rows().T, expected, atol=2e-4)
    by_direction = projection.onto_table(scaled) @ np.asarray(projection.table, np.float64).T
    np.testing.assert_allclose(by_direction, expected, atol=2e-4)


def test_an_encoder_without_a_head_has_no_unembedding(models, tmp_path):
    checkpoint, _ = models("bert")
    assert open_projection(checkpoint, "unembedding").table.shape == (VOCAB, D)
    write_synthetic(tmp_path / "bare", CONFIGS["bert"] | {"architectures": ["BertModel"]}, dtype="float32", spikes=0)
    bare = open_checkpoint(tmp_path / "bare")
    with pytest.raises(CheckpointError, match="take projection=embedding"):
        open_projection(bare, "unembedding")


@pytest.mark.parametrize("text", ["block.3.head.2.ov:1", "block.0.mlp_out", "block.11.head.0.qk", "block.2.mlp_in:40"])
def test_addresses_are_read_as_they_are_written(text):
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("block.3.head.2.ov:0", "directions count from 1"),
        ("block.3.ov:1", "ov needs a head"),
        ("block.3.head.1.mlp_in", "mlp_in has no heads"),
        ("block.3.head.2.vo", "kinds are ov"),
        ("3.2.ov", "no address"),
        ("block.-1.mlp_in", "no address"),
        ("block.9999999999.mlp_in", "no address"),
    ],
)
def test_what_is_no_address_is_refused(text, says):
    with pytest.raises(AddressError, match=says):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("block.2.mlp_in", "it has blocks 0 to 1"),
        ("block.1.head.4.ov", "it has heads 0 to 3"),
        ("block.1.head.0.ov:7", "its directions are 1 to 6"),
        ("block.1.mlp_gate:1", "the block has ov, qk, mlp_in, mlp_out"),
    ],
)
def test_what_the_model_has_not_is_refused(models, text, says):
    reader = open_circuits(models("gpt2")[0])
    assert reader.find(Address.parse("block.1.head.3.ov:6")).r == 6
    with pytest.raises(CheckpointError, match=says):
        reader.find(Address.parse(text))


def test_a_family_without_circuits_is_refused(tmp_path):
    config = {
        "model_type": "vit", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 8, "patch_size": 4,
    }  # fmt: skip
    write_synthetic(tmp_path / "vit", config, dtype="float32", spikes=0)
    with pytest.raises(CheckpointError, match="model_type 'vit' has no circuits"):
        open_circuits(open_checkpoint(tmp_path / "vit"))


def test_the_number_of_heads_is_not_guessed(models):
    checkpoint, _ = models("gpt2")
    arrays = {name: tensor.read() for name, tensor in checkpoint.source.tensors.items()}
    bare = open_checkpoint(arrays)
    assert bare.architecture == "gpt2"
    with pytest.raises(CheckpointError, match="how many heads"):
        open_circuits(bare)
