"""The server of :mod:`tests.forkserver`: it imports what a training needs, and forks."""

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
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

from genlab.processes.deferring import SELDOM_USED, deferred

PRELOADED = ("genlab", "hydra_plugins")
"""Packages that the server imports whole."""
PRELOADED_TOO = (
    "pytest", "sklearn.datasets", "submitit", "torch.distributed.run", "torch.profiler", "tests.tiny",
)  # fmt: skip
"""Modules that a training or a sweep imports only once it runs."""
_MESSAGE_BYTES = 2**20


class _Fork:
    """What a fork is asked to do: it makes itself ready in the server's loop and executes when that is left."""

    def __init__(self, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        self.arguments: list[str] = request["arguments"]
        self._cwd: str = request["cwd"]
        self._environment: dict[str, str] = request["environment"]
        self._cores: list[int] = request["cores"]
        self._python: str = request["python"]
        self._descriptors = descriptors

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
        os.sched_setaffinity(0, self._cores)
        self._extend_path()
        sys.executable = self._python
        for target, descriptor in enumerate(self._descriptors):
            os.dup2(descriptor, target)
            os.close(descriptor)
        unbuffered = bool(self._environment.get("PYTHONUNBUFFERED"))
        sys.stdin = sys.__stdin__ = open(0, closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        sys.stdout.reconfigure(write_through=unbuffered)
        sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        sys.stderr.reconfigure(line_buffering=True, write_through=unbuffered)
        self._seed()

    def _extend_path(self) -> None:
        more = [place for place in self._environment.get("PYTHONPATH", "").split(os.pathsep) if place]
        if more := [place for place in more if place not in sys.path]:
            sys.path[1:1] = more
            importlib.invalidate_caches()
            if any((Path(place) / "sitecustomize.py").exists() for place in more):
                sys.modules.pop("sitecustomize", None)
                importlib.import_module("sitecustomize")

    def _seed(self) -> None:
        import numpy
        import torch

        random.seed()
        numpy.random.seed()
        torch.set_num_threads(int(self._environment.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))

    def run(self) -> NoReturn:
        """Do as ``python`` with these arguments does, and end as it does, but for taking all that is imported apart.

        That would take a third of a second: each object that is freed makes a copy of its page of memory.
        """
        code, interrupted = 0, False
        try:
            self._execute()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
            if code and not isinstance(left.code, int):
                print(left.code, file=sys.stderr)
        except BaseException as error:
            code, interrupted = 1, isinstance(error, KeyboardInterrupt)
            sys.excepthook(*sys.exc_info())
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError, OSError):  # it was closed
                stream.flush()
        if interrupted:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(code & 0xFF)

    def _execute(self) -> None:
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
    with deferred(*SELDOM_USED):  # as genlab's commands begin
        for name in PRELOADED:
            package = importlib.import_module(name)
            for module in pkgutil.walk_packages(package.__path__, f"{name}."):
                with suppress(ImportError):  # what an extra brings in
                    importlib.import_module(module.name)
        for name in PRELOADED_TOO:
            importlib.import_module(name)
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("An import has started a thread, which a fork would not have.")
    gc.collect()
    gc.freeze()  # collections in a fork leave alone, and so uncopied, what it shares with the server
    gc.enable()


class _Server:
    """Forks for each request, reports how each fork ends, and kills what nobody waits for any more.

    Args:
        listener: Where requests come in, each on a connection of its own, which stays open until its fork has ended.
        alive: Is readable when the tests are over.
    """

    def __init__(self, listener: socket.socket, alive: socket.socket) -> None:
        self._listener = listener
        self._alive = alive
        self._woken, self._wake = socket.socketpair()
        self._children: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        for end in (self._woken, self._wake):
            end.setblocking(False)
        for each in (listener, alive, self._woken):
            self._selector.register(each, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _no_more_than_wake)

    def serve(self) -> _Fork | None:
        """Serve to the end of the tests.

        Returns:
            In a fork: what it has to do. In the server: None, when the tests are over.
        """
        while True:
            ready = [key.fileobj for key, _ in self._selector.select()]
            if self._alive in ready:
                for pid in self._children.values():
                    _kill(pid)
                return None
            for way in ready:
                if way is self._woken:
                    self._woken.recv(4096)
                    self._report_ends()
                elif way is self._listener:
                    self._selector.register(self._listener.accept()[0], selectors.EVENT_READ)
                elif (fork := self._hear(way)) is not None:
                    return fork

    def _hear(self, way: socket.socket) -> _Fork | None:
        message, descriptors, *_ = socket.recv_fds(way, _MESSAGE_BYTES, 3)
        if not message:
            self._selector.unregister(way)  # and it is closed when its fork has ended
            if way in self._children:
                _kill(self._children[way])
            return None
        if pid := os.fork():
            self._children[way] = pid
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        signal.set_wakeup_fd(-1)
        self._close_all_but(way)
        fork = _Fork(json.loads(message), descriptors)
        fork.become()
        with way:  # it hears signals from here on, and who sends them learns its number only now
            way.send(str(os.getpid()).encode())
        return fork

    def _close_all_but(self, own: socket.socket) -> None:
        self._selector.close()
        for each in (self._listener, self._alive, self._woken, self._wake, *self._children):
            if each is not own:
                each.close()

    def _report_ends(self) -> None:
        for way, pid in list(self._children.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._children[way]
                with suppress(KeyError):
                    self._selector.unregister(way)
                with way, suppress(BrokenPipeError):  # nobody waits for it any more
                    way.send(str(os.waitstatus_to_exitcode(status)).encode())


def _kill(pid: int) -> None:
    """Kill a fork and all that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it is not yet the first of its session
        os.kill(pid, signal.SIGKILL)


def _no_more_than_wake(signum: int, frame: FrameType | None) -> None:
    pass


def _main() -> None:
    listener, alive = (socket.socket(fileno=int(word)) for word in sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload()
    if (fork := _Server(listener, alive).serve()) is not None:
        fork.run()


if __name__ == "__main__":
    _main()
