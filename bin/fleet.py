"""Sweep many checkpoints, each into its own run directory under one workdir, and see what goes with a score.

    eigensweep-fleet --checkpoints='models/*' --workdir=runs/fleet
    eigensweep-fleet --checkpoints=hub-ids.txt --workdir=runs/fleet [--config.KEY=VALUE ...]
    eigensweep-fleet --workdir=runs/fleet --scatter=alpha,stable_rank --scores=scores.csv

A model that fails is reported and does not stop the others; what failed is tried again at the next start, what is
finished is not. Several processes may be started with the same list and workdir: a directory in which another one
works is passed over, and what is missing at the end is taken. Writes DIR/fleet.parquet and fleet.json (a row a model:
done or failed, and why); the tables of all runs are one frame by `eigensweep.open_runs("DIR/*")`.

--scatter draws any column of matrices.parquet over the models' parameters and over every column of a CSV file (its
first column names the model; the others are scores, sizes, dates), with rank correlations: DIR/scatter.parquet,
correlations.parquet, figures/scatter_<column>.png and .pdf.
"""

import time
from pathlib import Path
from typing import Any

from absl import flags

from eigensweep.bin import runner
from eigensweep.bin.runner import UserError
from eigensweep.engine.studies.fleet.options import FleetOptions

_BASE = flags.DEFINE_string("base", None, "of adapters: the model that all of them were trained on")
_SCATTER = flags.DEFINE_list("scatter", [], "columns of matrices.parquet to draw over the models' scores")
_SCORES = flags.DEFINE_string(
    "scores", None, "CSV file: the first column names the model, the others are numbers or dates"
)
_AVERAGE = flags.DEFINE_enum("average", "median", ["median", "mean"], "over the matrices of a model, for --scatter")
_MOST_SAID = 10


def main() -> None:
    """Flags -> members -> sweeps, status, scatter."""
    from eigensweep.engine.studies.fleet import sweeps

    source, options, place = runner.settings(FleetOptions, "checkpoints", needed=not _SCATTER.value)
    if not place:
        raise UserError("no --workdir given: where should the run directories go?")
    if _SCORES.value and not _SCATTER.value:
        raise UserError("--scores needs --scatter: which column should be drawn over the scores?")
    workdir = Path(place)
    rows = _swept(source, options, workdir) if source else list(map(sweeps.status_of, sweeps.members_in(workdir)))
    if _SCATTER.value:
        _scatter(workdir, rows)
    if source and (failed := [row for row in rows if row["status"] != "done"]):
        raise UserError(f"{len(failed)} of {len(rows)} models have no finished sweep, see {workdir / 'fleet.json'}")


def _swept(source: str, options: FleetOptions, workdir: Path) -> list[dict[str, Any]]:
    from eigensweep import models
    from eigensweep.engine.studies.fleet import sources, sweeps
    from eigensweep.progress import reporter

    names = sources.names_of(sources.sources_of(source))
    members = [sweeps.Member(name, workdir / directory) for name, directory in names.items()]
    base = models.open_checkpoint(_BASE.value) if _BASE.value else None
    start = time.monotonic()

    with reporter() as on_progress:
        rows = sweeps.sweep_all(members, options, base=base, on_progress=on_progress)
    sweeps.write_status(rows, workdir)
    done, failed = ([row for row in rows if row["status"] == status] for status in ("done", "failed"))
    for row in failed[:_MOST_SAID]:
        print(f"failed: {row['checkpoint']}: {row['reason'].removeprefix(row['checkpoint'] + ': ')}")
    if len(failed) > _MOST_SAID:
        print(f"... and {len(failed) - _MOST_SAID} more failed")
    matrices = sum(row["matrices"] for row in done)
    print(f"{len(done)} of {len(rows)} models swept, {matrices} matrices; {time.monotonic() - start:.1f} s")
    print(f"tables: {workdir}/fleet.parquet; all matrices: eigensweep.open_runs('{workdir}/*')")
    return rows


def _scatter(workdir: Path, rows: list[dict[str, Any]]) -> None:
    from eigensweep.engine.studies.fleet import scatter

    done = {row["checkpoint"]: workdir / row["run"] for row in rows if row["status"] == "done"}
    found = scatter.scatter(done, _SCATTER.value, _SCORES.value, _AVERAGE.value)
    for note in found.notes:
        print(f"note: {note}")
    print(scatter.render(scatter.write_scatter(found, workdir)))
    print(f"figures: {workdir}/figures/scatter_*.png")


run = runner.console(main, FleetOptions, "checkpoints", report=False)

if __name__ == "__main__":
    run()
