"""Fine-tuning of a language model on a tiny GPT-2: against NumPy, killed and continued; what a pure shrink leaves."""

import dataclasses
import inspect
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from eigensweep import engine
from eigensweep.engine.report import style
from eigensweep.engine.studies.causal import figures_of, spectra, view_of
from eigensweep.engine.studies.causal.study import distances, run_causal
from eigensweep.engine.studies.causal.tables import open_causal, snapshot_of
from eigensweep.engine.studies.causal.task import read_task, steps_of
from eigensweep.engine.studies.finetune.options import FinetuneOptions
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import nn, open_checkpoint
from eigensweep.models.errors import InputError
from eigensweep.models.nn import training

OPTIONS = {
    "format": "text",
    "fixed_answer": "red",
    "length": 8,
    "num_train": 30,
    "num_test": 8,
    "batch_size": 8,
    "steps": 6,
    "learning_rate": 1e-2,
    "weight_decay": 30.0,
    "evaluate_every": 4,
    "dropout": False,
    "save_at": "3",
    "undecayed": True,
    "spectra": False,
}


def options_of(folder, **changes):
    return FinetuneOptions.of({"data": str(folder.parent / "text.txt")} | OPTIONS | changes)


def run(folder, workdir, told=lambda what: None, **changes):
    return run_causal(open_checkpoint(folder), options_of(folder, **changes), workdir, lambda p: told(p.what))


@pytest.fixture(scope="module")
def study(gpt2, tmp_path_factory):
    """The study, done once."""
    return run(gpt2, tmp_path_factory.mktemp("causal") / "run")


def test_snapshots_are_measured_as_they_are_written(gpt2, study):
    table = study.snapshots.set_index(["weight_decay", "step"])
    assert list(table.index) == [(30.0, 0), (30.0, 3), (30.0, 6), (0.0, 0), (0.0, 3), (0.0, 6)]
    checkpoint, options = open_checkpoint(gpt2), options_of(gpt2)
    task = read_task(checkpoint, options)
    rates = [0.01, *(0.01 * (6 - t) / 5 for t in range(1, 6))]  # one step of warm-up
    for (decay, step), row in table.iterrows():
        folder = snapshot_of(study.directory, decay, int(step))
        model, params = nn.load(open_checkpoint(folder))
        for name, rows in (("answer", task.test), ("text", task.text)):
            assert row[f"{name}_loss"] == pytest.approx(nn.score(model, params, rows, 8).mean, rel=1e-6)
        assert row["decay_alone"] == pytest.approx(np.prod([1 - decay * rate for rate in rates[: int(step)]]), rel=1e-5)
    assert table.loc[(30.0, 0), "text_loss"] == table.loc[(0.0, 0), "text_loss"]
    assert (table.xs(6, level="step")["answer_loss"] < table.xs(0, level="step")["answer_loss"]).all()


def test_the_first_snapshot_is_the_checkpoint_and_moves_are_numpys(gpt2, study):
    first, last = (load_file(snapshot_of(study.directory, 30.0, step) / "model.safetensors") for step in (0, 6))
    source = load_file(gpt2 / "model.safetensors")
    assert first.keys() == source.keys()
    assert all(np.array_equal(first[name], source[name]) for name in source)
    name = "transformer.h.1.mlp.c_fc.weight"
    w, now = first[name].astype(float), last[name].astype(float)
    moved = study.moved.set_index(["weight_decay", "step", "name"]).loc[(30.0, 6, name)]
    alone = study.snapshots.set_index(["weight_decay", "step"]).loc[(30.0, 6), "decay_alone"]
    assert moved["norm_ratio"] == pytest.approx(np.linalg.norm(now) / np.linalg.norm(w))
    assert moved["cosine"] == pytest.approx(np.sum(w * now) / np.linalg.norm(w) / np.linalg.norm(now))
    assert moved["added"] == pytest.approx(np.linalg.norm(now - alone * w) / np.linalg.norm(now))
    assert {"embedding", "position_embedding", "query"} <= set(study.moved["role"])


def test_a_pure_shrink_adds_nothing(make_checkpoint):
    """W' = c W: the distances that are told of it."""
    start = make_checkpoint()
    kept = dataclasses.replace(
        start, matrices=tuple(dataclasses.replace(matrix, array=0.3 * matrix.array) for matrix in start.matrices)
    )
    for row in distances(start, kept, alone=0.3):
        assert row["norm_ratio"] == pytest.approx(0.3)
        assert row["cosine"] == pytest.approx(1.0)
        assert row["added"] == pytest.approx(0.0, abs=1e-6)


class Killed(Exception):
    pass


