"""Images as rows of bytes: CIFAR-10's binary batches, or the digits that come with scikit-learn.

CIFAR-10's folder `cifar-10-batches-bin` holds data_batch_1.bin to data_batch_5.bin, test_batch.bin (one byte of label,
0 to 9, then 3 x 32 x 32 bytes of one picture, record after record) and batches.meta.txt (a class a line).

Reference: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from eigensweep.models.data.text import DataError
from eigensweep.models.errors import CheckpointError, printable
from eigensweep.models.sources.files import open_regular

DIGITS = "digits"
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
MOST_RECORDS = 10_000  # in a batch: CIFAR-10's own
NUM_CLASSES = 10
TRAIN_BATCHES = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST_BATCH, META = "test_batch.bin", "batches.meta.txt"
_MOST_META = 4096


class Images(NamedTuple):
    """Rows to learn from and rows to test with.

    Attributes:
      train_x, test_x: (N, d) uint8.
      train_y, test_y: (N,) int32, from 0.
      classes: their names.
    """

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: tuple[str, ...]

    def sha256(self) -> str:
        """Of all bytes and labels, in their order."""
        total = hashlib.sha256()
        for array in (self.train_x, self.train_y, self.test_x, self.test_y):
            total.update(f"{array.shape} {array.dtype}".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()


def read_images(source: str, test_share: float = 0.3, seed: int = 0) -> Images:
    """The images that `source` names.

    Args:
      source: "digits", or a folder with CIFAR-10's binary batches.
      test_share, seed: of the digits, which have no test rows of their own: how many, and which.

    Raises:
      DataError: neither; a file or record that does not serve; scikit-learn is not installed.
    """
    if source == DIGITS:
        return read_digits(test_share, seed)
    if not Path(source).is_dir():
        raise DataError(f"{source}: no such folder; data is {DIGITS!r}, or CIFAR-10's cifar-10-batches-bin")
    return read_cifar10(Path(source))


def read_cifar10(folder: Path) -> Images:
    """CIFAR-10 from its binary batches, the records in the order of the files.

    Raises:
      DataError: a batch is missing, cut, or shorter than the others; a label above 9; naming the file and record.
    """
    classes = _class_names(folder / META)
    batches = {name: _read_batch(folder / name) for name in (*TRAIN_BATCHES, TEST_BATCH)}
    most = max(len(batch) for batch in batches.values())
    for name, batch in batches.items():
        if len(batch) < most:
            raise DataError(f"{folder / name}: is cut: it holds {len(batch)} records, the other batches {most}")
    train, test = np.concatenate([batches[name] for name in TRAIN_BATCHES]), batches[TEST_BATCH]
    return Images(train[:, 1:], train[:, 0].astype(np.int32), test[:, 1:], test[:, 0].astype(np.int32), classes)


def read_digits(test_share: float = 0.3, seed: int = 0) -> Images:
    """1797 handwritten digits of 8 x 8 pixels, 0 to 16, in an order drawn from `seed`; the last ones are to test with.

    Raises:
      DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"data={DIGITS} needs scikit-learn: pip install scikit-learn, or pip install 'eigensweep[demo]'"
        ) from error
    found = load_digits()
    order = np.random.default_rng(seed).permutation(len(found.target))
    x, y = found.data[order].astype(np.uint8), found.target[order].astype(np.int32)
    first = len(y) - round(test_share * len(y))
    if not 0 < first < len(y):
        raise DataError(f"data={DIGITS}: test_share {test_share:g} of {len(y)} rows leaves none on one side")
    return Images(x[:first], y[:first], x[first:], y[first:], tuple(map(str, range(NUM_CLASSES))))


def _read_batch(path: Path) -> np.ndarray:
    """(N, RECORD) uint8."""
    data = _read_bytes(path, MOST_RECORDS * RECORD)
    if not data or len(data) % RECORD:
        whole, rest = divmod(len(data), RECORD)
        raise DataError(f"{path}: is cut: record {whole} has {rest} bytes of {RECORD}")
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if (wrong := np.flatnonzero(records[:, 0] >= NUM_CLASSES)).size:
        label = records[wrong[0], 0]
        raise DataError(f"{path}: record {wrong[0]} has the label {label}; expected 0 to {NUM_CLASSES - 1}")
    return records


def _class_names(path: Path) -> tuple[str, ...]:
    text = _read_bytes(path, _MOST_META).decode("utf-8", "replace")
    names = tuple(printable(line.strip()) for line in text.splitlines() if line.strip())
    if len(names) != NUM_CLASSES:
        raise DataError(f"{path}: names {len(names)} classes, expected {NUM_CLASSES}, a line each")
    return names


def _read_bytes(path: Path, most: int) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(most + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except CheckpointError as error:
        raise DataError(str(error)) from error
    if len(data) > most:
        raise DataError(f"{path}: is larger than {most} bytes, the most that such a file has")
    return data
