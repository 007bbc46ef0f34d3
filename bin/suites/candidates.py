"""What an accelerator might do otherwise than it does, each beside today's way on the same device and the same numbers.

Both ends of flipped matrices by Lanczos in place of whole eigenproblems; KS statistics by float32 keys, or without a
sort; bfloat16 widened on the device; controls drawn there; what a sweep waits for those that the host draws, and how
long the device is idle; two processes on one card. Every row is printed when it is measured: all together take minutes.
Nothing here is a default.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from eigensweep.bin.runner import UserError
from eigensweep.bin.suites import beside
from eigensweep.bin.suites.measure import Comparison, compare, seconds, tell
from eigensweep.bin.suites.ways import kolmogorov, lanczos
from eigensweep.engine import SweepOptions, sweep
from eigensweep.engine.run.profile import profiled
from eigensweep.engine.spectral import controls, ks, signs
from eigensweep.engine.studies.sweep import readings
from eigensweep.models import open_checkpoint
from eigensweep.models.synth import LLAMA_8B, write_synthetic

BLOCKS = 4
ONE_CONTROL: dict[str, Any] = {"control": "permutation", "equalise": False, "num_flips": 0}


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Every row at Llama-8B's shapes.

    Raises:
      UserError: JAX sees no accelerator.
    """
    del sizes
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch and other processes want their share
    if jax.default_backend() == "cpu":
        raise UserError("the suite candidates needs a GPU or TPU, and JAX sees only the CPU: nothing was measured")
    return measure(LLAMA_8B | {"num_hidden_layers": BLOCKS, "vocab_size": 256}, repeats)


def measure(config: dict[str, Any], repeats: int) -> list[Comparison]:
    """Every row on a model of these shapes, on whatever device JAX has."""
    return [tell(case) for case in _rows(config, repeats)]


def _rows(config: dict[str, Any], repeats: int) -> Iterator[Comparison]:
    n, long = config["hidden_size"], config["intermediate_size"]
    for shape in ((n, n), (long, n)):
        yield flips(*shape, repeats)
        yield from statistics(*shape, repeats)
    yield widening(long, n, repeats)
    yield from drawing(long, n, repeats)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        write_synthetic(model, config)
        yield waiting(str(model), repeats)
        yield from beside.rows(str(model), config["num_hidden_layers"], Path(folder))


def flips(a: int, n: int, repeats: int) -> Comparison:
    """Both ends of a matrix's flips: Lanczos of all at once, and `signs._device_evals` as it is."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((a, n)))
    packed = np.stack([controls.packed_bits(rng, a * n) for _ in range(signs.NUM_FLIPS)])
    ours = partial(lanczos.flip_ends, x, packed)
    theirs = partial(signs._device_evals, x, jnp.ones(n), None, 0, 0, packed, 1.0)
    case = Comparison("candidates", f"ends of {len(packed)} flips of {a} x {n}", "eigvalsh of each")
    compare(case, _done(ours), _done(theirs), repeats)
    found, whole = np.asarray(ours()), np.asarray(theirs())
    off = np.nanmax(np.abs(found / whole - 1), axis=0, initial=0.0)
    case.note = f"differ by {off[0]:.1e} at the top, {off[1]:.1e} at the bottom, of a value"
    case.note += f"; {int(np.isnan(found).sum())} of {found.size} did not converge"
    return case


def statistics(rows: int, n: int, repeats: int) -> Iterator[Comparison]:
    """KS statistics of Gaussian unit vectors in float64."""
    x = jax.random.normal(jax.random.key(0), (rows, n), jnp.float64)
    x = x / jnp.linalg.norm(x, axis=1, keepdims=True)
    exact = np.asarray(ks._on_device(x))
    for name, way in (("float32 keys", kolmogorov.by_float32_keys), ("no sort", kolmogorov.without_sort)):
        case = Comparison("candidates", f"KS of {rows} vectors of {n}, {name}", "float64 sort")
        compare(case, _done(way, x), _done(ks._on_device, x), repeats)
        case.note = f"D differs by {np.max(np.abs(np.asarray(way(x)) - exact)):.1e}"
        yield case


def widening(m: int, n: int, repeats: int) -> Comparison:
    """A bfloat16 matrix on its way to float64 on the device: as a sweep sends it, and widened before."""
    w = np.random.default_rng(0).standard_normal((m, n), np.float32).astype(ml_dtypes.bfloat16)
    widen = jax.jit(lambda x: x.astype(jnp.float64))
    case = Comparison("candidates", f"{m} x {n} bfloat16 to the device", "widened on the host")
    ours, theirs = _done(lambda: widen(jax.device_put(w))), _done(lambda: jax.device_put(w.astype(np.float64)))
    return compare(case, ours, theirs, repeats)


def drawing(m: int, n: int, repeats: int) -> Iterator[Comparison]:
    """A control drawn on the device, from other random numbers, and one that the host draws and sends."""
    key = jax.random.key(0)
    w = np.random.default_rng(0).standard_normal((m, n), np.float32).astype(ml_dtypes.bfloat16)
    on_device = jax.device_put(w)
    ways = {
        "permutation": lambda w: jax.random.permutation(key, w.ravel()).reshape(w.shape),
        "signs": lambda w: jnp.where(jax.random.bernoulli(key, shape=w.shape), w, -w),
        "gaussian": lambda w: jax.random.normal(key, w.shape, jnp.float32) * jnp.std(w.astype(jnp.float32)),
    }
    for kind, way in ways.items():
        draw = getattr(controls, kind)
        case = Comparison("candidates", f"{kind} of {m} x {n} on the device", "drawn on one core and sent")
        yield compare(case, _done(jax.jit(way), on_device), _done(_drawn_and_sent, draw, key, w), repeats)


def _drawn_and_sent(draw: Callable[..., np.ndarray], key: jax.Array, w: np.ndarray) -> jax.Array:
    return jax.device_put(draw(key, w))


def _done(work: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """A call that ends when the device has."""
    return lambda: jax.block_until_ready(work(*arguments))


def waiting(folder: str, repeats: int) -> Comparison:
    """A sweep with one control against the same with controls that are there at once (the matrices themselves)."""
    work = partial(_swept, folder)
    with mock.patch.object(readings, "_draw", _ready):
        work()  # compiles
    case = Comparison("candidates", "sweep with one control", "controls drawn beforehand")
    for _ in range(repeats):
        case.ours.append(seconds(work))
        with mock.patch.object(readings, "_draw", _ready):
            case.theirs.append(seconds(work))
    with tempfile.TemporaryDirectory() as trace, profiled(trace) as found:
        work()
    print(f"  profile of the sweep: {found[0]}", flush=True)
    case.note = f"drawing is {100 * (1 - case.ratio):.0f} % of it; the device is idle {100 * found[0].idle:.0f} %"
    return case


def _swept(folder: str) -> None:
    checkpoint = open_checkpoint(folder)
    blocks = tuple(sorted({m.block for m in checkpoint.matrices if m.block is not None}))
    sweep(checkpoint, SweepOptions(blocks=blocks, **ONE_CONTROL))


def _ready(kind: str, sources: Sequence[Any], ws: Sequence[np.ndarray], seed: int) -> list[Future[np.ndarray]]:
    del kind, sources, seed
    found: list[Future[np.ndarray]] = []
    for w in ws:
        found.append(Future())
        found[-1].set_result(w)
    return found
