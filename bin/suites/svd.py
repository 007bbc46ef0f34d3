"""Full SVDs of batches as a model has them, against torch.linalg.svd (float64, float32) and numpy.linalg.svd."""

from functools import partial

import numpy as np

from eigensweep.bin.suites.measure import Comparison, compare
from eigensweep.engine.spectral.svd import decompose

BATCHES = {384: 24, 768: 12, 1024: 8, 2048: 4, 4096: 2}  # n -> matrices: a small model's block, down to two large ones
LARGE = 4096  # timed once, without a warm-up, which the smaller sizes were
TARGETS = {"torch float64": 1.5, "torch float32": 1.0}


def run(sizes: list[int], repeats: int) -> list[Comparison]:
    """One comparison a size and peer; and the error of the smallest singular value beside float32's."""
    import torch

    result = []
    for n in sizes:
        w = _trained_like(n, BATCHES.get(n, 2))
        single, double = torch.from_numpy(w), torch.from_numpy(w).double()
        ours = partial(decompose, w)
        peers = {
            "torch float64": partial(torch.linalg.svd, double, full_matrices=False),
            "torch float32": partial(torch.linalg.svd, single, full_matrices=False),
            "numpy float64": partial(np.linalg.svd, w.astype(np.float64), full_matrices=False),
        }
        for peer, theirs in peers.items():
            target = TARGETS.get(peer) if not (peer == "torch float32" and n < 1024) else None
            case = Comparison("svd", f"{len(w)} x {n} x {n}", peer, target=target)
            result.append(compare(case, ours, theirs, 1 if n >= LARGE else repeats, n < LARGE))
            print(f"  {case.case} {peer}: {case.ratio:.2f}", flush=True)
        result.append(_accuracy(w))
    return result


def _trained_like(n: int, batch: int) -> np.ndarray:
    """float32 Gaussian matrices with a few large spikes."""
    rng = np.random.default_rng(n)
    w = rng.standard_normal((batch, n, n)) * 0.02
    spikes = rng.standard_normal((batch, n, 4)) @ rng.standard_normal((batch, 4, n))
    return (w + spikes * 0.02 / np.sqrt(n) * 4).astype(np.float32)


def _accuracy(w: np.ndarray) -> Comparison:
    """Relative error of the smallest singular value, against LAPACK's float64 SVD."""
    import torch

    exact = np.linalg.svd(w[0].astype(np.float64), compute_uv=False)
    ours = decompose(w[:1]).s[0]
    single = torch.linalg.svd(torch.from_numpy(w[0]), full_matrices=False)[1].double().numpy()
    tiny = np.finfo(np.float64).eps  # errors below eps count as eps
    errors = [max(float(abs(s[-1] - exact[-1]) / exact[-1]), tiny) for s in (ours, single)]
    case = f"error of s_min, {w.shape[1]} x {w.shape[1]}"
    return Comparison("svd", case, "torch float32", errors[:1], errors[1:], unit="relative error", target=100)
