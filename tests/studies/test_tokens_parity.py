"""Scores of the tokens study beside those of other code, on a trained character GPT-2."""

import numpy as np
import pytest

from eigensweep.engine.studies.tokens.study import TokensOptions, run_tokens
from eigensweep.models import open_checkpoint

KINDS = {"OV": "ov", "w_in": "mlp_in", "w_out": "mlp_out"}
BLOCK, HEAD, NUM = 2, 1, 5


@pytest.fixture(scope="module")
def model(shared):
    """The checkpoint's folder, and torch's model."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    folder = shared / "checkpoints/gpt2-char-shakespeare"
    return folder, transformers.GPT2LMHeadModel.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def scores(model, tmp_path_factory):
    """(fold, kind) -> scores (NUM, vocab) of the first directions on the unembedding."""
    made = {}

    def run(fold):
        options = TokensOptions(
            first=NUM,
            last=0,
            tokens=65,
            num_flips=0,
            blocks=(BLOCK,),
            projection="unembedding",
            fold=fold,
            description="none",
        )
        found = run_tokens(open_checkpoint(model[0]), options, tmp_path_factory.mktemp("run") / "run")
        for kind in KINDS.values():
            head = f"head.{HEAD}." if kind == "ov" else ""
            rows = found.directions[found.directions["circuit"] == f"block.{BLOCK}.{head}{kind}"]
            side = "read" if kind == "mlp_in" else "written"
            rows = rows[(rows["side"] == side) & (rows["sign"] == 1)].sort_values("index")
            table = np.empty((NUM, 65))
            for i, (ids, values) in enumerate(zip(rows["token_ids"], rows["scores"], strict=True)):
                table[i, ids] = values
            made[fold, kind] = table

    for fold in (False, True):
        run(fold)
    return made


def agrees(ours, theirs, tolerance=2e-5):
    """Up to the sign of each direction."""
    theirs = theirs * np.sign((ours * theirs).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(ours, theirs, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("kind", KINDS)
def test_without_folding_they_are_torchs_written_out(model, scores, kind):
    """Right singular vectors of W_V W_O, W_in and W_out as they act on rows, times W_U, as Millidge and Black do."""
    import torch

    block, width = model[1].transformer.h[BLOCK], model[1].config.n_embd
    size = width // model[1].config.n_head
    own = slice(HEAD * size, HEAD * size + size)
    with torch.no_grad():
        value = block.attn.c_attn.weight[:, 2 * width :].double()
        w = {
            "OV": value[:, own] @ block.attn.c_proj.weight.double()[own],
            "w_in": block.mlp.c_fc.weight.double().T,
            "w_out": block.mlp.c_proj.weight.double(),
        }[kind]
        v = torch.linalg.svd(w)[2][:NUM]
        agrees(scores[False, KINDS[kind]], (v @ model[1].lm_head.weight.double().T).numpy())


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_transformer_lens(model, scores, kind, fold):
    """SVDInterpreter on the same model, its layer norms folded and centred or not."""
    lens = pytest.importorskip(
        "transformer_lens", reason="TransformerLens is not installed; with it this compares with its SVDInterpreter"
    )
    from transformer_lens.model_bridge import TransformerBridge

    theirs = TransformerBridge.boot_transformers(str(model[0]), device="cpu")
    theirs.enable_compatibility_mode(
        fold_ln=fold, center_writing_weights=False, center_unembed=False, fold_value_biases=False, disable_warnings=True
    )
    if not fold and kind == "w_in":
        pytest.skip("it multiplies w_in by the norm's gain even where the model is not folded")
    found = lens.SVDInterpreter(theirs).get_singular_vectors(kind, BLOCK, num_vectors=NUM, head_index=HEAD)
    agrees(scores[fold, KINDS[kind]], found[:, 0].detach().double().numpy().T, 3e-4)  # its own are float32
