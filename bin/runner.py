"""The one runner of all entry points: flags, presets, one-line errors with status 2, progress, report.

A study's flags follow from its options dataclass: `--config.KEY=VALUE` for every field. `--config=NAME` takes a preset
of `eigensweep.configs`, or a Python file with a `get_config()`; what a flag says overrides it. With
`--config.small=True` a preset's model and data are tiny stand-ins (bin/small.py).
"""

import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, get_type_hints

from absl import app, flags, logging

from eigensweep.bin.help import help_text, version_line
from eigensweep.bin.output import heard, say_error
from eigensweep.bin.presets import UserError, preset_values
from eigensweep.models.errors import InputError, printable

if TYPE_CHECKING:
    from eigensweep.engine.run.options import Options
    from eigensweep.engine.run.progress import OnProgress
    from eigensweep.engine.tables.result import Result
    from eigensweep.models import Checkpoint

SOURCE, WORKDIR = "checkpoint", "workdir"  # keys of a preset that are no options: where from, and where to
SMALL = "small"  # and what it is tried on
PLACES = {
    "checkpoint": "folder, file or hub id",
    "checkpoints": "several, separated by commas: paths, hub ids, globs, files that list them; with {0,1} and {0..9}",
    "config_json": "config.json of the model to train; default: a small GPT-2",
    "model": "which model of learning; its options follow from it",
    "workdir": "run directory; an unfinished run is continued",
}
_LONGEST = 3000  # characters of an error
_HELP = {"--help", "-help", "-h", "--helpshort", "-?"}
_DEFINE: dict[Any, Callable[..., Any]] = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float}
Chosen = TypeVar("Chosen", bound="Options")


def console(
    main: Callable[[], None],
    options: type["Options"] | None = None,
    source: str = SOURCE,
    report: bool = True,
    choose: Callable[[Sequence[str]], type["Options"]] | None = None,
) -> Callable[[], None]:
    """The console script of an entry point: parses the flags, runs `main` under absl, exits.

    Args:
      main: reads absl's flags, in the module whose docstring is the help.
      options: the study's options; `--config`, `--config.KEY`, `--checkpoint` and `--workdir` follow.
      source: what the flag is called that says where from, a key of PLACES; it may be the run directory itself.
      report: whether the study has a page, and so the flags `--report` and `--figures`.
      choose: the options where they depend on the arguments.

    An InputError (CheckpointError, DataError, RunError, UserError, …), and a flag that cannot be parsed, end as
    `error: <message>` on stderr with exit status 2; Ctrl-C ends with 130. Any other exception is a defect of ours and
    keeps its traceback.
    """

    def guarded(_: list[str]) -> None:
        from eigensweep.engine.tables.errors import RunError

        try:
            main()
        except (InputError, RunError, app.UsageError, flags.Error) as e:
            _fail(e)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.exit(130)

    def run() -> None:
        # of a full disk the run itself will tell, in one line
        warnings.filterwarnings("ignore", message="Error writing persistent compilation cache entry")
        flags.FLAGS.set_default("verbosity", -1)  # warnings; at INFO, JAX tells of every backend it did not find
        with heard():
            try:
                chosen = choose(sys.argv) if choose is not None else options
            except InputError as e:
                _fail(e)
            if chosen is not None:
                _define(chosen, source, report)
                sys.argv = _modern(sys.argv, chosen)
            # absl knows flags by the name of the running script, which is __main__ only under `python -m`.
            app.run(guarded, flags_parser=_flags_parser(main.__module__, chosen))

    return run


def settings(options: type[Chosen], source: str = SOURCE, needed: bool = True) -> tuple[str, Chosen, str]:
    """Checkpoint (or what `source` names), options and workdir from preset and flags.

    Raises:
      UserError: no checkpoint where it is needed, a key or value that is not allowed, a preset of another command.
    """
    preset = flags.FLAGS["config"].value or ""
    values = preset_values(preset, options)
    stand_ins = values.pop(SMALL, None)
    if flags.FLAGS[f"config.{SMALL}"].value:
        from eigensweep.bin.small import small_values

        values = small_values(preset, values, stand_ins, _said(WORKDIR) or values.get(WORKDIR, ""))
    values |= {key: f.value for key in options.by_name() if (f := flags.FLAGS[f"config.{key}"]).present}
    places = {key: _said(key) or values.get(key, "") for key in (source, WORKDIR)}
    values = {key: value for key, value in values.items() if key not in places}
    if "data" in flags.FLAGS and flags.FLAGS["data"].value:
        values["data"] = flags.FLAGS["data"].value
    try:
        chosen = options.of(values)
    except (TypeError, ValueError) as error:
        raise UserError(f"config: {error}") from error
    if needed and not places[source]:
        raise UserError(f"no {source}: give --{source}=PATH_OR_HUB_ID, or a --config that names one")
    return places[source], chosen, places[WORKDIR]


def _said(place: str) -> Any:
    """What the flags say of a place; None where they say nothing."""
    return flags.FLAGS[place].value or flags.FLAGS[f"config.{place}"].value


def place(key: str, argv: Sequence[str], options: type["Options"]) -> tuple[str, str]:
    """What arguments say of one of PLACES before there are flags, and what their preset does; "" where nothing.

    Raises:
      UserError: the preset cannot be read, or is another command's than that of these options.
    """
    words = flags.FlagValues()
    for name in (key, f"config.{key}", "config"):
        flags.DEFINE_string(name, "", "", flag_values=words)
    try:
        words(argv, known_only=True)
    except flags.Error as error:
        raise UserError(f"{error}; see --help") from error
    said = words[key].value or words[f"config.{key}"].value
    return str(said or ""), str(preset_values(words["config"].value or "", options).get(key, ""))


