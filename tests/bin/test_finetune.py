"""eigensweep-finetune on a tiny BERT: the study against the obvious, stopped and continued; wrong use."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from eigensweep.bin import finetune_study
from eigensweep.configs import finetune as defaults
from eigensweep.engine.report.finetune import write_finetune
from eigensweep.engine.run.finetune import effects, open_finetune
from eigensweep.models import data, nn, open_checkpoint
from eigensweep.models.errors import InputError

WORDS = ["good", "bad", "some", "more", "less", "warm", "cold", "red"]
OVERRIDES = {
    "task": "jsonl",
    "text": "a",
    "pair": "b",
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


@pytest.fixture(scope="module", autouse=True)
def _load(entry_point):
    global finetune
    finetune = entry_point("finetune")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BertModel and its tokenizer as transformers writes them, and rows to learn from."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    words = {word: i for i, word in enumerate(vocabulary)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(path)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=20, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(path)
    rng = np.random.default_rng(0)
    with (path / "rows.jsonl").open("w") as file:
        for _ in range(100):
            a, b = (" ".join(rng.choice(WORDS, 3)) for _ in range(2))
            file.write(json.dumps({"a": a, "b": b, "label": "yes" if "good" in a else "no"}) + "\n")
    return path


def make(folder, **changes):
    """(checkpoint, task, options) of a study."""
    config = defaults.get_config()
    config.update(OVERRIDES | {"data": str(folder / "rows.jsonl")} | changes)
    checkpoint = open_checkpoint(folder)
    task = finetune.read_task(config, checkpoint, str(folder))
    return checkpoint, task, finetune.options_from(config, on_accelerator=False)


def start(folder, *arguments):
    words = [f"--config.{key}={value}" for key, value in OVERRIDES.items()]
    command = [sys.executable, "-m", "eigensweep.bin.finetune", f"--config.data={folder / 'rows.jsonl'}", *words]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def study(folder, tmp_path_factory):
    """The entry point run once."""
    workdir = tmp_path_factory.mktemp("study") / "run"
    done = start(folder, f"--checkpoint={folder}", f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return workdir, done


def without_smallest(w):
    """W less the smallest tenth of its singular values, by NumPy."""
    u, s, vt = np.linalg.svd(w.astype(np.float64), full_matrices=False)
    keep = round(0.9 * s.size)
    return (u[:, :keep] * s[:keep]) @ vt[:keep]


def scores_of(model, params, task):
    return nn.score(model, params, task.test, 16, "classifier")


def test_members_are_what_they_say(folder, study):
    workdir, _ = study
    _, task, _ = make(folder)
    run = open_finetune(workdir)
    members = run.members.set_index("order")
    assert list(members.index) == ["none", "after", "before"]
    trained = open_checkpoint(workdir / "models" / "seed-0")
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
    assert members.loc["after", "num_matrices"] == len(blocks) == 6
    total = sum(np.sum(m.read().astype(np.float64) ** 2) for m in blocks)
    assert members.loc["after", "energy"] == pytest.approx(gone / total, rel=1e-4)
    np.testing.assert_allclose(run.changes("after", "blocks", 10)[0], cut.loss - base.loss, atol=1e-5)
    hits = run.changes("after", "blocks", 10, "accuracy")[0]
    np.testing.assert_array_equal(hits, cut.correct - base.correct)


def test_before_is_training_without_the_decile(folder, study):
    workdir, _ = study
    checkpoint, task, options = make(folder)
    model, params = nn.with_classifier(*nn.load(checkpoint), 2, seed=0)
    for matrix in checkpoint.matrices:
        if matrix.block is not None:
            new = without_smallest(matrix.read()).T.astype(np.float32)
            params = nn.replace(params, matrix.path, new)
    params, progress = nn.train(model, params, task.train, task.validation, options.train, 0)
    member = open_finetune(workdir).members.set_index("order").loc["before"]
    assert member["steps"] == progress.step == 4
    assert member["loss"] == pytest.approx(scores_of(model, params, task).mean, rel=1e-3)


def test_files_and_summary(study):
    workdir, done = study
    names = {path.name for path in workdir.iterdir()}
    assert {"finetune.parquet", "finetune_effects.parquet", "finetune.json", "spectral_change.parquet"} <= names
    assert {path.name for path in (workdir / "figures").iterdir()} == {
        f"{stem}.{kind}" for stem in ("finetune_curves", "finetune_order", "spectral_change") for kind in ("png", "pdf")
    }
    assert not list(workdir.glob("training/*"))
    assert "majority of the labels" in done.stdout
    assert "loss change, blocks decile 10, after - before" in done.stdout
    change = pq.read_table(workdir / "spectral_change.parquet").to_pandas()
    assert change["name"].nunique() == 6
    assert (change["distance"] > 0).all()
    manifest = json.loads((workdir / "finetune.json").read_text())
    assert manifest["rows"] == {"train": 54, "validation": 6, "test": 40}
    assert manifest["identity"]["train"]["learning_rate"] == 1e-2


def test_other_options_are_refused_and_the_same_are_read_back(folder, study):
    workdir, _ = study
    table = (workdir / "finetune.parquet").read_bytes()
    other = start(folder, f"--checkpoint={folder}", f"--workdir={workdir}", "--config.seeds=1")
    assert other.returncode == 2
    assert "seeds: [0] there, [1] now" in other.stderr
    assert "Traceback" not in other.stderr
    run = finetune_study.run_study(*make(folder), workdir, lambda line: pytest.fail(f"did {line}"))
    assert len(run.members) == 3
    assert (workdir / "finetune.parquet").read_bytes() == table


class Killed(Exception):
    pass


@pytest.mark.parametrize("word", ["1 of 3", "before blocks decile 10: step 4"])
def test_an_interrupted_study_continues(folder, study, tmp_path, word):
    """Killed after a member, or inside the last one's training: the same numbers, and nothing twice."""

    def kill(line):
        if word in line:
            raise Killed

    with pytest.raises(Killed):
        finetune_study.run_study(*make(folder), tmp_path, kill)
    told = []
    run = finetune_study.run_study(*make(folder), tmp_path, told.append)
    assert not any("none" in line for line in told)
    assert any("3 of 3" in line for line in told)
    assert not any("step 4" in line for line in told) or word == "1 of 3"
    there = open_finetune(study[0])
    for table in ("rows", "history"):
        assert run.tables[table].equals(there.tables[table])
    drop = ["seconds"]
    assert run.members.drop(columns=drop).equals(there.members.drop(columns=drop))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": "no,maybe"}, r"rows.jsonl:\d+: label 'yes' is none of no, maybe"),
        ({"labels": "no,yes,maybe"}, "no row has the label maybe"),
        ({"labels": "no"}, "at least two"),
        ({"task": "squad"}, "'squad'; expected one of boolq"),
        ({"length": 17}, "length is 17, the model has positions for 16"),
        ({"num_train": 100}, "100 rows cannot be split: num_train 100"),
        ({"num_train": 4, "validation": 0.1}, "cannot be split"),
        ({"deciles": "0-3"}, "numbers from 1 to 10"),
        ({"orders": "during"}, "orders is 'during'"),
        ({"seeds": "a"}, "seeds is 'a'; expected numbers"),
        ({"epochs": 0}, "epochs is 0"),
        ({"devices": 3}, "no multiple of devices 3"),
        ({"devices": 16}, "devices is 16, and JAX sees 1"),
        ({"pair": "c"}, "'c'"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
    ],
)
def test_wrong_use_names_what_is_wrong(folder, changes, says):
    with pytest.raises((ValueError, InputError), match=says):
        make(folder, **changes)


