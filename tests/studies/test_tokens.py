"""The tokens study against circuits multiplied out, and what it refuses."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from eigensweep.engine.studies.tokens import view_of
from eigensweep.engine.studies.tokens.plan import describe_plan
from eigensweep.engine.studies.tokens.study import TokensOptions, open_tokens, run_tokens
from eigensweep.engine.studies.tokens.summary import render_tokens
from eigensweep.engine.tables.errors import RunError
from eigensweep.models import CheckpointError, open_checkpoint
from eigensweep.models.data import DataError

D, HEADS, SIZE = 24, 3, 8
OPTIONS = TokensOptions(first=3, last=2, tokens=4, num_flips=3, description="none")


@pytest.fixture(scope="module")
def folder(gpt2, tmp_path_factory):
    """The GPT-2 of all tests, its norms no identities."""
    folder = shutil.copytree(gpt2, tmp_path_factory.mktemp("tokens") / "model")
    tensors = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(0)
    for name, tensor in tensors.items():
        if tensor.ndim == 1:
            tensors[name] = tensor + 0.5 * rng.standard_normal(tensor.shape).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    return run_tokens(open_checkpoint(folder), OPTIONS, tmp_path_factory.mktemp("tokens") / "run")


@pytest.fixture(scope="module")
def weights(folder):
    """By short names, float64."""
    tensors = load_file(folder / "model.safetensors")
    return {name.removeprefix("transformer."): tensor.astype(np.float64) for name, tensor in tensors.items()}


def reads(w, gain):
    """W behind a layer norm."""
    w = w * gain
    return w - w.mean(axis=1, keepdims=True)


def dense(weights, kind, head, block=1):
    """The circuit multiplied out, from the tensors as GPT-2 stores them, (in, out)."""
    of = {name.removeprefix(f"h.{block}."): w for name, w in weights.items()}
    gain, own = of["ln_1.weight"], slice((head or 0) * SIZE, (head or 0) * SIZE + SIZE)
    query, key, value = (part[own] for part in np.split(of["attn.c_attn.weight"].T, 3))
    if kind == "ov":
        return of["attn.c_proj.weight"].T[:, own] @ reads(value, gain)
    if kind == "qk":
        return reads(query, gain).T @ reads(key, gain)
    return of["mlp.c_proj.weight"].T if kind == "mlp_out" else reads(of["mlp.c_fc.weight"].T, of["ln_2.weight"])


@pytest.mark.parametrize(("kind", "head"), [("ov", 2), ("qk", 0), ("mlp_in", None), ("mlp_out", None)])
def test_directions_are_those_of_the_circuit_multiplied_out(found, weights, kind, head):
    w = dense(weights, kind, head)
    rank = {"ov": SIZE, "qk": SIZE, "mlp_in": D - 1, "mlp_out": D}[kind]
    u, s, vt = np.linalg.svd(w, full_matrices=False)
    name = f"block.1.{'' if head is None else f'head.{head}.'}{kind}"
    circuit = found.circuits.set_index("circuit").loc[name]
    assert circuit["rank"] == rank
    np.testing.assert_allclose(circuit["singular_values"][:rank], s[:rank], rtol=1e-9)
    assert circuit["stable_rank"] == pytest.approx((s**2).sum() / s[0] ** 2)
    rows = found.directions[found.directions["circuit"] == name]
    assert sorted(set(rows["index"])) == [1, 2, 3, rank - 1, rank]
    embedding = weights["wte.weight"]
    unembedding = reads(embedding, weights["ln_f.weight"])
    sides = {
        "ov": {"written": (unembedding, u.T), "read": (embedding, vt)},
        "qk": {"query": (embedding, u.T), "key": (embedding, vt)},
        "mlp_in": {"read": (embedding, vt)},
        "mlp_out": {"written": (unembedding, u.T)},
    }[kind]
    assert set(rows["side"]) == set(sides)
    for i in sorted(set(rows["index"])):
        sign = None
        for side, (table, vectors) in sides.items():
            scores = table @ vectors[i - 1]
            if sign is None:  # the side that is written, or the query's, decides
                sign = np.sign(scores[np.argmax(np.abs(scores))])
            for of in (1, -1):
                (row,) = rows[(rows["index"] == i) & (rows["side"] == side) & (rows["sign"] == of)].to_dict("records")
                expected = np.sort(of * sign * scores)[::-1][:4]
                np.testing.assert_allclose(row["scores"], expected, rtol=0, atol=2e-6)
                np.testing.assert_allclose(of * sign * scores[row["token_ids"]], expected, rtol=0, atol=2e-6)
                assert row["end"] == ("first" if i <= 3 else "last")
                assert row["s"] == pytest.approx(s[i - 1], rel=1e-9)


def test_tokens_have_the_tokenizers_words(found, folder):
    words = {i: word for word, i in json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"].items()}
    rows = found.directions
    assert [words[i] for i in rows["token_ids"].iloc[0]] == list(rows["tokens"].iloc[0])
    assert set(rows["circuit"]) == set(found.circuits["circuit"])
    assert len(found.circuits) == 2 * (2 * HEADS + 2)


def test_what_is_shown_fits_a_terminal(found):
    text = render_tokens(found)
    assert max(map(len, text.split("\n"))) <= 100
    assert "block.0." in text
    assert any(word in text for word in ("good", "warm"))
    assert [table.heading for table in view_of(found).tables] == ["Circuits", "First directions"]


def test_a_plan_says_what_it_would_take(folder):
    text = describe_plan(open_checkpoint(folder), OPTIONS)
    assert "16 circuits in 2 blocks, 4 tokens of 13" in text
    assert "GiB" in text
    assert "on this machine, by a trial" in text


def test_without_a_tokenizer_there_are_numbers_where_they_are_wanted(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("token*", "special*"))
    checkpoint = open_checkpoint(bare)
    with pytest.raises(DataError, match=r"no tokenizer could be read.*--config\.tokenizer=.*--config\.ids_only"):
        run_tokens(checkpoint, OPTIONS, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    options = TokensOptions(
        first=1, last=0, tokens=2, num_flips=0, ids_only=True, blocks=(1,), kinds=("ov",), description="none"
    )
    found = run_tokens(checkpoint, options, tmp_path / "run")
    assert found.tables["directions"]["tokens"].null_count == found.tables["directions"].num_rows == 2 * 2 * HEADS
    assert found.circuits["p_right_signs"].isna().all()
    assert "block.1.head" in render_tokens(found)
    assert any("numbers" in note for note in found.manifest["warnings"])
    with pytest.raises(RunError, match="ids_only"):
        run_tokens(open_checkpoint(folder), TokensOptions(**{**vars(options), "ids_only": False}), tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"blocks": (0, 2)}, RunError, "blocks: 2 not in .*, which has blocks 0 to 1"),
        ({"kinds": ("mlp_gate",)}, RunError, "kinds: mlp_gate not in .*, which has ov, qk, mlp_in, mlp_out"),
    ],
)
def test_what_the_model_has_not_is_refused(folder, tmp_path, values, error, says):
    with pytest.raises(error, match=says):
        run_tokens(open_checkpoint(folder), TokensOptions(**values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_that_make_no_sense_are_refused():
    for values, says in (
        ({"kinds": "vo"}, "kinds: vo not among ov"),
        ({"num_flips": 2}, "num_flips is 2"),
        ({"first": 0, "last": 0}, "both 0"),
        ({"projection": "umbedding"}, "expected one of auto, embedding, unembedding"),
    ):
        with pytest.raises(ValueError, match=says):
            TokensOptions.of(values)


def test_a_tokenizer_of_another_size_is_refused(folder, shared, tmp_path):
    options = TokensOptions(tokenizer=str(shared / "checkpoints/gpt2-char-shakespeare"))
    with pytest.raises(DataError, match="do not belong together"):
        run_tokens(open_checkpoint(folder), options, tmp_path / "run")


def test_a_number_that_is_not_finite_is_named(folder, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    name = next(name for name in tensors if name.endswith("h.1.mlp.c_fc.weight"))
    tensors[name][3, 4] = np.nan
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: .*h\.1\.mlp\.c_fc\.weight: .* not finite"):
        run_tokens(open_checkpoint(broken), OPTIONS, tmp_path / "run")


def test_a_damaged_run_is_named(found, tmp_path):
    import pyarrow.parquet as pq

    copy = shutil.copytree(found.directory, tmp_path / "run")
    table = pq.read_table(copy / "circuits.parquet")
    pq.write_table(table.slice(1), copy / "circuits.parquet")
    manifest = json.loads((copy / "tokens.json").read_text())
    manifest["tables"] = {}
    (copy / "tokens.json").write_text(json.dumps(manifest))
    with pytest.raises(RunError, match=r"directions\.parquet: is damaged"):
        open_tokens(copy)
