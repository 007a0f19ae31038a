from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genlab.core.errors import GenlabError
from genlab.runs.locks import RunLock

HOLD = "import sys; from genlab.runs.locks import RunLock; lock = RunLock(sys.argv[1]).__enter__()"
TELL_AND_WAIT = "print('ready', flush=True); sys.stdin.read()"
FORK = """
import os
if os.fork() == 0:
    os.write(1, b'ready\\n')  # The child stays until its standard input ends.
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


@contextmanager
def process(path: Path, then: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock, from its first printed line on."""
    script = f"{HOLD}\n{then}"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield holder


def test_second_process_is_refused_by_the_holders_id(tmp_path: Path) -> None:
    path = tmp_path / "run" / "run.lock"
    with process(path, TELL_AND_WAIT) as holder, pytest.raises(GenlabError, match=f"process {holder.pid} on "):
        RunLock(path).acquire()
    # The refused attempt left nothing behind, and the orderly end released the lock.
    with RunLock(path):
        pass


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with process(path, TELL_AND_WAIT) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert str(holder.pid) in path.read_text()
        with RunLock(path):
            assert str(os.getpid()) in path.read_text()
            assert str(holder.pid) not in path.read_text()


def test_forked_child_does_not_keep_the_lock_of_its_dead_parent(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with process(path, FORK) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with RunLock(path):
            pass


def test_fork_leaves_the_parents_lock_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    fork_and_wait = """
import os
child = os.fork()
if child == 0:
    lock.__exit__(None, None, None)
    os._exit(0)
os.waitpid(child, 0)
"""
    with process(path, fork_and_wait + TELL_AND_WAIT) as holder, pytest.raises(GenlabError, match=str(holder.pid)):
        RunLock(path).acquire()


def test_started_program_does_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    script = f"import sys; {TELL_AND_WAIT}"
    with RunLock(path):
        program = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
        )
    with program:
        assert program.stdout is not None
        # Descriptors are closed while a program is being started; it must be there before that can be judged.
        assert program.stdout.readline() == b"ready\n"
        with RunLock(path):
            assert program.poll() is None


def test_released_lock_names_nobody_and_can_be_taken_again(tmp_path: Path) -> None:
    lock = RunLock(tmp_path / "run.lock")
    for _ in range(2):
        with lock, pytest.raises(GenlabError, match=str(os.getpid())):
            RunLock(lock.path).acquire()
        assert lock.path.read_text() == ""


def test_file_system_without_locks_is_named_once_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with RunLock(tmp_path / "run.lock"):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "no locks" in caplog.text