def test_a_model_that_cannot_classify_and_missing_flags(folder, shared, tmp_path):
    causal = shared / "checkpoints" / "gpt2-char-shakespeare"
    for arguments, says in (
        ((f"--checkpoint={causal}", f"--workdir={tmp_path / 'x'}", f"--config.tokenizer={folder}"), "an encoder"),
        ((f"--checkpoint={folder}",), "--workdir"),
    ):
        done = start(folder, *arguments)
        assert done.returncode == 2, done.stderr
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert says in line
        assert "Traceback" not in done.stderr


def test_an_unknown_scope_leaves_no_study(folder, tmp_path):
    with pytest.raises(ValueError, match="scope nonsense: no matrix"):
        finetune_study.run_study(*make(folder, scopes="nonsense"), tmp_path / "run", print)
    assert not (tmp_path / "run").exists()


def test_each_role_is_a_scope_of_its_own(folder, study, tmp_path):
    """ "roles" stands for the roles: from each, the decile goes from its own matrices only."""
    models = tmp_path / "models"
    checkpoint, task, options = make(folder, scopes="roles")
    shutil.copytree(study[0] / "models", models)
    stop = "after mlp_down decile 10"

    def kill(line):
        if stop in line:
            raise Killed

    with pytest.raises(Killed):
        finetune_study.run_study(checkpoint, task, options, tmp_path, kill)
    parts = [pq.read_table(part).to_pylist()[0] for part in tmp_path.glob("finetune_parts/*.members.parquet")]
    found = {row["scope"]: row["num_matrices"] for row in parts if row["order"] == "after"}
    roles = ("query", "key", "value", "attention_output", "mlp_up", "mlp_down")
    assert found == dict.fromkeys(roles, 1)


