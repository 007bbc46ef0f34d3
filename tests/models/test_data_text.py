"""Readers and tokenizers: what they give, and one clear message for whatever is wrong with a file."""

import json
import sys

import pytest

from eigensweep.models import data
from eigensweep.models.data import DataError


@pytest.fixture
def write(tmp_path):
    def write(content, name="file.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def lines(*rows):
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n"


def test_text_files_are_read_as_they_are(write):
    assert data.read_text(write("é\r\nx ")) == "é\r\nx "
    with pytest.raises(DataError, match=r"file.jsonl: not UTF-8 text \(byte 1\)"):
        data.read_text(write(b"a\xff"))
    with pytest.raises(DataError, match="no text in it"):
        data.read_text(write(" \n"))
    with pytest.raises(DataError, match=r"absent.txt: No such file"):
        data.read_text(write("x").parent / "absent.txt")


def test_jsonl_names_the_line(write):
    path = write(lines({"text": "a"}, "", {"text": "b"}))
    assert list(data.read_jsonl(path)) == [(1, {"text": "a"}), (3, {"text": "b"})]
    assert data.read_jsonl_text(path) == "a\n\nb"
    with pytest.raises(DataError, match=r"file.jsonl:2: not JSON: .*column 7"):
        data.read_jsonl_text(write(lines({"text": "a"}, '{"a": ')))
    with pytest.raises(DataError, match=r"file.jsonl:1: expected a JSON object, got list"):
        list(data.read_jsonl(write("[1]\n")))
    with pytest.raises(DataError, match=r"file.jsonl:1: no text in field 'body'; the fields are text"):
        data.read_jsonl_text(write(lines({"text": "a"})), "body")


def test_wikitext_is_joined_as_in_the_guide(write, shared):
    assert data.read_wikitext(write(" \n = A = \n \n b c . \n")) == "\n\n = A = \n\n\n\n\n b c . \n"
    text = data.read_wikitext(shared / "text" / "wikitext2_test_tokens.txt")
    assert text.count("<unk>") > 1000


def test_boolq_and_wic_files(shared):
    boolq = data.read_boolq(shared / "text" / "superglue_BoolQ_val.jsonl")
    assert len(boolq) == 3270
    assert boolq[0].text == "does ethanol take more energy make that produces"
    assert boolq[0].pair.startswith("Ethanol fuel -- All biomass")
    assert boolq[0].label == 0
    assert sum(example.label for example in boolq) == 2033
    wic = data.read_wic(shared / "text" / "superglue_WiC_val.jsonl")
    assert len(wic) == 500
    assert wic[0].text == "class: An emerging professional class."
    assert wic[0].pair.startswith("Apologizing for losing")


def test_labels_that_are_not_the_tasks_name_file_and_line(write):
    row = {"question": "q", "passage": "p", "label": True}
    other = {**row, "label": "false"}
    assert [example.label for example in data.read_boolq(write(lines(row, other)))] == [1, 0]
    with pytest.raises(DataError, match=r"file.jsonl:2: label 'maybe' is none of false, true"):
        data.read_boolq(write(lines(row, {**row, "label": "maybe"})))
    with pytest.raises(DataError, match=r"file.jsonl:1: no label in field 'label'; the fields are question, passage"):
        data.read_boolq(write(lines({"question": "q", "passage": "p"})))
    with pytest.raises(DataError, match=r"file.jsonl:1: no text in field 'passage'"):
        data.read_boolq(write(lines({"question": "q", "label": "true"})))
    with pytest.raises(DataError, match=r"file.jsonl: no row has the label false"):
        data.read_boolq(write(lines(row, row)))
    read = data.read_labelled(write(lines({"s": "x", "y": 1}, {"s": "z", "y": 0})), "s", None, ("0", "1"), "y")
    assert [(example.text, example.pair, example.label) for example in read] == [("x", None, 1), ("z", None, 0)]


def test_hub_data_needs_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="pip install datasets"):
        data.read_hub("wikitext")


def test_hub_data_needs_a_library_that_runs_no_scripts(monkeypatch):
    old = type(sys)("datasets")
    old.load_dataset, old.__version__ = None, "3.6.0"
    monkeypatch.setitem(sys.modules, "datasets", old)
    with pytest.raises(DataError, match=r"wikitext: .*datasets 4 or newer.*installed is 3\.6\.0"):
        data.read_hub("wikitext")


