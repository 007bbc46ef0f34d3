"""One OpenAI-compatible chat endpoint: asked within a budget, again after failures, and never believed in size or time.

The `openai` client speaks the protocol; retries are ours, because every request counts against the budget and a pause
must end when the run is interrupted. What comes back is read to a bound, within the time limit, and unpacked by us.
"""

import json
import random
import threading
import time
from typing import Any

from eigensweep.engine.studies.labels.answers import Answer, Answers, key_of
from eigensweep.engine.studies.labels.options import LabelOptions
from eigensweep.engine.studies.labels.parsing import LONGEST
from eigensweep.engine.tables.errors import RunError
from eigensweep.models.errors import printable, shown

MOST_BYTES = 1 << 20  # of a response
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds
_AGAIN = (408, 409, 425, 429)  # and every 5xx: may go away by itself
_SAID = 300  # characters shown of what an endpoint says about an error


class NoAnswerError(Exception):
    """A call failed as often as it may be tried; says how."""


class SpentError(Exception):
    """The budget of calls is spent."""


class StoppedError(Exception):
    """Another thread ended the work."""


class BadResponseError(Exception):
    """A response that is too large, takes too long, is packed, or is no chat completion."""


class Endpoint:
    """An endpoint with its cache and its budget; several threads may ask.

    Attributes:
      left: calls that may still be made.
      calls: requests sent.
      answered: whether it ever answered.
    """

    def __init__(self, options: LabelOptions, answers: Answers):
        try:
            import openai
        except ImportError as error:
            raise RunError("labels need the package openai: pip install 'eigensweep[label]'") from error
        self.options, self.answers, self._openai = options, answers, openai
        self.left, self.calls, self.answered = options.label_budget, 0, False
        self._lock, self._stop = threading.Lock(), threading.Event()
        client: Any = type("Bounded", (_Bounded, openai.DefaultHttpxClient), {})
        self._client = openai.OpenAI(
            base_url=options.label_url, api_key=options.key or "none", max_retries=0, timeout=options.label_timeout,
            default_headers={"Accept-Encoding": "identity"},
            http_client=client(timeout=options.label_timeout, follow_redirects=False),
        )  # fmt: skip

    def ask(self, prompt: str) -> str:
        """The answer to a prompt, from the cache or for a call.

        Raises:
          NoAnswerError: it failed as often as it may.
          SpentError: no call is left.
          RunError: asking again cannot help: a wrong address, key, model or parameter.
        """
        model, parameters = self.options.label_model, self.options.parameters
        known = self.answers.get(key_of(model, parameters, prompt))
        if known is None:
            known = self._paid(prompt)
            self.answers.add(model, parameters, prompt, known)
        return known.text

    def stop(self) -> None:
        """No further calls; pauses end."""
        self._stop.set()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _paid(self, prompt: str) -> Answer:
        for attempt in range(self.options.label_retries + 1):
            with self._lock:
                if self._stop.is_set():
                    raise StoppedError
                if self.left < 1:
                    raise SpentError
                self.left, self.calls = self.left - 1, self.calls + 1
            try:
                return self._call(prompt)
            except self._openai.APIStatusError as error:
                if not (error.status_code in _AGAIN or error.status_code >= 500):
                    raise RunError(f"{self._where}: {self._told(error)}") from error
                failure, asked = self._told(error), error.response.headers.get("retry-after")
            except (self._openai.OpenAIError, BadResponseError) as error:
                failure, asked = self._told(error), None
                if isinstance(error, self._openai.APIConnectionError) and not self.answered and attempt:
                    break  # most likely a wrong address: patience would not help
            if attempt < self.options.label_retries:
                self._stop.wait(pause(attempt, asked))
        raise NoAnswerError(f"{self._where}: {failure}")

    def _call(self, prompt: str) -> Answer:
        start = time.monotonic()
        raw = self._client.chat.completions.with_raw_response.create(
            model=self.options.label_model, messages=[{"role": "user", "content": prompt}], **self.options.parameters
        )
        answer = unpacked(raw.content, time.monotonic() - start)
        self.answered = True
        return answer

    @property
    def _where(self) -> str:
        return f"label_url {self.options.label_url}"

    def _told(self, error: Exception) -> str:
        """What an error says, on one printable line, without the key."""
        status = getattr(error, "status_code", None)
        cause = error if isinstance(error, BadResponseError) else error.__cause__ or error
        if status is not None:
            said = f"HTTP {status}: {_message(getattr(error, 'body', None))}"
        elif isinstance(error, self._openai.APITimeoutError):
            said = f"no answer within {self.options.label_timeout:g} s"
        else:
            said = f"cannot be reached: {cause}" if not isinstance(cause, BadResponseError) else str(cause)
        if status in (401, 403) and not self.options.key:
            said += f" ({self.options.label_key} is not set)"
        if self.options.key:
            said = said.replace(self.options.key, "***")
        said = printable(" ".join(said.split()))
        return said if len(said) <= _SAID else f"{said[:_SAID]} …"


class _Bounded:
    """Mixed into the client's HTTP client: a response is read here, to its bound and within the time limit."""

    def send(self, request: Any, *, stream: bool = False, **how: Any) -> Any:
        end = time.monotonic() + request.extensions["timeout"]["read"]
        response = super().send(request, stream=True, **how)  # type: ignore[misc]
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise BadResponseError("the response is packed, although none was asked for")
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise BadResponseError(f"the response is larger than {MOST_BYTES >> 20} MiB")
                if time.monotonic() > end:
                    raise BadResponseError("the response does not come to an end")
        finally:
            response.close()
        return type(response)(response.status_code, headers=response.headers, content=bytes(body), request=request)


def unpacked(body: bytes, seconds: float) -> Answer:
    """The answer in a response's body.

    Raises:
      BadResponseError: it is no chat completion.
    """
    try:
        found = json.loads(body)
        text = found["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise BadResponseError(
            f"the response is no chat completion: {shown(body[:100].decode(errors='replace'))}"
        ) from error
    usage = found.get("usage")
    counts = [usage.get(name) if isinstance(usage, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
    sent, received = (x if isinstance(x, int) and 0 <= x < 10**9 else 0 for x in counts)
    return Answer(text[:LONGEST] if isinstance(text, str) else "", sent, received, seconds)


def pause(attempt: int, asked: str | None) -> float:
    """Seconds until the next attempt (from 0): what the endpoint asked for, else twice the last, less a random part."""
    try:
        wanted = float(asked or "nan")
    except ValueError:  # a date: rare, and the growing pause will do
        wanted = float("nan")
    if 0 <= wanted <= LONGEST_PAUSE:
        return wanted
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) * random.uniform(0.75, 1)


def _message(body: Any) -> str:
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(body)[:1000] if body else "it says no more"
