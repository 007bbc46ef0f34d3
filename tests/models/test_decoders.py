"""Every decoder known by name: role, block, expert and orientation against what torch's own modules compute."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from eigensweep.models import load_params, open_checkpoint

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


def beside(name):
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DECODERS = beside("tiny_decoders").DECODERS
witnesses = beside("witness").witnesses


def key_of(matrix):
    """The role, told apart where several matrices of a block have none of their own."""
    other = f"/{matrix.path.split('/')[-2]}" if matrix.role == "other" else ""
    return (matrix.block, matrix.role + other, matrix.expert)


@pytest.fixture(scope="module")
def decoders(tmp_path_factory):
    """decoders(name) -> (torch model in float64, folder as transformers saves it); every weight is random."""
    transformers.logging.set_verbosity_error()
    made = {}

    def make(name):
        if name not in made:
            model_class, config_class, config = DECODERS[name]
            torch.manual_seed(0)
            model = getattr(transformers, model_class)(getattr(transformers, config_class)(**config)).eval()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0.2, 0.1)
            folder = tmp_path_factory.mktemp(name)
            model.double().save_pretrained(folder)
            made[name] = (model, folder)
        return made[name]

    return make


def opened(decoders, name, naming):
    """As the hub's files name the tensors, and as the modules of transformers do."""
    model, folder = decoders(name)
    if naming == "published":
        return open_checkpoint(folder)
    config = json.loads((folder / "config.json").read_text())
    return open_checkpoint(model.state_dict(), config=config)


@pytest.mark.parametrize("name", DECODERS)
def test_every_matrix_is_what_torch_applies(decoders, name, monkeypatch):
    model, _ = decoders(name)
    seen = witnesses(model, monkeypatch)
    for naming in ("published", "modules"):
        text = [m for m in opened(decoders, name, naming).matrices if m.tower != "vision" and m.role != "convolution"]
        matrices = {key_of(matrix): matrix for matrix in text}
        assert len(matrices) == len(text)
        assert {(m.guessed, m.tower) for m in text} == {(False, "text" if "vision_config" in DECODERS[name][2] else "")}
        if model.config.tie_word_embeddings:
            seen.pop((None, "unembedding", None), None)
        assert set(matrices) == set(seen)
        for key, (x, y) in seen.items():
            w = matrices[key].read()
            assert w.shape == (len(y), len(x)), key
            np.testing.assert_allclose(w @ x, y, rtol=1e-5, err_msg=str(key))


@pytest.mark.parametrize("naming", ["published", "modules"])
@pytest.mark.parametrize("name", DECODERS)
def test_every_parameter_has_its_leaf_and_its_reason(decoders, name, naming):
    model, _ = decoders(name)
    checkpoint = opened(decoders, name, naming)
    assert checkpoint.warnings == ()
    load_params(checkpoint)  # refuses what is missing or unexpected
    stored = sum(p.numel() for p in model.parameters())
    stored += sum(b.numel() for key, b in model.state_dict().items() if key.endswith("e_score_correction_bias"))
    assert sum(leaf.read().size for leaf in checkpoint.leaves) == stored
    swept = {checkpoint.plan.cuts[matrix.name].tensor.name for matrix in checkpoint.matrices}
    left_out = {skipped.name for skipped in checkpoint.skipped}
    assert swept | left_out == {*checkpoint.source.tensors, *checkpoint.source.aliases}
    assert not swept & left_out


@pytest.mark.parametrize("name", [name for name in DECODERS if "vision_config" in DECODERS[name][2]])
def test_towers_of_images_are_swept_with_guessed_roles(decoders, name):
    checkpoint = open_checkpoint(decoders(name)[1])
    vision = [m for m in checkpoint.matrices if m.tower == "vision"]
    assert {"mlp_up", "attention_output"} & {m.role for m in vision}
    known = {m.name for m in vision if not m.guessed}
    assert known == {"multi_modal_projector.mm_input_projection_weight"} & {m.name for m in vision}
    assert not {leaf.path.split("/")[0] for leaf in checkpoint.leaves} & {"vision_tower", "visual", "model"}


def test_gemmas_projector_lies_in_out(decoders):
    """Its module multiplies from the left: y = x W."""
    model, folder = decoders("gemma3-images")
    (matrix,) = [m for m in open_checkpoint(folder).matrices if m.name.endswith("mm_input_projection_weight")]
    x = np.random.default_rng(0).standard_normal(16)
    y = torch.matmul(torch.tensor(x), model.model.multi_modal_projector.mm_input_projection_weight.detach())
    np.testing.assert_allclose(matrix.read() @ x, y)
