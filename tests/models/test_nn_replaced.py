"""Matrices put in place of a model's own: in the right leaf, rounded as stored, the same block by block."""

import jax
import numpy as np
import pytest

from eigensweep.models import CheckpointError, nn, open_checkpoint
from eigensweep.models.data import windows
from eigensweep.models.nn import model as model_module

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
    replaced = {matrix.name: rng.standard_normal(matrix.shape) / 4 for matrix in checkpoint.matrices}
    edited = nn.with_matrices(params, checkpoint, replaced)
    for matrix in checkpoint.matrices:
        leaf = np.asarray(nn.get(edited, matrix.path))
        w = replaced[matrix.name].astype(matrix.dtype)
        np.testing.assert_array_equal(leaf.T if matrix.transposed else leaf, w)
    scores = nn.score(model, edited, rows, 2)
    streamed = nn.streamed_scores(checkpoint, model, replaced, rows, 2)
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
