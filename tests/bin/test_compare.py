"""eigensweep-compare as its user runs it."""

import pytest

from eigensweep.engine import open_comparison


@pytest.fixture(scope="module")
def edited(gpt2, tmp_path_factory):
    """The tiny GPT-2 with a direction added to one matrix."""
    import shutil

    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(gpt2, tmp_path_factory.mktemp("edited") / "tuned")
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("h.1.mlp.c_fc.weight"))
    rng = np.random.default_rng(0)
    u, v = (rng.standard_normal(size) for size in tensors[name].shape)
    tensors[name] = tensors[name] + np.outer(u, v).astype(tensors[name].dtype)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_checkpoints_are_swept_and_compared_and_their_runs_again(gpt2, edited, tmp_path, program):
    workdir = tmp_path / "out"
    done = program("compare", f"--checkpoint={gpt2}", f"--checkpoint={edited}", f"--workdir={workdir}").succeeded()
    assert f"{gpt2.name} -> tuned: 14 pairs (14 by name)" in done.stdout
    found = open_comparison(workdir)
    moved = found.moved.set_index("name")["num_directions"]
    assert moved[moved > 0].to_dict() == {"transformer.h.1.mlp.c_fc.weight": 1}
    assert (workdir / "report.html").is_file()
    runs = [f"--run={path}" for path in sorted((workdir / "runs").iterdir())]
    words = ["--config=compare_attention_mlp", f"--workdir={tmp_path / 'groups'}", "--noreport", *runs]
    assert "2 blocks" in program("compare", *words).succeeded().stdout
    program("compare", *runs, f"--workdir={workdir}").refused(str(workdir), "holds another compare")
    other = program("compare", *runs, f"--workdir={tmp_path / 'no'}", "--config.roles=pooler")
    other.refused("nothing matches among roles=pooler")
    assert not (tmp_path / "no").exists()


def test_wrong_use_is_told_in_a_line(tmp_path, program):
    for words, says in (
        ([], "0 runs are no comparison"),
        ([f"--run={tmp_path}"], "1 runs are no comparison"),
        ([f"--run={tmp_path}"] * 2, "no --workdir given"),
        ([f"--run={tmp_path}"] * 2 + ["--workdir=out"], f"{tmp_path}: not the run directory of a finished sweep"),
        (["--config.other_roles=mlp"], "give roles, too"),
        (["--config.agianst=first"], "Did you mean"),
        (["--config.against=last"], "expected one of first, previous"),
    ):
        program("compare", *words, cwd=tmp_path).refused(says)
    assert list(tmp_path.iterdir()) == []
