"""What every study owes its user: it survives kills, refuses what does not fit, and never mixes two runs."""

import json
import os
import shutil
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from eigensweep import engine
from eigensweep.engine.report import registry, style
from eigensweep.models.stand_ins import write_model

STUDIES = ("sweep", "overlap", "ablation", "finetune", "tokens", "facts")
REFUSING = (*STUDIES, "toy_linear", "toy_mlp", "slicing")
"""These, too, refuse alike; that the last three survive kills their own tests hold, in process."""


@dataclass(frozen=True)
class Case:
    """One study on a small checkpoint.

    Attributes:
      name: of the study.
      command: its entry point.
      manifest: the file that says what the numbers depend on.
      options: configuration keys.
      other: a key whose value the numbers depend on, another value, and what the refusal calls it.
      units: parts that it writes, one after the other.
      flags: of the entry point.
      before: a run directory to begin with.
    """

    name: str
    command: str
    manifest: str
    options: dict
    other: tuple
    checkpoint: Path | None
    units: int
    flags: tuple = ()
    before: Path | None = field(default=None, compare=False)

    def arguments(self, workdir, **changes):
        options = self.options | changes
        return [
            *([f"--checkpoint={self.checkpoint}"] if self.checkpoint else []),
            f"--workdir={workdir}",
            "--noreport",
            *self.flags,
            *(f"--config.{key}={value}" for key, value in options.items()),
        ]

    def begin(self, workdir):
        """The directory as the study finds it at its first start."""
        if self.before is not None:
            shutil.copytree(self.before, workdir)
        return workdir

    def parts(self, workdir):
        """The finished parts, with the time of their writing."""
        return {p.name: p.stat().st_mtime_ns for p in (workdir / f"{self.name}_parts").glob("*.parquet")}

    def read_manifest(self, workdir):
        return json.loads((workdir / self.manifest).read_text())


@pytest.fixture(scope="module")
def cases(gpt2, bert, program, tmp_path_factory):
    """Study -> its case."""
    llama = Path(write_model("llama", tmp_path_factory.mktemp("stand-ins")))
    text = {"data": gpt2.parent / "text.txt", "length": 8, "batch_size": 8}
    rows = {"data": bert.parent / "rows.jsonl", "format": "labelled", "field": "a", "pair_field": "b", "length": 12}
    training = {"num_train": 60, "epochs": 1, "learning_rate": 1e-2, "evaluate_every": 2, "spectra": False}
    members = {"labels": "no,yes", "seeds": 0, "study": True, "deciles": "1,10"}
    sweep = Case(
        "sweep", "sweep", "manifest.json", {"null": "table"}, ("level", 0.05, "level: 0.01 there, 0.05 now"),
        gpt2, 14, ("--memory_gib=1e-9",),
    )  # fmt: skip
    swept = tmp_path_factory.mktemp("swept") / "run"
    program("sweep", *sweep.arguments(swept)).succeeded()
    overlap = replace(
        sweep, name="overlap", command="overlap", manifest="overlap.json", units=3, flags=(), before=swept,
        options=text | {"max_rows": 24}, other=("centred", True, "centred: False there, True now"),
    )  # fmt: skip
    ablation = replace(
        sweep, name="ablation", command="ablate", units=1 + 12 + 6 * 5, flags=(),
        options=text | {"max_rows": 8, "removals": "decile:1,outliers:right,random:decile", "num_resamples": 50},
        other=("num_draws", 2, "num_draws: 3 there, 2 now"),
    )  # fmt: skip
    finetune = Case(
        "finetune", "finetune", "finetune.json", rows | training | members,
        ("seeds", 1, "seeds: [0] there, [1] now"), bert, 5,
    )  # fmt: skip
    tokens = Case(
        "tokens", "tokens", "tokens.json", {"first": 3, "last": 2, "tokens": 4, "num_draws": 100},
        ("fold", False, "fold: True there"), gpt2, 3,
    )  # fmt: skip
    facts = Case(
        "facts", "facts", "facts.json", text | {"max_rows": 8, "gradients": 2, "ablations": 1, "num_resamples": 50},
        ("ablate", "mean", "ablate: 'zero' there, 'mean' now"), gpt2, 14,
    )  # fmt: skip
    linear = Case(
        "toy_linear", "toy", "toy_linear.json", {"inputs": 8, "outputs": 8, "samples": 12, "num_null": 99},
        ("noise", 2, "noise: 1.0 there, 2.0 now"), None, 1, ("--model=linear",),
    )  # fmt: skip
    mlp = Case(
        "toy_mlp", "toy", "toy_mlp.json", {"widths": 8, "epochs": 1, "seeds": 0, "alphas": 1, "max_train": 64},
        ("epochs", 2, "epochs: 1 there, 2 now"), None, 2, ("--model=mlp",),
    )  # fmt: skip
    slicing = Case(
        "slicing", "slice", "slicing.json", text | {"data_from": 0.5, "max_rows": 4, "keep": 50},
        ("keep", 75, "keep: [50] there, [75] now"), llama, 5,
    )  # fmt: skip
    return {case.name: case for case in (sweep, overlap, ablation, finetune, tokens, facts, linear, mlp, slicing)}


