"""Comparison: which matrices are matched, what differs, how far they moved, and what planted changes look like."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.linalg

from eigensweep import engine
from eigensweep.engine import CompareOptions, RunError, SweepOptions
from eigensweep.engine.studies.compare import study
from eigensweep.engine.studies.compare.differences import differences
from eigensweep.engine.studies.compare.matching import match
from eigensweep.engine.studies.compare.movement import Difference, rows_of_batch
from eigensweep.engine.studies.compare.spread import relative_iqr, spread_rows

FAST = SweepOptions(control="none", equalise=False, num_flips=0)


def row(name, role, block, m=8, n=8, expert=None, **more):
    return {"name": name, "role": role, "block": block, "m": m, "n": n, "expert": expert, "status": "ok", **more}


def stack_of(blocks, prefix="h", roles=("query", "mlp_up"), **more):
    return [row(f"{prefix}.{b}.{r}", r, b, **more) for b in range(blocks) for r in roles]


def named(matched):
    return [(p.first["name"], p.second["name"], p.by) for p in matched.pairs]


def test_one_family_is_matched_by_name():
    rows = [*stack_of(2), row("wte", "embedding", None)]
    matched = match(rows, rows[::-1], same_family=True)
    assert named(matched) == [(r["name"], r["name"], "name") for r in rows]
    assert matched.alone == ([], [])


def test_other_names_are_matched_by_role_and_block():
    first, second = [*stack_of(2), row("wte", "embedding", None)], [*stack_of(2, "layers"), row("e", "embedding", None)]
    assert named(match(first, second, True)) == [
        *((a["name"], b["name"], "block") for a, b in zip(first[:-1], second[:-1], strict=True)), ("wte", "e", "role")
    ]  # fmt: skip


def test_stacks_of_other_depth_are_matched_by_relative_depth_even_under_the_same_names():
    shallow, deep = stack_of(2, roles=("query",)), stack_of(4, roles=("query",))
    found = named(match(shallow, deep, True))
    # depths 1/4 and 3/4 against 1/8, 3/8, 5/8, 7/8: the lower block of a tie
    assert found == [("h.0.query", "h.0.query", "depth"), ("h.1.query", "h.2.query", "depth")]
    assert [(b, a) for a, b, _ in named(match(deep, shallow, True))] == [(a, b) for a, b, _ in found]
    twelve = match(stack_of(6, roles=("query",)), stack_of(12, roles=("query",)), False)
    assert len({p.second["block"] for p in twelve.pairs}) == 6
    assert all(abs(np.subtract(*p.depths)) <= 1 / 12 for p in twelve.pairs)


def test_experts_towers_and_adapter_parts_are_kept_apart():
    first = [row(f"a{e}", "mlp_up", 0, expert=e) for e in range(3)] + [row("x", "query", 0, tower="encoder")]
    second = [row(f"b{e}", "mlp_up", 0, expert=e) for e in range(2)] + [row("y", "query", 0, tower="decoder")]
    matched = match(first, second, False)
    assert named(matched) == [("a0", "b0", "block"), ("a1", "b1", "block")]
    assert [[r["name"] for r in rows] for rows in matched.alone] == [["a2", "x"], ["y"]]
    dense, mixture = [row("up", "mlp_up", 0)], [row("up0", "mlp_up", 0, expert=0)]
    assert not match(dense, mixture, False).pairs
    parts = [row(f"q:{part}", "query", 0) for part in ("base", "delta")]
    assert named(match(parts, [row("p:delta", "query", 0)], False)) == [("q:delta", "p:delta", "block")]


def test_differences_and_their_sizes_by_hand():
    first = [
        row(f"h.{b}", "query", b, alpha=a, num_right_outliers=k) for b, (a, k) in enumerate([(2, 1), (3, 1), (4, 1)])
    ]
    second = [
        row(f"h.{b}", "query", b, alpha=a, num_right_outliers=k) for b, (a, k) in enumerate([(4, 3), (7, 3), (10, 3)])
    ]
    rows = differences(match(first, second, True).pairs, ["alpha", "num_right_outliers"])
    alpha = [r for r in rows if r["measure"] == "alpha"]
    scale = math.sqrt((np.var([2, 3, 4], ddof=1) + np.var([4, 7, 10], ddof=1)) / 2)
    assert [r["difference"] for r in alpha] == [2, 4, 6]
    np.testing.assert_allclose([r["size"] for r in alpha], np.array([2, 4, 6]) / scale)
    assert {r["scale_of"] for r in alpha} == {"role"}
    counts = [r for r in rows if r["measure"] == "num_right_outliers"]
    assert [r["difference"] for r in counts] == [2, 2, 2]
    assert all(r["scale_of"] is None and math.isnan(r["size"]) for r in counts)  # no spread anywhere
    assert not any(r["per_value"] for r in rows)


def test_counts_of_other_shapes_are_compared_as_shares():
    first = [row("a", "query", 0, m=8, n=16, num_right_outliers=2, stable_rank=4.0, alpha=2.0)]
    second = [row("b", "query", 0, m=32, n=64, num_right_outliers=4, stable_rank=4.0, alpha=2.0)]
    found = differences(match(first, second, False).pairs, ["num_right_outliers", "stable_rank", "alpha"])
    assert [(r["value"], r["value_other"], r["per_value"]) for r in found] == [
        (2 / 8, 4 / 32, True), (4 / 8, 4 / 32, True), (2, 2, False)
    ]  # fmt: skip


def test_spread_over_blocks_is_numpys():
    values = [1.0, 2.0, 4.0, 8.0, 3.0, 5.0, 6.0]
    rows = [row(f"h.{b}", "query", b, alpha=v) for b, v in enumerate(values)]
    (found,) = spread_rows([*rows, row("wte", "query", None, alpha=99.0)], ["alpha"], 0, 500)
    low, high = np.percentile(values, [25, 75])
    assert found["spread"] == pytest.approx((high - low) / np.median(values))
    assert found["num_blocks"] == 7
    assert found["sd"] == pytest.approx(np.std(values, ddof=1))
    assert 0 < found["spread_low"] < found["spread"] < found["spread_high"]
    experts = [row(f"e.{e}", "query", 0, expert=e, alpha=float(v)) for e, v in enumerate([1, 5, 100])]
    (of_experts,) = spread_rows(experts, ["alpha"], 0, 100)
    assert (of_experts["num_blocks"], of_experts["median"]) == (1, 5.0)
    assert relative_iqr(np.array([1.0, 1.0])) == 0


def source(name, w):
    return SimpleNamespace(
        name=name, role="query", block=0, expert=None, shape=w.shape, dtype=str(w.dtype), read=lambda: w
    )


def moved_rows(pairs, **options):
    sources = [
        Difference(str(i), {"pair": str(i)}, source(f"w{i}", w), source(f"w{i}", v)) for i, (w, v) in enumerate(pairs)
    ]
    return rows_of_batch(sources, [s.read() for s in sources], CompareOptions(**options))


@pytest.fixture(scope="module")
def planted():
    """Weights, and what they became: pure noise added to 40 of them, noise and four directions to 8, nothing to one,
    four exact directions to one; entries of rows of unequal scale throughout.
    """
    rng = np.random.default_rng(5)
    m, n, rank = 96, 64, 4
    pairs = []
    for i in range(50):
        w = rng.standard_normal((m, n))
        noise = 0.01 * np.exp(0.3 * rng.standard_normal((m, 1))) * rng.standard_normal((m, n))
        u, v = np.linalg.qr(rng.standard_normal((m, rank)))[0], np.linalg.qr(rng.standard_normal((n, rank)))[0]
        low_rank = 3 * 0.011 * (math.sqrt(m) + math.sqrt(n)) * u @ v.T
        change = noise if i < 40 else noise + low_rank if i < 48 else 0 * w if i == 48 else low_rank
        pairs.append((w.astype(np.float64), w + change))
    return pairs, moved_rows(pairs, top=5)


def test_distances_are_those_of_numpy(planted):
    (w, v), found = planted[0][0], planted[1][0]
    assert found["relative"] == pytest.approx(np.linalg.norm(v - w) / np.linalg.norm(w))
    assert found["cosine"] == pytest.approx(np.sum(w * v) / np.linalg.norm(w) / np.linalg.norm(v))
    assert found["share_changed"] == 1
    np.testing.assert_allclose(found["delta_singular_values"], scipy.linalg.svdvals(v - w), rtol=1e-9)


def test_noise_alone_has_no_directions_at_the_level(planted):
    """40 changes of pure noise at level 0.01, rows of unequal scale: more than three false ones have chance 0.001."""
    noise = planted[1][:40]
    for column in ("num_directions", "delta_num_right_outliers_beyond_signs"):
        assert sum(r[column] > 0 for r in noise) <= 3
    assert all(r["directions_by"] == "equalised" for r in noise)
    assert sum(r["delta_num_right_outliers"] > 0 for r in noise) > 10  # as it is, unequal rows look like directions


def test_planted_low_rank_updates_are_found(planted):
    for r in planted[1][40:48]:
        assert r["num_directions"] == 4
        assert 4 <= r["delta_num_right_outliers_beyond_signs"] <= 5


def test_what_did_not_move_and_what_has_no_noise(planted):
    still, exact = planted[1][48:]
    assert (still["relative"], still["num_directions"], still["status"]) == (0, 0, "all zero")
    np.testing.assert_allclose(still["overlap_right"], 1)
    np.testing.assert_allclose(still["angles_left"], 0, atol=1e-5)
    assert (exact["num_directions"], exact["directions_by"], exact["delta_hard_rank"]) == (4, "rank", 4)


def test_angles_are_scipys_and_the_null_is_named(planted):
    (w, v), found = planted[0][45], planted[1][45]
    (u0, _, vt0), (u1, _, vt1) = (np.linalg.svd(x, full_matrices=False) for x in (w, v))
    for side, bases in (("right", (vt0[:5].T, vt1[:5].T)), ("left", (u0[:, :5], u1[:, :5]))):
        expected = np.degrees(np.sort(scipy.linalg.subspace_angles(*bases)))
        np.testing.assert_allclose(found[f"angles_{side}"], expected, atol=1e-5)
    assert found["overlap_null_right"] == 5 / 64
    assert found["overlap_null_left"] < found["overlap_null_99_left"] < found["overlap_left"]


def test_unrelated_matrices_overlap_as_random_ones():
    rng = np.random.default_rng(8)
    rows = moved_rows([(rng.standard_normal((96, 64)), rng.standard_normal((96, 64))) for _ in range(40)], top=5)
    assert sum(r["overlap_p_right"] < 0.05 for r in rows) <= 6  # 2 expected; chance 0.003 of more than 6
    assert np.mean([r["overlap_right"] for r in rows]) == pytest.approx(5 / 64, rel=0.15)


@pytest.fixture(scope="module")
def two(make_checkpoint):
    """Two checkpoints and their sweeps: the second is 1.5 times the first."""
    first = make_checkpoint()
    moved = [dataclasses.replace(m, array=m.array * np.float32(1.5)) for m in first.matrices]
    second = dataclasses.replace(first, matrices=tuple(moved), sha256="1" * 64)
    return [(c, engine.sweep(c, FAST)) for c in (first, second)]


def test_tables_join_and_what_moved_is_resumed(two, tmp_path, monkeypatch):
    checkpoints, runs = [c for c, _ in two], [r for _, r in two]
    options = CompareOptions(top=4)
    whole = study.compare(runs, options, tmp_path / "whole", checkpoints=checkpoints, labels=["a", "b"])
    assert whole.moved["relative"].tolist() == pytest.approx([0.5] * 6)
    key = ["run", "other", "pair"]
    joined = whole.comparison.merge(whole.pairs[[*key, "name"]], on=key).merge(
        runs[1].matrices[["name", "alpha"]], on="name"
    )
    alpha = joined[joined["measure"] == "alpha"]
    np.testing.assert_allclose(alpha["value_other"], alpha["alpha"])

    real, calls = study.moved, []

    def dies(sources, *more):
        for batch, rows in real(sources, *more):
            calls.append(len(rows))
            yield batch, rows
            if len(calls) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(study, "moved", dies)
    with pytest.raises(KeyboardInterrupt):
        study.compare(runs, options, tmp_path / "cut", checkpoints=checkpoints, labels=["a", "b"])
    resumed = study.compare(runs, options, tmp_path / "cut", checkpoints=checkpoints, labels=["a", "b"])
    assert sum(calls) == 6  # nothing finished is done again
    for table in whole.layout.tables:
        pd.testing.assert_frame_equal(resumed.frame(table), whole.frame(table), check_exact=True)
    with pytest.raises(RunError, match=r"holds another compare \(top: 4 there, 5 now\)"):
        study.compare(runs, CompareOptions(top=5), tmp_path / "cut", checkpoints=checkpoints, labels=["a", "b"])


def test_groups_within_a_run(two, tmp_path):
    run = two[0][1]
    options = CompareOptions(roles=("query",), other_roles=("mlp",))
    found = study.compare([run], options, tmp_path / "groups")
    assert found.pairs["matched_by"].tolist() == ["group"] * 2
    rows = found.comparison[found.comparison["measure"] == "num_right_outliers"].set_index("block")
    of = run.matrices[(run.matrices["block"] == 1) & run.matrices["role"].isin(["mlp_up", "mlp_down"])]
    assert rows.loc[1, "value_other"] == pytest.approx((of["num_right_outliers"] / 40).median())
    with pytest.raises(RunError, match=r"no block of .* has matrices of both roles=query and other_roles=value"):
        study.compare([run], CompareOptions(roles=("query",), other_roles=("value",)), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_runs_that_do_not_fit_together(two, make_checkpoint, tmp_path):
    (first, run), _ = two
    other = engine.sweep(
        dataclasses.replace(
            first,
            matrices=tuple(dataclasses.replace(m, name=f"x{i}", role="value") for i, m in enumerate(first.matrices)),
            sha256="2" * 64,
        ),
        FAST,
    )
    with pytest.raises(
        RunError, match="nothing matches: no matrix of b has the name or the role of one of a; roles mlp"
    ):
        study.compare([run, other], None, tmp_path / "x", labels=["a", "b"])
    assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="at least two runs, not 1"):
        study.compare([run], None, tmp_path / "x")
    unlike = engine.sweep(first, dataclasses.replace(FAST, level=0.05, equalise=True))
    found = study.compare([run, unlike], None, tmp_path / "y", labels=["a", "b"])
    said = "\n".join(found.manifest["warnings"])
    assert "different level: 0.01 in a, 0.05 in b" in said
    assert "no such reading: equalised (a)" in said
    with pytest.raises(RunError, match=r"measures: alfa is no number of a matrix .did you mean alpha"):
        study.compare([run, unlike], CompareOptions(measures=("alfa",)), tmp_path / "z")
    with pytest.raises(RunError, match="measures: equalised_alpha: not in both runs"):
        study.compare([run, unlike], CompareOptions(measures=("equalised_alpha",)), tmp_path / "z")
    with pytest.raises(ValueError, match="give roles, too"):
        CompareOptions(other_roles=("mlp",))
