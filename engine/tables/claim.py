"""Who may work in a run directory: one process (or one group of processes) a time, one study's identity for ever.

A directory belongs to the study that its manifest names, with everything that the numbers depend on. The same study
with the same identity is continued, or read back when it is done; anything else is refused before a number is computed.
"""

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import jax

from eigensweep.engine.tables import hosts
from eigensweep.engine.tables.check import check_manifest
from eigensweep.engine.tables.errors import InUse, RunError
from eigensweep.engine.tables.files import remove_unfinished, write_json
from eigensweep.engine.tables.layout import Layout, studies_in
from eigensweep.engine.tables.parts import Work, digest_of, remove_foreign_parts

_JOINED = {"overlap": ("sweep",)}  # manifests of version 0.1 do not say it
VERSIONS = ("eigensweep", "jax", "jaxlib", "flax", "numpy", "scipy", "pyarrow")


@contextlib.contextmanager
def claimed(
    directory: str | Path, layout: Layout, identity: Mapping[str, Any], record: Mapping[str, Any] | None = None
) -> Iterator[Work]:
    """Hold a run directory for one study: `with claimed(…) as work:`.

    Args:
      directory: made where it is missing.
      layout: the study's files.
      identity: everything that the numbers depend on, JSON-able, a key each of the manifest. Of "checkpoint" only
        `sha256` is compared, of other mappings every key.
      record: what else the manifest says.

    Raises:
      RunError: the directory holds something else, is in use, or cannot be written; in every process of several.
    """
    directory, manifest = Path(directory), None
    refusal: RunError | None = None
    with contextlib.ExitStack() as held:
        if hosts.is_first():
            try:
                held.enter_context(locked(directory))
                manifest = _claim(directory, layout, identity, record or {})
            except RunError as refused:
                refusal = refused
        hosts.wait_for_all("claimed")
        error = hosts.error_of_first(str(refusal or ""))
        if error:
            raise refusal or RunError(error)
        if manifest is None:  # not the first process, which has written it by now
            manifest = layout.read_manifest(directory) or {}
        yield Work(directory, layout, manifest, digest_of({key: manifest.get(key) for key in identity}, layout))


def new_manifest(layout: Layout, identity: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of a study that begins."""
    return {
        "eigensweep": version("eigensweep"),
        "study": layout.study,
        "status": "running",
        **_plain(identity),
        "versions": {name: version(name) for name in VERSIONS},
        "devices": [f"{d.platform}:{d.id} {d.device_kind}" for d in jax.devices()],
        "processes": jax.process_count(),
        **record,
        "timings": {},
    }


def is_in_use(directory: str | Path) -> bool:
    """Whether a process works in `directory` at this moment; nothing is made there."""
    lock = filelock.FileLock(Path(directory) / ".lock", blocking=False)
    if not Path(directory).is_dir():
        return False
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    except OSError:
        return False  # whoever works there will say what is wrong
    lock.release()
    return False


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory/.lock`, which the operating system releases however the process ends.

    Raises:
      RunError: another process holds it, or the directory cannot be written.
    """
    lock = filelock.FileLock(directory / ".lock", blocking=False)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise InUse(f"{directory}: another process is working there") from error
    except OSError as error:
        raise RunError(f"{directory}: cannot be written: {error.strerror or error}") from error
    try:  # what goes wrong in there is no trouble with the lock
        yield
    finally:
        lock.release()


def _claim(directory: Path, layout: Layout, identity: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the study in `directory`: the one there if it is this very study, else a new one."""
    remove_unfinished(directory)
    there = None
    for study, manifest in studies_in(directory).items():
        check_manifest(directory / (layout.manifest if study == layout.study else f"({study})"), manifest)
        if study == layout.study:
            there = manifest
        elif study not in layout.joins and layout.study not in manifest.get("joins", _JOINED.get(study, ())):
            raise RunError(f"{directory}: holds a run of another kind ({study}); take a new workdir")
    parts = layout.parts(directory)
    if there is None:
        manifest = new_manifest(layout, identity, record) | {"joins": list(layout.joins)}
        if foreign := remove_foreign_parts(parts, digest_of(_plain(identity), layout)):
            for begun in layout.unfinished:
                shutil.rmtree(directory / begun, ignore_errors=True)
            _warn(manifest, f"{parts}: {foreign} parts of another run lay there without its manifest: removed")
        write_json(directory / layout.manifest, manifest)
        return manifest
    if different := _differences(there, _plain(identity)):
        raise RunError(
            f"{directory}: holds another {layout.study} ({'; '.join(different)}). Take a new workdir, or start it with "
            "what is there."
        )
    if foreign := remove_foreign_parts(parts, digest_of({key: there.get(key) for key in identity}, layout)):
        _warn(there, f"{parts}: {foreign} parts were of another run or version: removed, and their units done again")
    return there


def _warn(manifest: dict[str, Any], word: str) -> None:
    manifest["warnings"] = [*manifest.get("warnings", ()), word]


def _plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(identity))


def _differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What the identity that is there and the one asked for disagree in."""
    lines = []
    for key, value in now.items():
        old = there.get(key)
        if key == "checkpoint" and isinstance(old, Mapping):
            if old.get("sha256") != value.get("sha256"):
                lines.append(f"checkpoint: {old.get('source')} there, {value.get('source')} now (contents differ)")
        elif isinstance(value, Mapping) and isinstance(old, Mapping):
            names = [name for name in {**value, **old} if old.get(name) != value.get(name)]
            lines += [f"{name}: {old.get(name)!r} there, {value.get(name)!r} now" for name in names]
        elif old != value:
            lines.append(f"{key}: {old!r} there, {value!r} now")
    return lines