def test_defaults_by_device_and_plain_fine_tuning(folder):
    _, _, options = make(folder, seeds="", deciles="")
    assert (options.seeds, options.deciles) == ((0, 1), (1, 5, 10))
    config = defaults.get_config()
    config.study = True
    fast = finetune.options_from(config, on_accelerator=True)
    assert (fast.seeds, fast.deciles) == (tuple(range(5)), tuple(range(1, 11)))
    assert len(finetune_study.members_of(fast)) == 5 * 21
    config.orders = "after"
    assert len(finetune_study.members_of(finetune.options_from(config, True))) == 5 * 11
    config.study = False
    plain = finetune.options_from(config, on_accelerator=True)
    assert finetune_study.members_of(plain) == [finetune_study.Member(0)]


def test_rows_are_split_once_and_the_majority_is_known(folder):
    _, task, _ = make(folder)
    _, again, _ = make(folder)
    _, other, _ = make(folder, split_seed=1)
    assert task.sha256() == again.sha256() != other.sha256()
    parts = [task.train.input_ids, task.validation.input_ids, task.test.input_ids]
    everything = data.classification_rows(
        data.load_tokenizer(folder), data.read_labelled(folder / "rows.jsonl", "a", "b", ["no", "yes"]), 12
    ).input_ids
    together = np.concatenate(parts)
    assert sorted(map(tuple, together)) == sorted(map(tuple, everything))
    share = np.mean(task.test.targets == 0)
    assert task.majority()["accuracy"] == pytest.approx(share)
    p = (np.sum(task.train.targets) + 1) / (len(task.train.targets) + 2)
    expected = -np.mean(np.where(task.test.targets == 1, np.log(p), np.log(1 - p)))
    assert task.majority()["loss"] == pytest.approx(expected)


def test_every_other_passage_is_swapped():
    examples = [data.Example(f"q{i}", f"p{i}", 0) for i in range(4)]
    found = [(e.text, e.pair, e.label) for e in finetune.matched(examples)]
    assert found == [("q0", "p3", 0), ("q1", "p1", 1), ("q2", "p1", 0), ("q3", "p3", 1)]


def test_effects_are_paired_changes_with_their_intervals(study):
    """Two seeds made up: the change, its contrast and Student's interval by their definitions."""
    run = open_finetune(study[0])
    rng = np.random.default_rng(0)
    rows = [
        {"seed": seed, "order": order, "scope": scope, "decile": decile, "row_loss": rng.normal(size=40).tolist(),
         "row_correct": rng.integers(0, 2, 40).astype(float).tolist()}
        for seed in (0, 1, 2)
        for order, scope, decile in (("none", "", 0), ("after", "blocks", 10), ("before", "blocks", 10))
    ]  # fmt: skip
    table = run.tables["rows"].schema.empty_table().from_pylist(rows, schema=run.tables["rows"].schema)
    made_up = dataclasses.replace(run, tables=run.tables | {"rows": table})
    loss = {(row["seed"], row["order"]): np.array(row["row_loss"]) for row in rows}
    before, after, contrast = effects(made_up)
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
    run = open_finetune(study[0])
    kept = {name: table.filter(np.array(table["order"]) != "before") for name, table in run.tables.items()}
    alone = dataclasses.replace(run, tables=kept)
    (row,) = effects(alone)
    assert row["order"] == "after"
    assert row["change"] == pytest.approx(effects(run)[1]["change"])
    figure = write_finetune(alone, tmp_path)[1]
    assert figure.name == "finetune_order.png"
    assert figure.stat().st_size > 5000


def test_one_seed_tells_nothing_about_seeds(study):
    rows = effects(open_finetune(study[0]))
    assert all(np.isinf(row["seed_low"]) and np.isinf(row["seed_high"]) for row in rows)


def test_copied_study_is_still_readable(study, tmp_path):
    shutil.copytree(study[0], tmp_path / "copy")
    assert open_finetune(tmp_path / "copy").deciles() == [10]
    assert open_finetune(tmp_path / "copy").scopes() == ["blocks"]
