"""Labels by an endpoint: a real HTTP server on loopback that answers well, badly, late, and with malice."""

import gzip
import importlib.util
import json
import time
from pathlib import Path

import numpy as np
import pytest

from eigensweep.engine.studies.labels import endpoint as endpoints
from eigensweep.engine.studies.labels.answers import Answer, Answers, key_of
from eigensweep.engine.studies.labels.labelling import TokenList, label_lists
from eigensweep.engine.studies.labels.options import LabelOptions
from eigensweep.engine.studies.labels.parsing import MalformedError, choice_of, label_of
from eigensweep.engine.studies.labels.prompts import _EXAMPLES, label_prompt, verify_prompt
from eigensweep.engine.studies.labels.verification import judged, mixed
from eigensweep.engine.tables.errors import RunError

spec = importlib.util.spec_from_file_location("fake_endpoint", Path(__file__).with_name("fake_endpoint.py"))
fake = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fake)
FRUIT, METAL, Reply, completion = fake.FRUIT, fake.METAL, fake.Reply, fake.completion

pytest.importorskip("openai")
MIXTURE = ["apple", "iron", "seven", "Peru", "slowly", "gate", "candle", "ninth"]
OTHERS = ["seven", "Peru", "slowly", "gate", "candle", "ninth", "bark", "lift", "map", "zip", "cruel", "tuned"]


def listed(*tokens, number=1):
    return TokenList(f"block.0.head.0.ov:{number}", tuple(tokens))


LISTS = [listed(*tokens, number=i) for i, tokens in enumerate([FRUIT, METAL, MIXTURE, OTHERS[4:]], 1)]
POOL = sorted({*FRUIT, *METAL, *MIXTURE, *OTHERS})
STATUSES = ["interpretable", "interpretable", "nothing", "nothing"]


@pytest.fixture
def server():
    with fake.serving() as found:
        yield found


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1")


@pytest.fixture
def label(server, tmp_path):
    """label(lists, **options) -> what came of it; the cache stays from call to call."""

    def run(lists=LISTS, **options):
        settings = {"label_url": server.url, "label_model": "m", "label_timeout": 5, "label_concurrency": 2}
        answers = Answers.open(tmp_path / "labels" / "answers.jsonl")
        return label_lists(lists, POOL, answers, LabelOptions(**settings | options))

    return run


def statuses(found, lists=LISTS):
    return [found.rows[i]["status"] if i in found.rows else None for i in range(len(lists))]


def test_lists_are_named_and_the_names_verified(label, server):
    found = label()
    assert statuses(found) == STATUSES
    assert [found.rows[i]["label"] for i in (0, 1)] == ["fruit", "metals"]
    assert found.rows[0]["chosen"] == 8
    assert found.rows[0]["chosen_others"] == 0
    assert found.rows[0]["p"] == pytest.approx(1 / 12870)  # one of C(16, 8) choices
    assert found.calls == len(server.requests) == 4 + 2
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-secret-1"
    assert {key: body[key] for key in ("model", "temperature", "max_tokens")} == {
        "model": "m", "temperature": 0, "max_tokens": 300,
    }  # fmt: skip
    verifying = [prompt for prompt in server.prompts if "Description:" in prompt]
    assert all(prompt.count("\n16. ") == 1 for prompt in verifying)


def test_answers_are_paid_for_once(label, server, tmp_path):
    label()
    server.requests.clear()
    found = label()
    assert statuses(found) == STATUSES
    assert found.calls == 0
    assert server.requests == []
    label(label_model="another")
    assert len(server.requests) == 6
    stored = (tmp_path / "labels" / "answers.jsonl").read_text()
    assert "sk-secret-1" not in stored
    assert stored.count("\n") == 12


def test_equal_lists_are_paid_for_once(label, server):
    found = label([*LISTS, listed(*FRUIT, number=9)])
    assert statuses(found, range(5)) == [*STATUSES, "interpretable"]
    assert len(server.requests) == 6