@pytest.fixture(scope="module", params=STUDIES)
def case(request, cases):
    return cases[request.param]


refusing = pytest.mark.parametrize("case", REFUSING, indirect=True)


@pytest.fixture(scope="module")
def undisturbed(case, program, tmp_path_factory):
    """The run directory of the study, done at one go."""
    workdir = case.begin(tmp_path_factory.mktemp(case.name) / "run")
    program(case.command, *case.arguments(workdir)).succeeded()
    return workdir


def assert_same_tables(workdir, expected):
    """Every table of both, to the last bit, but for the columns that tell how long something took."""
    names = [path.name for path in sorted(expected.glob("*.parquet"))]
    assert names == [path.name for path in sorted(workdir.glob("*.parquet"))]
    for name in names:
        ours, theirs = (pq.read_table(folder / name) for folder in (workdir, expected))
        assert ours.schema.equals(theirs.schema)
        ours, theirs = (table.to_pandas().drop(columns="seconds", errors="ignore") for table in (ours, theirs))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def state(folder):
    """Every file's content, but for the lock."""
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def wait_until(condition, process, seconds):
    """Until the condition holds, the process ends, or time is over."""
    end = time.monotonic() + seconds
    while not condition() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)


def test_killed_again_and_again_and_resumed_is_undisturbed(case, undisturbed, program, tmp_path):
    """Killed at growing delays, or as soon as another part is there: nothing finished is lost or done again.

    A sweep six times; the others, which share its parts, twice. The last kill but one waits for a part, however slow
    the machine is; with one unit left to do, the process is killed while it starts. The manifest's timings are those of
    all starts.
    """
    workdir, seen = case.begin(tmp_path / "run"), {}
    kills = 6 if case.name == "sweep" else 2
    for kill in range(1, kills + 1):
        process = program.start(case.command, *case.arguments(workdir))
        known = len(seen)
        patience = 0.02 * kill if known == case.units - 1 else 2 * kill / kills
        if not seen and kill >= kills - 1:
            patience = 240
        wait_until(lambda known=known: len(case.parts(workdir)) > known, process, patience)
        process.send(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL, "it ended before it was killed"
        now = case.parts(workdir)
        assert {name: now.get(name) for name in seen} == seen
        seen = now
    assert seen
    spent = sum(_seconds(path) for path in (workdir / f"{case.name}_parts").glob("*.parquet"))
    program(case.command, *case.arguments(workdir)).succeeded()
    assert not (workdir / f"{case.name}_parts").exists()
    assert_same_tables(workdir, undisturbed)
    timings = case.read_manifest(workdir)["timings"]
    assert spent > 0
    assert timings["total"] > spent - 1e-3


def _seconds(part):
    """Of all units in a part, by the study's own clock."""
    return sum(json.loads(text).get("total", 0.0) for text in pq.read_table(part)["seconds"].to_pylist())


def test_a_finished_run_is_read_back(case, undisturbed, program):
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file() and p.name != ".lock"}
    done = program(case.command, *case.arguments(undisturbed)).succeeded()
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert str(undisturbed) in done.stdout


