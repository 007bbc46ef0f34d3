"""Tests of coherence in the tokens study: planted clusters are found, noise is not, and the tables agree."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from eigensweep.engine.spectral import coherence
from eigensweep.engine.spectral.spans import Spans
from eigensweep.engine.studies.tokens import figures, open_tokens
from eigensweep.engine.studies.tokens.coherence_summary import render_coherence
from eigensweep.engine.studies.tokens.descriptions import Vectors, encoded
from eigensweep.engine.studies.tokens.judging import Judge, judged, window_of
from eigensweep.engine.studies.tokens.opening import frequency_of
from eigensweep.engine.studies.tokens.options import TokensOptions
from eigensweep.engine.studies.tokens.records import Decomposed
from eigensweep.engine.studies.tokens.shares import above_level, bands, by_depth, shares
from eigensweep.engine.studies.tokens.shares import tests as all_tests
from eigensweep.engine.studies.tokens.study import run_tokens
from eigensweep.engine.studies.tokens.turning import is_turned, turned
from eigensweep.models import open_checkpoint
from eigensweep.models.circuits import Circuits, Projection

D, VOCAB, GROUPS, SIZE = 64, 320, 20, 16
KINDS = ("ov", "mlp_in", "mlp_out")


@pytest.fixture(scope="module")
def planted():
    """GPT-2 of one block whose tokens come in groups: each head writes one group's direction, the rest is noise."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(GROUPS, D))
    centres -= centres.mean(axis=1, keepdims=True)
    table = np.repeat(centres, SIZE, axis=0) + 1.3 * rng.normal(size=(VOCAB, D))
    directions = centres[:4] / np.linalg.norm(centres[:4], axis=1, keepdims=True)

    def noise(*shape):
        return 0.1 * rng.normal(size=shape)

    output = noise(D, D)  # Conv1D: (in, out); head h takes rows 16 h to 16 h + 15
    for head, direction in enumerate(directions):
        output[16 * head] += 4 * direction
    block = {
        "ln_1.weight": np.ones(D), "ln_1.bias": np.zeros(D), "ln_2.weight": np.ones(D), "ln_2.bias": np.zeros(D),
        "attn.c_attn.weight": noise(D, 3 * D), "attn.c_attn.bias": np.zeros(3 * D), "attn.c_proj.weight": output,
        "attn.c_proj.bias": np.zeros(D), "mlp.c_fc.weight": noise(D, 4 * D), "mlp.c_fc.bias": np.zeros(4 * D),
        "mlp.c_proj.weight": noise(4 * D, D), "mlp.c_proj.bias": np.zeros(D),
    }  # fmt: skip
    state = {f"transformer.h.0.{name}": value for name, value in block.items()}
    state |= {"transformer.wte.weight": table, "transformer.wpe.weight": noise(16, D)}
    state |= {"transformer.ln_f.weight": np.ones(D), "transformer.ln_f.bias": np.zeros(D)}
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": D, "n_layer": 1, "n_head": 4,
        "n_positions": 16, "vocab_size": VOCAB,
    }  # fmt: skip
    return open_checkpoint({name: x.astype(np.float32) for name, x in state.items()}, config=config)


@pytest.fixture(scope="module")
def found(planted, tmp_path_factory):
    options = TokensOptions(
        tokens=SIZE, ids_only=True, num_draws=4000, first=8, last=0, num_flips=0, neurons=32, kinds=KINDS
    )
    return run_tokens(planted, options, tmp_path_factory.mktemp("tokens") / "run")


def test_a_planted_cluster_is_rejected_at_its_index_and_sign(found):
    of = found.directions
    written = of[(of["kind"] == "ov") & (of["side"] == "written") & (of["index"] == 1)]
    for head in range(4):
        group = set(range(SIZE * head, SIZE * head + SIZE))
        hit = written[[len(group & set(ids)) >= SIZE - 4 for ids in written["token_ids"]]]
        assert hit["circuit"].tolist() == [f"block.0.head.{head}.ov"]
        assert hit["rejected"].all()
    assert of["rejected"].sum() <= 8


