"""The fine-tuning study on a tiny BERT: against the obvious, stopped and continued; wrong use."""

import dataclasses
import json
import shutil
from collections import Counter

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from eigensweep import engine
from eigensweep.engine.run import stream
from eigensweep.engine.studies.finetune.effects import Finetuning, open_finetune
from eigensweep.engine.studies.finetune.effects import effects as effects_of
from eigensweep.engine.studies.finetune.options import FinetuneOptions
from eigensweep.engine.studies.finetune.study import Member, members_of, run_finetune
from eigensweep.engine.studies.finetune.task import read_task
from eigensweep.models import data, nn, open_checkpoint
from eigensweep.models.errors import InputError

OPTIONS = {
    "format": "labelled",
    "field": "a",
    "pair_field": "b",
    "labels": "no,yes",
    "length": 12,
    "num_train": 60,
    "epochs": 1,
    "learning_rate": 1e-2,
    "dropout": False,
    "seeds": "0",
    "deciles": "10",
    "scopes": "blocks",
    "study": True,
}


def options_of(folder, **changes):
    return FinetuneOptions.of(OPTIONS | {"data": str(folder.parent / "rows.jsonl")} | changes)


def make(folder, **changes):
    """(checkpoint, task, options) of a study."""
    checkpoint, options = open_checkpoint(folder), options_of(folder, **changes)
    sizes = (options.num_train, options.validation, options.num_test)
    return checkpoint, read_task(checkpoint, options, *sizes, options.split_seed), options


def run(folder, workdir, told=lambda what: None, **changes):
    """The study, its progress told as text."""
    options = options_of(folder, **changes)
    return run_finetune(open_checkpoint(folder), options, workdir, lambda progress: told(progress.what))


@pytest.fixture(scope="module")
def study(bert, tmp_path_factory):
    """The study with its report, done once."""
    workdir = tmp_path_factory.mktemp("study") / "run"
    engine.write_report(run(bert, workdir), figures=True)
    return workdir


def without_smallest(w):
    """W less the smallest tenth of its singular values, by NumPy."""
    u, s, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    keep = round(0.9 * s.size)
    return (u[:, :keep] * s[:keep]) @ vt[:keep]


def scores_of(model, params, task):
    return nn.score(model, params, task.test, 16, "classifier")


def test_members_are_what_they_say(bert, study):
    _, task, _ = make(bert)
    found = open_finetune(study)
    members = found.members.set_index("order")
    assert list(members.index) == ["none", "after", "before"]
    trained = open_checkpoint(study / "models" / "seed-0")
    model, params = nn.load(trained)
    base = scores_of(model, params, task)
    assert members.loc["none", "loss"] == pytest.approx(base.mean, rel=1e-6)
    gone = 0
    blocks = [matrix for matrix in trained.matrices if matrix.block is not None]
    for matrix in blocks:
        new = without_smallest(matrix.read())
        gone += np.sum((new - matrix.read()) ** 2)
        params = nn.replace(params, matrix.path, new.T.astype(np.float32))
    cut = scores_of(model, params, task)
    assert members.loc["after", "loss"] == pytest.approx(cut.mean, rel=1e-5)
    assert members.loc["after", "num_matrices"] == len(blocks) == 12
    total = sum(np.sum(m.read().astype(np.float64) ** 2) for m in blocks)
    assert members.loc["after", "energy"] == pytest.approx(gone / total, rel=1e-4)
    np.testing.assert_allclose(found.changes("after", "blocks", 10)[0], cut.loss - base.loss, atol=1e-5)
    hits = found.changes("after", "blocks", 10, "accuracy")[0]
    np.testing.assert_array_equal(hits, cut.correct - base.correct)


def test_before_is_training_without_the_decile(bert, study):
    checkpoint, task, options = make(bert)
    model, params = nn.with_classifier(*nn.load(checkpoint), 2, seed=0)
    for matrix in checkpoint.matrices:
        if matrix.block is not None:
            new = without_smallest(matrix.read()).T.astype(np.float32)
            params = nn.replace(params, matrix.path, new)
    params, progress = nn.train(model, params, task.train, task.validation, options.train_options(), 0)
    member = open_finetune(study).members.set_index("order").loc["before"]
    assert member["steps"] == progress.step == 4
    assert member["loss"] == pytest.approx(scores_of(model, params, task).mean, rel=1e-3)


