"""The linear model of learning: simulated for several numbers of samples, beside the law of its singular values."""

import time
from pathlib import Path
from typing import ClassVar

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.studies.toy_linear.measure import rows_of
from eigensweep.engine.studies.toy_linear.options import ToyLinearOptions
from eigensweep.engine.studies.toy_linear.tables import LAYOUT
from eigensweep.engine.tables.check import check_lengths
from eigensweep.engine.tables.claim import claimed
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result, frame_of

_OF_AXES = ("covariance", "noise", "expected_noise")
_OF_VALUES = ("singular_values", "overlap", "overlap_partner", "p_overlap", "variance")


class ToyLinear(Result):
    """A finished study of the linear model."""

    layout: ClassVar[Layout] = LAYOUT
    options: ClassVar[type[ToyLinearOptions]] = ToyLinearOptions

    samples = frame_of("toy_linear", "One row a number of samples.")
    seeds = frame_of("toy_linear_seeds", "One row a simulation.")

    def check(self, directory: Path) -> None:
        """Lists have an entry an axis, a place or a singular value."""
        chosen, of = self.chosen, self.tables["toy_linear"]
        path = directory / "toy_linear.parquet"
        check_lengths(path, of, _OF_AXES, [chosen.inputs] * of.num_rows)
        places = [len(at) for at in of["law_at"].to_pylist()]
        check_lengths(path, of, ("law_density", "law_cdf", "inverse_density"), places)
        seeds = self.tables["toy_linear_seeds"]
        values = [min(chosen.inputs, chosen.outputs)] * seeds.num_rows
        check_lengths(directory / "toy_linear_seeds.parquet", seeds, _OF_VALUES, values)

    @property
    def chosen(self) -> ToyLinearOptions:
        """Its options."""
        return ToyLinearOptions.of(self.manifest["options"])


open_toy_linear = ToyLinear.read


def run_toy_linear(options: ToyLinearOptions, workdir: str | Path, on_progress: OnProgress = silent) -> ToyLinear:
    """Simulate the linear model for every number of samples; what is unfinished in `workdir` is continued.

    Raises:
      RunError: `workdir` holds something else, is in use, or cannot be written.
    """
    with claimed(workdir, LAYOUT, {"options": options.to_json()}) as work:
        units = [str(samples) for samples in options.samples]
        todo = work.todo(units)
        for left, unit in zip(range(len(todo), 0, -1), todo, strict=True):
            done, start = len(units) - left, time.perf_counter()
            on_progress(Progress(done, len(units), done, len(units), f"N = {unit}", "simulating"))
            work.write({unit: rows_of(options, int(unit))}, {"total": time.perf_counter() - start})
        if not work.done:
            work.finish(units)
    return open_toy_linear(workdir)
