"""Options of the linear model of learning."""

from dataclasses import dataclass

import numpy as np

from eigensweep.engine.run.options import option
from eigensweep.engine.spectral.covariances import KINDS, eigenvalues
from eigensweep.engine.studies.toy import ToyOptions

LEAST_SCALE = 1e-3  # of noise and signal, 1/this the most: their squares stay far from the ends of floating point
MOST_WORK = 10**14  # multiplications of one number of samples, hours of a CPU core: more is a slip


@dataclass(frozen=True)
class ToyLinearOptions(ToyOptions):
    """Options of ridgeless least squares, y = W* x + noise, W_hat fitted to N samples."""

    inputs: int = option(64, "d, the dimension of x and the number of columns of W", least=8, most=4096)
    outputs: int = option(192, "m, the dimension of y and the number of rows of W", least=8, most=16384)
    samples: tuple[int, ...] = option((96, 128, 256, 512, 1024), "numbers of samples N, each at least d + 2")
    covariance: str = option("power:0.7", f"eigenvalues of the covariance of x: {KINDS}")
    noise: float = option(1.0, "standard deviation of the noise in y", least=LEAST_SCALE, most=1 / LEAST_SCALE)
    signal: float = option(
        0.0,
        "standard deviation of the entries of W* in the directions that it reads; 0: W* = 0",
        least=0,
        most=1 / LEAST_SCALE,
    )
    rank: int = option(0, "how many random directions W* reads; 0: all", least=0)
    num_seeds: int = option(20, "simulations for each number of samples", least=2, most=10_000)
    num_null: int = option(
        499, "simulations with isotropic data, which set the edge that lower outliers lie below", least=19, most=100_000
    )
    level: float = option(0.01, "chance of a lower outlier in a simulation with isotropic data", inside=(0, 0.5))
    batch_size: int = option(0, "simulations at a time; 0: as many as memory allows", least=0, counts=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "samples", tuple(sorted(set(self.samples))))
        if not self.samples:
            raise ValueError("samples is empty; expected numbers of samples such as 144,192,384")
        if self.samples[0] < self.inputs + 2:
            raise ValueError(
                f"samples has N = {self.samples[0]}; with d = {self.inputs} inputs the noise of least squares has a "
                f"variance only from N = d + 2 = {self.inputs + 2} on"
            )
        if self.rank > self.inputs:
            raise ValueError(f"rank is {self.rank}; W* has {self.inputs} columns")
        if self.rank and not self.signal:
            raise ValueError(f"rank is {self.rank}, but signal is 0: W* = 0 reads no direction")
        if (self.num_null + 1) * self.level < 1:
            least = int(np.ceil(1 / self.level)) - 1
            raise ValueError(f"num_null is {self.num_null}; a level of {self.level:g} takes at least {least}")
        work = (self.num_null + self.num_seeds) * self.inputs * (self.inputs + self.outputs) * self.samples[-1]
        if work > MOST_WORK:
            raise ValueError(
                f"samples has N = {self.samples[-1]}: with {self.num_null + self.num_seeds} simulations that is "
                f"{work:.0e} multiplications, more than {MOST_WORK:.0e}"
            )
        eigenvalues(self.covariance, self.inputs)  # says what is wrong with it