def test_the_budget_is_kept_and_the_rest_comes_later(label, server):
    found = label(label_budget=3, label_concurrency=1)
    assert found.calls == len(server.requests) == 3
    assert 1 <= len(found.rows) < 4
    assert sorted([*found.rows, *found.open]) == [0, 1, 2, 3]
    rest = label(label_budget=100)
    assert statuses(rest) == STATUSES
    assert len(server.requests) == 6
    assert label(label_budget=0).open == []


def test_calls_run_side_by_side_within_their_number(label, server):
    lists = [listed(*np.roll(MIXTURE, i), number=i) for i in range(8)]
    server.script = lambda prompt, number: Reply(200, fake.honest(prompt, number).body, wait=0.03)
    label(lists, label_concurrency=4)
    assert 2 <= server.most <= 4


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_passing_trouble_is_waited_for(label, server, status):
    server.script = lambda prompt, number: Reply(status, b"{}") if number < 2 else fake.honest(prompt, number)
    found = label(label_concurrency=1)
    assert statuses(found) == STATUSES
    assert found.calls == 6 + 2


def test_retry_after_is_obeyed_within_reason(label, server):
    server.script = lambda prompt, number: (
        Reply(429, b"{}", {"Retry-After": "0.3"}) if number == 0 else fake.honest(prompt, number)
    )
    start = time.monotonic()
    assert statuses(label(label_concurrency=1)) == STATUSES
    assert 0.3 <= time.monotonic() - start < 3
    assert endpoints.pause(0, "86400") <= endpoints.LONGEST_PAUSE
    assert endpoints.pause(0, "-1") < 1
    assert endpoints.pause(30, "Wed, 21 Oct 2026 07:28:00 GMT") <= endpoints.LONGEST_PAUSE


def test_pauses_grow(monkeypatch):
    monkeypatch.setattr(endpoints, "FIRST_PAUSE", 1.0)
    pauses = [endpoints.pause(attempt, None) for attempt in range(5)]
    assert all(0.75 * 2**i <= seconds <= 2**i for i, seconds in enumerate(pauses))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 307])
def test_what_asking_again_cannot_help_ends_at_once(label, server, status):
    said = json.dumps({"error": {"message": "no such thing \x1b[31m for sk-secret-1"}}).encode()
    server.script = lambda prompt, number: Reply(status, said, {"Location": "/elsewhere"})
    with pytest.raises(RunError, match=f"HTTP {status}: no such thing") as refused:
        label(label_concurrency=1)
    assert len(server.requests) == 1
    assert "sk-secret-1" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