def test_noise_is_at_the_level_and_controls_are_not_rejected(found):
    every = all_tests(found)
    # the axes of an embedding with groups are no noise, nor is what was planted
    noise = every[(every["weights"] != "model") | ((every["kind"] != "ov") & (every["unit"] != "embedding"))]
    for (weights, unit), of in noise.groupby(["weights", "unit"]):
        share, count = (of["p_coherence"] <= 0.05).mean(), len(of)
        assert abs(share - 0.05) < 5 * np.sqrt(0.05 * 0.95 / count) + 0.01, (weights, unit, share, count)
        if weights != "model":  # in a family of their own, of which nothing is true
            assert of["rejected"].astype(float).mean() < 0.02, (weights, unit)


def test_columns_are_what_they_say(found, planted):
    """Coherence and the rejections from the tokens alone, written out."""
    leaf = next(leaf for leaf in planted.leaves if leaf.path == "embedding/embedding")
    rows = np.asarray(leaf.read(), np.float64)
    unit = rows - rows.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    of = found.directions
    for row in of.iloc[::97].to_dict("records"):
        gram = unit[row["token_ids"]] @ unit[row["token_ids"]].T
        wanted = gram[np.triu_indices(SIZE, 1)].mean()
        assert row["coherence"] == pytest.approx(wanted, abs=1e-5)
    p = np.sort(of["p_coherence"].to_numpy())
    below = np.flatnonzero(p <= 0.05 * np.arange(1, len(p) + 1) / len(p))
    assert of["rejected"].sum() == (of["p_coherence"] <= p[below[-1]]).sum()
    pairs = of.pivot_table(index=["circuit", "index", "side"], columns="sign", values="r_frequency")
    np.testing.assert_allclose(pairs[1], -pairs[-1])
    assert set(found.units["weights"]) == {"model", "gaussian", "signs"}
    assert len(found.units.query("unit == 'neuron' and weights == 'model' and kind == 'mlp_in'")) == 2 * 32


def test_spectra_and_centroids_stand_beside_their_controls(found):
    circuits = found.circuits
    assert (circuits["gaussian_decay_r_squared"] > 0.8).all()
    np.testing.assert_array_less(0, circuits["decay_length"])
    sides = found.sides
    for column in ("centroid_within", "centroid_within_null", "centroid_across_null"):
        of = sides[sides["kind"] == "ov"][column]
        assert of.between(-1, 1).all(), column
    p = sides.loc[sides["weights"] == "gaussian", "p_centroid_within"]
    assert 0.2 < p.mean() < 0.8


def test_shares_count_what_the_tables_hold(found):
    table = shares(found)
    own = found.directions
    whole = table[(table["by"] == "all") & (table["unit"] == "direction")].iloc[0]
    assert whole["tests"] == len(own)
    assert whole["share"] == pytest.approx((own["p_coherence"] <= 0.05).mean())
    assert whole["low"] < whole["share"] < whole["high"]
    kinds = table[(table["by"] == "kind") & (table["unit"] == "direction")]
    assert kinds["tests"].sum() == len(own)
    index = table[(table["by"] == "index") & (table["unit"] == "direction")]
    assert index["tests"].sum() == len(own)
    assert bands(9) == [(1, 1), (2, 2), (3, 4), (5, 8), (9, 9)]
    said = render_coherence(found)
    assert max(map(len, said.splitlines())) <= 100
    assert f"takes {int(own['rejected'].sum())} for" in " ".join(said.split())


def test_ranges_above_the_level_are_those_with_intervals_above_it():
    rows = [("1", 0.2), ("2", 0.1), ("3-4", 0.06), ("5-8", 0.054), ("9-16", 0.3)]
    same = {"by": "index", "unit": "direction", "tests": 10_000}
    table = pd.DataFrame([same | {"group": name, "share": share} for name, share in rows])
    assert above_level(table, 0.05) == (["1", "2", "3-4", "9-16"], ["5-8"])
    assert above_level(table, 0.35)[0] == []


def test_models_stand_side_by_side_over_depth(found):
    table = by_depth({"one": found, "other": found})
    assert list(table["model"]) == ["one", "other"]
    assert table["depth"].tolist() == [0.5, 0.5]
    assert len(figures.draw_depth({"one": found}).axes) == 1


