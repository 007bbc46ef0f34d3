"""Matched controls in a removal study: columns against sums written out, old directories, what the user reads."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
import pytest

from eigensweep import engine
from eigensweep.engine import RunError
from eigensweep.engine.run.factors import FactorStore
from eigensweep.engine.studies.ablation import figures, matched_summary, summary
from eigensweep.engine.studies.ablation.charts import charts
from eigensweep.engine.studies.ablation.factors import Decompositions, edit
from eigensweep.engine.studies.ablation.outputs import outputs_of
from eigensweep.engine.studies.ablation.study import AblationOptions, ablate, open_ablation
from eigensweep.engine.studies.edited_model import Measure
from eigensweep.engine.tables.files import write_json

ROWS, TOKENS = 10, 6
REMOVALS = (
    "decile:2", "outliers:right", "energy:decile:2", "energy:right", "output:decile:2", "output:right", "equalised:9",
    "output:equalised:9",
)  # fmt: skip


class Model:
    """Linear layers of one block, and a table of embeddings; a row's loss is 1 + 1e-3 mean |(W' - W) x|^2 of its x."""

    def __init__(self):
        rng = np.random.default_rng(0)
        arrays = {name: rng.standard_normal((40, 40)) for name in ("query", "value", "down", "words")}
        spike = np.outer(rng.standard_normal(40), rng.standard_normal(40)) / 40
        arrays["query"] += 30 * spike  # right outliers that the bulk can match
        arrays["value"] += 400 * spike  # and that it cannot
        paths = {"query": "blocks/0/attention/query/kernel", "value": "blocks/0/attention/value/kernel",
                 "down": "blocks/0/mlp/down/kernel", "words": "embedding/embedding"}  # fmt: skip
        roles = {"query": "query", "value": "value", "down": "mlp_down", "words": "embedding"}
        self.matrices = tuple(
            SimpleNamespace(
                name=name, role=roles[name], block=None if name == "words" else 0, expert=None, shape=w.shape,
                dtype="float64", path=paths[name], read=lambda w=w: w,
            )
            for name, w in arrays.items()
        )  # fmt: skip
        self.arrays, self.identity, self.skipped, self.warnings = arrays, {"source": "fake", "sha256": "0"}, (), ()
        scale = np.geomspace(2, 0.2, 40)
        self.x = {
            "blocks/0/attention/query/kernel": rng.standard_normal((ROWS, TOKENS, 40)) * scale + 0.3,
            "blocks/0/mlp/down/kernel": rng.standard_normal((ROWS, TOKENS, 40)) * scale,
        }
        self.mask = rng.random((ROWS, TOKENS)) < 0.8
        self.passes = 0

    def inputs(self, name):
        """(tokens, n) of what enters a matrix; None for the embedding."""
        tap = {"query": "query", "value": "query", "down": "down"}.get(name)
        return next((x[self.mask] for path, x in self.x.items() if f"/{tap}/" in path), None)

    def evaluate(self, replaced):
        count, loss = self.mask.sum(axis=1), np.ones(ROWS)
        for name, w in replaced.items():
            x = self.inputs(name)
            if x is not None:
                square = np.zeros(self.mask.shape)
                square[self.mask] = np.sum((x @ (w - self.arrays[name]).T) ** 2, axis=1)
                loss += 1e-3 * square.sum(axis=1) / np.maximum(count, 1)
        return SimpleNamespace(loss=loss, weight=count.astype(float), correct=np.ones(ROWS), count=np.full(ROWS, 2))

    def activations(self, visit, heads):
        self.passes += 1
        assert not heads  # nothing of the scopes is there
        for start in range(0, ROWS, 4):
            rows = slice(start, start + 4)
            taps = {tap: jnp.asarray(np.where(self.mask[rows, :, None], x[rows], np.nan)) for tap, x in self.x.items()}
            visit(SimpleNamespace(attention_mask=self.mask[rows]), start + 4 >= ROWS, taps)

    def study(self, directory, **options):
        measure = Measure({"measure": "x", "targets": 2 * ROWS}, self.evaluate, activations=self.activations)
        return ablate(
            self,
            measure,
            AblationOptions(**{"removals": REMOVALS, "num_draws": 2, "num_resamples": 100, **options}),
            directory,
        )


@pytest.fixture(scope="module")
def model():
    return Model()


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    return model.study(tmp_path_factory.mktemp("matched") / "run", scopes=("query", "value", "blocks", "embedding"))


def removed(model, scope, name, folder):
    """W - W' of every matrix of a scope, by the function that --write_checkpoint takes; its squares, outputs' too."""
    options, taken = AblationOptions(), engine.spectral.removal.parse(name)
    measure = Measure({}, model.evaluate, activations=model.activations)
    own = Decompositions(FactorStore(folder, model.identity), options)
    outputs = outputs_of(model.matrices, [taken], measure, own) or {}
    matches = {n: of.matches[name] for n, of in outputs.items()}
    edited = edit(model.matrices, scope, taken, options, matches=matches)
    change = {n: model.arrays[n] - w for n, w in edited.items()}
    outputs = {n: np.mean(np.sum((model.inputs(n) @ dw.T) ** 2, axis=1)) for n, dw in change.items() if n != "words"}
    return sum(np.sum(dw**2) for dw in change.values()), sum(outputs.values())


def test_columns_are_what_the_edited_matrices_say(model, found, tmp_path):
    table = found.results.set_index(["scope", "removal"])
    blocks = ("query", "value", "down")
    whole = sum(np.sum(model.arrays[n] ** 2) for n in blocks)
    outputs = sum(np.mean(np.sum((model.inputs(n) @ model.arrays[n].T) ** 2, axis=1)) for n in blocks)
    for name in ("decile:2", "energy:decile:2:1", "output:decile:2", "equalised:9", "output:equalised:9:1"):
        row, (square, output) = table.loc["blocks", name], removed(model, "blocks", name, tmp_path)
        assert row["energy"] == pytest.approx(square / whole)
        assert row["output_energy"] == pytest.approx(output / outputs)
    for name, of in {"energy:decile:2": "decile:2", "output:equalised:9:1": "equalised:9"}.items():
        assert table.loc["blocks", name]["control_of"] == of
        assert table.loc["blocks", name]["matched"] == pytest.approx(1)
        assert table.loc["blocks", name]["unmatched"] == 0
    same = {"energy:decile:2": "energy", "output:decile:2": "output_energy", "output:right": "output_energy"}
    for name, column in same.items():
        of = table.loc["blocks", name]["control_of"]
        assert table.loc["blocks", name][column] == pytest.approx(table.loc["blocks", of][column])
        assert table.loc["blocks", name]["removed"] != table.loc["blocks", of]["removed"]
    # the loss of this model is what goes of the outputs: equal for what is matched so
    assert table.loc["query", "output:decile:2:1"]["change"] == pytest.approx(table.loc["query", "decile:2"]["change"])
    plain = found.results[~found.results["kind"].isin(["energy", "output"])]
    assert (plain["control_of"] == "").all()
    assert plain["unmatched"].isna().all()
    assert plain["matched"].isna().all()
    assert model.passes > 0


def test_where_there_is_no_match_nothing_goes_and_the_row_says_so(model, found, tmp_path):
    table = found.results.set_index(["scope", "removal"])
    row = table.loc["value", "energy:right"]
    assert (row["removed"], row["unmatched"], row["matched"], row["change"]) == (0, 1, 0.0, 0.0)
    row = table.loc["blocks", "energy:right"]
    assert row["unmatched"] == 1
    held = [np.sum(removed(model, name, "outliers:right", tmp_path)[0]) for name in ("query", "blocks")]
    assert row["matched"] == pytest.approx(held[0] / held[1])
    row = table.loc["embedding", "output:decile:2"]  # no vector enters a table
    assert (row["removed"], row["unmatched"]) == (0, 1)
    assert np.isnan(row["matched"])
    assert np.isnan(row["output_energy"])
    assert table.loc["embedding", "energy:decile:2"]["matched"] == pytest.approx(1)


def test_the_summary_holds_every_removal_against_its_control(found):
    pairs = {(p.scope, p.control): p for p in matched_summary.matched_controls(found)}
    assert pairs["query", "output:decile:2"].verdict == "unclear"
    assert pairs["query", "output:decile:2"].difference[0] == pytest.approx(0, abs=1e-6)
    assert pairs["value", "energy:right"].verdict == pairs["blocks", "energy:right"].verdict == "no match"
    assert ("mlp_down", "energy:right") not in pairs
    pair = pairs["query", "energy:decile:2"]
    table = found.results.set_index(["scope", "removal"])["change"]
    draws = [table["query", name] for name in ("energy:decile:2", "energy:decile:2:1")]
    assert pair.control_change == pytest.approx(np.mean(draws))
    for of in pairs.values():
        names = [of.control, f"{of.control}:1"]
        lows, highs = zip(*(found.contrast(of.scope, [of.removal], [name])[1:] for name in names), strict=True)
        if of.verdict != "no match":
            assert of.verdict == ("more" if min(lows) > 0 else "less" if max(highs) < 0 else "unclear")
    text = summary.render(found)
    assert "outliers:right against as much |W|² from the bulk" in text
    assert "no match in 2 (2 of their 4 matrices)" in " ".join(text.split())
    assert "like its 2 draws costs more in up to one scope of 3" in " ".join(text.split())
    assert max(map(len, text[text.index("removals against matched") :].splitlines())) <= 100
    said = [panel.note for panel in charts(found)[0].panels]
    assert "no match for energy:right in 1 of 1 matrices" in said[1]
    drawn = {series.name for panel in charts(found)[0].panels for series in panel.series}
    assert drawn >= {"as much |W|² from the bulk", "as much output change, random"}
    assert "a tenth of the equalised matrix" in drawn
    labels = {label for axes in figures.draw(found, ["query"]).axes for label in axes.get_legend_handles_labels()[1]}
    assert drawn - {"outliers"} <= labels | {"outliers"}


def test_a_resumed_study_matches_anew_and_one_of_before_still_opens(model, found, tmp_path):
    whole, calls = model.evaluate, []

    def stopping(replaced):
        calls.append(replaced)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return whole(replaced)

    model.evaluate = stopping
    scopes = ("query", "value", "blocks", "embedding")
    with pytest.raises(KeyboardInterrupt):
        model.study(tmp_path / "run", scopes=scopes)
    model.evaluate = whole
    again = model.study(tmp_path / "run", scopes=scopes)
    one, two = (of.results.drop(columns="seconds") for of in (found, again))
    assert one.to_json() == two.to_json()
    # a run of version 0.3: without the new columns, its manifest without sums
    path = tmp_path / "run" / "ablation.parquet"
    table = pq.read_table(path)
    old = [name not in ("control_of", "matched", "unmatched", "output_energy") for name in table.column_names]
    plain = [kind not in ("energy", "output") for kind in table["kind"].to_pylist()]
    keep = [name for name, kept in zip(table.column_names, old, strict=True) if kept]
    pq.write_table(table.select(keep).filter(plain), path)
    rows = pq.read_table(tmp_path / "run" / "ablation_rows.parquet")
    plain = [name.split(":")[0] not in ("energy", "output") for name in rows["removal"].to_pylist()]
    pq.write_table(rows.filter(plain), tmp_path / "run" / "ablation_rows.parquet")
    manifest = {key: value for key, value in again.manifest.items() if key != "tables"}
    write_json(tmp_path / "run" / "manifest.json", manifest)
    opened = open_ablation(tmp_path / "run")
    assert "of outputs" not in summary.render(opened)
    assert matched_summary.matched_controls(opened) == []
    assert charts(opened)


def test_activations_that_overflow_and_measures_without_any_are_refused(tmp_path):
    model = Model()
    model.x["blocks/0/mlp/down/kernel"][np.nonzero(model.mask)[0][0], np.nonzero(model.mask)[1][0], 3] = np.inf
    with pytest.raises(RunError, match="blocks/0/mlp/down/kernel: the covariance of its activations is not finite"):
        model.study(tmp_path / "a", scopes=("mlp_down",))
    model.activations = None
    with pytest.raises(RunError, match="need the activations"):
        model.study(tmp_path / "b")
    with pytest.raises(RunError, match=r"query: energy:band:30-41: .* 40 singular values only|query: band:30-41"):
        model.study(tmp_path / "c", removals=("energy:band:30-41",))