def is_question(argv: Sequence[str]) -> bool:
    """Whether the arguments ask for the help or the version."""
    return bool(_HELP.intersection(argv[1:])) or "--version" in argv[1:]


def opened(source: str, base: str | None = None) -> "Checkpoint":
    """The checkpoint, an adapter's beside its base, its warnings printed."""
    from eigensweep import models

    checkpoint = models.open_checkpoint(source, base=base)
    for warning in checkpoint.warnings:
        print(f"warning: {printable(warning)}")
    return checkpoint


def run_study(
    options: type[Chosen],
    study: Callable[["Checkpoint", Chosen, str, "OnProgress"], "Result"],
    render: Callable[[Any], str],
) -> tuple["Checkpoint", Chosen]:
    """The whole of a study's entry point: settings, study, summary, report; gives what else `main` may need."""
    source, chosen, workdir = settings(options)
    if not workdir:
        raise UserError("no --workdir given: where should the tables and the report go?")
    from eigensweep.progress import reporter

    checkpoint, start = opened(source), time.monotonic()
    with reporter() as on_progress:
        result = study(checkpoint, chosen, workdir, on_progress)
    finish(result, render, "\n".join([*notes(result, checkpoint), f"{time.monotonic() - start:.1f} s"]))
    return checkpoint, chosen


def notes(result: "Result", checkpoint: "Checkpoint | None" = None) -> list[str]:
    """What a study found worth saying, besides the checkpoint's own warnings: a line each."""
    said = checkpoint.warnings if checkpoint is not None else ()
    return [f"note: {text}" for text in result.manifest.get("warnings", ()) if text not in said]


def finish(result: "Result", render: Callable[[Any], str], said: str) -> None:
    """Print a study's summary and where its files are; write its report, unless `--noreport`."""
    from eigensweep.engine.studies import write_report

    print(f"{render(result)}\n\n{said}")
    print(f"tables: {result.directory}/" + ", ".join(f"{name}.parquet" for name in result.tables))
    if flags.FLAGS["report"].value or flags.FLAGS["figures"].value:
        print(f"report: {write_report(result, figures=bool(flags.FLAGS['figures'].value))}")


def _define(options: type["Options"], source: str, report: bool) -> None:
    """A flag for every field of the options, its own name behind `config.`; and the places."""
    flags.DEFINE_string("config", "", "name of a preset (--help lists them), or a Python file with a get_config()")
    flags.DEFINE_bool(f"config.{SMALL}", False, "the preset on a tiny stand-in for its model and data")
    if report:
        flags.DEFINE_bool("report", True, "write report.html")
        flags.DEFINE_bool("figures", False, "draw the figures for papers, too, PNG and PDF in WORKDIR/figures")
    for key in dict.fromkeys((source, WORKDIR)):  # where the run directory is all that is needed, once
        what = PLACES[key]
        if key not in flags.FLAGS:  # where a command takes several
            flags.DEFINE_string(key, None, f"{what}; overrides the preset's")
        flags.DEFINE_string(f"config.{key}", None, f"the same as --{key}")
    kinds = get_type_hints(options)
    for key, f in options.by_name().items():
        default = ",".join(map(str, f.default)) if isinstance(f.default, tuple) else f.default
        words = f.metadata["choices"]
        what = f"{f.metadata['help']}{': ' + ', '.join(w or repr('') for w in words) if words else ''} ({default!r})"
        _DEFINE.get(kinds[key], flags.DEFINE_string)(f"config.{key}", None, what)
    if "data" in options.by_name():
        flags.DEFINE_string("data", None, "the same as --config.data")


def _modern(argv: Sequence[str], options: type["Options"]) -> list[str]:
    """Arguments with old keys by their new names, and a warning."""
    old = {f"--config.{key}": f"--config.{new}" for key, new in options.ALIASES.items()}
    if options.ALIASES.get("text") == "data":
        old["--text"] = "--data"
    result = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if flag in old:
            print(f"warning: {flag} is called {old[flag]} now", file=sys.stderr)
            flag = old[flag]
        result.append(f"{flag}{equals}{value}")
    return result


def _flags_parser(module: str, options: type["Options"] | None) -> Callable[[list[str]], list[str]]:
    """A parser for absl's `app.run`: our own help on `--help`, status 2 on bad or stray arguments."""

    def parse(argv: list[str]) -> list[str]:
        if _HELP.intersection(argv[1:]):
            print(help_text(module, options))
            sys.exit(0)
        if "--version" in argv[1:]:
            print(version_line())
            sys.exit(0)
        try:
            name, *stray = flags.FLAGS(argv)
        except flags.Error as e:
            _fail(f"{e}; see --help")
        if stray:
            hint = f"; did you mean --checkpoint={stray[0]}?" if options is not None and len(stray) == 1 else ""
            _fail(f"unexpected arguments {' '.join(stray)}{hint or '; see --help'}")
        if flags.FLAGS["verbosity"].using_default_value:
            # absl would raise it to INFO, at which libraries log every file they touch.
            flags.FLAGS["verbosity"].value = logging.WARNING
            flags.FLAGS["verbosity"].using_default_value = False
        return [name]

    return parse


def _fail(message: object) -> NoReturn:
    say_error(textwrap.shorten(printable(" ".join(str(message).split())), _LONGEST, placeholder=" …"))
    sys.exit(2)
