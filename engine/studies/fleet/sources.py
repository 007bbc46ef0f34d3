"""Which checkpoints a text names: several of them, braces, globs, a file with a list; and what each run is called."""

import glob
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from eigensweep.engine.report.style import natural, slug
from eigensweep.engine.tables.errors import RunError
from eigensweep.models.errors import shown
from eigensweep.models.sources.hub import looks_like_hub_id

MOST = 20_000  # checkpoints that one text may name: more is a slip
MOST_BYTES = 10_000_000  # of a file with a list
_WEIGHTS = (".safetensors", ".gguf")
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")
_LONGEST = 120  # characters of a directory's name


def sources_of(text: str) -> list[str]:
    """The checkpoints that a text names, each once.

    Several are separated by commas. `{0,1,2}` and `{0..1000..100}` stand for each of their words, as in a shell;
    with `*`, `?` or `[` a word is a glob, whose folders and files of weights are taken in natural order (step-2 before
    step-10); a text file holds a checkpoint a line, `#` begins a comment.

    Raises:
      RunError: nothing is named, a glob fits nothing, a brace is not closed, or a list cannot be read.
    """
    words = [text] if _exists(text) else _split(text)
    plain = words if _exists(text) else itertools.chain.from_iterable(map(expanded, words))
    found = list(itertools.islice(itertools.chain.from_iterable(map(_of_word, plain)), MOST + 1))
    if len(found) > MOST:
        raise RunError(f"--checkpoints={shown(text)}: names more than {MOST} checkpoints")
    if not found:
        raise RunError(f"--checkpoints={shown(text)}: names no checkpoint")
    return list(dict.fromkeys(found))


def expanded(word: str) -> Iterator[str]:
    """Every word that one with braces stands for.

    >>> list(expanded("a{1,2}b{8..10}"))
    ['a1b8', 'a1b9', 'a1b10', 'a2b8', 'a2b9', 'a2b10']

    Raises:
      RunError: a brace is not closed, or stands inside another.
    """
    parts = re.split(r"\{([^{}]*)\}", word)
    if any(brace in part for part in parts[::2] for brace in "{}"):
        raise RunError(f"--checkpoints: {shown(word)}: a brace is not closed, or stands inside another")
    choices = [_choices(part) if i % 2 else [part] for i, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


def names_of(sources: Iterable[str]) -> dict[str, str]:
    """Source -> the name of its run directory: safe in every file system, the same whatever else is in the list.

    A hub id keeps its words (`owner--name@revision`); a path gives its last part and eight digits of a hash of it all.
    """
    return {source: _name(source) for source in sources}


def _name(source: str) -> str:
    if looks_like_hub_id(source) and not _exists(source):
        name = source.replace("/", "--")
        if source.count("/") < 2 and "--" not in source and len(name) <= _LONGEST:
            return name
        return f"{name[:_LONGEST]}-{_digest(source)}"
    path = os.path.abspath(os.path.expanduser(source))
    return f"{slug(Path(path).name)}-{_digest(path)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def _exists(text: str) -> bool:
    try:
        return bool(text) and "\0" not in text and Path(text).expanduser().exists()
    except (OSError, RuntimeError):  # too long a name; ~nobody
        return False


def _split(text: str) -> list[str]:
    """The words between commas that stand in no brace."""
    return [word.strip() for word in re.split(r",(?![^{}]*\})", text) if word.strip()]


def _choices(group: str) -> list[str]:
    if not (found := _RANGE.fullmatch(group.strip())):
        return [choice.strip() for choice in group.split(",")]
    first, last, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if not step or abs(last - first) // step >= MOST:
        raise RunError(f"--checkpoints: {{{group}}}: expected a range of at most {MOST} numbers")
    width = max(map(len, found.group(1, 2))) if any(x.startswith("0") and len(x) > 1 for x in found.group(1, 2)) else 0
    numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    return [f"{number:0{width}d}" for number in numbers]


def _of_word(word: str) -> Iterator[str]:
    """The checkpoints of a word without braces: itself, what a glob fits, or the lines of a file."""
    path = Path(word).expanduser()
    there = _exists(word)
    if there and path.is_file() and path.suffix not in _WEIGHTS:
        yield from _lines(path)
    elif there or not set("*?[") & set(word):
        yield word
    else:
        fitting = (p for p in glob.iglob(str(path), recursive=True) if os.path.isdir(p) or p.endswith(_WEIGHTS))
        found = sorted(itertools.islice(fitting, MOST + 1), key=natural)
        if not found:
            raise RunError(f"--checkpoints: {shown(word)}: no folder and no file of weights fits this pattern")
        yield from found


def _lines(path: Path) -> Iterator[str]:
    """The checkpoints that a file lists."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RunError(f"{path}: a list of checkpoints was expected, a line each; the file is too large for that")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: no list of checkpoints can be read from it: {error}") from error
    for line in lines:
        if word := line.partition("#")[0].strip():
            yield from expanded(word)
