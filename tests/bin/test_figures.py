"""The presets of the sources' figures: the table of them, and each on its small stand-in."""

from pathlib import Path

import pytest

from eigensweep import configs, engine, models
from eigensweep.bin import finetune, presets, runner, small, toy
from eigensweep.configs import figures
from eigensweep.engine.report.registry import STUDIES
from eigensweep.engine.run.progress import silent
from eigensweep.engine.studies.ablation.study import AblationOptions, run_ablation
from eigensweep.engine.studies.compare.options import CompareOptions
from eigensweep.engine.studies.editing import EditOptions, EditRequest, run_edit
from eigensweep.engine.studies.facts.options import FactsOptions
from eigensweep.engine.studies.facts.study import run_facts
from eigensweep.engine.studies.finetune.options import FinetuneOptions
from eigensweep.engine.studies.fleet import sources, sweeps
from eigensweep.engine.studies.fleet.options import FleetOptions, SeriesOptions
from eigensweep.engine.studies.overlap.study import OverlapOptions, run_overlap
from eigensweep.engine.studies.pretraining import PretrainOptions
from eigensweep.engine.studies.series.study import run_series
from eigensweep.engine.studies.slicing import SliceOptions
from eigensweep.engine.studies.sweep.options import SweepOptions
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.studies.tokens.study import run_tokens
from eigensweep.engine.studies.tracing import TraceOptions, run_trace
from eigensweep.models.data.tokenizer import load_tokenizer

pytestmark = pytest.mark.usefixtures("compiled_quickly")

COMMANDS = (
    AblationOptions, CompareOptions, EditOptions, FactsOptions, FinetuneOptions, FleetOptions, OverlapOptions,
    PretrainOptions, SeriesOptions, SliceOptions, SweepOptions, TokensOptions, TraceOptions,
)  # fmt: skip
OPTIONS = {options.COMMAND: options for options in COMMANDS}


def options_of(preset, command):
    return toy.chosen(["toy", f"--config={preset}"]) if command == "toy" else OPTIONS[command]


def test_the_table_has_a_row_for_every_preset_of_the_folder():
    folder = Path(next(iter(configs.__path__)), "figures")
    presets = {path.stem for path in folder.glob("[!_]*.py")}
    table = figures.table()
    rows = [line for line in table.splitlines() if "--config=" in line]
    assert sorted(row.split("--config=")[1].split("`")[0] for row in rows) == sorted(presets)
    assert all(title in table for title in figures.SOURCES.values())
    for name in presets:
        figure = figures.module(name).FIGURE
        assert set(figure.sources) <= set(figures.SOURCES)
        assert all((figure.shows, figure.needs, figure.here))
        assert set(figure.numbers) <= set(figures.NUMBERED.get(figure.sources[0], ()))
        assert "|" not in figure.shows + figure.needs + figure.here


def test_presets_that_the_table_refers_to_are_there():
    for name in figures.names():
        here = figures.module(name).FIGURE.here
        words = [word for word in here.split("`")[1::2] if word.isidentifier() and word not in engine_words()]
        assert set(words) <= set(presets.preset_paths()), name


def engine_words():
    """What else stands in quotes: roles, and the end of a name."""
    from eigensweep.models.roles import ROLES

    return {*ROLES, "_pairs"}


def test_names_of_presets_are_unique():
    folder = Path(next(iter(configs.__path__)))
    stems = [path.stem for path in folder.rglob("*.py") if not path.stem.startswith("__")]
    assert len(stems) == len(set(stems)) == len(presets.preset_paths())


