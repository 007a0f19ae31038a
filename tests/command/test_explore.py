"""The command: it says where its page is, serves it at once, and ends in a line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from genlab.command.cli import explore
from genlab.command.explorer.server import Explorer


@pytest.mark.parametrize(
    ("signum", "code", "says"), [(signal.SIGINT, 0, ("Stopped.", "")), (signal.SIGTERM, 143, ("", "Stopped."))]
)
def test_the_page_is_there_at_once_and_a_signal_ends_it(
    tmp_path: Path, signum: int, code: int, says: tuple[str, str]
) -> None:
    command = [sys.executable, "-m", "genlab", "explore", "port=0", f"paths.logs={tmp_path}"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said, _, address = process.stdout.readline().rstrip("\n").partition(": ")
        assert said == f"The explorer of {tmp_path}"
        assert address.startswith("http://127.0.0.1:")
        assert b"<title>genlab explorer</title>" in urlopen(address, timeout=30).read()
        # Three seconds are promised on an idle machine; tests run beside each other.
        assert time.monotonic() - began < 20
        process.send_signal(signum)
        out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert (out.removeprefix("Ctrl-C ends it.\n").strip(), err.strip()) == says


def test_the_page_is_answered_before_torch_is_imported(tmp_path: Path) -> None:
    """What warms up waits here until the page is there, with all that the command has imported by then."""
    code = f"""
import os, signal, sys, threading, urllib.request
from genlab.command.cli import explore
from genlab.command.explorer.server import Explorer

def look(address):
    page = urllib.request.urlopen(address, timeout=60).read()
    print(b"<title>genlab explorer</title>" in page, "torch" in sys.modules, flush=True)
    os.kill(os.getpid(), signal.SIGINT)

def warm_up(server):
    if visits:
        threading.Thread(target=visits.pop(), args=(server.address,)).start()

visits = [look]
Explorer.warm_up = warm_up
sys.exit(explore(["port=0", "paths.logs={tmp_path}"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "True False" in done.stdout.splitlines()


def test_models_are_warmed_up_while_the_address_is_being_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    said = []
    monkeypatch.setattr(Explorer, "warm_up", lambda self: said.append(capsys.readouterr().out))

    def leave(self: Explorer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Explorer, "serve_forever", leave)
    assert explore(["port=0", f"paths.logs={tmp_path}"]) == 0
    (before,) = said
    assert "http://127.0.0.1:" in before, "the address comes first"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["paths.logs=none"], "paths.logs is none, which is no folder. Train first."),
        (["paths.logs=.", "port=70000"], "port is 70000, expected a whole number >= 0 and <= 65535."),
        (["paths.logs=.", "host=192.0.2.1", "port=0"], "The explorer cannot listen on 192.0.2.1, port 0:"),
        (["paths.logs=.", "host='no such host'"], "The explorer cannot listen on no such host, port 8642:"),
        (["paths.logs=.", "tokens=true"], "tokens"),
    ],
)
def test_what_cannot_be_served_is_a_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert explore(words) == 2
    said = capsys.readouterr().err
    assert line in said
    assert len(said.splitlines()) <= 2
