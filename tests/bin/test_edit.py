"""eigensweep-synth --plant_tokens, eigensweep-trace and eigensweep-edit as their user runs them."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from eigensweep import models
from eigensweep.engine.studies.editing import specificity
from eigensweep.engine.studies.editing.columns import CHANGED, EFFECTS
from eigensweep.engine.studies.tracing.columns import HITS, LOOP
from eigensweep.engine.tables.columns import schema


@pytest.fixture(scope="module")
def words(program, tmp_path_factory):
    out = tmp_path_factory.mktemp("words") / "llama"
    done = program("synth", f"--out={out}", "--plant_tokens", "--layout=llama").succeeded()
    assert "13 directions for 12 clusters of words" in done.stdout
    return out


def test_trace_lists_the_planted_directions(words, tmp_path, program):
    arguments = ["--query=fire, flame, burning", "--query=monday,friday,sunday", "--config.closed_loop=40"]
    done = program("trace", f"--checkpoint={words}", *arguments, f"--workdir={tmp_path}").succeeded()
    assert max(map(len, done.stdout.split("tables: ")[0].splitlines())) <= 100
    hits = pq.read_table(tmp_path / "trace.parquet")
    assert hits.schema.equals(schema(HITS))
    found = {(row["query"], row["direction"], row["side"]) for row in hits.to_pylist()}
    assert ("fire, flame, burning", "block.0.head.1.ov:1", "read") in found
    assert ("fire, flame, burning", "block.0.head.0.ov:1", "read") in found  # it shares the value head
    assert ("monday,friday,sunday", "block.1.head.3.ov:1", "written") in found
    loop = pq.read_table(tmp_path / "trace_loop.parquet")
    assert loop.schema.equals(schema(LOOP))
    assert loop.num_rows == 40
    assert "take --config.vector=side" in done.stdout
    told = json.loads((tmp_path / "trace.json").read_text())["queries"]
    assert sum(query["hits"] for query in told) == hits.num_rows


def test_edit_prints_writes_and_draws(words, tmp_path, program):
    arguments = [
        f"--checkpoint={words}", "--direction=block.0.head.1.ov:1", "--direction=block.1.mlp_out:1",
        "--prompt=fire flame burning", "--prompt=bread butter soup", "--next=water, river", "--next=mother, uncle",
        "--config.others=6", "--config.random=4", f"--workdir={tmp_path / 'run'}", f"--output={tmp_path / 'out'}",
    ]  # fmt: skip
    done = program("edit", *arguments).succeeded()
    assert max(map(len, done.stdout.split("tables: ")[0].splitlines())) <= 100
    assert "2 of its 21 stored tensors differ from the original" in done.stdout
    for name, columns in (("edit_changed", CHANGED), ("edit_effects", EFFECTS)):
        assert pq.read_table(tmp_path / "run" / f"{name}.parquet").schema.equals(schema(columns))
    effects = pq.read_table(tmp_path / "run" / "edit_effects.parquet")
    assert specificity(effects, "block.0.head.1.ov:1")["compared"] == 11
    whole = [row for row in effects.to_pylist() if row["direction"] == "all"]
    assert [row["next"] for row in whole] == ["water", "river", "mother", "uncle"]
    assert all(row["change"] < -1 for row in whole)
    assert (tmp_path / "run" / "figures" / "edit_specificity.png").stat().st_size > 5000
    before, after = (models.open_checkpoint(folder) for folder in (words, tmp_path / "out"))
    changed = {name for name, tensor in before.source.tensors.items()
               if np.any(tensor.read() != after.source.tensors[name].read())}  # fmt: skip
    assert changed == {"model.layers.0.self_attn.o_proj.weight", "model.layers.1.mlp.down_proj.weight"}
    program("edit", *arguments).refused("--output=", "not an empty folder")


def test_bad_input_is_refused_in_one_line_and_leaves_nothing(words, tmp_path, program):
    good = [f"--checkpoint={words}", f"--workdir={tmp_path / 'run'}"]
    for name, arguments, says in (
        ("trace", [*good, "--query=fire, qwertz"], "no tokens for 'qwertz'"),
        ("trace", good, "no --query given"),
        ("edit", [*good, "--direction=block.0.mlp_out:1", "--tokens_run=x"], "there is no text"),
        ("synth", [f"--out={tmp_path / 'run'}", "--plant_tokens", "--spikes=2"], "--spikes does not go with"),
    ):
        program(name, *arguments).refused(says)
    assert not list(tmp_path.iterdir())
