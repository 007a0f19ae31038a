"""The server of the explorer: Python's own, with a page of plain files and no library at all."""

from __future__ import annotations

import contextlib
import functools
import importlib
import ipaddress
import json
import selectors
import socket
import threading
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from genlab.command.explorer import asked
from genlab.command.explorer.guard import POLICY, Guard
from genlab.command.explorer.logs import Logs
from genlab.command.explorer.turns import Left, asked_by
from genlab.core.errors import GenlabError
from genlab.processes.starting import importing

__all__ = ["Explorer"]

MOST_POSTED = 1_000_000
"""Bytes of a request: a drawing of 256 x 256 pixels, and then some."""
WAIT_SECONDS = 30.0
"""How long a connection may be silent."""
MOST_STRANGERS = 64
"""Connections that were not yet let in, each of which has a thread: a browser opens six, and asks by them at once."""

_FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    **{
        f"/{name}.js": (f"{name}.js", "text/javascript")
        for name in ("main", "page", "cards", "models", "draw", "tables")
    },
}
"""All files that are served, by their address: no other is opened."""


class _Answer(NamedTuple):
    """What answers a kind of request: a function of a module, of the logs or of the loaded models."""

    function: str
    asked: type
    computes: bool = True


_ANSWERS = {
    "runs": _Answer("list_runs", asked.Nothing, computes=False),
    "table": _Answer("table", asked.Nothing, computes=False),
    "curves": _Answer("curves", asked.CurvesOf, computes=False),
    "sample": _Answer("sample", asked.Sample),
    "examples": _Answer("examples", asked.Examples),
    "interpolate": _Answer("interpolate", asked.Interpolate),
    "latents": _Answer("latents", asked.Latents),
    "decode": _Answer("decode_latents", asked.Decode),
    "draw": _Answer("draw", asked.Draw),
}


class Explorer(ThreadingHTTPServer):
    """Serves the page of a folder of logs, which needs nothing heavy; what models need is imported beside it.

    Args:
        logs: The folder.
        host: Address to listen on; one that other machines reach has a token.
        port: Its port; 0: any that is free.
        token: Whether every request needs the token, on this machine too.
        device: Where models go.

    Raises:
        GenlabError: If it cannot listen there.
    """

    daemon_threads = True
    request_queue_size = (
        64  # a browser opens six connections at once, and one that finds no place tries again in a second
    )

    def __init__(self, logs: str, host: str = "127.0.0.1", port: int = 0, token: bool = False, device: str = "auto"):
        self.logs = Logs(logs)
        self.guard = Guard.of(host, token)
        self._device = device
        self._lab: Any = None
        self._making, self._starting = threading.Lock(), threading.Lock()
        self._meeting = threading.Lock()
        self._strangers: dict[socket.socket, None] = {}  # the longest there first
        self._warming: threading.Thread | None = None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            self.address_family = found[0][0]
            super().__init__(found[0][4][:2], _Handler)
        except OSError as error:
            reason = error.strerror or str(error)
            raise GenlabError(
                f"The explorer cannot listen on {host}, port {port}: {reason}. port=0 takes any that is free."
            ) from error

    @property
    def address(self) -> str:
        """The address of the page, with the token; where it listens on all addresses, by this machine's name."""
        host, port = self.guard.host, self.server_port
        if ipaddress.ip_address(self.server_address[0]).is_unspecified:
            host = socket.gethostname()
        name = f"[{host}]" if ":" in host else host
        query = "" if self.guard.token is None else f"?token={self.guard.token}"
        return f"http://{name}:{port}/{query}"

    def answer(self, kind: str, plain: Any) -> dict[str, Any]:
        """Return what answers a request of a kind.

        Raises:
            GenlabError: If it cannot be answered, in a line for the page.
        """
        found = _ANSWERS[kind]
        request = asked.read(found.asked, plain)
        if not found.computes:
            return getattr(importlib.import_module("genlab.command.explorer.tables"), found.function)(
                self.logs, request
            )
        return getattr(self._views(), found.function)(self._lab, request)

    def _views(self) -> Any:
        with self._making:
            if self._lab is None:
                with importing():  # half of the time until the first pictures
                    importlib.import_module("genlab.command.explorer.views")
                    from genlab.command.explorer.lab import Lab
                self._lab = Lab(self.logs, self._device)
            return importlib.import_module("genlab.command.explorer.views")

    def warm_up(self) -> None:
        """Import what models need, which takes seconds, and load the newest runs, once, while nobody waits for it yet.

        Who asks for pictures meanwhile waits for it.
        """
        with self._starting:
            if self._warming is None:
                self._warming = threading.Thread(target=self._warm, name="warm-up", daemon=True)
                self._warming.start()

    def _warm(self) -> None:
        with contextlib.suppress(Exception):  # whoever asks for what is wrong is told
            self._views()
            self._lab.load(self.answer("runs", {})["first"])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take every connection, and close of too many strangers the one that has been there longest.

        Were the new one refused, whoever holds silent ones would keep out whose first request has the token.
        """
        with self._meeting:
            if len(self._strangers) >= MOST_STRANGERS:
                longest = next(iter(self._strangers))
                del self._strangers[longest]
                with contextlib.suppress(OSError):  # it has left
                    longest.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and closes it
            self._strangers[request] = None
        return True

    def let_in(self, connection: socket.socket) -> None:
        """Count a connection no longer as a stranger's: it has asked for what it may have."""
        with self._meeting:
            self._strangers.pop(connection, None)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection, which counts no longer."""
        self.let_in(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has left."""


