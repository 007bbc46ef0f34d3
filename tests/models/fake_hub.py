"""A hub on loopback: the few endpoints of the Hugging Face hub that downloading a model asks for.

It serves repositories from memory, each by revision, and answers as the hub does where something is not there, gated,
or where the server has trouble. Weights are files of LFS, with their SHA-256; ranges of them can be asked for. It
listens on 127.0.0.1 alone and stops with its `with` block.
"""

import hashlib
import json
import re
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

Repositories = Mapping[str, Mapping[str, Mapping[str, bytes]]]
"""{"owner/name": {revision: {file: content}}}; "main" is the revision that is taken where none is asked for."""


def commit_of(repo: str, revision: str) -> str:
    """The commit hash that the fake hub gives a revision."""
    return hashlib.sha1(f"{repo}@{revision}".encode()).hexdigest()


def sha256_of(file: str, content: bytes) -> str | None:
    """What the hub says of a file in LFS, as all weights are; None for others."""
    return hashlib.sha256(content).hexdigest() if file.endswith((".safetensors", ".bin")) else None


class _Handler(BaseHTTPRequestHandler):
    repositories: Repositories
    gated: Collection[str]
    failing: dict[str, int]
    slow: dict[str, float]
    requests: list[str]
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds a connection may stay silent

    def log_message(self, *args) -> None:
        """Silence: the tests look at `requests`."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        wanted = self.headers.get("Range", "")
        self.requests.append(f"{self.command} {path}{' ' * bool(wanted)}{wanted}")
        for part, status in self.failing.items():
            if part in path:
                return self.send(status, b"", {})
        for part, seconds in self.slow.items():
            if part in path:
                time.sleep(seconds)
        if path.startswith("/api/models/"):
            repo, kind, revision = self.split(path.removeprefix("/api/models/"), ("revision", "tree"))
        else:
            repo, kind, revision = self.split(path.removeprefix("/"), ("resolve",))
        file = ""
        if kind == "resolve":
            revision, _, file = revision.partition("/")
        if repo not in self.repositories:
            return self.refuse("RepoNotFound", "Repository not found")
        revisions = self.repositories[repo]
        names = {commit_of(repo, name): name for name in revisions}
        name = names.get(revision or "main", revision or "main")
        if name not in revisions:
            return self.refuse("RevisionNotFound", f"Invalid rev id: {revision}")
        files, commit = revisions[name], commit_of(repo, name)
        if kind == "resolve" and file not in files:
            return self.refuse("EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
        if kind == "resolve" and repo in self.gated:
            what = {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to model {repo} is restricted."}
            return self.send(401, b"", what)
        if kind == "resolve":
            return self.send_file(file, files[file], commit)
        lfs = {
            file: {"size": len(content), "sha256": sha256, "oid": sha256, "pointerSize": 128}
            for file, content in files.items()
            if (sha256 := sha256_of(file, content))
        }
        if kind == "tree":
            entries = [
                {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                | ({"lfs": lfs[file]} if file in lfs else {})
                for file, content in files.items()
            ]
            return self.send_json(entries)
        siblings = [
            {"rfilename": file, "size": len(content), "blobId": hashlib.sha1(content).hexdigest()}
            | ({"lfs": lfs[file]} if file in lfs else {})
            for file, content in files.items()
        ]
        return self.send_json({"id": repo, "modelId": repo, "sha": commit, "siblings": siblings})

    def send_file(self, file: str, content: bytes, commit: str) -> None:
        """A file, or the range of it that is asked for."""
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if sha256 := sha256_of(file, content):
            headers |= {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content))}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return self.send(200, content, headers)
        begin, end = int(wanted[1]), min(len(content), int(wanted[2] or len(content)) + 1)
        headers |= {"Content-Range": f"bytes {begin}-{end - 1}/{len(content)}"}
        self.send(206, content[begin:end], headers)

    def split(self, path: str, kinds: tuple[str, ...]) -> tuple[str, str, str]:
        """Repository, what is asked of it, and the rest of the path."""
        for kind in kinds:
            repo, found, rest = path.partition(f"/{kind}/")
            if found:
                return repo, kind, rest
        return path, "revision", ""

    def refuse(self, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.send(404, b"", {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})})

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextmanager
def fake_hub(
    repositories: Repositories,
    gated: Collection[str] = (),
    failing: Mapping[str, int] | None = None,
    slow: Mapping[str, float] | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Serves repositories while the block runs.

    Args:
      gated: those whose files are not given without a token, though they are listed.
      failing: a status for every path with this text in it.
      slow: seconds that every answer on such a path takes.

    Yields:
      The endpoint, for HF_ENDPOINT, and the requests so far ("HEAD /owner/name/resolve/... bytes=0-9").
    """
    what = {"gated": gated, "failing": dict(failing or {}), "slow": dict(slow or {})}
    handler = type("Handler", (_Handler,), {"repositories": repositories, "requests": [], **what})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.requests
        finally:
            server.shutdown()
            thread.join(timeout=10)
