"""CIFAR-10's binary batches, generated: read in order, and every kind of damage told in one line."""

import os
import sys

import numpy as np
import pytest

from eigensweep.models.data import DataError, images

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BATCHES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def cifar(tmp_path):
    """Four records a batch, their bytes as the site of CIFAR-10 describes them; folder and what is in it."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    rng, written = np.random.default_rng(0), {}
    for name in BATCHES:
        labels, pixels = rng.integers(0, 10, 4), rng.integers(0, 256, (4, 3072))
        written[name] = labels, pixels
        records = (bytes([y]) + bytes(map(int, x)) for y, x in zip(labels, pixels, strict=True))
        (folder / name).write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("\n".join([*NAMES, "", ""]))
    return folder, written


def test_batches_are_read_in_their_order(cifar):
    folder, written = cifar
    found = images.read_images(str(folder))
    labels = np.concatenate([written[name][0] for name in BATCHES[:5]])
    pixels = np.concatenate([written[name][1] for name in BATCHES[:5]])
    assert found.classes == tuple(NAMES)
    assert (found.train_y == labels).all()
    assert (found.train_x == pixels).all()
    assert (found.test_y == written["test_batch.bin"][0]).all()
    assert (found.test_x == written["test_batch.bin"][1]).all()
    assert found.train_x.dtype == np.uint8
    assert found.sha256() != found._replace(test_y=found.test_y[::-1]).sha256()


def _cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def _shorter(path):
    path.write_bytes(path.read_bytes()[:-3073])


def _label(path):
    data = bytearray(path.read_bytes())
    data[2 * 3073] = 10
    path.write_bytes(data)


def _folder(path):
    path.unlink()
    path.mkdir()


def _fifo(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("data_batch_3.bin", lambda path: path.unlink(), "No such file"),
        ("data_batch_2.bin", _cut, "is cut: record 3 has 3072 bytes of 3073"),
        ("data_batch_2.bin", lambda path: path.write_bytes(b""), "is cut: record 0 has 0 bytes of 3073"),
        ("data_batch_5.bin", _shorter, "is cut: it holds 3 records, the other batches 4"),
        ("test_batch.bin", _label, "record 2 has the label 10; expected 0 to 9"),
        ("data_batch_1.bin", _folder, "a folder"),
        ("data_batch_4.bin", _fifo, "a FIFO"),
        ("batches.meta.txt", lambda path: path.unlink(), "No such file"),
        ("batches.meta.txt", lambda path: path.write_text("cat\ndog\n"), "names 2 classes, expected 10"),
        ("batches.meta.txt", lambda path: path.write_text("x" * 5000), "larger than 4096 bytes"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(cifar, name, damage, says):
    folder, _ = cifar
    damage(folder / name)
    with pytest.raises(DataError) as refused:
        images.read_images(str(folder))
    assert str(folder / name) in str(refused.value)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_batch_is_read_up_to_its_bound(cifar, monkeypatch):
    monkeypatch.setattr(images, "MOST_RECORDS", 3)
    with pytest.raises(DataError, match=r"data_batch_1\.bin: is larger than 9219 bytes"):
        images.read_images(str(cifar[0]))


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such folder; data is 'digits', or CIFAR-10's"):
        images.read_images(str(tmp_path / "cifar"))


def test_digits_are_split_by_the_seed():
    found, other = images.read_digits(0.3, 0), images.read_digits(0.3, 1)
    assert found.train_x.shape == (1258, 64)
    assert found.test_x.shape == (539, 64)
    assert found.train_x.max() == 16
    pictures = {x.tobytes() for x in found.train_x} | {x.tobytes() for x in found.test_x}
    assert pictures == {x.tobytes() for x in other.train_x} | {x.tobytes() for x in other.test_x}
    assert not np.array_equal(found.test_y, other.test_y)
    assert np.array_equal(found.test_x, images.read_digits(0.3, 0).test_x)


def test_without_scikit_learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"needs scikit-learn: pip install scikit-learn"):
        images.read_images("digits")