@pytest.mark.parametrize("case", ["tokens", "facts"], indirect=True)
def test_its_page_explains_its_tables_and_its_figures_are_drawn(undisturbed, case, tmp_path):
    """The studies whose runs tests/report/test_directories.py does not make."""
    page = engine.write_report(undisturbed, tmp_path).read_text("utf-8")
    study = registry.STUDIES[case.name]
    found = study.open(undisturbed)
    assert f"<title>{study.view(found).title}</title>" in page
    drawn = study.figures(found)
    assert drawn
    with style.context():
        for name, draw in drawn.items():
            figure = draw()
            assert figure.axes, name
            assert "nan" not in " ".join(text.get_text() for text in figure.texts).split(), name


def test_other_options_are_refused_and_nothing_changes(case, undisturbed, program):
    key, value, says = case.other
    before = state(undisturbed)
    done = program(case.command, *case.arguments(undisturbed, **{key: value}))
    done.refused(str(undisturbed), says, "workdir")
    assert state(undisturbed) == before


def test_another_checkpoint_is_refused_and_nothing_changes(case, undisturbed, program, tmp_path):
    folder = _another(case.checkpoint, tmp_path / "model")
    before = state(undisturbed)
    done = program(case.command, *replace(case, checkpoint=folder).arguments(undisturbed))
    done.refused(str(undisturbed), "checkpoint")
    assert state(undisturbed) == before


