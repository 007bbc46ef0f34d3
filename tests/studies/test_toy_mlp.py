"""Small networks: the study against its own parts, what it resumes, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

from eigensweep.engine.report import chart_figure, registry, style
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.sweep.study import sweep
from eigensweep.engine.studies.toy_mlp import REPORTED, TOY, charts, means
from eigensweep.engine.studies.toy_mlp.charts import _by_regime
from eigensweep.engine.studies.toy_mlp.options import ToyMlpOptions
from eigensweep.engine.studies.toy_mlp.study import open_toy_mlp, run_toy_mlp
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import open_checkpoint
from eigensweep.models.data import DataError

SMALL = {
    "widths": (12, 8), "max_train": 200, "epochs": 2, "seeds": (0, 1), "batch_sizes": (20, 50), "layers": (1,),
    "alphas": (2.0,), "removed": (0, 50), "gain": 1.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run_toy_mlp(ToyMlpOptions(**SMALL), tmp_path_factory.mktemp("toy") / "run")


def test_tables_have_a_row_for_everything(done):
    assert len(done.networks) == 4
    assert len(done.history) == 4 * 2
    assert len(done.removals) == 4 * 2 * 2
    assert sorted(done.matrices["at"]) == ["end"] * 4 + ["start"] * 2
    assert (done.matrices["status"] == "ok").all()
    trained = done.matrices[done.matrices["at"] == "end"]
    assert (trained["moved"] > 0).all()
    assert (done.matrices.loc[done.matrices["at"] == "start", "moved"] == 0).all()
    assert open_toy_mlp(done.directory).networks.equals(done.networks)


def test_kept_weights_give_what_the_tables_say(done):
    """The files of weights alone, through NumPy: accuracy, removal of half of the values, the sweep's statistics."""
    from eigensweep.models.data.images import read_digits

    images, row = read_digits(0.3, 0), done.networks.iloc[0]
    mean = images.train_x[:200].astype(float).mean(axis=0)
    sd = np.sqrt(np.mean((images.train_x[:200] - mean) ** 2))
    path = done.directory / "networks" / f"{row['network']}.safetensors"
    tensors = {name: x.astype(np.float64) for name, x in safetensors.numpy.load_file(path).items()}

    def accuracy(first):
        h = (images.test_x - mean) / sd
        for k, w in enumerate((first, tensors["layers.2.weight"], tensors["layers.3.weight"]), 1):
            h = h @ w.T + tensors[f"layers.{k}.bias"]
            h = np.maximum(h, 0) if k < 3 else h
        return np.mean(h.argmax(axis=1) == images.test_y)

    w = tensors["layers.1.weight"]
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    assert accuracy(w) == pytest.approx(row["test_accuracy"])
    of = done.removals[done.removals["network"] == row["network"]].set_index(["by", "share"])
    half = of.loc[("values", 0.5)]
    assert accuracy((u[:, :6] * s[:6]) @ vt[:6]) == pytest.approx(half["test_accuracy"])
    assert half["mass_share"] == pytest.approx(s[6:].sum() / s.sum(), rel=1e-6)
    assert of.loc[("mass", 0.5)]["mass_share"] <= 0.5
    swept = sweep(open_checkpoint(path), SweepOptions(control="none", num_flips=0, equalise=False)).matrices
    theirs = swept[swept["name"] == "layers.1.weight"].iloc[0]
    ours = done.matrices[done.matrices["network"] == row["network"]].iloc[0]
    for name in ("m", "n", "num_right_outliers", "alpha", "sigma_bulk", "entries_kurtosis", "rejected_right"):
        assert ours[name] == pytest.approx(theirs[name], nan_ok=True), name


def test_interrupted_and_resumed_is_undisturbed(done, tmp_path):
    """Stopped in front of the fifth unit; then only what is missing is done. A member does not depend on the others."""

    def stop(progress):
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_toy_mlp(ToyMlpOptions(**SMALL), tmp_path / "run", stop)
    with pytest.raises(RunError, match="has not finished"):
        open_toy_mlp(tmp_path / "run")
    seen = []
    found = run_toy_mlp(ToyMlpOptions(**SMALL), tmp_path / "run", lambda progress: seen.append(progress.what))
    assert {what.partition(":")[0] for what in seen if what} == set(done.networks["network"][2:])
    for name in done.tables:
        pd.testing.assert_frame_equal(found.frame(name), done.frame(name), check_exact=True)


