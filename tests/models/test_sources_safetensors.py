"""The safetensors reader against the format's own library, and every way in which a header can lie."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from eigensweep.models import CheckpointError, open_checkpoint
from eigensweep.models.sources.safetensors_file import DTYPES, open_safetensors


def write(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(begin=0, end=24, shape=(2, 3), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize("code", sorted(DTYPES))
def test_every_dtype_as_the_library_reads_it(tmp_path, code):
    rng = np.random.default_rng(0)
    dtype = DTYPES[code]
    data = rng.integers(0, 2 if code == "BOOL" else 256, 12 * dtype.itemsize, dtype=np.uint8).tobytes()
    path = write(tmp_path / "x.safetensors", {"w": entry(0, len(data), (4, 3), code)}, data)
    tensors, aliases = open_safetensors(path, "x.safetensors")
    w = tensors["w"]
    assert (w.shape, w.dtype, w.file, aliases) == ((4, 3), dtype.name, "x.safetensors", {})
    assert w.read().dtype == dtype
    assert w.read().tobytes() == data
    assert w.read(1, 3).tobytes() == data[3 * dtype.itemsize : 9 * dtype.itemsize]
    if code != "C64" and not code.startswith("F8"):  # which the library does not give to NumPy
        with safe_open(path, framework="numpy") as file:
            theirs = file.get_tensor("w")
        assert theirs.dtype == dtype
        assert theirs.tobytes() == data


def test_a_real_file_as_the_library_reads_it(shared):
    path = shared / "checkpoints/llama-stories260k/model.safetensors"
    tensors, _ = open_safetensors(path, path.name)
    with safe_open(path, framework="numpy") as file:
        assert set(tensors) == set(file.keys())
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(tensor.read(), file.get_tensor(name))


def test_scalars_empties_and_many_shapes(tmp_path):
    arrays = {"scalar": np.array(3, np.float32), "none": np.zeros((0, 4), np.float32), "cube": np.ones((2, 3, 4))}
    save_file(arrays, tmp_path / "x.safetensors")
    tensors, _ = open_safetensors(tmp_path / "x.safetensors", "x")
    for name, array in arrays.items():
        np.testing.assert_array_equal(tensors[name].read(), array)
        assert tensors[name].read().shape == array.shape


@pytest.mark.parametrize(
    ("header", "data", "message"),
    [
        ({"w": entry(0, 24), "v": entry(20, 44)}, 44, "'v' begins at byte 20 .* overlaps"),
        ({"w": entry(0, 24), "v": entry(28, 52)}, 52, "'v' begins at byte 28 .* hole"),
        ({"w": entry(4, 28)}, 28, "'w' begins at byte 4 .* hole"),
        ({"w": entry(0, 24)}, 20, "'w' ends at byte 24 of the data, the file has 20"),
        ({"w": entry(0, 24)}, 30, "6 bytes at the end belong to no tensor"),
        ({"w": entry(0, 24, dtype="F16")}, 24, r"'w': F16 of shape \[2, 3\] takes 12 bytes, the header gives 24"),
        ({"w": entry(0, 24, shape=(2, 4))}, 24, "takes 32 bytes, the header gives 24"),
        ({"w": entry(24, 0)}, 24, "'w': F32 .* the header gives -24"),
        ({"w": entry(0, 24, dtype="F33")}, 24, "'w': unknown dtype 'F33'"),
        ({"w": entry(0, 24, shape=(-2, -3))}, 24, r"'w': shape \[-2, -3\] is no list of sizes"),
        ({"w": entry(0, 24, shape=(2.0, 3))}, 24, "is no list of sizes"),
        ({"w": {**entry(), "data_offsets": [0]}}, 24, r"'w': data_offsets \[0\]"),
        ({"w": {"dtype": "F32"}}, 24, "'w': shape None"),
        ({"w": 7}, 24, "'w': the header's entry is no object"),
        ([1, 2], 24, "its header is no JSON object"),
        (b"{not json", 24, "its header is no JSON"),
        (b"[" * 100_000, 0, "its header is no JSON"),
        (b'{"w": 1, "w": 2}', 0, "names 'w' twice"),
        (b"\xff\xfe", 0, "its header is no JSON"),
        ({"__metadata__": [1]}, 0, "__metadata__"),
    ],
)
def test_a_header_that_lies(tmp_path, header, data, message):
    path = write(tmp_path / "bad.safetensors", header, bytes(data))
    with pytest.raises(CheckpointError, match=message) as error:
        open_checkpoint(path)
    assert "bad.safetensors" in str(error.value)


def test_a_header_longer_than_the_format_allows(tmp_path):
    path = tmp_path / "bad.safetensors"
    with path.open("wb") as f:
        f.write(struct.pack("<Q", 200_000_000))
        f.truncate(200_000_100)  # sparse
    with pytest.raises(CheckpointError, match="header of 200000000 bytes, the format allows 100000000"):
        open_checkpoint(path)


@pytest.mark.parametrize("size", [0, 3, 8, 50, 4000])
def test_a_truncated_file(tmp_path, size):
    save_file({"w": np.ones((40, 30), np.float32)}, tmp_path / "whole.safetensors")
    path = tmp_path / "cut.safetensors"
    path.write_bytes((tmp_path / "whole.safetensors").read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors.*(truncated|no JSON)"):
        open_checkpoint(path)


def test_a_file_that_shrinks_or_goes_after_opening(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"w": np.ones((40, 30), np.float32)}, path)
    (matrix,) = open_checkpoint(path).matrices
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match=r"x\.safetensors: tensor 'w'.*truncated since opening"):
        matrix.read()
    path.unlink()
    with pytest.raises(CheckpointError, match=r"x\.safetensors: tensor 'w' cannot be read"):
        matrix.read()


def test_names_that_save_model_dropped_are_ties(tmp_path):
    w = np.ones((4, 3), np.float32)
    save_file(
        {"embed_tokens.weight": w}, tmp_path / "x.safetensors", metadata={"lm_head.weight": "embed_tokens.weight"}
    )
    (matrix,) = open_checkpoint(tmp_path / "x.safetensors").matrices
    assert (matrix.name, matrix.tied) == ("embed_tokens.weight", ("lm_head.weight",))


def test_half_precision_stays_what_it_is(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "b.weight": rng.standard_normal((4, 3)).astype(ml_dtypes.bfloat16),
        "h.weight": rng.standard_normal((4, 3)).astype(np.float16),
    }
    save_file(arrays, tmp_path / "x.safetensors")
    for matrix in open_checkpoint(tmp_path / "x.safetensors").matrices:
        assert matrix.dtype == arrays[matrix.name].dtype.name
        assert matrix.read().dtype == arrays[matrix.name].dtype
        assert matrix.read().tobytes() == arrays[matrix.name].tobytes()


def test_eight_bit_floats_are_left_out_with_the_reason(tmp_path):
    path = write(tmp_path / "x.safetensors", {"w": entry(0, 6, dtype="F8_E4M3")}, bytes(6))
    checkpoint = open_checkpoint(path)
    assert checkpoint.matrices == ()
    (skipped,) = checkpoint.skipped
    assert (skipped.name, skipped.dtype) == ("w", "float8_e4m3fn")
    assert "scales" in skipped.reason
