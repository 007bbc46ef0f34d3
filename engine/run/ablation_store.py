"""The directory of a removal study: a part for everything measured, tables at the end, and reading them back."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eigensweep.engine.run.bootstrap import paired_interval
from eigensweep.engine.run.errors import RunError
from eigensweep.engine.run.schema import IDENTITY
from eigensweep.engine.run.store import PARTS, read_manifest, write_atomically

if TYPE_CHECKING:
    import pandas as pd

STUDY = "ablation"
BASELINE = ("", "baseline")
_LIST = pa.list_(pa.float64())

MEASURED = pa.schema(
    {
        "scope": pa.string(),
        "removal": pa.string(),
        "kind": pa.string(),
        "draw": pa.int64(),
        "matrices": pa.int64(),
        "values": pa.int64(),
        "removed": pa.int64(),
        "energy": pa.float64(),
        "loss": pa.float64(),
        "perplexity": pa.float64(),
        "accuracy": pa.float64(),
        "seconds": pa.float64(),
    }
)
ROWS = pa.schema(
    {"scope": pa.string(), "removal": pa.string()}
    | dict.fromkeys(("row_loss", "row_weight", "row_correct", "row_count"), _LIST)
)
CHANGES = ("change", "change_low", "change_high", "accuracy_change", "accuracy_low", "accuracy_high")
RESULTS = pa.unify_schemas([MEASURED, pa.schema(dict.fromkeys(CHANGES, pa.float64()))])
MATRICES = pa.schema(
    IDENTITY
    | {"sigma": pa.float64(), "nu_minus": pa.float64(), "nu_plus": pa.float64()}
    | {"num_right_outliers": pa.int64(), "num_left_outliers": pa.int64(), "status": pa.string()}
)
SPECTRA = pa.schema(
    {"name": pa.string()} | dict.fromkeys(("singular_values", "p_right_avg", "p_left_avg"), _LIST)
)
TABLES = {"ablation": RESULTS, "ablation_rows": ROWS, "matrices": MATRICES, "spectra": SPECTRA}


@dataclass(frozen=True)
class Ablation:
    """A finished removal study.

    Attributes:
      tables: Arrow tables "ablation", "ablation_rows", "matrices", "spectra".
      manifest: checkpoint, options, what was evaluated on what, versions, timings.
      directory: where it lies.
    """

    tables: dict[str, pa.Table]
    manifest: dict[str, Any]
    directory: Path

    @cached_property
    def results(self) -> "pd.DataFrame":
        """One row a scope and removal, the baseline first. Columns: engine.report.columns."""
        return self.tables["ablation"].to_pandas()

    @cached_property
    def rows(self) -> "pd.DataFrame":
        """The same removals with the losses, weights, hits and counts of every row of the data, as lists."""
        return self.tables["ablation_rows"].to_pandas()

    @cached_property
    def matrices(self) -> "pd.DataFrame":
        """One row a decomposed matrix: identity, sigma, edges, numbers of outliers."""
        return self.tables["matrices"].to_pandas()

    @cached_property
    def spectra(self) -> "pd.DataFrame":
        """One row a decomposed matrix: singular values and averaged p-values, by index."""
        return self.tables["spectra"].to_pandas()

    def contrast(self, scope: str, these: Sequence[str], those: Sequence[str]) -> tuple[float, float, float]:
        """Mean loss after the removals `these` less that after `those`, nats, with its paired bootstrap interval.

        Raises:
          KeyError: the study has no such removal.
        """
        table = {(r.scope, r.removal): r for r in self.rows.itertuples()}
        for removal in (*these, *those):
            if (scope, removal) not in table:
                raise KeyError(f"no removal {removal!r} of {scope!r} in {self.directory}")
        after, before = (
            np.mean([table[scope, name].row_loss for name in names], axis=0) for names in (these, those)
        )
        weight = np.asarray(table[scope, these[0]].row_weight)
        return paired_interval(after - before, weight, **bootstrap_options(self.manifest["options"]))


def bootstrap_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `paired_interval` in a study's options."""
    return {name: options[name] for name in ("seed", "num_resamples", "confidence")}


