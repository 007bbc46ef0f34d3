"""How often the outlier tests fire on pure noise: right and left edge, sigma known and fitted, levels 0.05 and 0.01.

    eigensweep-calibrate --shapes=64x64,384x384,1536x384 --num_matrices=20000
    eigensweep-calibrate --noise=t5,both:0.25 --reading=raw,equalised --shapes=192x96 --num_matrices=4000

A calibrated test of level alpha fires at rate alpha, within the binomial error that the last column gives at 0.01.
With --noise the entries need not be Gaussian, the level is --level, and every reading of the same matrices gets a line:
the share with a right and with a left outlier, each with its 95 % interval. With --spike it is the power of the tests.
"""

import math

from absl import flags

from eigensweep.bin.runner import UserError, console

_SHAPES = flags.DEFINE_list("shapes", ["64x64", "172x64", "384x384", "1536x384"], "shapes of the matrices, m x n")
_NUM = flags.DEFINE_integer("num_matrices", 20000, "matrices a shape (and noise)", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "of the matrices", lower_bound=0)
_NOISE = flags.DEFINE_list("noise", None, "kinds of noise, as gaussian, laplace, t5, sparse, both:0.25, t5+rows:0.1")
_READING = flags.DEFINE_list("reading", None, "readings, with --noise; default: all")
_SPIKE = flags.DEFINE_float("spike", 0.0, "with --noise: plant one direction of so many times the edge: power", 0.0)
_LEVEL = flags.DEFINE_float("level", 0.01, "of the tests, with --noise", lower_bound=1e-6, upper_bound=0.5)


def main() -> None:
    """Print one line a shape, or one a noise, shape and reading."""
    shapes = [_shape(text) for text in _SHAPES.value]
    if _NOISE.value:
        _print_readings(_NOISE.value, shapes)
    elif _READING.value:
        raise UserError("--reading goes with --noise; without it Gaussian matrices are drawn as singular values alone")
    else:
        _print_gaussian(shapes)


def _print_gaussian(shapes: list[tuple[int, int]]) -> None:
    from eigensweep.engine.studies.calibration import firing_rates

    print("| shape | matrices | 0.05 known | 0.05 fitted | 0.01 known | 0.01 fitted | sd at 0.01 |")
    print("|---" * 7 + "|")
    for m, n in shapes:
        rates = " | ".join(firing_rates(m, n, _NUM.value, _SEED.value))
        print(f"| {m} x {n} | {_NUM.value} | {rates} | {math.sqrt(0.0099 / _NUM.value):.4f} |", flush=True)


def _print_readings(kinds: list[str], shapes: list[tuple[int, int]]) -> None:
    from eigensweep.engine.studies.calibration import READINGS, fired, interval

    readings = _READING.value or list(READINGS)
    unknown = [name for name in readings if name not in READINGS]
    if unknown:
        raise UserError(f"--reading: {unknown[0]!r} is none of {', '.join(READINGS)}")
    print(f"| noise | shape | reading | matrices | right at {_LEVEL.value:g} | left at {_LEVEL.value:g} |")
    print("|---" * 6 + "|")
    for kind in kinds:
        for m, n in shapes:
            try:
                found = fired(kind, m, n, _NUM.value, _SEED.value, _LEVEL.value, readings, _SPIKE.value)
            except ValueError as error:
                raise UserError(f"--noise: {error}") from error
            for name, (num, *counts) in found.items():
                cells = [f"{k / num:.4f} ({low:.4f} to {high:.4f})" for k in counts for low, high in [interval(k, num)]]
                print(f"| {kind} | {m} x {n} | {name} | {num} | {' | '.join(cells)} |", flush=True)


def _shape(text: str) -> tuple[int, int]:
    from eigensweep.engine.spectral.edges import FEWEST

    m, _, n = text.partition("x")
    if not (m.isdigit() and n.isdigit() and int(m) and int(n)):
        raise UserError(f"--shapes: {text!r} is no shape such as 384x384")
    if min(int(m), int(n)) < FEWEST:
        raise UserError(f"--shapes: {text!r}: there is no edge test below {FEWEST} singular values")
    return int(m), int(n)


run = console(main)

if __name__ == "__main__":
    run()
