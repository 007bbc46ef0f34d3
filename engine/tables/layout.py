"""What a study leaves in a run directory: its manifest and its tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eigensweep.engine.tables.columns import Columns
from eigensweep.engine.tables.files import read_json

MAIN = "manifest.json"


@dataclass(frozen=True)
class Layout:
    """The files of one study in a run directory.

    Attributes:
      study: its name.
      tables: columns of every table, by the stem of its Parquet file.
      manifest: the file that says what the numbers depend on, and whether they are all there.
      joins: studies that may share the directory; with any other it is refused.
      keys: columns which together tell a row of a table from every other, by table.
      needed: columns that every version wrote and that are never null, by table; the keys are.
      record: keys that every version's manifest has when the study is done.
      also: columns that a table may have besides, by table.
      empty: tables that may have no rows.
      unfinished: folders of what it has begun; they go with parts that turn out to be another run's.
    """

    study: str
    tables: Mapping[str, Columns]
    manifest: str = MAIN
    joins: tuple[str, ...] = ()
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    record: tuple[str, ...] = ()
    also: Mapping[str, Columns] = field(default_factory=dict)
    unfinished: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()

    def parts(self, directory: Path) -> Path:
        """The folder of what is finished while the study runs."""
        return directory / f"{self.study}_parts"

    def read_manifest(self, directory: Path) -> dict[str, Any] | None:
        """This study's manifest; None where the directory holds none of its own."""
        manifest = read_json(directory / self.manifest)
        return manifest if manifest is not None and _study_of(self.manifest, manifest) == self.study else None

    def is_finished(self, directory: str | Path) -> bool:
        """Whether the directory holds this study, done."""
        return (self.read_manifest(Path(directory)) or {}).get("status") == "done"


def studies_in(directory: Path) -> dict[str, dict[str, Any]]:
    """The manifests of a run directory by study, the main one first."""
    found = {}
    for path in sorted(directory.glob("*.json"), key=lambda path: (path.name != MAIN, path.name)):
        content = read_json(path)
        if content is not None and "status" in content:
            found[_study_of(path.name, content)] = content
    return found


def _study_of(file: str, manifest: Mapping[str, Any]) -> str:
    # manifests of version 0.1 name their study by their file alone
    return str(manifest.get("study", "sweep" if file == MAIN else Path(file).stem))
