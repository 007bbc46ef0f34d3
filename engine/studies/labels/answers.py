"""What was answered so far, in a file of the run directory: whatever stops a run, nothing is paid for twice.

A line of `answers.jsonl` is one answer: model, parameters and prompt (which holds the tokens), what came back, and what
it took. A line is written in one piece when its answer is there. A process that is killed may leave a last line without
its end, which goes when the file is opened again.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from eigensweep.engine.tables.errors import RunError

_FIELDS = {"model": str, "parameters": dict, "prompt": str, "answer": str}


@dataclass(frozen=True)
class Answer:
    """An answer: its text, the tokens that the endpoint counted (0: it did not say), and how long it took."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


def key_of(model: str, parameters: Mapping[str, Any], prompt: str) -> str:
    """What an answer depends on."""
    return json.dumps([model, parameters, prompt], sort_keys=True)


class Answers:
    """The answers in a file, by `key_of`; several threads may add to it."""

    def __init__(self, path: Path, known: dict[str, Answer]):
        self.path, self._known, self._lock = path, known, threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Self:
        """The answers of a file, to be added to; none where there is no file. An unfinished line goes.

        Raises:
          RunError: it cannot be read, or a line of it is no answer.
        """
        found, whole, size = cls._of(path)
        if whole < size:
            with _writing(path), path.open("r+b") as file:
                file.truncate(whole)
        return found

    @classmethod
    def read(cls, path: Path) -> Self:
        """The same, and the file stays as it is."""
        return cls._of(path)[0]

    @classmethod
    def _of(cls, path: Path) -> tuple[Self, int, int]:
        """The answers, how many bytes are whole lines, and how many there are."""
        try:
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror}") from error
        whole = data.rfind(b"\n") + 1
        known = dict(_read(path, number, line) for number, line in enumerate(data[:whole].split(b"\n")[:-1], 1))
        return cls(path, known), whole, len(data)

    def get(self, key: str) -> Answer | None:
        """The answer of this key."""
        return self._known.get(key)

    def of_model(self, model: str) -> list[Answer]:
        """All answers of one model."""
        return [answer for key, answer in self._known.items() if json.loads(key)[0] == model]

    def add(self, model: str, parameters: Mapping[str, Any], prompt: str, answer: Answer) -> None:
        """Write an answer down; it is on the disk when this returns.

        Raises:
          RunError: the file cannot be written.
        """
        entry = {
            "model": model, "parameters": parameters, "prompt": prompt, "answer": answer.text,
            "usage": [answer.prompt_tokens, answer.completion_tokens], "seconds": round(answer.seconds, 3),
        }  # fmt: skip
        line = json.dumps(entry).encode() + b"\n"
        with self._lock:
            with _writing(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("ab", buffering=0) as file:
                    end = file.tell()
                    try:
                        if file.write(line) != len(line):
                            raise OSError(0, "it takes only a part of a line")
                        os.fsync(file.fileno())
                    except OSError:
                        file.truncate(end)
                        raise
            self._known[key_of(model, parameters, prompt)] = answer


class _writing:
    """Turns a failure to write into one line."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            raise RunError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def _read(path: Path, number: int, line: bytes) -> tuple[str, Answer]:
    try:
        entry = json.loads(line)
        if not all(isinstance(entry[name], kind) for name, kind in _FIELDS.items()):
            raise TypeError("a field of another kind")
        usage, seconds = [int(x) for x in entry["usage"]], float(entry["seconds"])
        answer = Answer(entry["answer"], usage[0], usage[1], seconds)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise RunError(f"{path}: line {number} is no answer; delete the line to ask again") from error
    return key_of(entry["model"], entry["parameters"], entry["prompt"]), answer
