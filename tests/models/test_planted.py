"""The planted checkpoint: dense circuits of its weights hold the clusters at the index, the sign and the size told."""

import json

import numpy as np
import pytest

from eigensweep import models
from eigensweep.models import planted
from eigensweep.models.data import load_tokenizer


@pytest.fixture(scope="module", params=planted.LAYOUTS)
def checkpoint(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("planted") / request.param
    planted.write_planted(out, request.param)
    return models.open_checkpoint(out)


def dense(checkpoint, circuit):
    """The circuit as one matrix (d, d), (neurons, d) or (d, neurons), the gain of the norm before it folded in."""
    leaves = {leaf.path: leaf for leaf in checkpoint.leaves}
    w = {m.path.split("/", 2)[2].split("/kernel")[0]: m.read().astype(float)
         for m in checkpoint.matrices if m.block == int(circuit.split(".")[1])}  # fmt: skip
    part = "mlp" if "mlp" in circuit else "attention"
    fold = np.diag(leaves[f"blocks/{circuit.split('.')[1]}/{part}_norm/scale"].read().astype(float))
    if checkpoint.architecture == "gpt2":
        fold = fold @ (np.eye(128) - 1 / 128)
    if part == "mlp":
        name = {"mlp_in": "up", "mlp_gate": "gate", "mlp_out": "down"}[circuit.split(".")[-1]]
        return w[f"mlp/{name}"] if name == "down" else w[f"mlp/{name}"] @ fold
    head = int(circuit.split(".")[3])
    group = head // (w["attention/query"].shape[0] // w["attention/key"].shape[0])
    rows = {name: w[f"attention/{name}"].reshape(-1, 32, 128) for name in ("query", "key", "value")}
    if circuit.endswith("qk"):
        return (rows["query"][head] @ fold).T @ rows["key"][group] @ fold
    return w["attention/output"][:, 32 * head : 32 * head + 32] @ rows["value"][group] @ fold


def test_every_cluster_is_where_planted_json_says(checkpoint):
    told = json.loads((checkpoint.source.directory / "planted.json").read_text())
    tokenizer = load_tokenizer(checkpoint.source.directory)
    leaves = {leaf.path: leaf for leaf in checkpoint.leaves}
    embedding = leaves["embedding/embedding"].read().astype(float)
    unembedding = leaves["unembedding/kernel"].read().astype(float).T if "unembedding/kernel" in leaves else embedding
    written = unembedding * leaves["final_norm/scale"].read()
    assert len(told["directions"]) == (13 if checkpoint.architecture == "llama" else 10)
    for plant in told["directions"]:
        u, s, vt = np.linalg.svd(dense(checkpoint, plant["circuit"]), full_matrices=False)
        i = plant["index"] - 1
        assert s[i] == pytest.approx(plant["s"], rel=0.15)
        scores = {}
        if plant["left"]:
            scores["left"] = (embedding if plant["circuit"].endswith("qk") else written) @ u[:, i]
        if plant["right"]:
            scores["right"] = embedding @ vt[i]
        first = scores.get("left", scores.get("right"))
        sign = np.sign(first[np.argmax(np.abs(first))])  # one for both sides: the pair turns together
        for side, values in scores.items():
            order = np.argsort(-sign * values)
            for pole, ids in (("positive", order[:8]), ("negative", order[::-1][:8])):
                if name := plant[side][pole]:
                    assert set(tokenizer.convert_ids_to_tokens(ids)) == set(told["clusters"][name]), (plant, side)


def test_numbers_follow_from_the_seed(tmp_path):
    for out, seed in (("a", 3), ("b", 3), ("c", 4)):
        planted.write_planted(tmp_path / out, seed=seed)
    first, again, other = ((tmp_path / out / "model.safetensors").read_bytes() for out in "abc")
    assert first == again
    assert first != other


def test_another_layout_is_refused(tmp_path):
    with pytest.raises(models.CheckpointError, match="layout 'bert': expected one of gpt2, llama"):
        planted.write_planted(tmp_path / "x", "bert")
    assert not list(tmp_path.iterdir())