def test_an_interrupted_study_ends_with_the_same_tables(gpt2, study, tmp_path):
    """Killed inside the second training: the first one is not done again, and the numbers are the same."""

    def kill(line):
        if "weight decay 0: step 4" in line:
            raise Killed

    with pytest.raises(Killed):
        run(gpt2, tmp_path, kill)
    told = []
    found = run(gpt2, tmp_path, told.append)
    assert not any("weight decay 30: step" in line for line in told)
    assert not any("weight decay 0: step 4" in line for line in told)
    for name, table in study.tables.items():
        drop = [column for column in ("seconds",) if column in table.column_names]
        assert found.tables[name].drop_columns(drop).equals(table.drop_columns(drop))
    assert not (tmp_path / "training").exists()


def test_the_contract_of_every_study_is_kept(gpt2, study, tmp_path):
    """What tests/studies/test_contract.py asks with 15 starts of a program, without one: nothing changes in the run."""
    before = {path: path.read_bytes() for path in study.directory.rglob("*") if path.is_file()}
    again = run(gpt2, study.directory)
    assert again.tables["causal"].equals(study.tables["causal"])
    other = shutil.copytree(gpt2, tmp_path / "model")
    tensors = load_file(other / "model.safetensors")
    tensors |= {name: x + 1e-3 for name, x in tensors.items() if "wte" in name}
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(gpt2.parent / "text.txt", tmp_path)
    for folder, changes, says in (
        (gpt2, {"weight_decay": 20.0}, r"weight_decay: 30\.0 there, 20\.0 now"),
        (gpt2, {"save_at": "2"}, "save_at"),
        (other, {}, "checkpoint"),
    ):
        with pytest.raises(RunError, match=f"{study.directory}.*{says}"):
            run(folder, study.directory, **changes)
    assert {path: path.read_bytes() for path in study.directory.rglob("*") if path.is_file()} == before
    (tmp_path / "finetune.json").write_text(json.dumps({"study": "finetune", "status": "done"}))
    with pytest.raises(RunError, match=r"another kind \(finetune\)"):
        run(gpt2, tmp_path)