def test_files(study):
    names = {path.name for path in study.iterdir()}
    assert {
        "finetune.parquet",
        "finetune_rows.parquet",
        "finetune_history.parquet",
        "finetune_effects.parquet",
        "finetune.json",
        "spectral_change.parquet",
        "report.html",
    } <= names
    assert {path.name for path in (study / "figures").iterdir()} == {
        f"{stem}.{kind}" for stem in ("finetune_curves", "finetune_order", "spectral_change") for kind in ("png", "pdf")
    }
    assert not list(study.glob("training/*"))
    change = pq.read_table(study / "spectral_change.parquet").to_pandas()
    assert change["name"].nunique() == 12
    assert (change["distance"] > 0).all()
    manifest = json.loads((study / "finetune.json").read_text())
    assert manifest["rows"] == {"train": 54, "validation": 6, "test": 40}
    assert manifest["options"]["learning_rate"] == 1e-2


def test_other_options_are_refused_and_the_same_are_read_back(bert, study):
    table = (study / "finetune.parquet").read_bytes()
    with pytest.raises(engine.RunError, match=r"seeds: \[0\] there, \[1\] now"):
        run(bert, study, seeds="1")
    found = run(bert, study, lambda line: pytest.fail(f"did {line}"))
    assert len(found.members) == 3
    assert (study / "finetune.parquet").read_bytes() == table


class Killed(Exception):
    pass


