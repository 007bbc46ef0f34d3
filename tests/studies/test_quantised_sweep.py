"""Quantised weights through a sweep: what the tables say, the control on their grid, and the level on rounded noise."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from eigensweep import engine, models
from eigensweep.engine import RunError, SweepOptions
from eigensweep.engine.spectral import controls
from eigensweep.engine.studies.sweep.plan import describe_plan, make_plan

M, N, SIZE = 32, 48, 16
CHOSEN = {"null": "monte_carlo", "num_draws": 200, "equalise": False}


def gptq_codes(w, bits):
    """Codes, zeros and scales (as float16) of groups of SIZE inputs, from the least and largest of each group."""
    groups = w.reshape(len(w), -1, SIZE)
    low, high = np.minimum(groups.min(-1), 0), np.maximum(groups.max(-1), 0)
    scales = ((high - low) / (2**bits - 1)).astype(np.float16)
    zeros = np.clip(np.round(-low / scales), 1, 2**bits - 1).astype(int)
    codes = np.clip(np.round(groups / scales[..., None]) + zeros[..., None], 0, 2**bits - 1).astype(int)
    return codes.reshape(w.shape), zeros, scales


def packed(codes, bits):
    """Codes (rows, columns) as words along the columns."""
    shifted = codes.astype(np.uint32).reshape(len(codes), -1, 32 // bits) << np.arange(0, 32, bits, dtype=np.uint32)
    return np.ascontiguousarray(shifted.sum(-1, dtype=np.uint32)).view(np.int32)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """noise(kinds, count) -> a checkpoint of Gaussian matrices with unequal rows, quantised by GPTQ's grid."""

    def make(kinds, count, plain=0):
        rng, tensors = np.random.default_rng(sum(kinds)), {}
        folder = tmp_path_factory.mktemp("noise")
        for i in range(count * len(kinds)):
            bits = kinds[i % len(kinds)]
            w = 0.02 * rng.standard_normal((M, N)) * np.exp(0.3 * rng.standard_normal((M, 1)))
            codes, zeros, scales = gptq_codes(w, bits)
            name = f"model.layers.{i}.self_attn.q_proj"
            tensors[f"{name}.qweight"] = np.ascontiguousarray(packed(codes, bits).T)
            tensors[f"{name}.qzeros"] = packed(zeros.T - 1, bits)
            tensors[f"{name}.scales"] = np.ascontiguousarray(scales.T)
            tensors[f"{name}.g_idx"] = np.arange(N, dtype=np.int32) // SIZE
        for i in range(plain):
            tensors[f"model.layers.{i}.self_attn.k_proj.weight"] = rng.standard_normal((M, N)).astype(np.float32)
        save_file(tensors, folder / "model.safetensors")
        settings = {"quant_method": "gptq", "bits": kinds[0], "group_size": SIZE}
        (folder / "config.json").write_text(json.dumps({"model_type": "x", "quantization_config": settings}))
        return models.open_checkpoint(folder)

    return make


def test_the_control_has_the_levels_and_the_scales_of_the_matrix(noise):
    for matrix in noise((4,), 2).matrices:
        w, grid = matrix.read(), matrix.grid()
        np.testing.assert_allclose(controls.round_to(w, *grid), w, rtol=1e-5, atol=1e-7)
        control = controls.grid(jax.random.key(0), w, grid)
        np.testing.assert_array_equal(control, controls.grid(jax.random.key(0), w, grid))
        assert (control != w).mean() > 0.8
        for i in range(M):
            for j in range(0, N, SIZE):
                block = grid.blocks[i, j]
                assert (grid.blocks[i, j : j + SIZE] == block).all()
                drawn, zero = control[i, j : j + SIZE], -grid.offsets[block] / grid.steps[block]
                step = max(drawn.max() / (15 - zero), -drawn.min() / zero)  # the end that it reaches
                codes = drawn / step
                np.testing.assert_allclose(codes, np.round(codes), atol=1e-3)
        before, after = (np.bincount(grid.blocks.ravel(), np.square(x).ravel()) for x in (w, control))
        np.testing.assert_allclose(after, before, rtol=1e-5)


def test_the_tests_keep_their_level_on_quantised_noise(noise):
    """Random signs at level 0.05 and 2 x 60 matrices: 3 of each expected, 9 or more have probability 0.003."""
    run = engine.sweep(noise((2, 4), 60), SweepOptions(**CHOSEN, control="grid", level=0.05))
    for bits in (2, 4):
        table = run.matrices[run.matrices["quantised"] == f"gptq {bits} bits, groups of {SIZE}"]
        assert len(table) == 60
        for side in ("right", "left"):
            assert (table[f"num_{side}_outliers_beyond_signs"] > 0).sum() < 9, (bits, side)
            assert 0.35 < table[f"signs_p_{side}"].mean() < 0.65
        for column in ("sigma_entries", "entries_kurtosis", "stable_rank", "mp_ks"):
            one, other = table[column], table[f"control_grid_{column}"]
            assert abs(one.mean() - other.mean()) < 0.03 * abs(one.mean()) + 0.3 * one.std(), (bits, column)


def test_tables_plan_and_warnings_say_what_was_quantised(noise):
    checkpoint = noise((4,), 2, plain=1)
    run = engine.sweep(checkpoint, SweepOptions(**CHOSEN, control="grid,gaussian", num_flips=0))
    table = run.matrices.set_index("name")
    said = "gptq 4 bits, groups of 16"
    assert table["quantised"].value_counts().to_dict() == {said: 2, "": 1}
    assert sum("2 weights are stored quantised" in text for text in run.manifest["warnings"]) == 1
    assert f"float32 (of {said})" in describe_plan(make_plan(checkpoint, SweepOptions()))
    plain = table.loc["model.layers.0.self_attn.k_proj.weight"]
    assert plain["control_grid_sigma_entries"] == pytest.approx(plain["sigma_entries"], rel=0.05)


def test_a_control_that_would_be_none_is_refused(make_checkpoint, noise, tmp_path):
    with pytest.raises(RunError, match="none of the matrices to sweep is quantised"):
        engine.sweep(make_checkpoint(), SweepOptions(control="grid"))
    models.convert(noise((4,), 1), tmp_path / "converted")
    converted = models.open_checkpoint(tmp_path / "converted")
    with pytest.raises(RunError, match=r"the grid of 1 matrices is not known \(gptq 4 bits, groups of 16\)"):
        engine.sweep(converted, SweepOptions(control="grid"))
