"""Stands in for Python in what a fork starts: it asks the server for a fork, and is that fork to whoever started it.

Signals go on to the fork, its end is the end of this, and the end of this is its own. Copied into the folder of the
server behind a line that names Python, it needs nothing but the standard library. What asks Python for more than code,
a module or a script gets Python.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType

PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
NUMBERED = "submitit.local._local"
"""A module whose process names files by its own number, for its parent, which knows the number of this process."""


def main() -> None:
    words, environment = sys.argv[1:], dict(os.environ)
    if words[:1] == ["-u"]:
        words, environment["PYTHONUNBUFFERED"] = words[1:], "1"
    if not words or (words[0].startswith("-") and words[0] not in ("-c", "-m")) or words[1:2] == [NUMBERED]:
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    group, early = 0, list[int]()

    def pass_on(signum: int, frame: FrameType | None) -> None:
        if not group:
            early.append(signum)
            return
        with suppress(ProcessLookupError):
            os.killpg(group, signum)

    for signum in PASSED_ON:
        signal.signal(signum, pass_on)
    request = {"arguments": words, "cwd": os.getcwd(), "environment": environment, "python": __file__}
    request["cores"] = sorted(os.sched_getaffinity(0))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as way:
        way.connect(os.path.join(os.path.dirname(__file__), "socket"))
        socket.send_fds(way, [json.dumps(request).encode()], [0, 1, 2])
        group = int(way.recv(64))
        for received in early:
            pass_on(received, None)
        code = int(way.recv(64))
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
