"""`import eigensweep`: one function from any model to its run, and what a run shows of itself."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import eigensweep as es
from eigensweep.engine.run.progress import Progress
from eigensweep.progress import lines

OPTIONS = {"progress": False, "control": "none", "equalise": False, "num_flips": 0}


@pytest.fixture(scope="module")
def torch_gpt2():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        n_embd=24, n_layer=2, n_head=3, n_positions=16, vocab_size=40, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


@pytest.fixture(scope="module")
def run(gpt2):
    return es.sweep(gpt2, progress=False)


def swept(*args, **kwargs):
    """A run, and what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return es.sweep(*args, **OPTIONS, **kwargs), [str(w.message) for w in caught]


def test_names_complete_and_importing_is_light():
    code = (
        "import sys, eigensweep; assert not {'jax', 'numpy', 'pandas'} & set(sys.modules); "
        "assert {'sweep', 'open_run', 'engine', 'models', '__version__'} <= set(dir(eigensweep)); "
        "assert eigensweep.__doc__ and eigensweep.__version__[0].isdigit(); assert eigensweep.sweep.__doc__; "
        "assert all(getattr(eigensweep, name) is not None for name in dir(eigensweep))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    with pytest.raises(AttributeError, match="no attribute 'swep'"):
        es.swep  # noqa: B018


def test_a_live_torch_model_is_read_by_its_config(torch_gpt2):
    found, said = swept(torch_gpt2)
    assert not said
    by_name = {m.name: m for m in found.checkpoint.matrices}
    assert len(by_name) == len(found.matrices) == 2 + 2 * 6
    block = torch_gpt2.transformer.h[0]
    stored = block.attn.c_attn.weight.detach().numpy()
    x = np.random.default_rng(0).standard_normal(24).astype(np.float32)
    for i, share in enumerate(("query", "key", "value")):
        w = by_name[f"transformer.h.0.attn.c_attn.weight:{share}"].read()
        np.testing.assert_allclose(w @ x, (x @ stored)[24 * i : 24 * (i + 1)], rtol=1e-5, atol=1e-6)
    assert found.matrices.set_index("name").loc["transformer.h.0.mlp.c_fc.weight", "m"] == 96


def test_a_state_dict_gives_the_same_with_and_without_config(torch_gpt2):
    whole, _ = swept(torch_gpt2)
    given, said = swept(torch_gpt2.state_dict(), config=torch_gpt2.config)
    assert not said
    inferred, said = swept(torch_gpt2.state_dict())
    assert any("GPT-2" in text for text in said)
    for other in (given, inferred):
        assert other.matrices.equals(whole.matrices)


def test_an_nnx_module():
    from flax import nnx

    class Model(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.embed = nnx.Embed(20, 16, rngs=rngs)
            self.attention = nnx.MultiHeadAttention(num_heads=2, in_features=16, rngs=rngs, decode=False)
            self.up_proj = nnx.Linear(16, 32, rngs=rngs)

    model = Model()
    found, said = swept(model)
    assert any("architecture is unknown" in text for text in said)
    matrices = {m.name: m for m in found.checkpoint.matrices}
    assert set(matrices) == {"embed.embedding", "up_proj.kernel"} | {
        f"attention.{share}.kernel" for share in ("query", "key", "value", "out")
    }
    x = np.random.default_rng(1).standard_normal(16).astype(np.float32)
    np.testing.assert_allclose(
        matrices["attention.query.kernel"].read() @ x,
        np.asarray(model.attention.query(x)).ravel(),
        rtol=1e-4,
        atol=1e-5,
    )
    heads = x.reshape(2, 8)
    np.testing.assert_allclose(
        matrices["attention.out.kernel"].read() @ x, np.asarray(model.attention.out(heads)), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        matrices["up_proj.kernel"].read() @ x, np.asarray(model.up_proj(x)), rtol=1e-4, atol=1e-5
    )


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="int is no checkpoint: expected a path, a hub id"):
        es.sweep(3, progress=False)
    with pytest.raises(TypeError, match="config is int"):
        es.sweep({"w": np.eye(3)}, config=3, progress=False)
    with pytest.raises(ValueError, match="did you mean control"):
        es.sweep({"w": np.eye(3)}, contro="none", progress=False)


def test_vectors_are_the_matrix_s_own(run):
    name = "transformer.h.1.mlp.c_fc.weight"
    w = next(m for m in run.checkpoint.matrices if m.name == name).read().astype(np.float64)
    for k in (0, 3, -1):
        u, s, v = run.vectors(name, k)
        np.testing.assert_allclose(w @ v, s * u, atol=1e-12)
        np.testing.assert_allclose(s, np.linalg.svd(w, compute_uv=False)[k], rtol=1e-9)
    assert run.vectors(name, slice(0, 3)).u.shape == (96, 3)
    with pytest.raises(es.RunError, match=r"no matrix 'transformer.h.1.mlp.c_fc.weigh'.*did you mean"):
        run.vectors("transformer.h.1.mlp.c_fc.weigh")


def test_vectors_of_a_read_run_open_the_checkpoint_again(gpt2, tmp_path):
    import shutil

    copy = tmp_path / "model"
    shutil.copytree(gpt2, copy)
    es.sweep(copy, tmp_path / "run", roles="query", **OPTIONS)
    read = es.open_run(tmp_path / "run")
    name = read.matrices["name"][0]
    np.testing.assert_allclose(read.vectors(name).s, read.spectra["singular_values"][0][0], rtol=1e-9)
    blob = bytearray((copy / "model.safetensors").read_bytes())
    blob[-1] ^= 1
    (copy / "model.safetensors").write_bytes(blob)
    with pytest.raises(es.RunError, match="its content has changed"):
        es.open_run(tmp_path / "run").vectors(name)


@pytest.mark.parametrize(
    "what", [{"role": "query"}, {"role": "mlp_up", "kind": "p_values"}, {"kind": "ranks"}, {"kind": "map"}]
)
def test_plot_is_a_picture(run, what):
    figure = run.plot(**what)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.axes


def test_plot_of_one_matrix_shows_that_one(run):
    name = "transformer.h.1.mlp.c_fc.weight"
    texts = " ".join(text.get_text() for text in run.plot(name=name).texts)
    assert "transformer.h.1.mlp.c_fc.weight" in texts


def test_plot_says_what_there_is(run):
    with pytest.raises(es.RunError, match=r"no role 'mpl_up'.*mlp_up"):
        run.plot(role="mpl_up")
    with pytest.raises(ValueError, match="kind is 'violin'; expected one of spectrum"):
        run.plot(role="query", kind="violin")
    with pytest.raises(ValueError, match="role='embedding'"):
        run.plot()


def test_a_run_shows_itself_and_compares(run, torch_gpt2):
    shown = run._repr_html_()
    assert "<table>" in shown
    assert "mlp_up" in shown
    assert "<li title=" in shown
    page = run.report(height=700)
    assert page.html.startswith("<!doctype html>")
    assert "height:700px" in page._repr_html_()
    assert "<script" not in page._repr_html_()  # all of it is inside the frame's attribute
    other = es.sweep(torch_gpt2, progress=False)
    table = run.compare(other)
    assert list(table.index) == list(run.summary().role)
    for i, one in enumerate((run, other)):
        median = one.matrices.groupby("role").stable_rank.median()
        np.testing.assert_allclose(table["stable rank, median"].iloc[:, i], median[table.index])
    with pytest.raises(ValueError, match="at least one other"):
        run.compare()


def test_progress_names_phases_and_never_stands_still(gpt2, capsys):
    seen = []
    es.sweep(gpt2, progress=lambda p: seen.append((p.phase, p.what, p.done)), control="none")
    assert [phase for phase, _, _ in seen][:3] == ["hashing the checkpoint", "reading", "compiling and decomposing"]
    assert seen[2][1].endswith("24 x 24") or " x " in seen[2][1]
    assert seen[-1][2] == 14
    report = lines()
    report(Progress(0, 0, 0.0, 0.0, phase="hashing the checkpoint"))
    report(Progress(0, 4, 0.0, 4.0, "2 of 3 x 3", "decomposing"))
    report(Progress(1, 4, 1.0, 4.0, "2 of 3 x 3", "decomposing"))  # too soon for a line
    report(Progress(4, 4, 4.0, 4.0, "2 of 3 x 3", "decomposing"))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert said[0].endswith("hashing the checkpoint")
    assert said[1].startswith("0 of 4")
    assert said[2].startswith("4 of 4")
