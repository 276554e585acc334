"""A model hub on the loopback interface, as far as `huggingface_hub` looks when it downloads a snapshot.

It counts what it is asked for, and can be told to serve a file badly.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def commit_of(branch: str) -> str:
    """The commit of a branch; the empty one is the main branch."""
    return hashlib.sha1(branch.encode()).hexdigest() if branch else COMMIT


class Hub:
    """The repositories served, how each file is spoiled, and the requests so far."""

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        """Of the main branch by name, and of another revision by ``NAME@REVISION``."""
        self.spoiled: dict[str, str] = {}
        """File name -> ``cut`` (shorter than announced), ``hang up`` (in the middle) or ``zeros``."""
        self.status: int | None = None
        """What every request is answered with instead; 0 closes the connection without an answer."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """How often each ``(method, path)`` was asked for."""
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": self}))
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Nobody listens at the address any more."""
        self.server.shutdown()
        self.server.server_close()

    def asked_for(self, name: str) -> int:
        """How often the content of a file was asked for."""
        return sum(
            n for (method, path), n in self.requests.items() if method == "GET" and path.endswith(name)
        )


@contextmanager
def hub_server(repositories: dict[str, Path]) -> Iterator[Hub]:
    """A hub that serves folders under their names until the block ends."""
    hub = Hub(repositories)
    try:
        yield hub
    finally:
        hub.stop()


class _Answer(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests[self.command, path] += 1
        if self.hub.status == 0:
            self.close_connection = True
            return
        if self.hub.status is not None:
            self._send(self.hub.status, b"{}")
            return
        kind = next((k for k in ("revision", "tree", "resolve") if f"/{k}/" in path), "revision")
        name, _, rest = path.removeprefix("api/models/").partition(f"/{kind}/")
        revision, _, rest = rest.partition("/")
        folder, commit = self._revision(name, revision)
        if name in self.hub.repositories and folder is None:
            error = {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Revision not found"}
            self._send(404, b'{"error": "Revision not found"}', error)
        elif folder is None:
            error = {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            self._send(404, b'{"error": "Repository not found"}', error)
        elif kind == "resolve":
            self._send_file(folder / rest, commit)
        elif kind == "tree":
            self._send_json([_entry(file) for file in sorted(folder.iterdir())])
        else:
            files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
            self._send_json({"id": name, "modelId": name, "sha": commit, "siblings": files, "tags": []})

    def _revision(self, name: str, revision: str) -> tuple[Path | None, str]:
        """The folder of a revision, which may be a commit, and its commit."""
        for key, folder in self.hub.repositories.items():
            repository, _, branch = key.partition("@")
            if repository == name and revision in (branch or "main", commit_of(branch)):
                return folder, commit_of(branch)
        return None, ""

    def _send_file(self, file: Path, commit: str) -> None:
        if not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        content = file.read_bytes()
        headers = {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        how = self.hub.spoiled.get(file.name)
        if how == "zeros":
            content = bytes(len(content))
        if self.command == "HEAD" or how not in ("cut", "hang up"):
            self._send(200, content, headers)
        elif how == "cut":
            self._send(200, content[: len(content) // 2], headers)
        else:
            self._hang_up(content, headers)

    def _hang_up(self, content: bytes, headers: dict[str, str]) -> None:
        """Half of the file, and nothing more for who asks for the rest."""
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.close_connection = True
        self.send_response(206 if start else 200)
        if start:
            headers = headers | {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2])

    def _send_json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


def _oid(content: bytes) -> str:
    """As git names a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _entry(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    return {"type": "file", "path": file.name, "size": len(content), "oid": _oid(content)}
