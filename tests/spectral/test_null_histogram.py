"""The histogram of the null against the draws that went into it."""

import numpy as np
import pytest

from eigensweep.engine.spectral.null import histogram as null_histogram

N = 100


@pytest.fixture(scope="module")
def draws():
    rng = np.random.default_rng(0)
    return (np.abs(rng.standard_normal(30_000)) * 0.05 + 0.03).astype(np.float32)


@pytest.fixture(scope="module")
def histogram(draws):
    null = null_histogram.empty(N, seed=7)
    for part in np.array_split(draws, 7):
        null = null_histogram.add(null, part)
    return null


def test_counts_and_top(draws, histogram):
    t = draws.astype(np.float64) * np.sqrt(N)
    expected = np.histogram(t, np.arange(histogram.counts.size + 1) / null_histogram.BINS_PER_UNIT)[0]
    np.testing.assert_array_equal(histogram.counts, expected)
    np.testing.assert_array_equal(histogram.top, np.sort(draws)[-null_histogram.NUM_TOP :])
    assert histogram.num_draws == draws.size == histogram.counts.sum()


def test_order_does_not_matter(draws, histogram):
    other = null_histogram.add(null_histogram.empty(N, seed=7), draws[::-1])
    np.testing.assert_array_equal(other.counts, histogram.counts)
    np.testing.assert_array_equal(other.top, histogram.top)


def test_values_beyond_the_bins_are_counted():
    null = null_histogram.add(null_histogram.empty(N, 0), np.array([0.0, 0.9], np.float32))
    assert null.counts[0] == null.counts[-1] == 1


def test_p_values(draws, histogram):
    ordered = np.sort(draws).astype(np.float64)
    d = np.quantile(ordered, [0, 0.2, 0.5, 0.8, 0.9, 0.99, 0.9999, 1])
    exact = (1 + draws.size - np.searchsorted(ordered, d)) / (1 + draws.size)
    found = null_histogram.p_value(d, histogram)
    np.testing.assert_allclose(found, exact, atol=2e-4)
    np.testing.assert_allclose(found[-3:], exact[-3:], rtol=1e-3)
    p = null_histogram.p_value(np.array([0.0, 0.99, np.nan]), histogram)
    assert p[0] == 1
    assert p[1] == 1 / (1 + draws.size)
    assert np.isnan(p[2])
    assert np.all(np.diff(null_histogram.p_value(np.linspace(0, 0.4, 1000), histogram)) <= 0)


def test_quantiles(draws, histogram):
    for q in (0.01, 0.5, 0.99):
        assert null_histogram.quantile(q, histogram) == pytest.approx(np.quantile(draws, q), abs=2e-5)


def test_file_gives_everything_back(tmp_path, histogram):
    path = tmp_path / "null.npz"
    null_histogram.save(histogram, path, {"by": "test"})
    found = null_histogram.load(path)
    assert (found.n, found.seed, found.num_draws) == (N, 7, histogram.num_draws)
    np.testing.assert_array_equal(found.counts, histogram.counts)
    np.testing.assert_array_equal(found.top, histogram.top)
    assert [p.name for p in path.parent.iterdir()] == ["null.npz"]


@pytest.mark.parametrize("content", [b"", b"not an npz", b"PK\x03\x04"])
def test_other_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "null.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"null\.npz: not a null histogram"):
        null_histogram.load(path)
    np.savez(path, n=3)
    with pytest.raises(ValueError, match="not a null histogram"):
        null_histogram.load(path)
