"""A Hugging Face Hub of our own for tests: as much of its HTTP interface as pushing and pulling models takes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Hub", "serving"]


class Hub:
    """What the server has and how it behaves.

    Attributes:
        models: Files of each model by its name.
        private: Names of models that were made as such.
        requests: Method, path and whether a token came, of all that was asked.
        trouble: For the beginning of a path after its method: an HTTP status, ``"slow"``, ``"cut"``, ``"endless"`` or
            an address to which it is sent on.
        says: What it says of files of these names, where that is not what they are.
    """

    token = "hf_thetokenofthetests"

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.requests: list[tuple[str, str, bool]] = []
        self.trouble: dict[str, int | str] = {}
        self.says: dict[str, dict[str, Any]] = {}
        self.url = ""

    def put(self, name: str, folder: Path) -> None:
        """Take the files of a folder as those of a model."""
        files = (path for path in folder.rglob("*") if path.is_file())
        self.models[name] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    def commit(self, name: str) -> str:
        """Return the commit that a model's files are."""
        content = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(self.models[name].items())]
        return hashlib.sha1(json.dumps(content).encode()).hexdigest()


@contextmanager
def serving(patch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve a hub, to which the client is pointed, with a token."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    patch.setenv("HF_ENDPOINT", hub.url)
    patch.setenv("HF_TOKEN", hub.token)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self._in_trouble():
            return
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/"):
            name, _, revision = path.removeprefix("/api/models/").partition("/revision/")
            if name not in self.hub.models or revision not in ("", "main", self.hub.commit(name)):
                return self._answer(404, {"error": "not found"})
            siblings = [self._listed(file, content) for file, content in self.hub.models[name].items()]
            return self._answer(200, {"id": name, "sha": self.hub.commit(name), "siblings": siblings})
        name, _, rest = path.strip("/").partition("/resolve/")
        commit, _, file = rest.partition("/")
        if file in self.hub.models.get(name, {}) and commit == self.hub.commit(name):
            return self._answer(200, self.hub.models[name][file])
        self._answer(404, {"error": "not found"})

    def _listed(self, name: str, content: bytes) -> dict[str, Any]:
        about: dict[str, Any] = {"rfilename": name}
        if "blobs=" in self.path:
            about["size"] = len(content)
            if name.endswith(".safetensors"):
                sha256 = hashlib.sha256(content).hexdigest()
                about["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
            about |= self.hub.says.get(name, {})
        return about

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._in_trouble():
            return
        path = self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.models[name] = {".gitattributes": b""}
            if asked.get("visibility") == "private":
                self.hub.private.add(name)
            return self._answer(200, {"url": f"{self.hub.url}/{name}", "id": name})
        name, what, _ = path.removeprefix("/api/models/").rsplit("/", 2)
        if what == "preupload":
            files = [file["path"] for file in json.loads(body)["files"]]
            answers = [{"path": file, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for file in files]
            return self._answer(200, {"files": answers})
        lines = [json.loads(line) for line in body.splitlines()]
        if lines[0]["value"].get("parentCommit", self.hub.commit(name)) != self.hub.commit(name):
            return self._answer(412, {"error": "A commit has happened since."})
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "deletedFile":
                del self.hub.models[name][value["path"]]
            else:
                self.hub.models[name][value["path"]] = base64.b64decode(value["content"])
        url = f"{self.hub.url}/{name}/commit/{self.hub.commit(name)}"
        self._answer(200, {"commitUrl": url, "commitOid": self.hub.commit(name)})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _in_trouble(self) -> bool:
        asked = f"{self.command} {self.path}"
        self.hub.requests.append((self.command, self.path, "Authorization" in self.headers))
        trouble = next((what for begin, what in self.hub.trouble.items() if asked.startswith(begin)), None)
        if isinstance(trouble, int):
            self._answer(trouble, {"error": f"<b>{self.hub.token}</b>"}, {"Retry-After": "7"} if trouble == 429 else {})
        elif trouble == "slow":
            time.sleep(1)
        elif trouble == "cut":
            self._begin(200, 1000)
            self.wfile.write(b"half")
        elif trouble == "endless":
            self._begin(200, None)
            for _ in range(500):
                try:
                    self.wfile.write(b" " * 10_000)
                except OSError:
                    break
        elif trouble == "nonsense":
            self._answer(200, b"<html>")
        elif trouble is not None:
            self._begin(302, 0, {"Location": trouble + self.path})
        return trouble is not None

    def _answer(self, status: int, content: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._begin(status, len(data), headers)
        if self.command != "HEAD":
            self.wfile.write(data)

    def _begin(self, status: int, length: int | None, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
