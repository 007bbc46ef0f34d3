"""Who may work in a run directory: the same study with the same identity, one process a time."""

import json
import os
from dataclasses import replace

import pytest

from eigensweep.engine import RunError
from eigensweep.engine.tables.claim import claimed

CHECKPOINT = {"source": "here", "sha256": "0" * 64}
IDENTITY = {"checkpoint": CHECKPOINT, "options": {"level": 0.01, "roles": []}}


def claim(directory, layout, identity=IDENTITY, record=None):
    """Claim and let go; the manifest."""
    with claimed(directory, layout, identity, record) as work:
        return work.manifest


def test_a_new_directory_gets_a_manifest_that_names_the_study(layout, tmp_path):
    manifest = claim(tmp_path / "run", layout, record={"warnings": ["w"]})
    assert json.loads((tmp_path / "run" / "manifest.json").read_text()) == manifest
    assert (manifest["study"], manifest["status"], manifest["warnings"]) == ("study", "running", ["w"])
    assert manifest["options"] == {"level": 0.01, "roles": []}
    assert manifest["versions"]["jax"]
    assert manifest["devices"]


def test_the_same_identity_is_continued_whatever_the_record_and_the_place(layout, tmp_path):
    first = claim(tmp_path, layout, record={"warnings": ["first"]})
    moved = IDENTITY | {
        "checkpoint": CHECKPOINT | {"source": "elsewhere"},
        "options": {"level": 0.01, "roles": ()},
    }
    assert claim(tmp_path, layout, moved, {"warnings": ["second"]}) == first


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"checkpoint": CHECKPOINT | {"sha256": "1" * 64}}, "checkpoint: here there, here now (contents differ)"),
        ({"options": {"level": 0.05, "roles": []}}, "level: 0.01 there, 0.05 now"),
        ({"options": {"level": 0.01}}, "roles: [] there, None now"),
        ({"options": {"level": 0.01, "roles": [], "new": 1}}, "new: None there, 1 now"),
        ({"data": {"sha256": "2"}}, "data: None there, {'sha256': '2'} now"),
    ],
)  # fmt: skip
def test_another_identity_is_refused_and_nothing_changes(layout, tmp_path, change, says):
    claim(tmp_path, layout)
    before = (tmp_path / "manifest.json").read_bytes()
    with pytest.raises(RunError) as refused:
        claim(tmp_path, layout, IDENTITY | change)
    assert says in str(refused.value)
    assert "workdir" in str(refused.value)
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_another_study_is_refused(layout, tmp_path):
    claim(tmp_path, layout)
    other = replace(layout, study="other")
    with pytest.raises(RunError, match=r"holds a run of another kind \(study\)"):
        claim(tmp_path, other)
    with pytest.raises(RunError, match=r"holds a run of another kind \(study\)"):
        claim(tmp_path, replace(other, manifest="other.json"))
    assert sorted(os.listdir(tmp_path)) == [".lock", "manifest.json"]


def test_a_study_that_joins_another_shares_its_directory(layout, tmp_path):
    joining = replace(layout, study="other", manifest="other.json", joins=("study",))
    claim(tmp_path, layout)
    claim(tmp_path, joining)
    claim(tmp_path, layout)
    with pytest.raises(RunError, match="another kind"):
        claim(tmp_path, replace(layout, study="third", manifest="third.json"))


@pytest.mark.parametrize(
    ("file", "content", "kind"),
    [
        ("manifest.json", {"status": "done"}, "sweep"),
        ("finetune.json", {"status": "running"}, "finetune"),
        ("manifest.json", {"status": "done", "study": "ablation"}, "ablation"),
    ],
)
def test_studies_of_version_0_1_are_known_by_their_files(layout, tmp_path, file, content, kind):
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"another kind \({kind}\)"):
        claim(tmp_path, layout)


def test_files_that_are_no_manifests_do_not_matter(layout, tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    assert claim(tmp_path, layout)["study"] == "study"


def test_a_second_claim_is_refused_and_the_first_ends_with_its_block(layout, tmp_path):
    with (
        claimed(tmp_path, layout, IDENTITY),
        pytest.raises(RunError, match="another process is working there"),
    ):
        claim(tmp_path, layout)
    claim(tmp_path, layout)


def test_a_claim_ends_with_an_error_too(layout, tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path, layout, IDENTITY):
        raise ZeroDivisionError
    claim(tmp_path, layout)


def test_workdir_that_is_a_file_or_below_one(layout, tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(RunError, match="cannot be written"):
            claim(tmp_path / place, layout)


def test_what_a_kill_left_in_the_directory_goes(layout, tmp_path):
    (tmp_path / ".manifest.json.x2").write_bytes(b"half written")
    claim(tmp_path, layout)
    assert sorted(os.listdir(tmp_path)) == [".lock", "manifest.json"]