@pytest.mark.parametrize("word", ["seed 0 none: loss", "before blocks decile 10: step 4"])
def test_an_interrupted_study_continues(bert, study, tmp_path, word):
    """Killed after a member, or inside the last one's training: the same numbers, and nothing twice."""

    def kill(line):
        if word in line:
            raise Killed

    with pytest.raises(Killed):
        run(bert, tmp_path, kill, spectra=False)
    told = []
    found = run(bert, tmp_path, told.append, spectra=False)
    assert not any("none" in line for line in told)
    assert "before blocks decile 10: loss" in told[-1]
    assert not any("step 4" in line for line in told) or word == "seed 0 none: loss"
    there = open_finetune(study)
    for table in ("finetune_rows", "finetune_history"):
        assert found.tables[table].equals(there.tables[table])
    drop = ["seconds"]
    assert found.members.drop(columns=drop).equals(there.members.drop(columns=drop))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": "no,maybe"}, r"rows.jsonl:\d+: label 'yes' is none of no, maybe"),
        ({"labels": "no,yes,maybe"}, "no row has the label maybe"),
        ({"labels": "no"}, "at least two"),
        ({"format": "squad"}, "'squad'; expected one of boolq"),
        ({"length": 17}, "length is 17 tokens; the model has positions for 16"),
        ({"num_train": 100}, r"100 rows in \d+ groups cannot be split: num_train 100"),
        ({"num_train": 4, "validation": 0.1}, "cannot be split"),
        ({"deciles": "0-3"}, "numbers from 1 to 10"),
        ({"orders": "during"}, "orders is .'during'"),
        ({"seeds": "a"}, "seeds is 'a'; expected numbers"),
        ({"epochs": 0}, "epochs is 0"),
        ({"devices": 3}, "no multiple of devices 3"),
        ({"pair_field": "c"}, "'c'"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_wrong_use_names_what_is_wrong(bert, changes, says):
    with pytest.raises((ValueError, InputError), match=says):
        make(bert, **changes)


def test_more_devices_than_there_are_are_refused(bert, tmp_path):
    with pytest.raises(engine.RunError, match="devices is 16, and JAX sees 1"):
        run(bert, tmp_path / "run", devices=16)
    assert not (tmp_path / "run").exists()


def test_an_unknown_scope_leaves_no_study(bert, tmp_path):
    with pytest.raises(engine.RunError, match="scope nonsense: no matrix"):
        run(bert, tmp_path / "run", scopes="nonsense")
    assert not (tmp_path / "run").exists()


def test_each_role_is_a_scope_of_its_own(bert, tmp_path):
    """ "roles" stands for the roles: from each, the decile goes from its own matrices only."""
    found = run(bert, tmp_path, scopes="roles", orders="after", spectra=False).members
    roles = ("query", "key", "value", "attention_output", "mlp_up", "mlp_down")
    removed = found[found["order"] == "after"]
    assert dict(zip(removed["scope"], removed["num_matrices"], strict=True)) == dict.fromkeys(roles, 2)


def test_every_matrix_is_decomposed_once_for_all_seeds_and_deciles(bert, tmp_path, monkeypatch):
    """The pretrained ones once, and each seed's trained ones once."""
    counts, decompose = Counter(), stream.decompose_batch

    def counted(names, *given, **named):
        counts.update(names)
        return decompose(names, *given, **named)

    monkeypatch.setattr(stream, "decompose_batch", counted)
    run(bert, tmp_path, seeds="0,1", deciles="1,10", num_train=20, num_test=8, spectra=False)
    blocks = [matrix.name for matrix in open_checkpoint(bert).matrices if matrix.block is not None]
    assert counts == dict.fromkeys(blocks, 1 + 2)


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_defaults_do_not_depend_on_the_hardware(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    options = FinetuneOptions(study=True)
    assert (options.seeds, options.deciles) == ((0, 1), (1, 5, 10))


def test_members_follow_from_seeds_orders_scopes_and_deciles():
    options = FinetuneOptions(study=True, seeds="0-4", deciles="1-10")
    assert len(members_of(options, {"blocks": ()})) == 5 * 21
    assert len(members_of(dataclasses.replace(options, orders=("after",)), {"blocks": ()})) == 5 * 11
    assert len(members_of(options, {"query": (), "key": ()})) == 5 * 41
    assert members_of(FinetuneOptions(), {}) == [Member(0)]


def test_rows_are_split_once_and_the_majority_is_known(bert):
    _, task, _ = make(bert)
    _, again, _ = make(bert)
    _, other, _ = make(bert, split_seed=1)
    assert task.sha256() == again.sha256() != other.sha256()
    parts = [task.train.input_ids, task.validation.input_ids, task.test.input_ids]
    everything = data.classification_rows(
        data.load_tokenizer(bert), data.read_labelled(bert.parent / "rows.jsonl", "a", "b", ["no", "yes"]), 12
    ).input_ids
    together = np.concatenate(parts)
    assert sorted(map(tuple, together)) == sorted(map(tuple, everything))
    share = np.mean(task.test.targets == 0)
    assert task.majority()["accuracy"] == pytest.approx(share)
    p = (np.sum(task.train.targets) + 1) / (len(task.train.targets) + 2)
    expected = -np.mean(np.where(task.test.targets == 1, np.log(p), np.log(1 - p)))
    assert task.majority()["loss"] == pytest.approx(expected)


def test_effects_are_paired_changes_with_their_intervals(study):
    """Two seeds made up: the change, its contrast and Student's interval by their definitions."""
    found = open_finetune(study)
    rng = np.random.default_rng(0)
    rows = [
        {"seed": seed, "order": order, "scope": scope, "decile": decile, "row_loss": rng.normal(size=40).tolist(),
         "row_correct": rng.integers(0, 2, 40).astype(float).tolist()}
        for seed in (0, 1, 2)
        for order, scope, decile in (("none", "", 0), ("after", "blocks", 10), ("before", "blocks", 10))
    ]  # fmt: skip
    table = (
        found.tables["finetune_rows"]
        .schema.empty_table()
        .from_pylist(rows, schema=found.tables["finetune_rows"].schema)
    )
    made_up = dataclasses.replace(found, tables=found.tables | {"finetune_rows": table})
    loss = {(row["seed"], row["order"]): np.array(row["row_loss"]) for row in rows}
    before, after, contrast = effects_of(made_up)
    expected = {
        "before": [(loss[s, "before"] - loss[s, "none"]).mean() for s in range(3)],
        "after": [(loss[s, "after"] - loss[s, "none"]).mean() for s in range(3)],
        "after - before": [(loss[s, "after"] - loss[s, "before"]).mean() for s in range(3)],
    }
    for row in (before, after, contrast):
        seeds = expected[row["order"]]
        np.testing.assert_allclose(row["seeds"], seeds)
        assert row["change"] == pytest.approx(np.mean(seeds))
        assert row["low"] < row["change"] < row["high"]
        interval = stats.t.interval(0.95, 2, np.mean(seeds), stats.sem(seeds))
        np.testing.assert_allclose((row["seed_low"], row["seed_high"]), interval)
    d = np.mean([loss[s, "after"] - loss[s, "before"] for s in range(3)], axis=0)
    assert (contrast["high"] - contrast["low"]) / 2 == pytest.approx(1.96 * d.std() / np.sqrt(40), rel=0.1)


def test_one_order_alone_is_told_and_drawn(study, tmp_path):
    whole = open_finetune(study)
    kept = {name: table.filter(np.array(table["order"]) != "before") for name, table in whole.tables.items()}
    alone = Finetuning(kept, whole.manifest)
    (row,) = effects_of(alone)
    assert row["order"] == "after"
    assert row["change"] == pytest.approx(effects_of(whole)[1]["change"])
    engine.write_report(alone, tmp_path, figures=True)
    assert (tmp_path / "figures" / "finetune_order.png").stat().st_size > 5000


def test_one_seed_tells_nothing_about_seeds(study):
    rows = effects_of(open_finetune(study))
    assert all(np.isinf(row["seed_low"]) and np.isinf(row["seed_high"]) for row in rows)


def test_copied_study_is_still_readable(study, tmp_path):
    shutil.copytree(study, tmp_path / "copy")
    assert open_finetune(tmp_path / "copy").deciles() == [10]
    assert open_finetune(tmp_path / "copy").scopes() == ["blocks"]