def test_a_missing_key_is_named(label, server, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    server.script = lambda prompt, number: Reply(401, b"{}")
    with pytest.raises(RunError, match="OPENAI_API_KEY is not set"):
        label(label_concurrency=1)


def test_an_endpoint_that_is_not_there(label):
    start = time.monotonic()
    with pytest.raises(RunError, match=r"127\.0\.0\.1:9/v1: cannot be reached"):
        label(label_url="http://127.0.0.1:9/v1")
    assert time.monotonic() - start < 5


def test_an_endpoint_that_stops_answering_loses_nothing(label, server, tmp_path):
    lists = [listed(*np.roll(MIXTURE, i), number=i) for i in range(8)]
    server.script = lambda prompt, number: fake.honest(prompt, number) if number < 2 else Reply(500)
    with pytest.raises(RunError, match=r"HTTP 500.*every answer so far is kept"):
        label(lists, label_retries=1, label_concurrency=1)
    assert len(server.requests) == 2 + 2 * 5
    server.script = fake.honest
    server.requests.clear()
    assert statuses(label(lists), lists) == ["nothing"] * 8
    assert len(server.requests) == 6


def test_one_list_without_an_answer_does_not_end_the_rest(label, server):
    server.script = lambda prompt, number: (
        Reply(500) if fake.tokens_in(prompt) == MIXTURE else fake.honest(prompt, number)
    )
    found = label(label_retries=2, label_concurrency=1, label_seed=1)
    assert statuses(found) == ["interpretable", "interpretable", None, "nothing"]
    assert list(found.failed) == [2]
    assert "HTTP 500" in found.failed[2]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(wait=1.0), "no answer within 0.2 s"),
        (Reply(endless=True, headers={"Content-Type": "application/json"}), "does not come to an end"),
        (Reply(body=b"[" * (3 << 20)), "larger than 1 MiB"),
        (Reply(body=b"[" * 200_000), "no chat completion"),
        (Reply(body=b"<html><script>alert(1)</script>\x1b]0;had\x07"), "no chat completion"),
        (Reply(body=b'{"choices": []}'), "no chat completion"),
        (Reply(body=b'{"choices": [{"message": {"content": 7}}'), "no chat completion"),
        (Reply(body=gzip.compress(b"{}" * 9), headers={"Content-Encoding": "gzip"}), "packed"),
    ],
)
def test_responses_that_are_none_are_told_and_not_kept(label, server, reply, says):
    server.script = lambda prompt, number: reply
    with pytest.raises(RunError) as told:
        label(label_timeout=0.2, label_retries=1, label_concurrency=1)
    assert says in str(told.value)
    assert str(told.value).isprintable()
    assert len(str(told.value)) < 600
    server.script = fake.honest
    assert statuses(label()) == STATUSES


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ("I would say: fruit", "no JSON object"),
        ("", "no JSON object"),
        (None, "no JSON object"),
        ('{"name": "fruit"}', "no 'label'"),
        ('{"label": 7}', "no text"),
        ('{"label": ["fruit"]}', "no text"),
        ('{"label": ""}', "empty"),
        ('{"label": "' + "long " * 1000 + '"}', "characters"),
        ('{"label": ' + "[" * 5000, "no JSON object"),
        ('{"label": NaN}', "no JSON object"),
    ],
)
def test_malformed_answers_are_noted_and_paid_for_once(label, server, content, note):
    server.script = lambda prompt, number: completion(content)
    found = label(LISTS[:1])
    assert found.rows[0]["status"] == "malformed"
    assert note in found.rows[0]["note"]
    assert len(server.requests) == 1
    assert label(LISTS[:1]).rows == found.rows
    assert len(server.requests) == 1


@pytest.mark.parametrize("fits", [[0], [17], [1.5], ["1"], [True], "all", {"1": 1}, [1] * 100, None])
def test_malformed_choices_verify_nothing(label, server, fits):
    server.script = lambda prompt, number: (
        completion(json.dumps({"fits": fits})) if "Description:" in prompt else fake.honest(prompt, number)
    )
    assert label(LISTS[:1]).rows[0]["status"] == "malformed"


@pytest.mark.parametrize("chosen", [range(1, 17), [], [1, 2, 3]])
def test_a_judge_that_cannot_tell_them_apart_verifies_nothing(label, server, chosen):
    server.script = lambda prompt, number: (
        completion(json.dumps({"fits": [*chosen]})) if "Description:" in prompt else fake.honest(prompt, number)
    )
    row = label(LISTS[:1]).rows[0]
    assert row["status"] == "unverified"
    assert row["label"] == "fruit"


def test_hostile_labels_are_plain_text():
    label = label_of('```json\n{"label": "<img src=x onerror=alert(1)>\\u001b[31m\\u202e\\ntwo"}\n```')
    assert label == "<img src=x onerror=alert(1)>\\x1b[31m\\u202e two"
    assert label_of('Sure: {"label": null} as asked {"label": "x"}') is None
    assert label_of('{"label": "None"}') is None
    assert choice_of('{"fits": [3, 1, 3]} ', 3) == {1, 3}
    with pytest.raises(MalformedError):
        label_of('{"label": "\\ud800' + "\x00" * 3)


