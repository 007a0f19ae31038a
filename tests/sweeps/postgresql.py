"""A private PostgreSQL server on a free loopback port, where PostgreSQL is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy

__all__ = ["PASSWORD", "postgresql_server", "program"]

PASSWORD = "hunter2secret"


def program(name: str) -> str | None:
    """The path of one of its programs; distributions keep them out of the usual path."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


@contextmanager
def postgresql_server() -> Iterator[str]:
    """Start a server and yield the address of its database, password included."""
    folder = Path(tempfile.mkdtemp(prefix="genlab-pg-"))
    # The server refuses to run as root.
    user = _other_user() if os.geteuid() == 0 else None
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user is not None:
        for path in (folder, secret):
            shutil.chown(path, user)
    data = folder / "data"
    options = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    make = [program("initdb"), "-D", data, "-U", "genlab", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    subprocess.run(make, check=True, timeout=120, **options)
    port = _free_port()
    serve = [program("postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
    with open(folder / "log", "w") as log:
        server = subprocess.Popen(serve, **{**options, "stderr": log})
    try:
        url = f"postgresql+pg8000://genlab:{PASSWORD}@127.0.0.1:{port}/postgres"
        _wait_for(url, server, folder / "log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # SIGTERM would wait for clients that are still connected
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    engine = sqlalchemy.create_engine(url)
    deadline = time.monotonic() + 60
    while True:
        try:
            engine.connect().close()
            break
        except sqlalchemy.exc.DBAPIError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
    engine.dispose()
