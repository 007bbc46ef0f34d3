"""Lists of tokens labelled by an endpoint: named, then verified, a few at a time."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eigensweep.engine.run.progress import OnProgress, Progress, silent
from eigensweep.engine.studies.labels.answers import Answers, key_of
from eigensweep.engine.studies.labels.endpoint import Endpoint, NoAnswerError, SpentError, StoppedError
from eigensweep.engine.studies.labels.options import LabelOptions
from eigensweep.engine.studies.labels.parsing import MalformedError, choice_of, label_of
from eigensweep.engine.studies.labels.prompts import label_prompt, verify_prompt
from eigensweep.engine.studies.labels.tables import INTERPRETABLE, MALFORMED, NOTHING, UNVERIFIED
from eigensweep.engine.studies.labels.verification import judged, looks, mixed
from eigensweep.engine.tables.errors import RunError

MOST_FAILURES = 5  # lists in a row without an answer
LEAST_TOKENS = 4  # fewer and no choice of them is rare


@dataclass(frozen=True)
class TokenList:
    """The tokens of one sign of one direction.

    Attributes:
      direction: its address, as block.3.head.2.ov:1.
      tokens: the strongest first.
      place: the columns of the run's table that say which list it is: circuit, index, side, sign, block, head, kind.
    """

    direction: str
    tokens: tuple[str, ...]
    place: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass
class Labelled:
    """What came of labelling.

    Attributes:
      rows: a row a list with an answer: `status`, `label`, `chosen`, `chosen_others`, `p`, `note`; by its number.
      open: numbers of the lists for which the budget did not suffice.
      failed: lists without an answer: number and reason.
      calls: requests sent.
    """

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    open: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    calls: int = 0


def in_order(number: int, seed: int) -> list[int]:
    """The random order in which lists are labelled: whatever the budget, those done are a random sample of them."""
    return [int(i) for i in np.random.default_rng(seed).permutation(number)]


def row_of(
    tokens: Sequence[str], pool: Sequence[str], ask: Callable[[str], str], options: LabelOptions
) -> dict[str, Any]:
    """Name a list of tokens, and verify the name; `ask` answers prompts and may raise what it likes."""
    try:
        label = label_of(ask(label_prompt(tokens)))
        if label is None:
            return {"status": NOTHING}
        mix = mixed(tokens, pool, options.label_seed)
        chosen = choice_of(ask(verify_prompt(label, mix.tokens)), len(mix.tokens))
    except MalformedError as error:
        return {"status": MALFORMED, "note": str(error)}
    verdict = judged(mix, chosen, options.label_level)
    status = INTERPRETABLE if verdict.verified else UNVERIFIED
    return {"status": status, "label": label, "chosen": verdict.own, "chosen_others": verdict.others, "p": verdict.p}


class _Unknown(Exception):
    """The cache does not hold the answer."""


def known_row(
    tokens: Sequence[str], pool: Sequence[str], answers: Answers, options: LabelOptions
) -> dict[str, Any] | None:
    """The row of a list whose answers are all there; None where one is missing."""

    def ask(prompt: str) -> str:
        found = answers.get(key_of(options.label_model, options.parameters, prompt))
        if found is None:
            raise _Unknown
        return found.text

    try:
        return row_of(tokens, pool, ask, options)
    except _Unknown:
        return None


def check_lists(lists: Sequence[TokenList], pool: Sequence[str]) -> None:
    """Every list needs others to be told from.

    Raises:
      RunError: lists are too short, or there are too few other tokens.
    """
    shortest, longest = (pick((len(each.tokens) for each in lists), default=0) for pick in (min, max))
    others = len({looks(token) for token in pool}) - longest
    if lists and min(shortest, others) < LEAST_TOKENS:
        raise RunError(
            f"{lists[0].direction}: {shortest} tokens beside {others} of other lists are too few to verify a label, "
            f"which takes {LEAST_TOKENS} of both: the lists are too short, or the vocabulary is too small"
        )


def label_lists(
    lists: Sequence[TokenList],
    pool: Sequence[str],
    answers: Answers,
    options: LabelOptions,
    on_progress: OnProgress = silent,
) -> Labelled:
    """Label lists of tokens, those that are known from the cache, the others in random order while the budget lasts.

    Raises:
      RunError: the endpoint refuses, or failed for several lists in a row; every answer so far is in the cache.
    """
    result = Labelled()
    for i, each in enumerate(lists):
        if (row := known_row(each.tokens, pool, answers, options)) is not None:
            result.rows[i] = row
    todo = [i for i in in_order(len(lists), options.label_seed) if i not in result.rows]
    if not todo or not options.label_budget:
        result.open = todo
        return result
    first: dict[tuple[str, ...], int] = {}  # equal lists are asked about once
    for i in todo:
        first.setdefault(lists[i].tokens, i)
    endpoint = Endpoint(options, answers)
    crew = _Crew(lists, pool, endpoint, result, on_progress)
    try:
        crew.work([*first.values()])
    finally:
        result.calls = endpoint.calls
        endpoint.close()
    for i in todo:
        same = first[lists[i].tokens]
        if same in result.rows:
            result.rows[i] = result.rows[same]
        elif same in result.failed:
            result.failed[i] = result.failed[same]
    result.open = [i for i in todo if i not in result.rows and i not in result.failed]
    return result


class _Crew:
    """Threads that take list after list until none is left, the budget is spent or the endpoint fails for good."""

    def __init__(
        self,
        lists: Sequence[TokenList],
        pool: Sequence[str],
        endpoint: Endpoint,
        result: Labelled,
        on_progress: OnProgress,
    ):
        self.lists, self.pool, self.endpoint, self.result = lists, pool, endpoint, result
        self.on_progress, self.failures, self.lock = on_progress, 0, threading.Lock()

    def work(self, todo: Sequence[int]) -> None:
        queue = iter(todo)
        number = min(self.endpoint.options.label_concurrency, len(todo))
        with ThreadPoolExecutor(number) as executor:
            threads = [executor.submit(self._take, queue) for _ in range(number)]
            try:
                wait(threads)
            except BaseException:
                self.endpoint.stop()  # what is on its way comes back and is kept
                raise
        for thread in threads:
            if (error := thread.exception()) is not None:
                raise error

    def _take(self, queue: Iterator[int]) -> None:
        try:
            while (number := self._next(queue)) is not None:
                self._label(number)
        except (SpentError, StoppedError):
            pass
        except BaseException:
            self.endpoint.stop()
            raise

    def _next(self, queue: Iterator[int]) -> int | None:
        with self.lock:
            return next(queue, None)

    def _label(self, number: int) -> None:
        try:
            row = row_of(self.lists[number].tokens, self.pool, self.endpoint.ask, self.endpoint.options)
        except NoAnswerError as error:
            with self.lock:
                self.result.failed[number] = str(error)
                self.failures += 1
                if self.failures >= MOST_FAILURES or not self.endpoint.answered:
                    raise RunError(
                        f"{error} (as often as it was tried); every answer so far is kept, start again to go on"
                    ) from error
            return
        with self.lock:
            self.failures = 0
            self.result.rows[number] = row
            done, total = len(self.result.rows), len(self.lists)
            self.on_progress(Progress(done, total, done, total, self.lists[number].direction, "labels"))
