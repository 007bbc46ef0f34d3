"""Labels of a tokens run: the table beside it, its shares, labels by hand, and the command."""

import csv
import importlib.util
import io
import json
from pathlib import Path

import pytest

from eigensweep.engine import import_marks, label, open_labels
from eigensweep.engine.spectral.proportions import wilson_interval
from eigensweep.engine.studies.labels.estimate import describe, estimate
from eigensweep.engine.studies.labels.options import LabelOptions
from eigensweep.engine.studies.labels.summary import agreement_table, render_labels, shares_table
from eigensweep.engine.tables.errors import RunError


def beside(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


fake, runs = beside("fake_endpoint"), beside("tokens_run")
pytest.importorskip("openai")
CHOSEN = {"label_kinds": "ov,mlp_out", "label_indices": "1-2"}
NUMBER = 6 * 2 * 2 * 2 + 2 * 2 * 2  # ov: circuits, sides, indices, signs; mlp_out


@pytest.fixture
def run(tmp_path):
    return runs.make_tokens(tmp_path / "run")


@pytest.fixture(scope="module")
def server():
    with fake.serving() as found:
        yield found


@pytest.fixture
def options(server):
    def make(**changes):
        settings = {"label_url": server.url, "label_model": "m", "label_concurrency": 8}
        return LabelOptions(**settings | CHOSEN | changes)

    server.requests.clear()
    server.script = fake.honest
    return make


@pytest.fixture
def marks(run, tmp_path):
    """marks(entries, ending, **changes): a file as the page exports it."""
    of = json.loads((run / "tokens.json").read_text())["tables"]["directions.parquet"]

    def write(entries, ending="json", **changes):
        path = tmp_path / f"labels.{ending}"
        rows = [dict(zip(("direction", "side", "sign", "shared", "label"), entry, strict=True)) for entry in entries]
        if ending == "json":
            content = {"format": "eigensweep labels 1", "of": of, "person": "Ann", "labels": rows}
            path.write_text(json.dumps(content | changes))
        else:
            out = io.StringIO()
            whole = {"of": of, "person": "Ann"} | changes
            writer = csv.DictWriter(out, [*whole, *rows[0]])
            writer.writeheader()
            writer.writerows(whole | row | {"shared": str(row["shared"]).lower()} for row in rows)
            path.write_text(out.getvalue())
        return path

    return write


GOOD = [
    ("block.0.head.0.ov:1", "written", 1, True, "things to eat"),
    ("block.1.mlp_out:2", "written", -1, False, None),
    ("block.0.head.0.ov:1", "written", -1, False, None),
]


def test_the_table_says_what_was_found(run, options):
    found = label(run, options())
    labels = found.labels.set_index(["circuit", "index", "side", "sign"])
    assert len(labels) == NUMBER
    assert labels.index.is_unique
    named = labels[labels["status"] == "interpretable"]["label"].to_dict()
    assert named == {
        ("block.0.head.0.ov", 1, "written", 1): "fruit", ("block.1.mlp_out", 2, "written", -1): "metals",
    }  # fmt: skip
    assert set(labels["status"]) == {"interpretable", "nothing"}
    again = open_labels(run)
    assert again.labels.equals(found.labels)
    record = again.manifest["judges"]["m"]
    assert record["calls"] == NUMBER + 2
    assert record["open"] == 0
    text = json.dumps(again.manifest)
    assert "OPENAI" not in text


def test_nothing_of_the_key_is_written(run, options, monkeypatch):
    monkeypatch.setenv("MINE", "sk-very-secret")
    label(run, options(label_key="MINE"))
    assert all(b"sk-very-secret" not in path.read_bytes() for path in run.rglob("*") if path.is_file())


def test_starts_add_up_and_pay_once(run, options, server):
    label(run, options(label_kinds="ov"))
    first = len(server.requests)
    found = label(run, options(label_kinds="mlp_out"))
    assert len(found.labels) == NUMBER
    assert label(run, options()).labels["label"].notna().sum() == 2
    assert len(server.requests) == first + 9 == NUMBER + 2
    label(run, options(label_model="other", label_kinds="mlp_out"))
    both = open_labels(run).labels["judge"].value_counts()
    assert both.to_dict() == {"m": NUMBER, "other": 8}


def test_other_parameters_replace_a_models_rows(run, options):
    label(run, options())
    found = label(run, options(label_kinds="mlp_out", label_parameters='{"temperature": 1}'))
    assert len(found.labels) == 8


def test_shares_count_lists_and_have_wilsons_intervals(run, options, server):
    server.script = lambda prompt, number: (
        fake.completion("no idea") if fake.tokens_in(prompt) == runs.METAL else fake.honest(prompt, number)
    )
    found = label(run, options())
    shares = shares_table(found).set_index(["by", "group"])
    everything = shares.loc[("all", "")]
    assert everything["lists"] == NUMBER - 1  # the malformed one counts nowhere
    assert everything["interpretable"] == everything["named"] == 1
    low, high = wilson_interval(1, NUMBER - 1)
    assert (everything["low"], everything["high"]) == pytest.approx((float(low), float(high)))
    assert shares.loc[("block", "0"), "interpretable"] == 1
    assert shares.loc[("index", "1"), "lists"] == NUMBER / 2
    assert shares.loc[("index", "2 to 3"), "interpretable"] == 0
    text = render_labels(found)
    assert "1 lists with a malformed answer" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_dry_run_asks_nothing_and_says_what_it_would_take(run, options, server):
    before = sorted(path.name for path in run.iterdir())
    found = estimate(run, options(label_input_price=1.0, label_output_price=10.0))
    assert server.requests == []
    assert sorted(path.name for path in run.iterdir()) == before
    assert (found.lists, found.known, found.calls) == (NUMBER, 0, 2 * NUMBER)
    assert found.cost == pytest.approx((found.sent + 10 * found.received) / 1e6)
    assert "a guess" in describe(found, options())
    label(run, options())
    sent = sum(len(prompt) for prompt in server.prompts) / len(server.prompts) / 4
    assert found.sent / found.calls == pytest.approx(sent, rel=0.4)
    known = estimate(run, options())
    assert known.known == NUMBER
    assert known.calls == 0
    assert "cost       unknown" in describe(known, options())
    more = estimate(run, options(label_indices="3", label_budget=5))
    assert more.received == pytest.approx(5 * 7)
    assert more.measured == NUMBER + 2
    assert "the budget" in describe(more, options())
    assert max(map(len, describe(more, options()).splitlines())) <= 100


@pytest.mark.parametrize("ending", ["json", "csv"])
def test_labels_by_hand_come_in_and_agree_or_not(run, options, marks, ending):
    label(run, options())
    found = import_marks(run, [marks(GOOD, ending)])
    by_hand = found.labels[found.labels["judge"] == "by hand: Ann"]
    assert list(by_hand["status"]) == ["interpretable", "nothing", "nothing"]
    assert by_hand["label"].iloc[0] == "things to eat"
    (row,) = agreement_table(found).to_dict("records")
    assert (row["first"], row["second"]) == ("m", "by hand: Ann")
    assert [row[key] for key in ("lists", "both", "only_first", "only_second", "neither")] == [3, 1, 1, 0, 1]
    assert row["kappa"] == pytest.approx((2 / 3 - 4 / 9) / (1 - 4 / 9))
    assert row["low"] < row["kappa"] < row["high"]
    again = import_marks(run, [marks(GOOD[:1], ending)])
    assert (again.labels["judge"] == "by hand: Ann").sum() == 1
    assert (again.labels["judge"] == "m").sum() == NUMBER


@pytest.mark.parametrize(
    ("entries", "changes", "says"),
    [
        (GOOD, {"of": "1" * 64}, "another run"),
        (GOOD, {"person": ""}, "person"),
        (GOOD, {"person": "\x1b[31mAnn"}, "person"),
        (GOOD, {"format": "x"}, "as the page exports them"),
        (GOOD, {"labels": {}}, "as the page exports them"),
        (GOOD, {"labels": [7]}, "label 1"),
        ([*GOOD, GOOD[0]], {}, "label 4: .* twice"),
        ([("block.9.mlp_out:1", "written", 1, True, "x")], {}, "label 1: the run has no"),
        ([("block.0.head.0.ov", "written", 1, True, "x")], {}, "no direction"),
        ([("block.0.head.0.ov:1", "written", True, True, "x")], {}, "sign"),
        ([("block.0.head.0.ov:1", "written", 1, "yes", "x")], {}, "shared"),
        ([("block.0.head.0.ov:1", "written", 1, True, "x" * 81)], {}, "at most 80"),
        ([("block.0.head.0.ov:1", "written", 1, True, ["x"])], {}, "label"),
    ],
)
def test_files_that_are_none_change_nothing(run, marks, entries, changes, says):
    with pytest.raises(RunError, match=says) as refused:
        import_marks(run, [marks(entries, **changes)])
    assert "labels.json" in str(refused.value)
    assert str(refused.value).isprintable()
    assert not (run / "tokens_labels.json").exists()


def test_broken_files_are_named(run, tmp_path):
    for name, content in (("a.json", b"["), ("b.json", b"\xff"), ("c.csv", b"a,b\n1,2\n"), ("d.json", b"[" * 10**6)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(RunError, match=name):
            import_marks(run, [path])


def test_runs_that_cannot_be_labelled(run, options, tmp_path):
    with pytest.raises(RunError, match="no finished run"):
        label(tmp_path / "absent", options())
    assert not (tmp_path / "absent").exists()
    with pytest.raises(RunError, match="label_kinds: there is no mlp_in"):
        label(run, options(label_kinds="mlp_in"))
    with pytest.raises(RunError, match="no text of tokens"):
        label(runs.make_tokens(tmp_path / "ids", texts=False), options())
    with pytest.raises(RunError, match="too few to verify"):
        label(runs.make_tokens(tmp_path / "short", length=3), options())
    label(run, options())
    runs.make_tokens(run, directions=3)
    with pytest.raises(RunError, match="not of the directions beside them"):
        open_labels(run)


def test_the_command_labels_and_takes_over(run, options, marks, server, program):
    words = [f"--config.{key}={value}" for key, value in CHOSEN.items()]
    asked = [f"--workdir={run}", f"--config.label_url={server.url}", "--config.label_model=m", *words]
    done = program("label", *asked, f"--marks={marks(GOOD)}").succeeded()
    assert "by hand: Ann" in done.stdout
    assert f"{NUMBER + 2} calls" in done.stdout
    assert (run / "report.html").exists()
    program("label", *asked, "--config.label_model=x", "--config.label_url=http://127.0.0.1:9/v1").refused(
        "127.0.0.1:9", "cannot be reached"
    )
