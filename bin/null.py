"""Draw the Monte Carlo null of the KS statistic: D of normalised Gaussian vectors of length n.

    eigensweep-null --n=4096 --num_draws=100000000 --out=null
    eigensweep-null --n=16,24,32 --num_draws=1000000 --out=null --table=table.npz

    eigensweep-null --goodness=goodness.npz

Writes OUT/null-<n>.npz for each n: a fine histogram of sqrt(n) D and the largest 4096 values, whatever num_draws is.
Uses all local devices; the numbers depend on n, num_draws and the seed alone. Interrupted and started again, it
continues; with a larger --num_draws it adds to what is there. --table fits the compact table that p-values for any n
are read from (the one that comes with eigensweep was made so; its recipe is in engine/spectral/null/table.py).
--goodness makes the table of the goodness of fit instead (engine/spectral/null/goodness.py).

    eigensweep-null --equalised=equalised.npz --sizes=8,16,32,64,128,256 \\
      --num_matrices=20000,20000,10000,4000,2500,800 --seed=11

simulates equalised Gaussian matrices instead and writes the table of their edges and of T
(engine/spectral/null/equalised.py): for each size of the shorter side, and several of the longer, so many matrices.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from eigensweep.bin.runner import UserError, console

if TYPE_CHECKING:
    from eigensweep.engine.spectral.null.histogram import NullHistogram

QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)

_N = flags.DEFINE_list("n", None, "length of the vectors; several, separated by commas, one after the other")
_NUM_DRAWS = flags.DEFINE_list("num_draws", ["1000000"], "draws; one number, or one for each n")
_SEED = flags.DEFINE_integer("seed", 0, "seed of the threefry key", lower_bound=0)
_OUT = flags.DEFINE_string("out", "null", "folder for null-<n>.npz")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "draws a dispatch; default: from n and the device", 1)
_TABLE = flags.DEFINE_string("table", None, "also fit a compact table to all n (at least 3) and write it here")
_GOODNESS = flags.DEFINE_string("goodness", None, "make the table of the Marchenko-Pastur fit and write it here")


_EQUALISED = flags.DEFINE_string("equalised", None, "write the table of the equalised reading here, and nothing else")
_SIZES = flags.DEFINE_list("sizes", ["8", "16", "32", "64", "128", "256"], "with --equalised: shorter sides")
_NUM_MATRICES = flags.DEFINE_list(
    "num_matrices",
    ["20000", "20000", "10000", "4000", "2500", "800"],
    "with --equalised: matrices a shape; one number, or one for each size",
)


def main() -> None:
    """Draw, save, print."""
    if _GOODNESS.value:
        from eigensweep.engine.spectral.null import goodness_table

        print(goodness_table.write_table(Path(_GOODNESS.value), _command(), _SEED.value))
    elif _EQUALISED.value:
        _make_equalised(Path(_EQUALISED.value))
    else:
        _draw_null()


def _make_equalised(path: Path) -> None:
    from eigensweep.engine.spectral.null import equalised_fit

    sizes, num = _numbers("sizes", _SIZES.value, "num_matrices", _NUM_MATRICES.value)
    if len(set(sizes)) < 2 or min(sizes) < 8 or max(sizes) < equalised_fit.SMOOTH or min(num) < 100:
        raise UserError(
            f"--sizes are two or more from 8 on, the last at least {equalised_fit.SMOOTH}; --num_matrices 100"
        )
    draws = {}
    for (a, b), count in equalised_fit.shapes(sizes, num).items():
        start = time.monotonic()
        draws[a, b] = equalised_fit.simulate(a, b, count, _SEED.value)
        print(f"{a:6d} x {b:<5d} {count:6d} matrices {time.monotonic() - start:7.1f} s", flush=True)
    command = " ".join(["eigensweep-null", *sys.argv[1:]])
    print("\n" + equalised_fit.write_table(draws, path, command, _SEED.value))


def _draw_null() -> None:
    from eigensweep.engine.studies.null import draw

    sizes, num_draws = _sizes()
    nulls = []
    quantiles = " ".join(f"t({q:g})".rjust(9) for q in QUANTILES)
    print(f"{'n':>7} {'draws':>11} {quantiles}    vectors/s   (t = sqrt(n) D)")
    for n, count in zip(sizes, num_draws, strict=True):
        null, rate = draw(n, count, _SEED.value, Path(_OUT.value) / f"null-{n}.npz", _BATCH_SIZE.value)
        print(_line(null, rate), flush=True)
        nulls.append(null)
    if _TABLE.value:
        from eigensweep.engine.spectral.null.fit import write_table

        print("\n" + write_table(nulls, Path(_TABLE.value), _command()))


def _command() -> str:
    return " ".join(["eigensweep-null", *sys.argv[1:]])


def _sizes() -> tuple[list[int], list[int]]:
    if not _N.value:
        raise UserError("no --n given: which length of vectors?")
    sizes, num_draws = _numbers("n", _N.value, "num_draws", _NUM_DRAWS.value)
    if min(sizes) < 2 or min(num_draws) < 1:
        raise UserError("--n is at least 2, --num_draws at least 1")
    if _TABLE.value and len(set(sizes)) < 3:
        raise UserError("--table needs at least 3 different --n")
    return sizes, num_draws


def _numbers(name: str, sizes: list[str], count_name: str, counts: list[str]) -> tuple[list[int], list[int]]:
    """Sizes, and as many counts, from two flags."""
    try:
        found, num = [int(n) for n in sizes], [int(float(k)) for k in counts]
    except ValueError as error:
        raise UserError(f"--{name} and --{count_name} are whole numbers: {error}") from error
    if len(num) == 1:
        num *= len(found)
    if len(num) != len(found):
        raise UserError(f"--{count_name} has {len(num)} numbers, --{name} has {len(found)}")
    return found, num


def _line(null: "NullHistogram", rate: float) -> str:
    from eigensweep.engine.spectral.null import histogram

    t = [histogram.quantile(q, null) * null.n**0.5 for q in QUANTILES]
    speed = f"{rate:12,.0f}" if rate else "  (was there)"
    return f"{null.n:7d} {null.num_draws:11d} " + " ".join(f"{x:9.4f}" for x in t) + f" {speed}"


run = console(main)

if __name__ == "__main__":
    run()
