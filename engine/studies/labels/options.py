"""Options of labels by a language model; none of them changes what the run's other tables hold."""

import json
import math
import os
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlsplit

from eigensweep.engine.run.options import LARGEST, Options, option


@dataclass(frozen=True)
class LabelOptions(Options):
    """Options of labels; nothing is asked of anybody while `label_url` is empty."""

    COMMAND: ClassVar[str] = "label"

    label_url: str = option(
        "", "an OpenAI-compatible endpoint that labels directions, say http://localhost:8000/v1", counts=False
    )
    label_model: str = option("", "the model's name there", counts=False)
    label_key: str = option("OPENAI_API_KEY", "name of the environment variable that holds the key", counts=False)
    label_kinds: tuple[str, ...] = option(
        (), "kinds of circuits whose directions are labelled; none for all", counts=False
    )
    label_blocks: tuple[int, ...] = option((), "blocks whose directions are labelled; none for all", counts=False)
    label_indices: tuple[int, ...] = option((), "indices of the directions labelled; none for all", counts=False)
    label_budget: int = option(
        1000, "calls that one start may make; lists of tokens come in random order", least=0, most=10**9, counts=False
    )
    label_concurrency: int = option(4, "calls at the same time", least=1, most=256, counts=False)
    label_retries: int = option(5, "of a call that failed, after growing pauses", least=0, most=20, counts=False)
    label_timeout: float = option(60.0, "seconds until a call is given up", inside=(0, 3601), counts=False)
    label_parameters: str = option(
        '{"temperature": 0, "max_tokens": 300}', "what every request says besides, as JSON", counts=False
    )
    label_input_price: float = option(0.0, "price of a million tokens sent, for --dry_run", least=0, counts=False)
    label_output_price: float = option(0.0, "price of a million tokens received, for --dry_run", least=0, counts=False)
    label_level: float = option(
        0.01, "level of the test that a label tells the list's tokens from others", inside=(0, 0.5), counts=False
    )
    label_seed: int = option(
        0, "of the order of lists and of the tokens beside them", least=0, most=LARGEST, counts=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.parameters  # noqa: B018  says what is wrong with them
        if self.label_url:
            _check_url(self.label_url)
            if not self.label_model:
                raise ValueError("label_url is given but no label_model: which model is to be asked there?")

    @property
    def parameters(self) -> dict[str, Any]:
        """What every request says besides model and messages."""
        try:
            found = json.loads(self.label_parameters)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"label_parameters is no JSON: {error}") from error
        if not isinstance(found, dict) or set(found) & {"model", "messages", "stream", "n"}:
            raise ValueError("label_parameters: expected an object without model, messages, stream and n")
        if any(isinstance(x, float) and not math.isfinite(x) for x in found.values()):
            raise ValueError("label_parameters: expected finite numbers")
        return found

    @property
    def key(self) -> str:
        """The key, from the environment alone; it is kept nowhere."""
        return os.environ.get(self.label_key, "")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or not url.isprintable() or " " in url:
        raise ValueError("label_url: expected an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(
            "label_url holds a user, a password or a query; the key comes from the environment (label_key)"
        )