def test_hub_data_is_one_column_joined(monkeypatch):
    class Rows(dict):
        column_names = ("text",)

    def load_dataset(dataset, name, split):
        if split != "test":
            raise ValueError(f'Unknown split "{split}".')
        return Rows(text=["a", "b"])

    monkeypatch.setitem(sys.modules, "datasets", type(sys)("datasets"))
    sys.modules["datasets"].load_dataset = load_dataset
    sys.modules["datasets"].__version__ = "4.0.0"
    assert data.read_hub("wikitext") == "a\n\nb"
    with pytest.raises(DataError, match="wikitext: no column 'body'; there are text"):
        data.read_hub("wikitext", column="body")
    with pytest.raises(DataError, match='wikitext: Unknown split "dev"'):
        data.read_hub("wikitext", split="dev")


def test_hub_rows_are_labelled_examples(monkeypatch):
    rows = {
        "train": [{"question": "q", "passage": "p", "answer": True}, {"question": "r", "passage": "o", "answer": False}]
    }
    asked = []

    def load_dataset(dataset, name, split):
        asked.append((dataset, name, split))
        return rows[split]

    monkeypatch.setitem(sys.modules, "datasets", type(sys)("datasets"))
    sys.modules["datasets"].load_dataset = load_dataset
    sys.modules["datasets"].__version__ = "4.0.0"
    found = data.text.read_labelled("hub:google/boolq:train", "question", "passage", ("false", "true"), "answer")
    assert [(e.text, e.pair, e.label) for e in found] == [("q", "p", 1), ("r", "o", 0)]
    assert asked == [("google/boolq", None, "train")]
    with pytest.raises(DataError, match="hub:google/boolq:train:1: no label in field 'label'"):
        data.text.read_labelled("hub:google/boolq:train", "question", "passage", ("false", "true"))
    rows["train"].clear()
    with pytest.raises(DataError, match="hub:google/boolq:train: no rows in it"):
        data.text.read_labelled("hub:google/boolq:train", "question", "passage", ("false", "true"), "answer")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"config.json": '{"model_type": "bert", "vocab_size": 10}'},
        {"config.json": '{"model_type": "llama"}', "tokenizer.json": "{"},
        {"config.json": '{"model_type": "llama"}', "tokenizer.json": '{"version": "1.0"}'},
        {"config.json": '{"model_type": "llama"}', "tokenizer_config.json": "[]"},
        {"config.json": '{"model_type": "llama", "rms_norm_eps": "x"}', "tokenizer.json": "{}"},
    ],
)
def test_absent_and_broken_tokenizers(tmp_path, files):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=f"no tokenizer could be read from {tmp_path}: .") as caught:
        data.load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).endswith(":")


def test_an_absent_hub_id_is_said():
    with pytest.raises(DataError, match=r"no tokenizer could be read from nobody/nothing: ."):
        data.load_tokenizer("nobody/nothing")


def test_tokenizers_are_held_against_the_vocabulary(shared):
    tokenizer = data.load_tokenizer(shared / "checkpoints" / "llama-stories260k")
    data.check_vocabulary(tokenizer, 512)
    with pytest.raises(DataError, match=r"ids up to 511 \(512 tokens\), gpt2-char embeds 65"):
        data.check_vocabulary(tokenizer, 65, "gpt2-char")
    data.check_vocabulary(tokenizer, 640)  # rows for padding or tokens to come
    with pytest.raises(DataError, match="has 512 tokens, stories embeds 700: this is probably another"):
        data.check_vocabulary(tokenizer, 700, "stories")
    data.check_vocabulary(tokenizer, 700, fewest=0.0)


def test_text_outside_a_vocabulary_without_an_unknown_token_is_refused(shared):
    tokenizer = data.load_tokenizer(shared / "checkpoints" / "gpt2-char-shakespeare")
    assert len(data.encode_text(tokenizer, "Now is the winter")) == 17
    with pytest.raises(DataError, match=r"cannot encode the text: .*UNK"):
        data.encode_text(tokenizer, "été")


def test_json_that_python_cannot_read_is_named(tmp_path):
    for line in ("[" * 200_000, '{"a": ' + "9" * 5000 + "}"):
        (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n' + line + "\n")
        with pytest.raises(DataError, match=r"rows\.jsonl:2: JSON that cannot be read: .") as caught:
            list(data.read_jsonl(tmp_path / "rows.jsonl"))
        assert "\n" not in str(caught.value)
