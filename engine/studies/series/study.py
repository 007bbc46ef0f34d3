"""A series: the checkpoints of one training, each swept, and all their tables as one over the steps."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from eigensweep.engine.report.spectrum import scalar
from eigensweep.engine.run.progress import OnProgress, silent
from eigensweep.engine.studies.compare.stack import KEYS, key_of
from eigensweep.engine.studies.fleet.options import SeriesOptions
from eigensweep.engine.studies.fleet.sweeps import Member, sweep_all
from eigensweep.engine.studies.series.steps import steps_of
from eigensweep.engine.studies.sweep.study import Run, open_run
from eigensweep.engine.tables.check import SUMS, file_sum
from eigensweep.engine.tables.claim import new_manifest
from eigensweep.engine.tables.columns import COUNT, FLOAT, TEXT, TRUTH, Column, to_table
from eigensweep.engine.tables.errors import RunError
from eigensweep.engine.tables.files import table_bytes, write_bytes, write_json
from eigensweep.engine.tables.layout import Layout
from eigensweep.engine.tables.result import Result, frame_of
from eigensweep.models import Checkpoint

MOST = 12  # values a matrix and side that are followed
VALUES: dict[str, Column] = {
    "run": KEYS["run"],
    "step": Column(COUNT, "", "training step"),
    "name": Column(TEXT, "", "the matrix's, as in series.parquet"),
    "role": Column(TEXT, "", "what the matrix does"),
    "block": Column(COUNT, "", "transformer block, from 0; null outside the blocks"),
    "side": Column(TEXT, "", "`right`: the largest singular values, `left`: the smallest"),
    "rank": Column(COUNT, "", "1 for the outermost of that side; ranks are places, a value may change its place"),
    "value": Column(FLOAT, "[w]", "the singular value"),
    "edge": Column(FLOAT, "[w]", "nu_plus of that step, nu_minus on the left; NaN where the edge was not tested"),
    "outside": Column(TRUTH, "", "it is one of the step's outliers of that side; null where there is no test"),
}
_OF_MATRIX = Run.layout.tables["matrices"]
LAYOUT = Layout(
    "series",
    {"series": {**KEYS, "step": VALUES["step"], **_OF_MATRIX}, "series_values": VALUES},
    manifest="series.json",
    keys={"series": ("step", "name")},  # of series_values there may be no row
    needed={"series": ("run", "role", "m", "n", "status"), "series_values": ("step", "name", "side", "rank")},
    also={"series": Run.layout.also["matrices"]},
)


class Series(Result):
    """A finished series."""

    layout: ClassVar[Layout] = LAYOUT
    options: ClassVar[type[SeriesOptions]] = SeriesOptions

    matrices = frame_of("series", "One row a matrix and step; the keys run, checkpoint, revision, step in front.")
    values = frame_of("series_values", "Singular values that are outliers at some step: a row a value and step.")


open_series = Series.read


@dataclass(frozen=True)
class _Counted:
    """What of a run is needed to choose the values that are followed, and those values."""

    step: int
    run: str
    rows: Sequence[Mapping[str, Any]]
    ends: Mapping[str, tuple[np.ndarray, np.ndarray]]  # name -> the largest and the smallest values, outermost first


def run_series(
    sources: Sequence[str],
    options: SeriesOptions,
    workdir: str | Path,
    *,
    steps: Sequence[int] = (),
    base: Checkpoint | None = None,
    on_progress: OnProgress = silent,
) -> Series:
    """Sweep the checkpoints of a series, the first step first, and write its tables.

    Every checkpoint is a run of its own in `workdir`/step-<number>: a series that was interrupted, or that has got
    further steps, sweeps what is missing. Of a checkpoint that cannot be swept the series tells, and goes on.

    Args:
      sources: paths and hub ids; revisions of one repository share what the hub's cache has.
      steps: where names do not tell them, one a source.
      base: of adapters, the model that they were trained on.

    Raises:
      RunError: steps cannot be read from names, or no checkpoint could be swept.
    """
    workdir = Path(workdir)
    known = sorted(zip(steps_of(sources, steps), sources, strict=True))
    members = {step: Member(source, workdir / f"step-{step:08d}") for step, source in known}
    rows = sweep_all(members.values(), options, base=base, on_progress=on_progress)
    failed = [row for row in rows if row["status"] != "done"]
    done = {step: member for (step, member), row in zip(members.items(), rows, strict=True) if row["status"] == "done"}
    if not done:
        raise RunError(f"none of the {len(rows)} checkpoints could be swept: {failed[0]['reason']}")
    return _write(workdir, options, done, [f"{row['checkpoint']}: left out: {row['reason']}" for row in failed])


def failed_in(found: Series) -> list[str]:
    """What a series says of checkpoints that it has not."""
    return [str(text) for text in found.manifest.get("warnings", ()) if ": left out: " in str(text)]


def _write(workdir: Path, options: SeriesOptions, done: Mapping[int, Member], warnings: list[str]) -> Series:
    tables, counted, identities = [], [], []
    for step, member in done.items():
        run = open_run(member.directory)
        keys = key_of(run) | {"run": member.directory.name, "step": step}
        matrices = run.tables["matrices"]
        front = to_table(KEYS, [keys] * matrices.num_rows)
        tables.append(pa.table([*front.columns, *matrices.columns], names=[*KEYS, *matrices.column_names]))
        counted.append(_counted(step, run))
        identities.append(run.manifest.get("checkpoint", {}))
    written = {
        "series": pa.concat_tables(tables, promote_options="default"),
        "series_values": to_table(VALUES, followed(counted)),
    }
    checkpoint = {
        "source": f"{_common([str(identity.get('source')) for identity in identities])}, {len(done)} steps",
        "kind": "series",
        "architecture": str(identities[0].get("architecture")),
    }
    sums = {}
    for name, table in written.items():
        data = table_bytes(table)
        write_bytes(workdir / f"{name}.parquet", data)
        sums[f"{name}.parquet"] = file_sum(data)
    identity = {"checkpoint": checkpoint, "options": options.to_json(), "steps": list(done)}
    manifest = new_manifest(LAYOUT, identity, {"warnings": warnings}) | {SUMS: sums, "status": "done"}
    write_json(workdir / LAYOUT.manifest, manifest)
    return open_series(workdir)


def _counted(step: int, run: Run) -> _Counted:
    """The rows of a run and both ends of its spectra; the spectra themselves are let go of."""
    ends = {}
    for row in run.spectra[["name", "singular_values"]].to_dict("records"):
        s = row["singular_values"]
        if s is not None and np.ndim(s) == 1 and len(s):
            ends[str(row["name"])] = (np.array(s[:MOST]), np.array(s[::-1][:MOST]))
    assert run.directory is not None
    return _Counted(step, run.directory.name, run.matrices.to_dict("records"), ends)


def followed(runs: Iterable[_Counted]) -> list[dict[str, Any]]:
    """The rows of VALUES: of every matrix as many values a side as there are outliers at some step, at most MOST.

    Where there is no test of the edges because the rank is too low for a bulk (an adapter's update), those within the
    rank are followed on the right.
    """
    runs = list(runs)
    most: dict[tuple[str, str], int] = {}
    for run in runs:
        for row in run.rows:
            for side in ("right", "left"):
                count = scalar(row, f"num_{side}_outliers")
                if np.isnan(count):
                    count = np.nan_to_num(scalar(row, "hard_rank")) if side == "right" and _low_rank(row) else 0.0
                key = str(row["name"]), side
                most[key] = max(most.get(key, 0), min(MOST, int(count)))
    return [
        values
        for run in runs
        for row in run.rows
        for place, (side, edge) in enumerate((("right", "nu_plus"), ("left", "nu_minus")))
        for values in _values(run, row, place, side, scalar(row, edge), most[str(row["name"]), side])
    ]


def _values(
    run: _Counted, row: Mapping[str, Any], place: int, side: str, edge: float, most: int
) -> list[dict[str, Any]]:
    name, count = str(row["name"]), scalar(row, f"num_{side}_outliers")
    ends = run.ends.get(name, (np.empty(0), np.empty(0)))[place][:most]
    block = scalar(row, "block")
    edge = np.nan if np.isnan(count) else edge  # that of rounding, where the rank is too low for a bulk
    about = {
        "run": run.run, "step": run.step, "name": name, "role": row["role"], "side": side, "edge": edge,
        "block": None if np.isnan(block) else int(block),
    }  # fmt: skip
    return [
        about | {"rank": rank, "value": float(value), "outside": None if np.isnan(count) else rank <= count}
        for rank, value in enumerate(ends, 1)
    ]


def _low_rank(row: Mapping[str, Any]) -> bool:
    return 2 * scalar(row, "hard_rank") < min(row["m"], row["n"])


def _common(names: Sequence[str]) -> str:
    """The repository or folder that the checkpoints of a series have in common; of a single one its name."""
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    end = max(first.rfind("@", 0, same), first.rfind("/", 0, same))
    return first[:end] if end > 0 and first != last else first