def test_other_options_are_refused(done):
    with pytest.raises(RunError, match=r"holds another toy_mlp \(epochs: 2 there, 3 now\)"):
        run_toy_mlp(ToyMlpOptions(**SMALL | {"epochs": 3}), done.directory)


def test_the_page_and_the_figures_show_it(done):
    assert registry.STUDIES["toy_mlp"] is REPORTED
    view = REPORTED.view(done)
    assert view.title == "Lazy and feature learning on digits"
    assert [row[0] for row in view.tables[1].rows] == ["0 %", "50 %"]
    drawn = charts(done)
    assert {"removals", "training", "singular_values", "vectors", "batch_outliers", "batch_exponent"} == set(drawn)
    with style.context():
        for name in ("removals", "batch_outliers"):
            figure = chart_figure.draw(drawn[name])
            assert "nan" not in " ".join(text.get_text() for text in figure.texts).split()
    text = TOY.render(done)
    assert max(map(len, text.splitlines())) <= 100
    assert "batch 20: " not in text  # neither 20 % nor 80 % were asked for
    assert "means over 2 seeds with Student's" in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alphas": "0"}, "alphas has 0.0; expected positive numbers"),
        ({"alphas": "1,-3"}, "alphas has -3.0; expected positive numbers"),
        ({"alphas": "one"}, "alphas is 'one'; expected numbers"),
        ({"layers": "1,5"}, "layers has 5; expected some of the layers 1 to 4"),
        ({"frozen": "4"}, "frozen has 4; expected 0 to 3"),
        ({"inits": "normal"}, "inits has normal; expected some of gaussian, uniform, sparse"),
        ({"batch_sizes": "0"}, "batch_sizes has 0"),
        ({"widths": ()}, "widths is empty"),
        ({"widths": "16,1000000"}, "widths has 1000000; expected numbers from 2 to 16384"),
        ({"data": "cifar", "split_seed": 1}, "split_seed is of data=digits alone"),
        ({"removed": "100"}, "removed has 100"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"widht": "3"}, "did you mean widths"),
    ],
)
def test_options_that_do_not_serve_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        ToyMlpOptions.of(options)


def test_widths_may_repeat_and_the_widest_layers_are_studied():
    options = ToyMlpOptions.of({"widths": "16,16,8"})
    assert options.widths == (16, 16, 8)
    assert options.studied == (1, 2)
    assert ToyMlpOptions.of({"widths": [9, 9], "layers": "3"}).studied == (3,)
    with pytest.raises(ValueError, match="widths is 'a'"):
        ToyMlpOptions(widths="16,a")


def test_data_that_do_not_serve_leave_nothing_behind(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        run_toy_mlp(ToyMlpOptions(data=str(tmp_path / "cifar")), tmp_path / "run")
    with pytest.raises(RunError, match="batch_sizes has 50; there are 40 rows"):
        run_toy_mlp(ToyMlpOptions(**SMALL | {"max_train": 40}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_sparse_weights_without_any_are_refused_in_front_of_the_training(tmp_path):
    empty = ToyMlpOptions(**SMALL | {"inits": ("sparse",), "density": 1e-6})
    with pytest.raises(RunError, match="start-sparse-seed-0: layer 1 has no weight but 0"):
        run_toy_mlp(empty, tmp_path / "run")


def test_equal_seeds_give_no_interval_and_what_was_not_tested_is_said():
    assert means.shown(means.Mean(0.5, 0.4, 0.6), str) == "0.5 (0.4 to 0.6)"
    assert means.shown(means.Mean(0.5, 0.5, 0.5), str) == "0.5"
    assert _by_regime({"uniform": 0.25, "sparse": np.nan}, ".0%") == "25% (uniform), untested (sparse)"


def test_a_diverging_training_is_one_line_and_keeps_the_last_good_weights(tmp_path):
    wild = ToyMlpOptions(**SMALL | {"learning_rate": 1e5, "batch_sizes": (20,)})
    with pytest.raises(RunError, match="the training diverges: the loss is") as told:
        run_toy_mlp(wild, tmp_path / "run")
    kept = list((tmp_path / "run" / "diverged").iterdir())
    assert len(kept) == 1
    assert str(kept[0]) in str(told.value)
    assert "learning_rate 100000" in str(told.value)
    assert all(np.isfinite(x).all() for x in safetensors.numpy.load_file(kept[0]).values())


def test_the_command_refuses_in_one_line(program, tmp_path):
    program("toy", "--model=mlp", "--data=cifar", "--workdir=run", cwd=tmp_path).refused("cifar: no such folder")
    assert not list(tmp_path.iterdir())