def _another(checkpoint, folder):
    """The same names and shapes, one matrix another."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(checkpoint, folder)
    tensors = load_file(folder / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@refusing
def test_the_workdir_of_another_study_is_refused_and_nothing_changes(case, cases, program, tmp_path):
    """The overlap study joins a sweep, and a sweep is done beside it; nothing else shares a directory."""
    joined = {"sweep", "overlap"}
    others = [x for x in cases.values() if x.name != case.name and {case.name, x.name} != joined]
    for other in others[:3] if case.name in STUDIES else others[:1]:
        workdir = tmp_path / other.name
        workdir.mkdir()
        (workdir / other.manifest).write_text(json.dumps({"study": other.name, "status": "done"}))
        before = state(workdir)
        done = program(case.command, *case.arguments(workdir))
        done.refused(str(workdir), f"another kind ({other.name})")
        assert state(workdir) == before


@refusing
def test_unknown_options_are_refused_with_the_nearest(case, program, tmp_path):
    nearest = {
        "sweep": "level",
        "overlap": "centred",
        "ablation": "removals",
        "finetune": "learning_rate",
        "tokens": "tokenizer",
        "facts": "gradients",
        "toy_linear": "samples",
        "toy_mlp": "alphas",
        "slicing": "num_draws",
    }
    key = nearest[case.name]
    typed = f"--config.{key[:-2]}{key[-1]}=1"
    program(case.command, *case.arguments("run"), typed, cwd=tmp_path).refused("Did you mean", f"config.{key}")
    assert os.listdir(tmp_path) == []


@refusing
def test_options_of_another_command_are_refused(case, program, tmp_path):
    key = "removals" if case.name in ("finetune", "facts", "toy_mlp") else "epochs"
    program(case.command, *case.arguments("run"), f"--config.{key}=1", cwd=tmp_path).refused(f"config.{key}")
    assert os.listdir(tmp_path) == []


@refusing
def test_unknown_keys_of_a_file_are_refused_with_the_nearest(case, program, tmp_path):
    place = "'checkpoint': 'x'" if case.checkpoint else f"'model': '{case.name.removeprefix('toy_')}'"
    (tmp_path / "mine.py").write_text(f"def get_config():\n    return {{'sed': 1, {place}}}\n")
    done = program(case.command, "--config=mine.py", "--workdir=run", cwd=tmp_path)
    near = "seeds" if case.name == "finetune" else "seed"
    done.refused("there is no option 'sed'", f"did you mean {near}")
    assert not (tmp_path / "run").exists()


@refusing
def test_a_preset_of_another_command_is_refused(case, program, tmp_path):
    preset = "ablate_llama_stories" if case.name != "ablation" else "overlap_stories"
    done = program(case.command, f"--config={preset}", "--workdir=run", cwd=tmp_path)
    done.refused(f"--config={preset}", f"not of eigensweep-{case.command}")
    assert os.listdir(tmp_path) == []


@refusing
def test_a_seed_beyond_64_bits_is_refused(case, program, tmp_path):
    key = "split_seed" if case.name == "finetune" else "seed"
    done = program(case.command, *case.arguments(tmp_path / "run", **{key: 2**63}))
    done.refused(key, str(2**63))
    assert os.listdir(tmp_path) == []


@refusing
def test_a_workdir_that_cannot_be_made_is_refused(case, program):
    program(case.command, *case.arguments("/dev/null/x")).refused("/dev/null/x")


def test_a_second_start_is_refused_while_the_first_works(case, program, tmp_path):
    workdir = case.begin(tmp_path / "run")
    first = program.start(case.command, *case.arguments(workdir))
    try:
        wait_until((workdir / case.manifest).exists, first, 240)
        first.send(signal.SIGSTOP)
        assert first.poll() is None
        program(case.command, *case.arguments(workdir)).refused(str(workdir), "another process is working there")
    finally:
        first.send(signal.SIGKILL)
        first.wait()


@pytest.mark.parametrize("case", ["sweep", "overlap", "tokens"], indirect=True)  # all share one store of parts
def test_parts_of_another_checkpoint_are_not_taken(case, undisturbed, program, tmp_path):
    """Its parts lie there without their manifest: they go with a word, and the tables are those of an empty directory.

    An overlap study has its checkpoint from the sweep beside it: the parts are those of other options.
    """
    workdir = case.begin(tmp_path / "run")
    key, value, _ = case.other
    foreign, changes = case, {key: value}
    if case.name != "overlap":
        foreign, changes = replace(case, checkpoint=_another(case.checkpoint, tmp_path / "model")), {}
    process = program.start(case.command, *foreign.arguments(workdir, **changes))
    wait_until(lambda: case.parts(workdir), process, 240)
    process.send(signal.SIGKILL)
    process.wait()
    assert case.parts(workdir)
    (workdir / case.manifest).unlink()
    done = program(case.command, *case.arguments(workdir)).succeeded()
    assert "parts of another run lay there without its manifest: removed" in done.stdout
    assert any("parts of another run" in warning for warning in case.read_manifest(workdir)["warnings"])
    assert_same_tables(workdir, undisturbed)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--memory_gib=nan"], ["memory_gib", "nan", "positive"]),
        (["--memory_gib=-1"], ["memory_gib", "-1"]),
        (["--config.roles=query,mlp"], ["roles: mlp not in", "mlp_up"]),
        (["--config.blocks=1-2"], ["blocks: 2 not in", "blocks 0 to 1"]),
        (["--num_processes=2"], ["--num_processes", "--coordinator"]),
        (["--process_id=0"], ["--process_id", "--coordinator"]),
    ],
)
def test_a_sweep_refuses(cases, program, tmp_path, arguments, says):
    case = replace(cases["sweep"], flags=())
    program("sweep", *case.arguments(tmp_path / "run"), *arguments).refused(*says)
    assert os.listdir(tmp_path) == []


def test_no_overlap_without_the_sweep_of_the_same_checkpoint(cases, program, tmp_path):
    case = cases["overlap"]
    workdir = shutil.copytree(case.before, tmp_path / "run")
    sweep = json.loads((workdir / "manifest.json").read_text())
    sweep["checkpoint"]["sha256"] = "1" * 64
    (workdir / "manifest.json").write_text(json.dumps(sweep))
    before = state(workdir)
    program("overlap", *case.arguments(workdir)).refused("not of this checkpoint")
    assert state(workdir) == before
