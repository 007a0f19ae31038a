"""A stand-in for W&B's server that keeps what it is sent."""

from __future__ import annotations

import gzip
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Server"]


class Server(ThreadingHTTPServer):
    """As much of W&B's server as a run with figures needs; it takes no tables.

    Args:
        accepts: Whether it takes the key that it is given.

    Attributes:
        history: The rows that were logged, by the id of the run.
        summary: The figures of the summary.
        config: The configuration as W&B has it.
        upserts: All messages that made or changed a run.
        exit_codes: How the runs ended.
        views: All workspaces that were saved.
    """

    daemon_threads = True

    def __init__(self, accepts: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.accepts = accepts
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.upserts: list[dict[str, Any]] = []
        self.exit_codes: list[int] = []
        self.views: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stream(self, run: str, message: dict[str, Any]) -> dict[str, Any]:
        files = message.get("files") or {}
        if lines := files.get("wandb-history.jsonl"):
            kept = self.history.setdefault(run, [])
            kept[lines["offset"] :] = [json.loads(line) for line in lines["content"]]
        for line in files.get("wandb-summary.json", {}).get("content", []):
            self.summary |= json.loads(line)
        if message.get("complete"):
            self.exit_codes.append(message["exitcode"])
        return {}

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": "genlab", "entity": {"id": "e", "name": "me"}}
        if operation == "RunResumeStatus":
            kept = self.history.get(variables["name"])
            bucket = kept and {
                "id": "cnVu", "name": variables["name"], "displayName": "x", "summaryMetrics": "{}", "config": "{}",
                "logLineCount": 0, "eventsLineCount": 0, "historyLineCount": len(kept), "eventsTail": "[]",
                "historyTail": json.dumps([json.dumps(kept[-1])]), "tags": [], "wandbConfig": json.dumps({"t": 1}),
            }  # fmt: skip
            return {"model": {**project, "bucket": bucket}}
        if operation == "UpsertBucket":
            self.upserts.append(variables)
            self.config |= json.loads(variables["config"] or "{}")
            bucket = {"id": "cnVu", "name": variables["name"], "displayName": "x", "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if operation == "UpsertView2":
            self.views.append(variables)
            return {"upsertView": {"view": {"id": "view", "name": variables["name"]}, "inserted": True}}
        if operation in ("Viewer", "GetDefaultEntity"):
            return {"viewer": {"id": "u", "username": "me", "entity": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": files}}
        return {}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if not self.server.accepts:
            return self._send(401, {})
        message = json.loads(body) if body.startswith(b"{") else {}
        if self.path.endswith("file_stream"):
            return self._send(200, self.server.stream(self.path.split("/")[-2], message))
        # Some of W&B's own messages name their operation in the query alone.
        named = re.search(r"(?:query|mutation) (\w+)", message.get("query", ""))
        operation = message.get("operationName") or (named[1] if named else "")
        return self._send(200, {"data": self.server.answer(operation, message.get("variables") or {})})

    def do_GET(self) -> None:
        self._send(405, {})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send(200, {})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass
