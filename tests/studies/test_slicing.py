"""The slicing study: its numbers against models put together by hand, stopped and continued; the command."""

import jax
import numpy as np
import pytest

from eigensweep.engine import RunError
from eigensweep.engine.studies.slicing import SliceOptions, figures_of, open_slicing, run_slicing, view_of
from eigensweep.engine.studies.slicing.slicer import open_slicer
from eigensweep.engine.studies.slicing.summary import render
from eigensweep.models import CheckpointError, nn, open_checkpoint

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def stories(shared):
    return open_checkpoint(shared / "checkpoints" / "llama-stories260k")


@pytest.fixture(scope="module")
def options(shared, tmp_path_factory):
    text = tmp_path_factory.mktemp("text") / "tinyshakespeare.txt"  # a tenth: all that is not measured calibrates
    text.write_text((shared / "text" / "tinyshakespeare.txt").read_text()[:100_000])
    return SliceOptions(
        data=str(text), data_from=0.99, length=32, max_rows=6, batch_size=8,
        calibration_rows=8, keep=(75,), num_draws=1, num_resamples=50,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("slicing")


@pytest.fixture(scope="module")
def study(stories, options, program, folder):
    """Begun here, stopped after two models, and finished by the command, which writes the smaller model."""

    def stop(progress):
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_slicing(stories, options, folder / "run", stop)
    names = set(vars(options)) - {name for name, f in options.by_name().items() if f.default == getattr(options, name)}
    values = {name: getattr(options, name) for name in names} | {"keep": "75"}
    arguments = [f"--checkpoint={stories.source.directory}", f"--workdir={folder / 'run'}", "--noreport"]
    arguments += [
        f"--write_checkpoint={folder / 'small'}",
        *(f"--config.{key}={value}" for key, value in values.items()),
    ]
    for out, says in ((folder, "holds the workdir"), ("/dev/null/small", "/dev/null/small: cannot be written")):
        program("slice", *arguments, "--width=48", f"--write_checkpoint={out}").refused(says)
    program("slice", *arguments, "--width=50").refused("width 50: expected a multiple of the 8 heads from 8 to 64")
    done = program("slice", *arguments, "--width=48").succeeded()
    assert "of 2 in" in done.stderr + done.stdout  # what is left to do
    return open_slicing(folder / "run")


def test_the_table_holds_every_model(study):
    table = study.results.set_index(["method", "width"])
    members = [("baseline", 64), ("covariance", 48), ("random", 48), ("singular values", 48)]
    assert list(table.index) == members
    assert table.loc[members[0], "change"] == 0
    assert table.loc[("covariance", 48), "energy"] > table.loc[("random", 48), "energy"]
    # embedding, unembedding, blocks and norms of 3/4 of the width
    assert table.loc[("covariance", 48), "parameters"] == 0.75 * table.loc[("baseline", 64), "parameters"]
    assert table.loc[("singular values", 48), "parameters"] <= table.loc[("covariance", 48), "parameters"]
    assert study.axes["eval"].sum() == pytest.approx(64)
    assert study.manifest["evaluation"]["calibration"]["said"].endswith("from 0 % to 99 % of tinyshakespeare.txt")
    change, low, high = study.contrast(48)
    assert low <= change <= high
    ours, theirs = (table.loc[(method, 48), "change"] for method in ("covariance", "singular values"))
    assert change == pytest.approx(ours - theirs)


def test_singular_values_are_cut_where_two_factors_weigh_as_much(stories, options):
    slicer = open_slicer(stories, options)
    replaced, parameters, kept = slicer._truncated(0.75)
    one = next(matrix for matrix in stories.matrices if matrix.role == "mlp_down")  # 64 x 172: 34 of 64 values
    u, s, vt = np.linalg.svd(one.read().astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(replaced[one.name], (u[:, :34] * s[:34]) @ vt[:34], atol=1e-6)
    sizes = {m.name: (m.shape, 2 if m.role == "embedding" else 1) for m in stories.matrices}  # tied: counted twice
    ranks = {name: int(0.75 * m * n / (m + n)) for name, ((m, n), _) in sizes.items()}
    norms = 64 * (2 * 5 + 1)
    assert parameters == norms + sum(k * ranks[name] * sum(shape) for name, (shape, k) in sizes.items())
    assert 0 < kept < 1


def test_a_run_of_other_options_is_refused(stories, options, study):
    with pytest.raises(RunError, match="keep"):
        run_slicing(stories, SliceOptions(**vars(options) | {"keep": (50,)}), study.directory)


def test_its_text_page_and_figures(study):
    text = render(study)
    assert "removing singular values at equal parameters" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
    view = view_of(study)
    assert len(view.tables[0].rows) == 3
    loss, accuracy, evals = view.data["charts"]
    assert "loss" in loss["seen"]
    assert accuracy["seen"].startswith("Accuracy at width 48: ")
    assert "interval" not in evals["note"]
    assert view.data["charts"][0]["heading"] == "Change of the loss by width"
    figures_of(study)["slicing_loss"]()


def test_wrong_use_is_said(stories, options, gpt2):
    for changes, words in (
        ({"keep": ()}, "expected per cents"),
        ({"keep": (0,)}, "expected per cents"),
        ({"stream": True}, "neither stream nor devices"),
    ):
        with pytest.raises(ValueError, match=words):
            SliceOptions(**vars(options) | changes)
    with pytest.raises(CheckpointError, match="gpt2 cannot be sliced: its norms are LayerNorms"):
        open_slicer(open_checkpoint(gpt2), options)
    with pytest.raises(RunError, match="leave a part of the data over"):
        open_slicer(stories, SliceOptions(**vars(options) | {"data_from": 0.0}))


def test_the_command_wrote_the_model_that_was_measured(stories, options, study, folder):
    model, params = nn.load(open_checkpoint(folder / "small"))
    assert (model.architecture.width, model.architecture.head_dim, model.architecture.tied) == (48, 8, False)
    rows = open_slicer(stories, options).opened.rows
    measured = study.rows.set_index(["method", "width"]).loc[("covariance", 48), "row_loss"]
    np.testing.assert_allclose(nn.score(model, params, rows, 8).loss, measured, atol=1e-5)