def test_without_tests_nothing_is_said_of_coherence(planted, tmp_path):
    options = TokensOptions(ids_only=True, description="none", num_flips=0, first=2, last=0, kinds=("ov",), tokens=1)
    untested = run_tokens(planted, options, tmp_path / "run")
    assert untested.directions["p_coherence"].isna().all()
    assert not len(untested.units)
    assert render_coherence(untested) == ""
    assert shares(untested).empty
    assert open_tokens(tmp_path / "run").directions["rejected"].isna().all()


def test_a_law_is_drawn_once_and_from_its_name_alone(planted):
    projection = Projection("embedding", np.random.default_rng(1).normal(size=(60, 12)).astype(np.float32))
    pair, indices = (projection, projection.table), np.arange(1, 7)

    def judge():
        return Judge(Vectors.of(projection.table), frequency_of([projection], None), 5, 300, 0)

    one, other = judge(), judge()
    first = one.law((0, 6, False), pair, indices, 6, None)
    assert one.law((0, 6, False), pair, indices, 6, None) is first
    other.law((0, 3, False), pair, indices[:3], 3, None)  # in another order
    again = other.law((0, 6, False), pair, indices, 6, None)
    np.testing.assert_array_equal(first.window(1, 6).both, again.window(1, 6).both)
    assert len(first.window(2, 6).larger) == 300
    assert [window_of(i, 12) for i in range(1, 13)] == [1, 2, 3, 3, 4, 4, -4, -4, -3, -3, -2, -1]
    read = one.read(np.eye(12)[:2], np.zeros((2, 5), int), np.ones((2, 5), int), projection)
    p = judged(read, first, np.array([1, 6]), 6, oriented=True)
    np.testing.assert_allclose(p.coherence, 1 / 301, atol=1e-12)  # one token five times: more coherent than any draw


def test_a_text_and_an_encoder_describe_tokens(planted, minilm, tmp_path):
    vectors = encoded(["dog", "puppy", "granite"], str(minilm))
    described = coherence.descriptions(vectors)
    assert described[0] @ described[1] > described[0] @ described[2] + 0.3
    for wrong, says in (
        ({"description": "text"}, "needs --config.data"),
        ({"description": "encoder"}, "needs --config.encoder"),
        ({"description": "encoder", "encoder": "x", "ids_only": True}, "ids_only"),
        ({"tokens": 1}, "at least 2"),
        ({"controls": ("nothing",)}, "not among gaussian, signs"),
    ):
        with pytest.raises(ValueError, match=says):
            TokensOptions(**wrong)
    assert replace(TokensOptions(), tokens=1, description="none").tokens == 1


def test_varimax_turns_inside_spans_and_leaves_the_product():
    """Two equal singular values: their span's sparse basis comes back, the same rotation on both sides."""
    rng = np.random.default_rng(6)
    table = np.concatenate([np.eye(8), np.zeros((4, 8))]).astype(np.float32)
    mix, _ = np.linalg.qr(rng.normal(size=(2, 2)))
    left, right = np.eye(8)[:3].copy(), np.eye(8)[3:6].copy()
    left[:2], right[:2] = mix @ left[:2], mix @ right[:2]
    spans = Spans(*(np.zeros((1, 3)),) * 2, np.array([[1, 1, 3]]), np.array([[2, 2, 1]]))
    circuits = Circuits(0, "ov", (0,), (0,), 8, 8, 3, True, np.zeros((1, 3, 8)), np.zeros((1, 8, 3)), {})
    sides = {"written": left[None], "read": right[None]}
    given = Decomposed(circuits, np.array([[2.0, 2.0, 1.0]]), sides, np.array([3]), spans, np.ones(1), None)
    projection = Projection("embedding", table)
    found = turned(given, {name: (projection, table) for name in sides})
    assert is_turned(given).tolist() == [[True, True, False]]
    u, v = found.sides["written"][0], found.sides["read"][0]
    np.testing.assert_allclose(np.sort(np.abs(u[:2]), axis=None)[-2:], 1, atol=1e-6)
    np.testing.assert_allclose(u[:2].T @ v[:2], left[:2].T @ right[:2], atol=1e-12)
    np.testing.assert_array_equal(u[2], left[2])
