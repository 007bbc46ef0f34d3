"""A checkpoint written back in Hugging Face layout with some of its matrices replaced."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eigensweep.models.checkpoint import Checkpoint
from eigensweep.models.errors import CheckpointError
from eigensweep.models.sources.choice import INDEX
from eigensweep.models.sources.files import lies_inside
from eigensweep.models.sources.safetensors_file import data_starts
from eigensweep.models.staging import staged

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
