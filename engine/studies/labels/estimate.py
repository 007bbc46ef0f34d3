"""What labelling would take, before anything is asked: calls, tokens, cost, time."""

from dataclasses import dataclass
from pathlib import Path

from eigensweep.engine.studies.labels.answers import Answers
from eigensweep.engine.studies.labels.labelling import in_order, known_row
from eigensweep.engine.studies.labels.options import LabelOptions
from eigensweep.engine.studies.labels.prompts import label_prompt, verify_prompt
from eigensweep.engine.studies.labels.study import ANSWERS, chosen_lists
from eigensweep.engine.studies.labels.verification import mixed

CHARACTERS = 4  # of a prompt to a token, roughly
_GUESS = (20, 60, 2.0)  # tokens that come back for a label and for a choice, seconds of a call, where none is known
_SEEN = 50  # lists whose prompts are measured


@dataclass(frozen=True)
class Estimate:
    """What labelling would take at most: every list named, so that two calls are made for each.

    Attributes:
      lists, known: chosen, and those whose answers are all there.
      calls: at most, within the budget; `wanted` without it.
      sent, received: tokens.
      cost: None where no prices are given.
      seconds: at the concurrency of the options.
      measured: earlier answers of the model that `received` and `seconds` are means of; 0: they are guesses.
    """

    lists: int
    known: int
    calls: int
    wanted: int
    sent: float
    received: float
    cost: float | None
    seconds: float
    measured: int


def estimate(directory: str | Path, options: LabelOptions) -> Estimate:
    """What labelling a tokens run would take.

    Raises:
      RunError: as `study.label` does before it asks anything.
    """
    directory = Path(directory)
    chosen = chosen_lists(directory, options)
    answers = Answers.read(directory / ANSWERS)
    todo = [each for each in chosen.lists if known_row(each.tokens, chosen.pool, answers, options) is None]
    calls = min(2 * len(todo), options.label_budget)
    seen = [todo[i].tokens for i in in_order(len(todo), 0)[:_SEEN]]
    prompts = [len(label_prompt(t)) + len(verify_prompt("x" * 20, mixed(t, chosen.pool, 0).tokens)) for t in seen]
    sent = calls * sum(prompts) / (2 * CHARACTERS * max(1, len(seen)))
    before = answers.of_model(options.label_model)
    counted = [answer.completion_tokens for answer in before if answer.completion_tokens]
    received = calls * (sum(counted) / len(counted) if counted else (_GUESS[0] + _GUESS[1]) / 2)
    each = sum(answer.seconds for answer in before) / len(before) if before else _GUESS[2]
    prices = options.label_input_price, options.label_output_price
    cost = (sent * prices[0] + received * prices[1]) / 1e6 if any(prices) else None
    seconds = calls * each / options.label_concurrency
    return Estimate(
        len(chosen.lists),
        len(chosen.lists) - len(todo),
        calls,
        2 * len(todo),
        sent,
        received,
        cost,
        seconds,
        len(before),
    )


def describe(found: Estimate, options: LabelOptions) -> str:
    """The estimate as text for a terminal."""
    budget = f", the budget (for all lists {found.wanted})" if found.calls < found.wanted else ""
    basis = f"by {found.measured} earlier answers" if found.measured else "a guess: nothing was asked yet"
    cost = "unknown: give label_input_price and label_output_price, per million tokens"
    if found.cost is not None:
        cost = f"{found.cost:.2f} in the currency of the prices"
    return "\n".join([
        f"endpoint   {options.label_url or '(none: give label_url)'}, model {options.label_model or '(none)'}",
        f"lists      {found.lists}, of which {found.known} are answered already",
        f"calls      at most {found.calls}{budget}: two a list, one where it has no name",
        f"tokens     about {found.sent:.0f} sent, at {CHARACTERS} characters each",
        f"           about {found.received:.0f} received ({basis})",
        f"cost       at most about {cost}" if found.cost is not None else f"cost       {cost}",
        f"time       about {_duration(found.seconds)} at {options.label_concurrency} calls at a time ({basis})",
    ])  # fmt: skip


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
