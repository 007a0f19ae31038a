"""Processes that begin with torch, Lightning and genlab imported, for tests whose command is a process of its own.

The imports of a training take four seconds, the tiny trainings of the tests less than one. A server imports them once
for all that run tests at a time, and forks for each command. The fork is a real process, with arguments, environment,
working folder, output, signals and exit code of its own, which executes the command as Python's own start does: what
differs is only that the imports are done. Tests of what is imported, or of how a command is found and started, use
:mod:`subprocess`.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["ForkedProcess", "offer", "python", "run", "start"]

ROOT = Path(__file__).parents[1]
START_SECONDS = 300
"""Until the server counts as hung: only its imports can take long."""
_ENVIRONMENT = dict(os.environ)
"""That of the whole suite, without what a test has set when it happens to be the first to need the server."""
_FOLDER = "GENLAB_TESTS_FORKSERVER"
"""Variable that names the folder of the server that all workers share."""


class ForkedProcess:
    """A Python command in a process that has torch, Lightning and genlab imported already.

    It is the first of a session of its own, so ``os.killpg(process.pid, ...)`` reaches all that it started. Signals are
    as a shell leaves them, also where the suite itself runs without hearing Ctrl-C (``nohup pytest &``).

    Args:
        command: ``[sys.executable, "-c", code, ...]``, ``[sys.executable, "-m", module, ...]`` or
            ``[sys.executable, script, ...]``.
        cwd: Its working folder; the suite's by default.
        env: Its environment; that of the caller by default.
        children_too: Whether the Python processes that it starts, as jobs of a sweep or ranks of a training, are
            forks as well, each behind a process that its parent knows: :mod:`tests.forked_python`.

    Attributes:
        pid: Its number.
        returncode: Its exit code, or minus the signal that killed it; None while it runs.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        children_too: bool = False,
    ) -> None:
        if command[0] != sys.executable:
            raise ValueError(f"{command[0]} is not this Python, {sys.executable}.")
        self.args = list(command)
        self.returncode: int | None = None
        self._output = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 (read when it has ended)
        folder = _folder()
        request = {
            "arguments": self.args[1:],
            "cwd": str(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
            "cores": sorted(os.sched_getaffinity(0)),
            "python": python() if children_too else sys.executable,
        }
        self._way = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._way.connect(str(folder / "socket"))
        with open(os.devnull) as nothing:
            descriptors = [file.fileno() for file in (nothing, *self._output)]
            socket.send_fds(self._way, [json.dumps(request).encode()], descriptors)
        self.pid = self._receive(START_SECONDS)

    def _receive(self, timeout: float | None) -> int:
        self._way.settimeout(timeout)
        message = self._way.recv(64)
        if not message:
            raise RuntimeError("The server that forks processes for the tests has ended.")
        return int(message)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: It still runs after ``timeout`` seconds.
        """
        if self.returncode is None:
            try:
                self.returncode = self._receive(timeout)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._way.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end and return what it has written to its standard output and error."""
        self.wait(timeout)
        return self._written(self._output[0]), self._written(self._output[1])

    @staticmethod
    def _written(file: IO[bytes]) -> str:
        file.seek(0)
        return file.read().decode()

    def send_signal(self, signum: int) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """Kill it, and nothing that it started."""
        self.send_signal(signal.SIGKILL)


def start(
    command: Sequence[str],
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    children_too: bool = False,
) -> ForkedProcess | subprocess.Popen[str]:
    """Start a command; see :class:`ForkedProcess`. Only Linux forks: elsewhere libraries do not outlive that."""
    if sys.platform == "linux":
        return ForkedProcess(command, cwd, env, children_too)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **pipes)


def run(
    command: Sequence[str],
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    children_too: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as ``subprocess.run(..., capture_output=True, text=True)``; see :func:`start`."""
    process = start(command, cwd, env, children_too)
    try:
        out, err = process.communicate(timeout)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def python() -> str:
    """What stands in for ``sys.executable`` where others start a command, as a cluster does; see `ForkedProcess`."""
    return str(_folder() / "python")


_folders: list[Path] = [Path(os.environ[_FOLDER])] if _FOLDER in os.environ else []


def _folder() -> Path:
    """The folder of the server, which is started when it is needed first: of this process, if none is shared."""
    if not _folders:
        _launch(_listen())
    return _folders[0]


def offer() -> None:
    """Let the processes that this one starts share a server, which begins when the first of them asks for it."""
    listener = _listen()
    os.environ[_FOLDER] = str(_folders[0])

    def wait() -> None:
        select.select([listener], [], [])
        _launch(listener)

    threading.Thread(target=wait, daemon=True).start()


def _listen() -> socket.socket:
    """Make the folder of a server with the socket that it will read, and the stand-in for Python."""
    folder = Path(tempfile.mkdtemp(prefix="genlab-fork-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    stand_in = folder / "python"
    stand_in.write_text(f"#!{sys.executable} -IS\n{(ROOT / 'tests' / 'forked_python.py').read_text()}")
    stand_in.chmod(0o700)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(folder / "socket"))
    listener.listen(100)
    _folders.append(folder)
    return listener


def _launch(listener: socket.socket) -> None:
    """Start the server, which ends with this process."""
    ours, theirs = socket.socketpair()
    paths = [str(ROOT), str(ROOT / "src"), *_ENVIRONMENT.get("PYTHONPATH", "").split(os.pathsep)]
    with theirs, listener:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.forking", str(listener.fileno()), str(theirs.fileno())],
            cwd=ROOT,
            # Threads that wait for work would not be in the forks.
            env={**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno(), theirs.fileno()],
            start_new_session=True,
        )
    atexit.register(_end, ours, server)


def _end(alive: socket.socket, server: subprocess.Popen[bytes]) -> None:
    alive.close()
    server.wait()
