"""How often the outlier tests fire on pure noise: right and left edge, sigma known and fitted, levels 0.05 and 0.01.

    eigensweep-calibrate --shapes=64x64,384x384,1536x384 --num_matrices=20000

A calibrated test of level alpha fires at rate alpha, within the binomial error that the last column gives at 0.01.
"""

import math

from absl import flags

from eigensweep.bin.runner import UserError, console

_SHAPES = flags.DEFINE_list("shapes", ["64x64", "172x64", "384x384", "1536x384"], "shapes of the matrices, m x n")
_NUM = flags.DEFINE_integer("num_matrices", 20000, "Gaussian matrices a shape", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "of the matrices")


def main() -> None:
    """Print one line a shape."""
    from eigensweep.engine.studies.calibration import firing_rates

    shapes = [_shape(text) for text in _SHAPES.value]
    print("| shape | matrices | 0.05 known | 0.05 fitted | 0.01 known | 0.01 fitted | sd at 0.01 |")
    print("|---" * 7 + "|")
    for m, n in shapes:
        rates = " | ".join(firing_rates(m, n, _NUM.value, _SEED.value))
        print(f"| {m} x {n} | {_NUM.value} | {rates} | {math.sqrt(0.0099 / _NUM.value):.4f} |", flush=True)


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
