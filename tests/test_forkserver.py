"""A fork of the server is a process like any other: what a test learns from one, it would learn from Python's own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests import forkserver

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the processes of the tests are no forks")

# Under `nohup pytest &` a process of its own is deaf to SIGHUP and SIGQUIT too; a fork never is.
LOOK = """
import os, signal, sys
print(sys.argv, __name__, globals().get("__file__"), os.getcwd(), os.environ.get("LOOK"), os.environ.get("HOME"))
print(sys.path[0], sys.stdout.encoding, sys.stderr.line_buffering, sorted(os.listdir("/proc/self/fd")))
print([signal.getsignal(signum) for signum in sorted(signal.valid_signals() - {signal.SIGHUP, signal.SIGQUIT})])
"""
CODES = {
    "what it finds": LOOK,
    "an exit code": "import sys; sys.exit(3)",
    "an exit with words": "import sys; sys.exit('no')",
    "an error": "print('before'); 1 / 0",
    "an end without goodbye": "import os; os._exit(4)",
    "what is done at the end": "import atexit; atexit.register(print, 'at the end')",
    "a thread that goes on": "import threading, time; threading.Timer(0.05, print, ['late']).start()",
    **{
        f"{name} to itself": f"import os, signal; os.kill(os.getpid(), signal.{name})"
        for name in ("SIGINT", "SIGTERM", "SIGKILL", "SIGUSR1")
    },
    "Ctrl-C that is heard": "import os\ntry: os.kill(os.getpid(), 2)\nexcept KeyboardInterrupt: print('heard')",
}


START = """
import json, subprocess, sys
done = subprocess.run([sys.executable, *sys.argv[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True)
print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""


def subprocess_run(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def run_by_a_fork(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run it as a fork starts a Python process, which is then a fork as well."""
    done = forkserver.run([sys.executable, "-c", START, *command[1:]], cwd=cwd, env=env, children_too=True)
    assert done.returncode == 0, done.stderr
    return subprocess.CompletedProcess(command, *json.loads(done.stdout))


# How it ends has nothing to do with how it was found.
KINDS = [(what, "code") for what in CODES] + list(product(["what it finds", "an error"], ["script", "module"]))


@pytest.mark.parametrize(("what", "kind"), KINDS)
def test_it_does_as_a_process_of_its_own(what: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(CODES[what])
    how = {"code": ["-c", CODES[what]], "script": ["program.py"], "module": ["-m", "program"]}[kind]
    command = [sys.executable, *how, "a b", "--c"]
    environment = {"LOOK": "ä b", "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    run: list[Callable[..., subprocess.CompletedProcess[str]]] = [subprocess_run, forkserver.run, run_by_a_fork]
    own, *forks = (each(command, cwd=tmp_path, env=environment) for each in run)
    for fork in forks:
        assert (fork.returncode, fork.stdout) == (own.returncode, own.stdout)
        assert fork.stderr.splitlines()[-1:] == own.stderr.splitlines()[-1:]


def test_its_imports_are_done_and_its_threads_are_the_environments() -> None:
    code = "import sys; print('genlab.command.train' in sys.modules); import torch; print(torch.get_num_threads())"
    for threads in ("1", "3"):
        done = forkserver.run([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": threads})
        assert done.stdout.split() == ["True", threads]


def test_a_signal_reaches_all_that_it_started_also_where_the_suite_is_deaf_to_ctrl_c() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = forkserver.ForkedProcess([sys.executable, "-c", code])
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == -signal.SIGINT
    assert process.poll() == -signal.SIGINT
