"""Editing: updates against dense formulas, the planted checkpoint, the edited checkpoint in torch, bad input."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eigensweep import models
from eigensweep.engine.studies.editing import EditOptions, EditRequest, run_edit, specificity
from eigensweep.engine.studies.editing.losses import coherent_sets, read_coherent
from eigensweep.engine.studies.editing.updates import open_editable
from eigensweep.engine.studies.tracing import TraceOptions, run_trace
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import planted
from eigensweep.models.circuits import Address, open_circuits
from eigensweep.models.data import load_tokenizer
from eigensweep.models.errors import InputError

FEW = {"others": 5, "random": 3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The planted checkpoints by layout."""
    where = tmp_path_factory.mktemp("planted")
    for layout in planted.LAYOUTS:
        planted.write_planted(where / layout, layout)
    return {layout: where / layout for layout in planted.LAYOUTS}


@pytest.fixture(scope="module", params=planted.LAYOUTS)
def checkpoint(request, folders):
    return models.open_checkpoint(folders[request.param])


def dense(checkpoint, circuit):
    """Circuits as matrices, from the tensors that transformers would load, norms folded in by the formula."""
    t = {name: tensor.read().astype(float) for name, tensor in checkpoint.source.tensors.items()}
    b, kind, head = circuit.block, circuit.kind, circuit.head
    centre = np.eye(128) - 1 / 128
    if checkpoint.architecture == "gpt2":
        h = f"transformer.h.{b}."
        query, key, value = (part.T for part in np.split(t[f"{h}attn.c_attn.weight"], 3, axis=1))
        output, up, down = (t[f"{h}{x}.weight"].T for x in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj"))
        folds = [np.diag(t[f"{h}{x}.weight"]) @ centre for x in ("ln_1", "ln_2")]
        group = head
    else:
        h = f"model.layers.{b}."
        query, key, value, output = (t[f"{h}self_attn.{x}_proj.weight"] for x in "qkvo")
        up, down = (t[f"{h}mlp.{x}_proj.weight"] for x in ("up", "down"))
        folds = [np.diag(t[f"{h}{x}.weight"]) for x in ("input_layernorm", "post_attention_layernorm")]
        group = None if head is None else head // 2
    if kind == "mlp_in":
        return up @ folds[1]
    if kind == "mlp_out":
        return down
    mine, shared = slice(32 * head, 32 * head + 32), slice(32 * group, 32 * group + 32)
    if kind == "ov":
        return output[:, mine] @ value[shared] @ folds[0]
    return (query[mine] @ folds[0]).T @ key[shared] @ folds[0]


def written(checkpoint, edit, folder):
    """The edited checkpoint, written and opened."""
    models.write_huggingface(checkpoint, folder, edit.matrices, edit.vectors)
    return models.open_checkpoint(folder)


@pytest.mark.parametrize(
    "direction", ["block.0.head.1.ov:2", "block.1.head.0.qk:1", "block.1.mlp_in:2", "block.1.mlp_out:1"]
)
def test_a_circuit_loses_the_direction_and_nothing_else(checkpoint, direction, tmp_path):
    address = Address.parse(direction)
    before = dense(checkpoint, address)
    u, s, vt = np.linalg.svd(before, full_matrices=False)
    i = address.index - 1
    edited = run_edit(checkpoint, EditRequest((direction,), scale=0.25), EditOptions())
    other = written(checkpoint, edited.edit, tmp_path / "out")
    expected = before - 0.75 * s[i] * np.outer(u[:, i], vt[i])
    np.testing.assert_allclose(dense(other, address), expected, atol=1e-6)
    changed = edited.changed.to_pylist()
    assert len(changed) == (2 if checkpoint.architecture == "gpt2" and address.kind != "mlp_out" else 1)
    differing = [n for n, a in checkpoint.source.tensors.items() if np.any(a.read() != other.source.tensors[n].read())]
    assert {row["tensor"].split(":")[0] for row in changed} == set(differing)
    if address.head is not None:  # of the other query heads of the same matrices nothing is touched
        for head in {0, 1, 2, 3} - {address.head}:
            same = Address(address.block, address.kind, head)
            np.testing.assert_array_equal(dense(other, same), dense(checkpoint, same))
    for row in changed:
        tensor = row["tensor"].split(":")[0]
        a, b = (np.asarray(c.source.tensors[tensor].read(), float) for c in (checkpoint, other))
        assert row["change"] == pytest.approx(np.linalg.norm(a - b), rel=1e-5)


def test_what_does_not_depend_on_the_token_stays(folders, tmp_path):
    """u^T of a head's output, for any input: the value bias and the norm's shift still come through, the rest not."""
    checkpoint = models.open_checkpoint(folders["gpt2"])
    circuit = open_editable(open_circuits(checkpoint), Address.parse("block.0.head.1.ov:1"))
    other = written(
        checkpoint, run_edit(checkpoint, EditRequest(("block.0.head.1.ov:1",)), EditOptions()).edit, tmp_path / "o"
    )
    x = np.random.default_rng(0).standard_normal((5, 128))
    found = []
    for one in (checkpoint, other):
        t = {n.removeprefix("transformer.h.0."): a.read().astype(float) for n, a in one.source.tensors.items()}
        normed = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True) * t["ln_1.weight"] + t["ln_1.bias"]
        values = (normed @ t["attn.c_attn.weight"] + t["attn.c_attn.bias"])[:, 2 * 128 + 32 : 2 * 128 + 64]
        found.append(values @ t["attn.c_proj.weight"][32:64] + t["attn.c_proj.bias"])
    along = [out @ circuit.stream[0] for out in found]
    assert along[0].std() > 0.1
    assert along[1].std() < 1e-6  # no token is told from another any more
    u, s, vt = np.linalg.svd(dense(checkpoint, circuit.address), full_matrices=False)
    y = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
    np.testing.assert_allclose(found[1], found[0] - s[0] * np.outer(y @ vt[0], u[:, 0]), atol=1e-6)