def test_a_training_that_diverges_keeps_the_models_before(gpt2, study, tmp_path, monkeypatch):
    step, place = training._step, [*inspect.signature(training._step).parameters].index("number")

    def poisoned(*given):
        state, loss = step(*given)
        return state, loss * np.nan if given[place] >= 4 else loss

    monkeypatch.setattr(training, "_step", poisoned)
    says = r"the training diverges: the loss is not finite at step 5: lower the learning rate, .* keeps .* step 4"
    with pytest.raises(InputError, match=says):
        run(gpt2, tmp_path)
    kept = sorted((tmp_path / "snapshots" / "weight-decay-30").iterdir())
    assert [path.name for path in kept] == ["step-00000000", "step-00000003"]
    theirs = load_file(snapshot_of(study.directory, 30.0, 3) / "model.safetensors")
    ours = load_file(kept[1] / "model.safetensors")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fixed_answer": "red warm"}, "'red warm' is 2 tokens"),
        ({"fixed_answer": "purple"}, "'purple' is unknown"),
        ({"format": "boolq"}, "fixed_answer is of language models"),
        ({"format": "prompts"}, "format is prompts, which have their own"),
        ({"text_data": "x"}, "text_data is of format = prompts"),
        ({"trainable": "head"}, "trainable is head"),
        ({"study": True}, "study is True, and only a classifier"),
        ({"patience": 2}, "patience is 2, and only a classifier"),
        ({"seeds": "0,1"}, "trained with one"),
        ({"weight_decay": 0.0}, "that is the same training"),
        ({"weight_decay": 100.0}, "learning_rate . weight_decay is 1; expected less than 1"),
        ({"save_at": "3,7"}, "save_at has step 7, and the training ends after step 6"),
        ({"length": 17}, "length is 17 tokens; the model has positions for 16"),
        ({"num_train": 100}, "cannot be split"),
        ({"devices": 8}, "devices is 8"),
    ],
)
def test_wrong_use_names_what_is_wrong_and_leaves_nothing(gpt2, tmp_path, changes, says):
    with pytest.raises((ValueError, InputError, RunError), match=says):
        run(gpt2, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_refused(bert, gpt2, tmp_path):
    with pytest.raises(InputError, match="of language models, and bert is an encoder"):
        run_causal(open_checkpoint(bert), options_of(gpt2), tmp_path / "run")


def test_prompts_that_are_the_same_are_on_one_side_and_a_text_is_measured_besides(gpt2, tmp_path):
    words = ["good", "bad", "some", "more", "less"]
    rows = [{"prompt": f"{a} {b}", "answer": "warm" if b == "good" else "cold"} for a in words for b in words] * 3
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    changes = {"format": "prompts", "fixed_answer": "", "data": str(path), "num_train": 45, "num_test": 0}
    text = {"text_data": str(gpt2.parent / "text.txt")}
    task = read_task(open_checkpoint(gpt2), options_of(gpt2, **changes, **text))
    seen = [{tuple(ids) for ids in part.input_ids} for part in (task.train, task.validation, task.test)]
    assert not (seen[0] & seen[2]) | (seen[1] & seen[2]) | (seen[0] & seen[1])
    assert task.sizes()["text"] == len(task.test.row)
    assert (task.text.targets != -100).sum() > (task.test.targets != -100).sum() == len(task.test.row)
    assert read_task(open_checkpoint(gpt2), options_of(gpt2, **changes)).text is None


def test_the_steps_that_are_kept():
    options = FinetuneOptions(format="text", batch_size=10, epochs=3)
    assert steps_of(options, 95) == (30, (0, 8, 15, 23, 30))
    assert steps_of(dataclasses.replace(options, steps=100, save_at=(7,)), 95) == (100, (0, 7, 100))


def test_a_classifiers_identity_knows_nothing_of_language_models():
    """Runs of earlier versions are continued: their manifests have these keys, and patience 2 by default."""
    known = FinetuneOptions().to_json()
    assert not {"fixed_answer", "steps", "save_at", "undecayed", "text_data"} & set(known)
    assert known["patience"] == 2
    assert len(known) == 21
    assert FinetuneOptions(format="text", undecayed=True).to_json()["undecayed"]


def frame_with(**columns):
    plain = {"phase": "bulk-decay", "hard_rank": 20, "stable_rank": 8.0, "effective_rank": 16.0}
    return pd.DataFrame({"name": ["a", "b", "c"]} | plain | columns)


def test_what_is_called_collapse():
    found = spectra.collapsed(
        frame_with(phase=["rank-collapse", "bulk-decay", "bulk-decay"]),
        frame_with(
            phase=["rank-collapse", "rank-collapse", "random-like"],
            hard_rank=[9, 10, 20],
            stable_rank=[8.0, 8.0, 1.0],
            effective_rank=[7.0, 30.0, 8.0],
        ),
    )
    assert {rule: names.tolist() for rule, names in found.items()} == {
        "phase": [False, True, False],  # one was so before
        "hard_rank": [True, False, False],
        "effective_rank": [True, False, False],
    }


def test_end_to_end_with_series_page_and_figures(gpt2, study, tmp_path, program):
    """The preset on a small model whose training is done; spectra against NumPy."""
    workdir = shutil.copytree(study.directory, tmp_path / "run")
    flags = [f"--config.{key}={value}" for key, value in (OPTIONS | {"spectra": True}).items()]
    where = [f"--checkpoint={gpt2}", f"--data={gpt2.parent / 'text.txt'}", f"--workdir={workdir}"]
    done = program("finetune", "--config=overregularised", *flags, *where).succeeded()
    assert "rank collapse in" in done.stdout
    assert max(map(len, done.stdout.replace(str(workdir), "runs/over").splitlines())) <= 100
    found = open_causal(workdir)
    rows = spectra.spectra_of(found).set_index(["weight_decay", "step", "name"])
    first, last = (load_file(snapshot_of(workdir, 30.0, step) / "model.safetensors") for step in (0, 6))
    name = "transformer.h.0.mlp.c_proj.weight"
    s, now = (np.linalg.svd(x[name].astype(float), compute_uv=False) for x in (first, last))
    row = rows.loc[(30.0, 6, name)]
    assert row["stable_ratio"] == pytest.approx(np.sum(now**2) / now[0] ** 2 / (np.sum(s**2) / s[0] ** 2))
    assert row["top_share"] == pytest.approx(now[0] ** 2 / np.sum(now**2))
    change = np.linalg.norm(now / np.linalg.norm(now) - s / np.linalg.norm(s))
    assert row["shape_change"] == pytest.approx(change, rel=1e-6)
    assert rows.xs(0, level="step")["shape_change"].max() == 0
    assert pq.read_table(workdir / "causal_spectra.parquet").num_rows == len(rows)
    assert view_of(found).tables[0].heading == "What came out"
    assert set(figures_of(found)) == {f"causal_{x}" for x in ("losses", "norms", "ranks", "p_values", "spectra")}
    with style.context():
        for draw in figures_of(found).values():
            assert "nan" not in " ".join(text.get_text() for text in draw().texts).split()
    for folder in ("weight-decay-30", "weight-decay-0"):
        assert engine.open_series(workdir / "series" / folder).manifest["steps"] == [0, 3, 6]