class _Handler(BaseHTTPRequestHandler):
    server: Explorer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "genlab", ""
    timeout = WAIT_SECONDS

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if not self._is_let_in(address.path, parse_qs(address.query).get("token", [None])[-1]):
            return
        if address.path not in _FILES:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such page.")
            return
        name, kind = _FILES[address.path]
        self._send(HTTPStatus.OK, _page(name), f"{kind}; charset=utf-8")
        if address.path == "/":
            self.server.warm_up()

    def do_POST(self) -> None:
        kind = self.path.removeprefix("/api/")
        if not self._is_let_in(self.path, None):
            return
        if kind == self.path or kind not in _ANSWERS:
            self._refuse(HTTPStatus.NOT_FOUND, "There is no such request.")
            return
        if self.headers.get_content_type() != "application/json":  # which no form of another page can send
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "A request is JSON.")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 9) or int(length) > MOST_POSTED:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A request has at most {MOST_POSTED:,} bytes.")
            return
        self._answer(kind, self.rfile.read(int(length)))

    def _answer(self, kind: str, content: bytes) -> None:
        try:
            plain = json.loads(content)
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST, "The request is no JSON.")
            return
        try:
            with asked_by(self._has_left):
                found = self.server.answer(kind, plain)
        except Left:
            self.close_connection = True
        except GenlabError as error:
            self._send_json(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)})
        except Exception:  # whatever is wrong with one request, the others are answered
            traceback.print_exc()
            line = "That failed: a fault of the program. Its traceback stands where the explorer was started."
            self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": line})
        else:
            self._send_json(HTTPStatus.OK, found)

    def _has_left(self) -> bool:
        """Whether the other end is closed: a page that shows another view closes what it waited for."""
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.connection, selectors.EVENT_READ)
                # Nothing is taken: another request may stand there.
                return bool(selector.select(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _is_let_in(self, path: str, token: str | None) -> bool:
        """Whether a request may be answered; if not, it is refused. The address with the token leads to the page."""
        guard, port = self.server.guard, self.server.server_port
        if (reason := guard.refusal(self.headers, is_page=path == "/")) is not None:
            self._refuse(HTTPStatus.FORBIDDEN, f"Refused: {reason}.")
            return False
        if None not in (guard.token, token) and path == "/" and guard.knows(token):
            self._send(HTTPStatus.SEE_OTHER, b"", "text/plain", {"Location": "/", "Set-Cookie": guard.cookie(port)})
            return False
        if not guard.knows(guard.token_in(self.headers, port)):
            self._refuse(
                HTTPStatus.UNAUTHORIZED,
                "Open the whole address, with its token, that the explorer printed.",
            )
            return False
        self.server.let_in(self.connection)
        return True

    def _refuse(self, status: HTTPStatus, line: str) -> None:
        self.close_connection = True  # what was sent is not read
        if self.command == "POST":
            self._send_json(status, {"error": line})
        else:
            self._send(status, f"{line}\n".encode(), "text/plain; charset=utf-8")

    def _send_json(self, status: HTTPStatus, found: dict[str, Any]) -> None:
        content = json.dumps(_finite(found), allow_nan=False).encode()
        self._send(status, content, "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        closing = {"Connection": "close"} if self.close_connection else {}
        about = {"Content-Type": kind, "Content-Length": str(len(content))}
        for name, value in (about | POLICY | closing | (more or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Log nothing: the terminal has the address, and errors."""


@functools.cache
def _page(name: str) -> bytes:
    return resources.files("genlab.command.explorer").joinpath("page", name).read_bytes()


def _finite(value: Any) -> Any:
    """Put None in the place of numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and value - value != 0 else value
