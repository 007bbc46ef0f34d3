"""A chat endpoint on loopback: speaks the protocol of OpenAI's API, answers as a script says, misbehaves when told to.

It listens on 127.0.0.1 alone and stops with its `with` block.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

FRUIT = ["apple", "pear", "plum", "cherry", "quince", "fig", "grape", "lemon"]
METAL = ["iron", "zinc", "copper", "lead", "tin", "gold", "nickel", "silver"]
KNOWN = {"fruit": set(FRUIT), "metals": set(METAL)}


@dataclass(frozen=True)
class Reply:
    """What the server says: a status, a body, headers; or a body that comes slowly, or never ends."""

    status: int = 200
    body: bytes = b""
    headers: dict = field(default_factory=dict)
    wait: float = 0.0
    endless: bool = False


def completion(text, **usage):
    """A chat completion with this content."""
    body = {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107} | usage,
    }  # fmt: skip
    return Reply(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def tokens_in(prompt):
    """The tokens that a prompt asks about: a list to be named, or a mixed one to choose from."""
    if "Description:" in prompt:
        return [json.loads(word) for word in re.findall(r"^\d+\. (.*)$", prompt, re.MULTILINE)]
    return json.loads(re.findall(r"^Tokens: (.*)$", prompt, re.MULTILINE)[-1])


def honest(prompt, number):
    """Names lists of fruit or metals, and chooses what belongs there."""
    tokens = tokens_in(prompt)
    if "Description:" in prompt:
        wanted = KNOWN.get(json.loads(re.search(r"^Description: (.*)$", prompt, re.MULTILINE)[1]), set())
        return completion(json.dumps({"fits": [i for i, t in enumerate(tokens, 1) if t in wanted]}))
    named = [name for name, members in KNOWN.items() if 2 * len(members & set(tokens)) >= len(tokens)]
    return completion(json.dumps({"label": named[0] if named else None}))


class Endpoint:
    """The server, seen from the test.

    Attributes:
      url: of its API.
      requests: what came: path, headers, body.
      script: (prompt, number of the request from 0) -> Reply.
      most: how many requests it had at the same time.
    """

    def __init__(self):
        self.url, self.requests, self.script, self.most, self.now = "", [], honest, 0, 0
        self.lock = Lock()

    @property
    def prompts(self):
        """The prompts that came."""
        return [body["messages"][-1]["content"] for _, _, body in self.requests]


@contextmanager
def serving() -> Iterator[Endpoint]:
    """An endpoint that is there as long as the `with` block."""
    endpoint = Endpoint()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(endpoint))
    server.daemon_threads = True
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(endpoint: Endpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args) -> None:
            """Silence."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with endpoint.lock:
                number = len(endpoint.requests)
                headers = {name.lower(): value for name, value in self.headers.items()}
                endpoint.requests.append((self.path, headers, body))
                endpoint.now += 1
                endpoint.most = max(endpoint.most, endpoint.now)
            try:
                self.say(endpoint.script(body["messages"][-1]["content"], number))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client has had enough
            finally:
                with endpoint.lock:
                    endpoint.now -= 1

        def say(self, reply: Reply) -> None:
            time.sleep(reply.wait)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if not reply.endless:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            while reply.endless:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.02)

    return Handler


Script = Callable[[str, int], Reply]