def open_ablation(directory: str | Path) -> Ablation:
    """Read what a removal study left.

    Raises:
      RunError: if `directory` holds no finished removal study.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    if manifest is None or manifest.get("study") != STUDY:
        raise RunError(f"{directory}: not the directory of a removal study")
    if manifest.get("status") != "done":
        raise RunError(f"{directory}: the study has not finished; start it again with the same workdir")
    try:
        tables = {name: pq.read_table(directory / f"{name}.parquet") for name in TABLES}
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{directory}: cannot read the tables: {error}") from error
    return Ablation(tables, manifest, directory)


class Parts:
    """What a running study has finished: one file a removal, one a decomposed matrix."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.folder = directory / PARTS
        self._schemas = {
            "removal": pa.unify_schemas([MEASURED, ROWS]),
            "matrix": pa.unify_schemas([MATRICES, SPECTRA]),
        }

    def prepare(self) -> None:
        """Remove what a killed process left half written."""
        if self.folder.is_dir():
            for leftover in self.folder.glob(".*"):
                leftover.unlink(missing_ok=True)

    def write(self, kind: str, name: Sequence[str], row: Mapping[str, Any]) -> None:
        """One row under its name, atomically; kind "removal" or "matrix"."""
        table = pa.Table.from_pylist([dict(row)], schema=self._schemas[kind])
        write_atomically(self._path(kind, name), partial(pq.write_table, table))

    def has(self, kind: str, name: Sequence[str]) -> bool:
        """Whether there is such a part."""
        return self._path(kind, name).exists()

    def read(self, kind: str, name: Sequence[str]) -> dict[str, Any]:
        """The row under a name.

        Raises:
          RunError: it cannot be read.
        """
        path = self._path(kind, name)
        try:
            return pq.read_table(path).to_pylist()[0]
        except (OSError, pa.ArrowException) as error:
            raise RunError(f"{path}: cannot be read: {error}") from error

    def merge(
        self, removals: Sequence[Sequence[str]], matrices: Sequence[str], options: Mapping[str, Any]
    ) -> None:
        """Write the four tables, rows in the given orders, changes with their intervals."""
        baseline = self.read("removal", BASELINE)
        measured = [baseline, *(self.read("removal", name) for name in removals)]
        factored = [self.read("matrix", (name,)) for name in matrices]
        results = [row | changes(row, baseline, options) for row in measured]
        for name, rows in {
            "ablation": results, "ablation_rows": measured, "matrices": factored, "spectra": factored,
        }.items():  # fmt: skip
            schema = TABLES[name]
            table = pa.Table.from_pylist([{key: row[key] for key in schema.names} for row in rows], schema)
            write_atomically(self.directory / f"{name}.parquet", partial(pq.write_table, table))

    def remove(self) -> None:
        """Delete the parts (after the tables are safely written)."""
        for part in self._all():
            part.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _all(self) -> Iterator[Path]:
        yield from sorted(self.folder.glob("*.parquet")) if self.folder.is_dir() else ()

    def _path(self, kind: str, name: Sequence[str]) -> Path:
        digest = hashlib.sha256("\0".join(name).encode()).hexdigest()[:20]
        return self.folder / f"{kind}-{digest}.parquet"


def changes(
    row: Mapping[str, Any], baseline: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, float]:
    """The columns CHANGES of a measurement against the baseline, from both their rows of data."""
    loss, before, correct, had = (
        np.asarray(r[key], np.float64) for key in ("row_loss", "row_correct") for r in (row, baseline)
    )
    weight, count = (np.asarray(baseline[key], np.float64) for key in ("row_weight", "row_count"))
    bootstrap = bootstrap_options(options)
    hits = (correct - had) / np.maximum(count, 1)
    numbers = (
        *paired_interval(loss - before, weight, **bootstrap),
        *paired_interval(hits, count, **bootstrap),
    )
    return dict(zip(CHANGES, numbers, strict=True))