@pytest.mark.parametrize("kind", ["block.0.head.1.ov", "block.0.head.1.qk", "block.0.mlp_in", "block.0.mlp_out"])
def test_random_directions_have_the_same_norm(checkpoint, kind, tmp_path):
    address = Address.parse(kind)
    circuit = open_editable(open_circuits(checkpoint), address)
    from eigensweep.engine.studies.editing.edits import Weights

    edit = Weights(checkpoint).edit([circuit.random(0.37, np.random.default_rng(1))])
    other = written(checkpoint, edit, tmp_path / "out")
    difference = np.linalg.svd(dense(checkpoint, address) - dense(other, address), compute_uv=False)
    assert difference[0] == pytest.approx(0.37, rel=1e-4)
    assert difference[1] < 1e-5


def test_closed_loop_of_the_planted_checkpoint(checkpoint):
    """A query of a cluster's words finds the head that writes it; removing that lowers these words, others hardly."""
    found = run_trace(
        checkpoint, ["river, lake, ocean, wave", "fire, heat, ash, ember"], TraceOptions()
    ).hits.to_pylist()
    hits = {(hit["query"][:4], hit["direction"], hit["side"]): hit for hit in found}
    river, fire = hits["rive", "block.0.head.1.ov:1", "written"], hits["fire", "block.0.head.1.ov:1", "read"]
    assert river["sign"] == fire["sign"] == 1
    assert set(river["tokens"]) == set(planted.CLUSTERS["water"])
    # grouped query heads share what they read: no other direction of the model is hit
    assert {name for _, name, _ in set(hits) - {("rive", "block.0.head.1.ov:1", "written")}} == {
        f"block.0.head.{head}.ov:1" for head in ((0, 1) if checkpoint.architecture == "llama" else (1,))
    }
    words = ", ".join(planted.CLUSTERS["water"])
    asked = EditRequest(("block.0.head.1.ov:1",), prompts=("fire flame burning", "ash heat"), nexts=(words,))
    edited = run_edit(checkpoint, asked, EditOptions(**FEW))
    effects = edited.effects.to_pylist()
    assert len(effects) == (1 + 5 + 3) * 16
    assert all(row["change"] < -2 for row in effects if row["kind"] == "edit")
    said = specificity(edited.effects, "block.0.head.1.ov:1")
    assert (said["rank"], said["compared"]) == (1, 9)
    assert np.abs(said["other"]).max() < 0.05  # nothing but the direction itself
    logits = edited.manifest["logits"]["block.0.head.1.ov:1"]
    assert logits["named_mean"] < -8 * logits["others_mean_size"]


