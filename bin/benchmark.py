"""Measure eigensweep against its peers, side by side in one run.

    eigensweep-benchmark --suites=svd,extremes,null,sweep,memory,scaling,fleet --out=benchmark
    eigensweep-benchmark --suites=accelerator                  # the targets on one GPU or TPU, met or not
    eigensweep-benchmark --suites=eigenproblem --sizes=1024,4096   # ways to singular vectors on this device
    eigensweep-benchmark --suites=candidates                   # what a device might do otherwise, beside what it does
    eigensweep-benchmark --suites=cost                         # is a dry run's estimate of Llama-8B right?

Prints a table of ratios (median of --repeats, with spread), writes OUT/benchmark.json and OUT/benchmark.png. The
peers (torch, weightwatcher, from Python 3.12 on diffract-core) come with `pip install '.[bench]'`; of the suite sweep,
a peer that is not installed is left out, by name.
"""

import importlib
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from absl import flags

from eigensweep.bin.runner import UserError, console

SUITES = ("svd", "extremes", "null", "sweep", "memory", "scaling", "fleet")
APART = ("cost", "eigenproblem", "accelerator", "candidates")  # run when they are named: long, or in want of a device
PACKAGES = ("eigensweep", "jax", "jaxlib", "numpy", "scipy", "torch", "weightwatcher", "diffract-core")

_SUITES = flags.DEFINE_list("suites", list(SUITES), f"which of {', '.join((*SUITES, *APART))}")
_REPEATS = flags.DEFINE_integer("repeats", 3, "timed repeats a case, after one warm-up", lower_bound=1)
_SIZES = flags.DEFINE_list("sizes", ["384", "768", "1024", "2048"], "n of the suites svd, extremes and scaling")
_OUT = flags.DEFINE_string("out", "benchmark", "folder for benchmark.json and benchmark.png")


def main() -> None:
    """Run the suites, print, write."""
    unknown = set(_SUITES.value) - {*SUITES, *APART}
    if unknown:
        raise UserError(f"--suites: {', '.join(sorted(unknown))} is none of {', '.join((*SUITES, *APART))}")
    from eigensweep import engine  # turns float64 on
    from eigensweep.bin.suites import table

    del engine
    comparisons: list[Any] = []
    fits: dict[str, Any] = {}
    for name in _SUITES.value:
        print(f"suite {name}", flush=True)
        suite = importlib.import_module(f"eigensweep.bin.suites.{name}")
        found = suite.run(sizes=[int(n) for n in _SIZES.value], repeats=_REPEATS.value)
        comparisons += found
        fits |= suite.fits(found) if hasattr(suite, "fits") else {}
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    record = {
        "machine": machine(),
        "comparisons": [c.to_json() for c in comparisons],
        "fits": {what: fit._asdict() for what, fit in fits.items()},
    }
    (out / "benchmark.json").write_text(json.dumps(record, indent=1))
    table.figure(comparisons, out / "benchmark.png")
    print(table.text(comparisons))
    for what, growth in fits.items():
        print(f"{what}: {growth}")
    print(f"\nwritten: {out}/benchmark.json, {out}/benchmark.png")


def machine() -> dict[str, Any]:
    """What the figures were measured on: processor, cores, devices, versions."""
    import jax

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "devices": [d.device_kind for d in jax.devices()],
        "versions": versions,
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


run = console(main)

if __name__ == "__main__":
    run()
