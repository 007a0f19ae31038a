"""Processes that begin with torch, Lightning and genlab imported, for tests whose command is a process of its own.

The imports of a training take four seconds, the tiny trainings of the tests less than one. A server imports them once
and forks for each command. The fork is a real process, with arguments, environment, working folder, output, signals and
exit code of its own, which executes the command as Python's own start does: what differs is only that the imports are
done. Tests of what is imported, or of how a command is found and started, use :mod:`subprocess`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import IO, Any

__all__ = ["ForkedProcess", "run", "start"]

ROOT = Path(__file__).parents[1]
PRELOADED = ("genlab", "hydra_plugins")
"""Packages that the server imports whole."""
PRELOADED_TOO = ("pytest", "sklearn.datasets", "torch.distributed.run", "torch.profiler", "tests.tiny")
"""Modules that a training imports only once it runs."""
START_SECONDS = 300
"""Until the server counts as hung: only its imports can take long."""
_MESSAGE_BYTES = 2**20
_ENVIRONMENT = dict(os.environ)
"""That of the whole suite, without what a test has set when it happens to be the first to need the server."""


class ForkedProcess:
    """A Python command in a process that has torch, Lightning and genlab imported already.

    It is the first of a session of its own, so ``os.killpg(process.pid, ...)`` reaches all that it started. Signals are
    as a shell leaves them, also where the suite itself runs without hearing Ctrl-C (``nohup pytest &``).

    Args:
        command: ``[sys.executable, "-c", code, ...]``, ``[sys.executable, "-m", module, ...]`` or
            ``[sys.executable, script, ...]``.
        cwd: Its working folder; the suite's by default.
        env: Its environment; that of the caller by default.

    Attributes:
        pid: Its number.
        returncode: Its exit code, or minus the signal that killed it; None while it runs.
    """

    def __init__(
        self, command: Sequence[str], cwd: Path | str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        if command[0] != sys.executable:
            raise ValueError(f"{command[0]} is not this Python, {sys.executable}.")
        self.args = list(command)
        self.returncode: int | None = None
        self._output = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]  # noqa: SIM115 (read when it has ended)
        request = {
            "arguments": self.args[1:],
            "cwd": str(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
        }
        self._status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptors = [theirs.fileno(), *(file.fileno() for file in self._output)]
            socket.send_fds(_server(), [json.dumps(request).encode()], descriptors)
        self.pid = self._receive(START_SECONDS)

    def _receive(self, timeout: float | None) -> int:
        self._status.settimeout(timeout)
        message = self._status.recv(64)
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
            self._status.close()
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
    command: Sequence[str], cwd: Path | str | None = None, env: Mapping[str, str] | None = None
) -> ForkedProcess | subprocess.Popen[str]:
    """Start a command; see :class:`ForkedProcess`. Only Linux forks: elsewhere libraries do not outlive that."""
    if sys.platform == "linux":
        return ForkedProcess(command, cwd, env)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **pipes)


def run(
    command: Sequence[str],
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as ``subprocess.run(..., capture_output=True, text=True)``; see :func:`start`."""
    process = start(command, cwd, env)
    try:
        out, err = process.communicate(timeout)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


_ways: list[socket.socket] = []


def _server() -> socket.socket:
    """The way to the server of this process, which is started when it is needed first and ends with this process."""
    if not _ways:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        paths = [str(ROOT), str(ROOT / "src"), *_ENVIRONMENT.get("PYTHONPATH", "").split(os.pathsep)]
        with theirs:
            server = subprocess.Popen(
                [sys.executable, "-m", "tests.forkserver", str(theirs.fileno())],
                cwd=ROOT,
                # Threads that wait for work would not be in the forks.
                env={**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        _ways.append(ours)
        atexit.register(_end, ours, server)
    return _ways[0]


def _end(way: socket.socket, server: subprocess.Popen[bytes]) -> None:
    way.close()
    server.wait()


class _Fork:
    """What a fork is asked to do: it makes itself ready in the server's loop and executes when that is left."""

    def __init__(self, request: dict[str, Any], out: int, err: int) -> None:
        self.arguments: list[str] = request["arguments"]
        self._cwd: str = request["cwd"]
        self._environment: dict[str, str] = request["environment"]
        self._out = out
        self._err = err

    def become(self) -> None:
        """Be what Python would find at its start."""
        os.setsid()
        for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(signum, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for signum in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(signum, signal.SIG_IGN)
        os.chdir(self._cwd)
        os.environ.clear()
        os.environ.update(self._environment)
        for target, descriptor in ((1, self._out), (2, self._err)):
            os.dup2(descriptor, target)
            os.close(descriptor)
        unbuffered = bool(self._environment.get("PYTHONUNBUFFERED"))
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stdout.reconfigure(write_through=unbuffered)
        sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        sys.stderr.reconfigure(line_buffering=True, write_through=unbuffered)
        self._seed()

    def _seed(self) -> None:
        import numpy
        import torch

        random.seed()
        numpy.random.seed()
        torch.set_num_threads(int(self._environment.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))

    def execute(self) -> None:
        """Do as ``python`` with these arguments does; what it raises ends this process as it ends any other."""
        kind, *rest = self.arguments
        if kind == "-c":
            code, *words = rest
            sys.argv, sys.path[0] = ["-c", *words], ""
            self._execute_as_main(code, "<string>")
        elif kind == "-m":
            sys.argv, sys.path[0] = rest, os.getcwd()
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            script = Path(kind).absolute()
            sys.argv, sys.path[0] = self.arguments, str(script.parent)
            self._execute_as_main(script.read_text(), str(script), __file__=str(script))

    @staticmethod
    def _execute_as_main(code: str, name: str, **variables: str) -> None:
        main = sys.modules["__main__"] = ModuleType("__main__")
        main.__dict__.update(variables)
        exec(compile(code, name, "exec"), main.__dict__)


def _preload() -> None:
    gc.disable()  # imports leave no garbage
    for name in PRELOADED:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            try:
                importlib.import_module(module.name)
            except ImportError:  # what an extra brings in
                continue
    for name in PRELOADED_TOO:
        importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("An import has started a thread, which a fork would not have.")
    gc.collect()
    gc.freeze()  # collections in a fork leave alone, and so uncopied, what it shares with the server
    gc.enable()


def _serve(control: socket.socket) -> _Fork | None:
    """Fork for each request and report the ends.

    Returns:
        In a fork: what it has to do. In the server: None, when the tests are over.
    """
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, _no_more_than_wake)
    children: dict[int, socket.socket] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                woken.recv(4096)
                _report_ends(children)
            if control not in ready:
                continue
            message, descriptors, *_ = socket.recv_fds(control, _MESSAGE_BYTES, 3)
            if not message:
                break
            status = socket.socket(fileno=descriptors[0])
            if pid := os.fork():
                children[pid] = status
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
                continue
            signal.set_wakeup_fd(-1)
            for each in (control, woken, wake, *children.values()):
                each.close()
            fork = _Fork(json.loads(message), *descriptors[1:])
            fork.become()
            with status:  # it hears signals from here on, and who sends them learns its number only now
                status.send(str(os.getpid()).encode())
            return fork
    for pid in children:
        os.killpg(pid, signal.SIGKILL)
    return None


def _no_more_than_wake(signum: int, frame: FrameType | None) -> None:
    pass


def _report_ends(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as way:
                try:
                    way.send(str(os.waitstatus_to_exitcode(status)).encode())
                except BrokenPipeError:  # nobody waits for it any more
                    continue


def _main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload()
    if (fork := _serve(control)) is not None:
        fork.execute()


if __name__ == "__main__":
    _main()