def test_antipodes_have_the_other_sign(checkpoint):
    query = ", ".join(planted.CLUSTERS["animals"][:6])
    hits = run_trace(checkpoint, [query], TraceOptions()).hits.to_pylist()
    hit = next(hit for hit in hits if hit["direction"] == "block.0.head.1.ov:2")
    assert (hit["side"], hit["sign"]) == ("read", -1)  # it reads animals at the end where it writes no colours
    assert set(hit["tokens"]) == set(planted.CLUSTERS["animals"])
    assert hit["cosine"] > 4.8 / 128**0.5


def test_the_edited_checkpoint_has_the_same_logits_in_torch(checkpoint, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    directions = ("block.0.head.1.ov:1", "block.1.head.0.qk:1", "block.1.mlp_in:1", "block.1.mlp_out:2")
    edited = run_edit(checkpoint, EditRequest(directions), EditOptions()).edit
    models.write_huggingface(checkpoint, tmp_path / "out", edited.matrices, edited.vectors)
    model, params = models.nn.load(checkpoint)
    ids = np.random.default_rng(0).integers(2, 98, (2, 12))
    ours = model.apply(models.nn.with_matrices(params, checkpoint, edited.matrices, edited.vectors), ids).logits
    with torch.no_grad():
        reference = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()(torch.tensor(ids)).logits
    np.testing.assert_allclose(ours, reference.numpy(), atol=1e-5)
    assert np.abs(np.asarray(model.apply(params, ids).logits) - ours).max() > 0.1  # the edit is there
    assert load_tokenizer(tmp_path / "out")("fire river")["input_ids"] == [2, 11]


def test_all_coherent_directions_at_once(folders, tmp_path):
    checkpoint = models.open_checkpoint(folders["gpt2"])
    rows = {
        "circuit": ["block.0.head.1.ov"] * 6,
        "index": [1, 1, 2, 2, 3, 4],
        "rejected": [True, False, False, True, False, None],
    }
    run = tmp_path / "run"
    run.mkdir()
    pq.write_table(pa.table(rows), run / "directions.parquet")
    (run / "tokens.json").write_text(json.dumps({"status": "done", "checkpoint": checkpoint.identity}))
    address = Address.parse("block.0.head.1.ov")
    circuits = {address: open_editable(open_circuits(checkpoint), address)}
    sets = coherent_sets(read_coherent(str(run), checkpoint), circuits)
    assert [(one.name, [a.index for a in one.directions]) for one in sets] == [
        ("coherent", [1, 2]),
        ("incoherent", [3]),
    ]
    text = tmp_path / "text"
    text.write_text("fire flame river lake dog cat red green " * 20)
    asked = EditRequest(("block.0.head.1.ov:1",), tokens_run=str(run))
    edited = run_edit(checkpoint, asked, EditOptions(data=str(text), length=16, num_resamples=100))
    losses = edited.losses.to_pylist()
    assert [(row["removed"], row["directions"]) for row in losses] == [("edit", 1), ("coherent", 2), ("incoherent", 1)]
    assert [row["circuit"] for row in losses] == [None, "block.0.head.1.ov", "block.0.head.1.ov"]
    assert losses[1]["share"] > 0.9 > 0.1 > losses[2]["share"]
    assert abs(losses[0]["change"]) > 100 * abs(losses[2]["change"])
    assert losses[0]["loss"] == pytest.approx(edited.manifest["loss"]["loss"] + losses[0]["change"])
    other = models.open_checkpoint(folders["llama"])
    with pytest.raises(RunError, match="is of another checkpoint"):
        read_coherent(str(run), other)
    pq.write_table(pa.table(rows).drop(["rejected"]), run / "directions.parquet")
    with pytest.raises(RunError, match="does not say which directions are coherent"):
        read_coherent(str(run), checkpoint)
    with pytest.raises(RunError, match="not the run directory of a finished tokens study"):
        read_coherent(str(tmp_path), checkpoint)


GOOD = {"directions": ("block.0.head.1.ov:1",)}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"directions": ()}, "no --direction given"),
        ({"directions": ("block.0.ov:1",)}, "ov needs a head"),
        ({"directions": ("fire",)}, "'fire' is no address of a circuit"),
        ({"directions": ("block.0.head.1.ov",)}, "say which direction of it"),
        ({"directions": ("block.2.mlp_out:1",)}, "blocks 0 to 1"),
        ({"directions": ("block.0.head.4.ov:1",)}, "heads 0 to 3"),
        ({"directions": ("block.0.head.1.ov:33",)}, "directions are 1 to 32"),
        ({"directions": ("block.0.head.1.ov:0",)}, "directions count from 1"),
        ({"directions": ("block.0.head.1.q:1",)}, "the block has ov, qk"),
        ({"directions": ("block.0.mlp_out:1",) * 2}, "given twice"),
        ({**GOOD, "scale": float("nan")}, "expected a finite number"),
        ({**GOOD, "scale": float("inf")}, "expected a finite number"),
        ({**GOOD, "scale": 1e300}, "do not fit into float32; take a smaller --scale"),
        ({**GOOD, "prompts": ("fire",)}, "no --next given"),
        ({**GOOD, "nexts": ("water",)}, "not given"),
        ({**GOOD, "prompts": ("fire", "ash", "heat"), "nexts": ("water", "lake")}, "one for all, or one each"),
        ({**GOOD, "prompts": ("",), "nexts": ("water",)}, "has no tokens"),
        ({**GOOD, "prompts": ("fire " * 65,), "nexts": ("water",)}, "positions for 64"),
        ({**GOOD, "prompts": ("fire",), "nexts": ("water, qwertz",)}, "no tokens for 'qwertz'"),
        ({**GOOD, "prompts": ("fire",), "nexts": (" , ",)}, "names no word"),
        ({**GOOD, "tokens_run": "nowhere"}, "not the run directory of a finished tokens study"),
    ],
)
def test_bad_requests_are_told_in_one_line(folders, asked, says):
    checkpoint = models.open_checkpoint(folders["gpt2"])
    with pytest.raises((InputError, RunError)) as told:
        run_edit(checkpoint, EditRequest(**asked), EditOptions(**FEW))
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("query", "says"), [("", "names no word"), ("fire, xyz, qq", "no tokens for 'xyz'; 'qq'")])
def test_bad_queries_are_told_in_one_line(folders, query, says):
    with pytest.raises(InputError, match=says):
        run_trace(models.open_checkpoint(folders["gpt2"]), [query], TraceOptions())


def test_prompts_of_an_encoder_and_a_missing_tokenizer(minilm, folders, tmp_path):
    with pytest.raises(RunError, match="head of a causal language model"):
        run_edit(
            models.open_checkpoint(minilm),
            EditRequest(("block.0.head.1.ov:1",), prompts=("a",), nexts=("b",)),
            EditOptions(),
        )
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((folders["gpt2"] / name).read_bytes())
    with pytest.raises(InputError, match="no tokenizer could be read"):
        run_trace(models.open_checkpoint(bare), ["fire"], TraceOptions())
