"""How a checkpoint's files are opened, whichever they are: one rule for all of a folder.

- Only regular files are opened. A FIFO, socket, device or folder under a file's name is refused, never waited for.
- Links are followed wherever they lead: who made the folder made them, and the hub's own cache is made of them. What
  they lead to must be a regular file, too; a link to nothing is refused and not taken for an absent file.
- The names in an index stay in its folder: whoever writes an index has written no links.
- JSON is read whole or refused: 100 MB, 100 levels and numbers of 100 digits at most, no name twice in an object.
- Tensors' names are made printable on the way in, once for all that shows or stores them.
"""

import errno
import io
import json
import os
import stat
from collections import Counter
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from eigensweep.models.errors import CheckpointError, printable, shown

MOST_JSON_BYTES = 100_000_000  # safetensors allows as much in its header
_MOST_LEVELS = 100
_MOST_DIGITS = 100  # float() takes them all, and no size or number of anything has more
_MOST_NAME = 1000
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def _refusal(path: Path, mode: int) -> CheckpointError:
    return CheckpointError(f"{path}: a regular file was expected, this is {_KINDS.get(stat.S_IFMT(mode), 'none')}")


def stat_regular(path: Path) -> os.stat_result:
    """What the file system says of a checkpoint's file.

    Raises:
      CheckpointError: it is not there, or is no regular file.
    """
    try:
        found = path.stat()
    except OSError as e:
        if path.is_symlink():
            raise CheckpointError(f"{path}: a link to {shown(os.readlink(path))}, which is not there") from e
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(path, found.st_mode)
    return found


def is_there(path: Path) -> bool:
    """Whether a checkpoint's file is there.

    Raises:
      CheckpointError: something is there that is no regular file, a link to nothing included.
    """
    try:
        path.lstat()
    except OSError as e:
        if e.errno in (errno.ENOENT, errno.ENOTDIR):
            return False
    stat_regular(path)
    return True


def open_regular(path: Path) -> io.BufferedReader:
    """A regular file, opened for reading.

    Raises:
      CheckpointError: it is something else, which is not waited for.
      OSError: it cannot be opened.
    """
    if not stat.S_ISREG(mode := path.stat().st_mode):  # opening a device may do something
        raise _refusal(path, mode)
    # A FIFO that has come meanwhile would block without O_NONBLOCK; for regular files it changes nothing.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = open(path, "rb", opener=lambda name, _: os.open(name, flags))  # noqa: SIM115 (the caller closes it)
    if not stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode):
        file.close()
        raise _refusal(path, mode)
    return file


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"names {shown(twice)} twice")
    return entries


def _whole(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def parse_json(text: bytes) -> Any:
    """JSON in UTF-8, within the limits above; a mark of the byte order is passed over.

    Raises:
      ValueError: it is none; the message is one short line.
    """
    try:
        value = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_whole)
    except RecursionError as e:
        raise ValueError("nested too deeply") from e
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            child for node in level if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]  # fmt: skip
        if not level:
            return value
    raise ValueError("nested too deeply")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; CheckpointError where there is none."""
    try:
        with open_regular(path) as file:
            text = file.read(MOST_JSON_BYTES + 1)
    except OSError as e:
        raise CheckpointError(f"{path}: cannot be read: {e.strerror}") from e
    if len(text) > MOST_JSON_BYTES:
        raise CheckpointError(f"{path}: more than {MOST_JSON_BYTES} bytes of JSON")
    try:
        value = parse_json(text)
    except ValueError as e:
        raise CheckpointError(f"{path}: not JSON that can be read: {printable(str(e))}") from e
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: a JSON object was expected, got {type(value).__name__}")
    return value


def tensor_name(file: Path | str, name: str) -> str:
    """A tensor's name as it is shown and stored: printable. All readers take names through here.

    Raises:
      CheckpointError: it is longer than any name is.
    """
    if len(name) > _MOST_NAME:
        raise CheckpointError(f"{file}: a tensor has a name of {len(name)} characters ({shown(name)}), too many")
    return printable(name)


def check_name(index: Path, name: Any) -> None:
    """Refuses a file name that an index must not give: one that leaves the folder, or that no file can have.

    Raises:
      CheckpointError: `../x`, `/x`, control characters, more than 255 bytes, or no name at all.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise CheckpointError(f"{index}: {shown(name)} is no file name")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise CheckpointError(f"{index}: names {shown(name)}, which lies outside the checkpoint's folder")
    if str(path) != name:  # nor one file under many names
        raise CheckpointError(f"{index}: {shown(name)} is no file name: it would be {shown(str(path))}")
    if len(name) > 4000 or any(len(part.encode()) > 255 for part in path.parts):
        raise CheckpointError(f"{index}: {shown(name)} is no file name: it is too long")


def lies_inside(folder: Path, path: Path) -> bool:
    """Whether a file is in a folder, links followed; those of the hub's own cache count as inside.

    For what is copied and not read: nothing from elsewhere gets into a folder that may be given away.
    """
    root, target = folder.resolve(), path.resolve()
    # The cache: models--owner--name/{blobs/<hash>, snapshots/<commit>/<file> -> ../../blobs/<hash>}.
    blob = root.parent.name == "snapshots" and target.parent == root.parent.parent / "blobs"
    return blob or target.is_relative_to(root)
