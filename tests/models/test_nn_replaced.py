"""Matrices put in place of a model's own: in the right leaf, rounded as stored, the same block by block."""

import weakref

import jax
import numpy as np
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint
from eigensweep.models.data import windows
from eigensweep.models.nn import model as model_module
from eigensweep.models.nn import replaced

jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="module")
def opened(tiny):
    """name -> checkpoint, model, parameters, rows of random tokens."""

    def load(name, dtype="float32"):
        checkpoint = open_checkpoint(tiny(name, dtype)[1])
        tokens = np.random.default_rng(0).integers(3, 90, 60).astype(np.int32)
        return (checkpoint, *nn.load(checkpoint), windows(tokens, 12, 12))

    return load


@pytest.mark.parametrize("name", ["gpt2", "llama", "phi3", "gpt-neox"])
def test_replaced_matrices_are_what_transformers_would_load(opened, name, tmp_path):
    checkpoint, model, params, rows = opened(name)
    rng = np.random.default_rng(1)
    others = {matrix.name: rng.standard_normal(matrix.shape) / 4 for matrix in checkpoint.matrices}
    edited = nn.with_matrices(params, checkpoint, others)
    for matrix in checkpoint.matrices:
        leaf = np.asarray(nn.get(edited, matrix.path))
        w = others[matrix.name].astype(matrix.dtype)
        np.testing.assert_array_equal(leaf.T if matrix.transposed else leaf, w)
    scores = nn.score(model, edited, rows, 2)
    streamed = nn.streamed_scores(checkpoint, model, others, rows, 2)
    np.testing.assert_allclose(streamed.loss, scores.loss, rtol=1e-5)
    assert np.abs(scores.loss - nn.score(model, params, rows, 2).loss).max() > 1e-3


def test_one_matrix_changes_one_leaf_and_compiles_nothing(opened):
    checkpoint, model, params, rows = opened("llama")
    name = next(matrix.name for matrix in checkpoint.matrices if matrix.role == "query")
    nn.score(model, params, rows, 2)
    compiled = model_module._block._cache_size()
    edited = nn.with_matrices(params, checkpoint, {name: 0 * checkpoint.matrices[1].read()})
    nn.score(model, edited, rows, 2)
    assert model_module._block._cache_size() == compiled
    changed = {path for path, leaf in nn.walk(edited) if leaf is not nn.get(params, path)}
    assert changed == {matrix.path for matrix in checkpoint.matrices if matrix.name == name}


def test_they_are_rounded_as_their_files_would_round_them(opened):
    checkpoint, *_ = opened("llama", "bfloat16")
    params = nn.load(checkpoint, param_dtype="float32")[1]
    matrix = checkpoint.matrices[1]
    w = np.random.default_rng(0).standard_normal(matrix.shape)
    leaf = nn.get(nn.with_matrices(params, checkpoint, {matrix.name: w}), matrix.path)
    assert leaf.dtype == np.float32
    rounded = np.asarray(leaf).T
    np.testing.assert_array_equal(rounded, w.astype(matrix.dtype).astype(np.float32))
    assert np.abs(rounded - w).max() > 1e-3


def test_a_matrix_that_is_not_read_and_a_wrong_shape_are_named(opened):
    checkpoint, model, params, rows = opened("bert-qa")
    head = next(matrix for matrix in checkpoint.matrices if matrix.role == "classifier")
    with pytest.raises(CheckpointError, match=f"{head.name}: the forward pass does not read it"):
        nn.with_matrices(params, checkpoint, {head.name: head.read()})
    with pytest.raises(CheckpointError, match=f"{head.name}: the forward pass does not read it"):
        nn.streamed_scores(checkpoint, model, {head.name: head.read()}, rows, 2)
    with pytest.raises(CheckpointError, match="has no matrix nobody"):
        nn.with_matrices(params, checkpoint, {"nobody": np.zeros((2, 2))})
    first = checkpoint.matrices[0]
    with pytest.raises(ValueError, match=r"expected a matrix .*, got \(2, 2\)"):
        nn.with_matrices(params, checkpoint, {first.name: np.zeros((2, 2))})


class Counted(dict):
    """Matrices by name; knows how many of those that it gave are still there."""

    def __init__(self, *given):
        super().__init__(*given)
        self.most, self._there = 0, weakref.WeakSet()

    def __getitem__(self, name):
        array = Held(np.array(super().__getitem__(name)))
        self._there.add(array.token)
        self.most = max(self.most, len(self._there))
        return array


class Token:
    pass


class Held(np.ndarray):
    """An array with something to watch."""

    def __new__(cls, array):
        self = array.view(cls)
        self.token = Token()
        return self

    def __array_finalize__(self, other):
        self.token = getattr(other, "token", None)


@pytest.mark.parametrize("streamed", [False, True])
def test_variants_in_one_pass_are_those_one_by_one_and_share_what_is_before_their_change(opened, streamed, monkeypatch):
    checkpoint, model, params, rows = opened("llama")
    rng = np.random.default_rng(2)
    of_block = [[m for m in checkpoint.matrices if m.block == block] for block in range(model.architecture.num_blocks)]
    embedding = next(m for m in checkpoint.matrices if m.role == "embedding")
    chosen = [of_block[0], [], [of_block[-1][0]], of_block[-1], [embedding]]
    variants = [Counted((m.name, rng.standard_normal(m.shape) / 4) for m in matrices) for matrices in chosen]
    blocks, block, parts = [], nn.Model.block, []

    def counted(self, params, index, *given):
        blocks.append(index)
        return block(self, params, index, *given)

    def reading(*given):
        read = nn.reader(*given)
        return lambda part: parts.append(part) or read(part)

    expected = [nn.score(model, nn.with_matrices(params, checkpoint, one), rows, 5).loss for one in variants]
    assert [one.most for one in variants] == [min(len(one), 1) for one in variants]
    monkeypatch.setattr(nn.Model, "block", counted)
    monkeypatch.setattr(replaced, "reader", reading)
    place = None if streamed else params
    found = nn.variant_scores(checkpoint, model, place, variants, rows, 5)
    for one, loss in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.loss, loss)
    assert len({tuple(loss) for loss in expected}) == 5
    last = model.architecture.num_blocks - 1
    # the model's own as far as a variant without changes goes, and every other from its first change on
    assert sorted(blocks) == sorted([*range(last + 1)] * 3 + [last] * 2)
    assert parts == (nn.parts_of(model) if streamed else [])
    assert [one.most for one in variants] == [min(len(one), 1) for one in variants]
    assert nn.variant_scores(checkpoint, model, place, [], rows, 5) == []
