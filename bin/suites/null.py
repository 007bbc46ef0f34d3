"""The Monte Carlo null on one core against the fastest NumPy ways, and on an accelerator against a sort-based torch."""

import json
import os

from eigensweep.bin.suites.measure import Comparison, last_line

SIZES = {384: 4000, 1024: 2000, 4096: 1000}  # n -> vectors a repeat
GPU_FACTOR = 5000  # more of them on an accelerator
TARGET_CPU, TARGET_GPU = 1.0, 20.0

_CODE = """
import json, sys, time
n, draws, repeats = map(int, sys.argv[1:])
import jax, numpy as np
from scipy.special import ndtr, ndtri
from eigensweep import engine
from eigensweep.engine.spectral.null import sampling

rng = np.random.default_rng(0)
middle = ((np.arange(n) + 0.5) / n).astype(np.float32)
ROWS = max(1, 2**17 // n)  # vectors at a time: what fits a cache, as ours


def d_of(z):
    z /= np.sqrt(np.einsum("ij,ij->i", z, z) / n)[:, None]
    ndtr(z, out=z)
    z -= middle
    return np.abs(z, out=z).max(1) + 0.5 / n


def sorting(rows):
    z = rng.standard_normal((rows, n), dtype=np.float32)
    z.sort(axis=1)
    return d_of(z)


def spacings(rows):
    e = rng.standard_exponential((rows, n + 1), dtype=np.float32)
    np.cumsum(e, axis=1, out=e)
    return d_of(ndtri(e[:, :-1] / e[:, -1:]))


def blocks(sample):
    return np.concatenate([sample(min(ROWS, draws - i)) for i in range(0, draws, ROWS)])


ways = {
    "ours": lambda: sampling.sample_null(jax.random.key(0), n, draws),
    "NumPy with sort": lambda: blocks(sorting),
    "NumPy without sort": lambda: blocks(spacings),
}
if jax.default_backend() == "gpu":
    import torch

    ways = {"ours": ways["ours"]}  # NumPy would take minutes a repeat

    def torch_sorting():
        parts = []
        for i in range(0, draws, 2**27 // n):
            z = torch.randn(min(2**27 // n, draws - i), n, device="cuda").sort(dim=1).values
            z /= z.norm(dim=1, keepdim=True) / n**0.5
            z = torch.special.ndtr(z) - torch.from_numpy(middle).cuda()
            parts.append(z.abs().amax(1))
        return torch.cat(parts).cpu()

    ways["torch with sort"] = torch_sorting
times = {name: [] for name in ways}
for repeat in range(repeats + 1):
    for name, way in ways.items():
        start = time.perf_counter()
        way()
        times[name] += [time.perf_counter() - start] if repeat else []
print(json.dumps({"times": times, "backend": jax.default_backend()}))
"""


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """Time a vector at every n; on CPU everything is bound to one core."""
    del sizes
    result = []
    for n, draws in SIZES.items():
        found, where = _measure(n, draws, repeats), "one core"
        if on_gpu := found["backend"] != "cpu":
            draws, where = draws * GPU_FACTOR, "GPU"
            found = _measure(n, draws, repeats)
        times = found["times"]
        ours = times.pop("ours")
        for peer, theirs in times.items():
            target = TARGET_GPU if peer == "torch with sort" else None if on_gpu else TARGET_CPU
            case = f"{draws} vectors, n = {n}, {where}"
            result.append(Comparison("null", case, peer, ours, theirs, target=target))
    return result


def _measure(n: int, draws: int, repeats: int) -> dict:
    core = min(os.sched_getaffinity(0))

    def bind() -> None:
        os.sched_setaffinity(0, {core})

    return json.loads(last_line(_CODE, str(n), str(draws), str(repeats), preexec_fn=bind))
