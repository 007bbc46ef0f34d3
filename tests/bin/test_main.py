"""The umbrella command, `--help`, `--version`, and what slips are answered with."""

import tomllib
from pathlib import Path

import pytest

from eigensweep.bin.commands import COMMANDS
from eigensweep.bin.presets import preset_paths

ROOT = Path(__file__).resolve().parents[2]


def test_every_console_script_is_a_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"eigensweep": "eigensweep.bin.main:run"} | {
        f"eigensweep-{name}": f"eigensweep.bin.{name}:run" for name in COMMANDS
    }


def test_umbrella(program):
    listed = program("main", "--help").succeeded()
    assert all(f"  {name}" in listed.stdout for name in COMMANDS)
    assert program("main", "--version").stdout == program("main", "sweep", "--version").succeeded().stdout
    assert (
        program("main", "swep").refused() == "error: 'swep' is no command (did you mean sweep?); see eigensweep --help"
    )


@pytest.mark.parametrize("name", ["sweep", "overlap", "null"])
def test_help_lists_flags_options_and_fitting_presets(program, name):
    text = program("main", name, "--help").succeeded().stdout
    assert max(map(len, text.split("flags:")[1].splitlines())) <= 100
    assert ("\n  minilm  " in text) == (name == "sweep")
    assert ("overlap_minilm" in text) == (name == "overlap")
    if name == "sweep":
        assert "--dry_run" in text
        assert "one of bulk, entries, init (default bulk)" in " ".join(text.split())
        assert not [preset for preset in preset_paths() if preset.startswith("overlap") and preset in text]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["sweep", "runs/x"], "did you mean --checkpoint=runs/x?"),
        (["sweep", "--worksdir=x"], "workdir"),
        (["sweep", "--config=minlm", "--workdir=x"], "nor a file (did you mean minilm?)"),
        (["sweep", "--config.contrl=none"], "config.control"),
        (["sweep", "--config.sigma=bluk"], "expected one of bulk, entries, init"),
    ],
)
def test_slips(program, arguments, hint):
    program("main", *arguments).refused(hint)


def test_roles_by_the_names_of_tensors(program, gpt2):
    for word, meant in (("q_proj", "query"), ("mpl_up", "mlp_up")):
        found = program("sweep", f"--checkpoint={gpt2}", "--dry_run", f"--config.roles={word}")
        found.refused(f"did you mean {meant}?")


def test_dry_run_is_a_row_a_role(program, gpt2):
    said = program("sweep", f"--checkpoint={gpt2}", "--dry_run", "--config.num_flips=0").succeeded().stdout
    rows = [line.split() for line in said.splitlines()]
    assert ["mlp_up", "0", "to", "1", "2", "96", "x", "24", "float32"] in rows
    assert "14 matrices to sweep" in said
    assert "on this machine once programs are compiled" in said
