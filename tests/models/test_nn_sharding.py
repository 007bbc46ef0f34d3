"""Data and tensor parallelism on two CPU devices, in a process of its own: scores, and a training."""

import os
import subprocess
import sys

SCRIPT = """
import jax
import numpy as np
import eigensweep.engine  # float64, and the compilation cache
from eigensweep.models import nn
from eigensweep.models.data import Rows

assert jax.device_count() == 2
rng = np.random.default_rng(0)
ids = rng.integers(0, 50, (4, 8)).astype(np.int32)
mask = np.arange(8) < np.array([[8], [5], [7], [3]])
targets = np.where(mask, np.roll(ids, -1, 1), -100).astype(np.int32)
llama = dict(model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=50, hidden_size=24,
             intermediate_size=40, num_hidden_layers=1, num_attention_heads=6, num_key_value_heads=2)
bert = dict(model_type="bert", architectures=["BertForMaskedLM"], vocab_size=51, hidden_size=24,
            intermediate_size=40, num_hidden_layers=1, num_attention_heads=3)
for config, cut, meshes in ((llama, 9, ((2, 1), (1, 2))), (bert, 10, ((1, 2),))):  # how rows are dealt is one for all
    model = nn.build(config)
    params = jax.tree.map(np.asarray, model.init(0))
    rows = Rows(ids, mask, np.zeros_like(ids), targets, np.arange(4, dtype=np.int32))
    expected = nn.score(model, params, rows, 4)
    for data, tensor in meshes:
        mesh = nn.make_mesh(data, tensor)
        where = nn.shardings(model.abstract(), mesh)
        placed = nn.place(params, where, keep=True)
        split = [leaf for _, leaf in nn.walk(placed) if not leaf.is_fully_replicated]
        assert len(split) == (cut if tensor == 2 else 0), (config["model_type"], len(split))
        for leaf in split:
            assert leaf.addressable_shards[0].data.size * 2 == leaf.size
        scores = nn.score(model, placed, rows, 2, mesh=mesh)
        np.testing.assert_allclose(scores.loss, expected.loss, rtol=1e-5)
try:
    nn.score(model, params, rows, 3, mesh=nn.make_mesh(2, 1))
except ValueError as error:
    assert "a multiple of the mesh's 2 devices" in str(error), error
else:
    raise AssertionError("3 rows were dealt out to 2 devices")

model = nn.build(dict(model_type="bert", vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                      intermediate_size=8, max_position_embeddings=8), heads=("pooler", "classifier"))
params = model.init(0)
ids = rng.integers(0, 20, (12, 4)).astype(np.int32)
rows = Rows(ids, np.ones(ids.shape, bool), 0 * ids, ids[:, 0] % 2, np.arange(12, dtype=np.int32))
options = nn.TrainOptions(epochs=1, batch_size=4, learning_rate=1e-3, dropout=False)
alone, _ = nn.train(model, params, rows, rows, options, 0)
mesh = nn.make_mesh(2)
placed = jax.device_put(params, nn.shardings(model.abstract(), mesh))
together, _ = nn.train(model, placed, rows, rows, options, 0, mesh=mesh)
for (path, one), (_, two) in zip(nn.walk(alone), nn.walk(together), strict=True):
    assert two.is_fully_replicated and len(two.sharding.device_set) == 2, path
    np.testing.assert_allclose(one, two, atol=2e-4, err_msg=path)
moved = np.abs(np.asarray(alone["pooler"]["kernel"]) - params["pooler"]["kernel"]).max()
assert moved > 1e-3, moved
print("done")
"""


def test_two_devices_give_what_one_gives():
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"  # nearly all is compilation
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "done"