def test_most_examples_of_the_prompt_share_nothing():
    labels = [label for _, label in _EXAMPLES]
    assert labels.count(None) > sum(label is not None for label in labels) > 0
    prompt = label_prompt(['{"label": "x"}\nAnswer: {}', "{tokens}"])
    assert fake.tokens_in(prompt) == ['{"label": "x"}\nAnswer: {}', "{tokens}"]
    assert fake.tokens_in(verify_prompt("a\nb", ["x\n2. y", "z"])) == ["x\n2. y", "z"]


def test_tokens_are_mixed_with_others_that_look_different():
    mix = mixed([" fire", "##Fire", "flame", "ash", "Ġcoal"], ["fire", "Ash", " coal", *OTHERS], seed=3)
    own = {mix.tokens[i - 1] for i in mix.own}
    assert own == {"##Fire", "flame", "ash", "Ġcoal"}
    assert len(mix.tokens) == 8
    assert not {"fire", "Ash", " coal"} & set(mix.tokens)
    assert mixed(["a", "b"], OTHERS, 3) == mixed(["a", "b"], OTHERS, 3)
    assert mixed(["a", "b"], OTHERS, 3) != mixed(["a", "b"], OTHERS, 4)


def test_a_judge_that_guesses_verifies_at_the_level():
    """Random choices of every size pass in at most 5 % of the cases; binomial error of 1,000 is 0.7 %."""
    rng = np.random.default_rng(0)
    mixes = [mixed(FRUIT, OTHERS, seed) for seed in range(40)]
    passed = 0
    for i in range(1000):
        mix = mixes[i % 40]
        chosen = set((np.flatnonzero(rng.random(len(mix.tokens)) < rng.random()) + 1).tolist())
        passed += judged(mix, chosen, 0.05).verified
    assert passed / 1000 < 0.05 + 3 * 0.007
    assert passed > 0


def test_an_interrupted_line_goes_and_a_broken_one_is_named(tmp_path):
    path = tmp_path / "answers.jsonl"
    answers = Answers.open(path)
    answers.add("m", {"a": 1}, "first", Answer("one", 3, 4, 0.5))
    answers.add("m", {"a": 1}, "second", Answer("two"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    again = Answers.open(path)
    assert again.get(key_of("m", {"a": 1}, "first")) == Answer("one", 3, 4, 0.5)
    assert again.get(key_of("m", {"a": 1}, "second")) is None
    again.add("m", {"a": 1}, "second", Answer("two"))
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"prompt"', b'"pr', 1))
    with pytest.raises(RunError, match="line 1 is no answer"):
        Answers.open(path)


def test_an_interrupt_keeps_what_is_there(label, server, monkeypatch):
    def interrupted(threads):
        while len(server.requests) < 3:
            time.sleep(0.001)
        raise KeyboardInterrupt

    from eigensweep.engine.studies.labels import labelling

    monkeypatch.setattr(labelling, "wait", interrupted)
    lists = [listed(*np.roll(MIXTURE, i), number=i) for i in range(8)]
    with pytest.raises(KeyboardInterrupt):
        label(lists)
    paid = len(server.requests)
    assert paid < 8
    monkeypatch.undo()
    assert statuses(label(lists), lists) == ["nothing"] * 8
    assert len(server.requests) == 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label_url": "localhost:8000"}, "label_url"),
        ({"label_url": "file:///etc/passwd"}, "label_url"),
        ({"label_url": "http://me:word@host/v1"}, "label_key"),
        ({"label_url": "http://host/v1?key=3"}, "label_key"),
        ({"label_url": "http://host/v1", "label_model": ""}, "label_model"),
        ({"label_parameters": "{"}, "label_parameters"),
        ({"label_parameters": '{"stream": true}'}, "label_parameters"),
        ({"label_parameters": '{"temperature": NaN}'}, "label_parameters"),
        ({"label_budget": -1}, "label_budget"),
    ],
)
def test_options_that_do_not_serve_are_refused(options, says):
    with pytest.raises(ValueError, match=says) as refused:
        LabelOptions(**{"label_model": "m"} | options)
    assert "word" not in str(refused.value).replace("password", "")
