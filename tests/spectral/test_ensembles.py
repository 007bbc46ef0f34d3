"""Noise of every kind that calibration asks for."""

import numpy as np
import pytest

from eigensweep.engine.spectral import ensembles


@pytest.mark.parametrize("kind", [*ensembles.NOISES, "t5+both:0.25+bfloat16"])
def test_shape_symmetry_and_seed(kind: str) -> None:
    w = ensembles.noise(kind, np.random.default_rng(1), 96, 40)
    again = ensembles.noise(kind, np.random.default_rng(1), 96, 40)
    assert w.shape == (96, 40)
    assert w.dtype == np.float64
    np.testing.assert_array_equal(w, again)
    assert abs(np.mean(np.sign(w))) < 4 / np.sqrt(w.size)


def test_profiles_scale_whole_rows_and_columns() -> None:
    w = ensembles.noise("columns:0.5", np.random.default_rng(2), 4000, 30)
    spread = np.std(np.log(np.std(w, axis=0)))
    assert 0.3 < spread < 0.8
    assert np.std(np.log(np.std(w, axis=1))) < 0.35


def test_grids_and_sparsity() -> None:
    rng = np.random.default_rng(3)
    sparse = ensembles.noise("sparse", rng, 200, 200)
    assert abs(np.mean(sparse != 0) - 0.1) < 0.01
    assert len(np.unique(np.abs(ensembles.noise("int4", rng, 1, 500)))) <= 8
    huge = ensembles.noise("huge", rng, 64, 64)
    assert np.sum(np.abs(huge) > 15) == 3


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="'cauchy'"):
        ensembles.noise("gaussian+cauchy", np.random.default_rng(0), 4, 4)


def test_planted_strengths_come_out_of_no_noise() -> None:
    w = ensembles.planted(np.zeros((30, 20)), [5.0, 2.0], np.random.default_rng(4))
    np.testing.assert_allclose(np.linalg.svd(w, compute_uv=False)[:3], [5, 2, 0], atol=1e-12)