@pytest.mark.parametrize("name", list(presets.preset_paths()))
def test_every_preset_is_one_of_a_command_and_its_options_are_allowed(name, request):
    """Read as its command reads it: keys that there are, values that are allowed."""
    if "minilm" in name:
        request.getfixturevalue("minilm")
    within = f"{figures.__name__}.{name}" if name in figures.names() else f"{configs.__name__}.{name}"
    values = dict(__import__(within, fromlist=["get_config"]).get_config())
    options = options_of(name, values.pop("command"))
    stand_ins = values.pop(runner.SMALL, {})
    assert (name in figures.names()) == bool(stand_ins)
    for chosen in (values, {**values, **stand_ins}):
        known = {key: value for key, value in chosen.items() if key not in runner.PLACES}
        assert set(known) <= set(options.by_name())
        options.of(known)


def compare(source, options, workdir):
    def swept(path):
        checkpoint = models.open_checkpoint(path)
        return engine.sweep(checkpoint, options.sweep_options(), Path(workdir, "runs", Path(path).name)), checkpoint

    pairs = [swept(path) for path in source.split(",")]
    return engine.compare([run for run, _ in pairs], options, workdir, checkpoints=[c for _, c in pairs])


def fleet(source, options, workdir):
    members = [sweeps.Member(name, Path(workdir, d)) for name, d in sources.names_of(source.split(",")).items()]
    rows = sweeps.sweep_all(members, options)
    assert [row["status"] for row in rows] == ["done"] * len(members)


def edit(source, options, workdir):
    asked = EditRequest(("block.1.head.2.ov:1",), 0.0, ("bada bero",), ("bilu, bomi",))
    return run_edit(models.open_checkpoint(source), asked, options)


def of_one(study):
    return lambda source, options, workdir: study(models.open_checkpoint(source), options, workdir)


RUN = {
    "ablate": of_one(run_ablation),
    "compare": compare,
    "edit": edit,
    "facts": of_one(run_facts),
    "finetune": of_one(lambda *given: finetune._run(*given, silent)),
    "fleet": fleet,
    "overlap": of_one(run_overlap),
    "series": lambda source, options, workdir: run_series(source.split(","), options, workdir),
    "sweep": of_one(engine.sweep),
    "tokens": of_one(run_tokens),
    "toy": lambda source, options, workdir: toy._toy(source).run(options, workdir, silent),
    "trace": lambda source, options, workdir: run_trace(models.open_checkpoint(source), [], options, workdir),
}


@pytest.mark.parametrize("name", figures.names())
def test_its_small_stand_in_runs(name, tmp_path):
    command = figures.module(name).get_config().command
    options = options_of(name, command)
    values = runner.preset_values(name, options)
    values = small.small_values(name, values, values.pop(runner.SMALL), str(tmp_path))
    source = next(values.pop(key) for key in ("checkpoint", "checkpoints", "model") if key in values)
    assert command == "toy" or all(str(tmp_path) in path for path in source.split(","))
    found = RUN[command](source, options.of(values), str(tmp_path))
    if command in STUDIES:
        assert found.manifest["status"] == "done"
        assert found.tables[next(iter(found.tables))].num_rows


def test_from_the_command_line(program, tmp_path):
    preset, workdir = "--config=staats_bert_spectra", tmp_path / "run"
    lean = ("--config.num_flips=0", "--config.control=none", "--config.equalise=False", "--config.roles=query")
    said = program("sweep", preset, "--config.small=True", f"--workdir={workdir}", "--noreport", *lean)
    assert "query" in said.succeeded().stdout
    assert load_tokenizer(workdir / "small" / "bert").mask_token_id == 4
    again = program("sweep", preset, "--config.small", f"--workdir={workdir}", "--noreport", *lean)
    assert "was finished before" in again.succeeded().stdout
    program("sweep", preset, "--config.small").refused("no --workdir")
    program("sweep", "--config.small", f"--workdir={workdir}").refused("give --config=NAME")
    unfit = program("compare", "--config=compare_initial", "--config.small", f"--workdir={workdir}")
    unfit.refused("--config=compare_initial: has no small stand-in")
    program("sweep", "--config=staats_bert_spectrum").refused("did you mean staats_bert_spectra?")
