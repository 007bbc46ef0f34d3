"""Random models of transformers' torch classes, and ours held against them."""

import numpy as np
import pytest

from eigensweep.models import open_checkpoint
from eigensweep.models.nn import load

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 2e-4
BATCH = 4
BASE = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": None,
    "eos_token_id": None,
}


def torch_model(class_name, config_name, settings):
    """A random model with weights large enough that every part of it matters."""
    torch.manual_seed(0)
    config = getattr(transformers, config_name)(**settings)
    model = getattr(transformers, class_name)._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.3 if parameter.ndim == 1 else 0.15) * torch.randn_like(parameter))
    return model, {**config.to_dict(), "architectures": [class_name]}


def padded(num_tokens, side):
    """Masks with rows of four lengths, padded on one side."""
    lengths = np.array([num_tokens, num_tokens - 1, num_tokens // 2, 2])
    mask = np.arange(num_tokens) < lengths[:, None]
    return mask if side == "right" else mask[:, ::-1].copy()


def worst(ours, theirs, mask=None):
    difference = np.abs(np.asarray(ours) - theirs.numpy())
    return float((difference if mask is None else difference[mask]).max())


def inputs(config, num_tokens, side):
    """The same batch for torch (positions spelled out) and for us."""
    rng = np.random.default_rng(0)
    mask = padded(num_tokens, side)
    ids = np.where(mask, rng.integers(2, 97, mask.shape), config["pad_token_id"] or 0).astype(np.int32)
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
    theirs = {"input_ids": ids, "attention_mask": mask.astype(int), "position_ids": positions}
    types = None
    if config["model_type"] in ("bert", "roberta", "electra"):
        types = rng.integers(0, config["type_vocab_size"], mask.shape).astype(np.int32)
        theirs["token_type_ids"] = types.astype(int)
    if config["model_type"] == "roberta":
        theirs["position_ids"] = positions + config["pad_token_id"] + 1
    return (ids, mask, types), {name: torch.tensor(array) for name, array in theirs.items()}


def check(class_name, config_name, settings, num_tokens):
    """Hidden states and outputs of a random model, padded on either side, are those of transformers."""
    reference, config = torch_model(class_name, config_name, settings)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    model, params = load(open_checkpoint(state, config=config))
    for side in ("right", "left"):
        (ids, mask, types), theirs = inputs(config, num_tokens, side)
        with torch.no_grad():
            expected = reference(**theirs, output_hidden_states=True)
        output = model.apply(params, ids, mask, type_ids=types, hidden_states=True, taps=("stream",))
        assert len(output.hidden_states) == len(expected.hidden_states)
        for ours, layer in zip(output.hidden_states, expected.hidden_states, strict=True):
            assert worst(ours, layer, mask) < TOLERANCE
        for i, layer in enumerate(expected.hidden_states[:-1]):  # the last one is normed
            assert worst(output.taps[f"blocks/{i}/stream/before"], layer, mask) < TOLERANCE
        whole = slice(None if side == "right" else 1)  # elsewhere transformers pools a padding token
        if config["model_type"] == "bert" and class_name.endswith("Model"):
            assert worst(output.pooled[whole], expected.pooler_output[whole]) < TOLERANCE
        elif "Classification" in class_name:
            assert worst(output.logits[whole], expected.logits[whole]) < TOLERANCE
            assert output.logits.shape == (
                BATCH,
                config["num_labels"] if "num_labels" in config else len(config["id2label"]),
            )
        elif not class_name.endswith("Model"):
            assert worst(output.logits, expected.logits, mask) < TOLERANCE
