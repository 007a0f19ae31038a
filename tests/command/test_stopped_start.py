"""A command that is stopped while it starts, or whose disk is full, ends with a line and not with a traceback."""

from __future__ import annotations

import logging
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from genlab.command.cli import train
from genlab.command.console import log_to
from genlab.core.errors import GenlabError
from tests import forkserver
from tests.command.hostile import check_rule
from tests.tiny import ROOT, TINY, command_to_train


@contextmanager
def most_bytes(limit: int) -> Iterator[None]:
    """Within it no file of this process grows beyond a limit, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


BEGUN = "from genlab.command import cli\ncommand = sys.argv.pop(1)\nsys.exit(getattr(cli, command)())"


def stopped_at(module: str, signum: int, *words: str, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command that gets a signal when it begins to import a module."""
    code = f"""
import os, signal, sys
{"signal.signal(signal.SIGINT, signal.SIG_IGN)" if ignored else ""}
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {int(signum)})
sys.meta_path.insert(0, Stop())
for name in [name for name in sys.modules if name == {module!r}]:
    del sys.modules[name]
sys.argv[0] = "train.py"
{BEGUN}"""
    return forkserver.run([sys.executable, "-c", code, *words], cwd=ROOT, timeout=60)


@pytest.mark.parametrize("command", ["train", "evaluate", "sample", "compare", "dashboard"])
@pytest.mark.parametrize(
    ("signum", "says"), [(signal.SIGINT, "Stopped by Ctrl-C."), (signal.SIGTERM, "Stopped by SIGTERM.")]
)
@pytest.mark.parametrize("module", ["genlab.command.entry", "{command}"])
def test_a_stop_while_it_imports_is_one_line(command: str, signum: int, says: str, module: str) -> None:
    module = module.replace("{command}", f"genlab.command.{command}")
    words = ["run=x"] if command in ("evaluate", "sample") else []
    done = stopped_at(module, signum, command, *words)
    said = check_rule(done.returncode, done.stderr, [says], 128 + signum)
    assert len(said.splitlines()) == 1
    assert done.stdout == ""


def test_ctrl_c_that_is_ignored_stays_so(tmp_path: Path) -> None:
    # As under `nohup python train.py &`.
    words = ["train", *TINY, f"paths.logs={tmp_path}"]
    done = stopped_at("genlab.command.train", signal.SIGINT, *words, ignored=True)
    assert done.returncode == 0, done.stderr
    prelude = "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + KILLED_IN_A_STEP
    trained = forkserver.run(command_to_train(tmp_path, "seed=1", prelude=prelude), cwd=ROOT, timeout=60)
    assert trained.returncode == 0, trained.stderr


KILLED_IN_A_STEP = """
from genlab.training.callbacks.budget import Budget
before = Budget.on_train_batch_end
def after_a_step(self, *arguments):
    os.kill(os.getpid(), signal.SIGINT)
    return before(self, *arguments)
Budget.on_train_batch_end = after_a_step
"""


def test_a_job_of_a_sweep_hears_ctrl_c_where_the_sweep_ignores_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from genlab.processes.job_reports import REPORT_VARIABLE, is_job\n"
        "from genlab.processes.starting import begin\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"os.environ[REPORT_VARIABLE] = {str(tmp_path / 'job.jsonl')!r}\n"
        "begin(is_job())\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
    )
    done = forkserver.run([sys.executable, "-c", code], timeout=60)
    check_rule(done.returncode, done.stderr, ["Ctrl-C"], 130)


@pytest.mark.parametrize("limit", [0, 500, 3_000, 10_000])
@pytest.mark.parametrize("logger", ["none", "tensorboard"])
def test_a_full_disk_is_said_once(limit: int, logger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with most_bytes(limit):  # of the config, the log, a picture, a checkpoint
        code = train([*TINY, f"logger={logger}", f"paths.logs={tmp_path}"])
    beside = ("%  ", "going on without it")  # progress, and a dashboard's notice
    said = [line for line in capsys.readouterr().err.splitlines() if not any(text in line for text in beside)]
    check_rule(code, "\n".join(said), ["File too large"])


@pytest.mark.parametrize("fails", [False, True])
def test_a_log_that_is_cut_off_says_so(fails: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with log_to(tmp_path / "train.log"):
            with most_bytes(100):
                for _ in range(10):
                    logging.getLogger("genlab").info("a line")
                    logging.getLogger("pytorch_lightning").info("another")
            if fails:
                raise GenlabError("That is what matters.")

    if fails:
        with pytest.raises(GenlabError):
            work()
    else:
        work()
    said = capsys.readouterr().err.splitlines()
    assert said.count("a line") == 10
    assert [line for line in said if line != "a line"] == (
        [] if fails else [f"{tmp_path / 'train.log'} is not complete: File too large."]
    )
