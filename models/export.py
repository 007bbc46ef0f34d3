"""Checkpoints written in Hugging Face layout: one with some of its matrices replaced, or a tree of parameters."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eigensweep.models.checkpoint import Checkpoint, open_checkpoint
from eigensweep.models.errors import CheckpointError, listed
from eigensweep.models.families import family_of
from eigensweep.models.sources.choice import INDEX, WEIGHTS
from eigensweep.models.sources.files import lies_inside
from eigensweep.models.sources.safetensors_file import data_starts
from eigensweep.models.staging import staged
from eigensweep.models.synth import stored_tensors

_COMPANIONS = (".json", ".txt", ".model", ".jinja", ".md")


def _in_dtype(name: str, matrix: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A matrix in the stored dtype; ValueError where a number becomes infinite."""
    with np.errstate(over="ignore"):
        cast = matrix.astype(dtype)
    if np.isfinite(matrix).all() and not np.isfinite(cast).all():
        raise ValueError(f"{name}: entries up to {float(np.abs(matrix).max()):g} do not fit into {dtype.name}")
    return cast


def _edited(checkpoint: Checkpoint, replacements: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The stored tensors with the matrices put in place, by the tensors' names; ties get the same."""
    matrices = {matrix.name: matrix for matrix in checkpoint.matrices}
    edited: dict[str, np.ndarray] = {}
    for name, replacement in replacements.items():
        if name not in matrices:
            raise ValueError(f"{name!r} is none of the checkpoint's {len(matrices)} matrices")
        new, matrix = np.asarray(replacement), matrices[name]
        if new.shape != matrix.shape:
            raise ValueError(f"{name}: a matrix of shape {list(matrix.shape)} was expected, got {list(new.shape)}")
        cut = checkpoint.plan.cuts[name]
        tensor = cut.tensor
        if tensor.rounding is not None:
            raise CheckpointError(f"{name}: stored as {tensor.rounding.said}, into which nothing is written back")
        if tensor.name not in edited:
            edited[tensor.name] = tensor.read().copy()
        cut.put_matrix(edited[tensor.name], _in_dtype(name, new, np.dtype(tensor.dtype)))
        for second in matrix.tied:
            if second in checkpoint.source.tensors:
                edited[second] = edited[tensor.name]
    return edited


def _put_vectors(checkpoint: Checkpoint, vectors: Mapping[str, np.ndarray], edited: dict[str, np.ndarray]) -> None:
    """Add the stored tensors of leaves that are no matrices to those that are edited."""
    leaves = {leaf.path: leaf for leaf in checkpoint.leaves}
    for path, vector in vectors.items():
        if path not in leaves or len(leaves[path].shape) != 1:
            raise ValueError(f"{path!r} is none of the checkpoint's biases")
        leaf = leaves[path]
        if vector.shape != leaf.shape:
            raise ValueError(f"{path}: a vector of shape {list(leaf.shape)} was expected, got {list(vector.shape)}")
        if leaf.tensor.name not in edited:
            edited[leaf.tensor.name] = leaf.tensor.read().copy()
        whole, rounded = edited[leaf.tensor.name], _in_dtype(path, vector, np.dtype(leaf.dtype))
        if leaf.cut:
            leaf.cut.put_matrix(whole, rounded)
        else:
            whole[...] = rounded.reshape(whole.shape)


def _copy_companions(folder: Path, out: Path) -> None:
    """Config, tokenizer and the like; never code, never other weights."""
    for path in sorted([*folder.glob("*"), *folder.glob("*/*")]):
        own_index = path == folder / INDEX
        if path.suffix not in _COMPANIONS or (path.name.endswith(".index.json") and not own_index):
            continue
        if path.is_file() and lies_inside(folder, path):
            target = out / path.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)


def write_huggingface(
    checkpoint: Checkpoint,
    out: str | Path,
    replacements: Mapping[str, np.ndarray],
    vectors: Mapping[str, np.ndarray] | None = None,
) -> Path:
    """Writes a copy of a checkpoint in which some matrices are replaced; everything else stays bit for bit.

    Args:
      checkpoint: of a folder in Hugging Face layout, with safetensors weights.
      out: a folder that does not exist, or is empty. It appears when it is complete.
      replacements: new matrices, oriented (m, n) as `Matrix.read` gives them, by `Matrix.name`. They are rounded to
        the stored dtype; parts of fused and stacked tensors go back to their places.
      vectors: new biases, by the paths of their leaves.

    Returns:
      The folder, which transformers loads like the original.

    Raises:
      CheckpointError: the checkpoint has another kind of source, or `out` cannot be written.
      ValueError: an unknown name, a wrong shape, or entries that overflow the stored dtype.
    """
    source = checkpoint.source
    if source.kind != "huggingface" or source.directory is None:
        raise CheckpointError(f"{source.name}: of kind {source.kind}; only folders with safetensors are written back")
    checkpoint.fetch()
    edited = _edited(checkpoint, replacements)
    _put_vectors(checkpoint, vectors or {}, edited)
    with staged(out) as stage:
        stage.mkdir()
        _copy_companions(source.directory, stage)
        for file in source.files:
            if not file.endswith(".safetensors"):
                continue
            (stage / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.directory / file, stage / file)
            starts = data_starts(stage / file)
            with (stage / file).open("r+b") as f:
                for name, array in edited.items():
                    if source.tensors[name].file == file:
                        f.seek(starts[name])
                        f.write(np.ascontiguousarray(array).tobytes())
    return Path(out).expanduser().absolute()


def write_parameters(
    config: Mapping[str, Any], leaves: Mapping[str, np.ndarray], out: str | Path, companions: Path | None = None
) -> Path:
    """Writes a tree of parameters as a checkpoint in Hugging Face layout, tensors under the hub's names.

    Args:
      config: as config.json, of a known architecture.
      leaves: every leaf of the model's tree by its path ("blocks/0/mlp/up/kernel"), kernels (in, out).
      out: a folder that does not exist, or is empty. It appears when it is complete.
      companions: a folder whose tokenizer and other small files go with it.

    Returns:
      The folder, which transformers and `open_checkpoint` load.

    Raises:
      CheckpointError: an unknown architecture, leaves that are not those of the config, or `out` cannot be written.
    """
    from safetensors.numpy import save_file

    family = family_of(config)
    if family is None:
        raise CheckpointError(f"config: model_type {config.get('model_type')!r} is no known architecture")
    dtypes = {np.asarray(leaf).dtype for leaf in leaves.values()}
    dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.float32)
    stored = {name: np.zeros(shape, dtype) for name, shape, _ in stored_tensors(family, config)}
    wanted = open_checkpoint(stored, config=dict(config)).leaves
    if different := {leaf.path for leaf in wanted} ^ set(leaves):
        raise CheckpointError(f"the parameters are not those of the config: {listed(sorted(different))}")
    for leaf in wanted:
        array = np.asarray(leaves[leaf.path])
        if array.shape != leaf.shape:
            raise CheckpointError(f"{leaf.path} is {list(array.shape)}, the config has {list(leaf.shape)}")
        if leaf.cut is None:
            stored[leaf.tensor.name][...] = array
        else:
            leaf.cut.put_leaf(stored[leaf.tensor.name], array)
    with staged(out) as stage:
        stage.mkdir()
        if companions is not None:
            _copy_companions(companions, stage)
        (stage / INDEX).unlink(missing_ok=True)  # of the shards that the companions came with
        (stage / "config.json").write_text(json.dumps(dict(config), indent=1))
        save_file(stored, stage / WEIGHTS, metadata={"format": "pt"})
    return Path(out).expanduser().absolute()
