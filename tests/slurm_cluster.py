"""A private SLURM cluster on this machine, where SLURM and munge are installed: one node, which claims two cores.

``apt-get install slurm-wlm munge`` on Debian and Ubuntu. Nothing outside a temporary folder is read or written: the
programs of a cluster find it by ``SLURM_CONF``.
"""

from __future__ import annotations

import getpass
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from genlab.sweeps.guard import Guard

__all__ = ["PATIENCE_SECONDS", "WHY_NOT", "slurm_cluster", "wait_for"]

PATIENCE_SECONDS = 900.0
"""Far beyond what anything here takes: reached only when it never happens."""

CONF = """
ClusterName=genlab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
# The ranks of a job meet at a port that its number gives, and so must be another than in a cluster beside this one.
FirstJobId={first_job}
AuthType=auth/munge
CredType=cred/munge
# A job that is queued again waits until credentials of its first start have expired: two minutes, if nobody says less.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 GraceTime=300
PartitionName=high Nodes={host} MaxTime=INFINITE PriorityTier=2
"""


def _why_not() -> str:
    """What is missing for a cluster of one's own; an empty string if nothing is."""
    needed = ("munged", "slurmctld", "slurmd", "sbatch")
    missing = [name for name in needed if _program(name) is None]
    return f"not installed: {', '.join(missing)} (apt-get install slurm-wlm munge)" if missing else ""


def _program(name: str) -> str | None:
    """The path of a program; daemons are in folders that not every user searches."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


WHY_NOT = _why_not()


@contextmanager
def slurm_cluster() -> Iterator[Path]:
    """Start a cluster with an idle node; yield its ``SLURM_CONF``, and end all of it, jobs included."""
    with ExitStack() as opened:
        folder = Path(tempfile.mkdtemp(prefix="genlab-slurm-"))
        opened.callback(shutil.rmtree, folder, ignore_errors=True)
        guard = opened.enter_context(Guard(patience_seconds=20))  # if this process is killed
        conf = _prepare(folder)
        munge = {name: f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")}
        daemons = {
            # Forced, since it wants folders of its own all the way up, and a temporary folder is anybody's.
            "munged": ["--foreground", "--force", f"--socket={folder}/munge.socket", *munge.values()],
            "slurmctld": ["-D", "-i", "-f", str(conf)],
            "slurmd": ["-D", "-f", str(conf)],
        }
        started: dict[str, subprocess.Popen[bytes]] = {}
        for name, options in daemons.items():
            started[name] = opened.enter_context(_daemon(name, options, folder / f"{name}.out", guard))
            if name == "munged":
                wait_for((folder / "munge.socket").exists, "munged is not there")
        environment = {**os.environ, "SLURM_CONF": str(conf)}
        opened.callback(_end_jobs, environment)

        def is_idle() -> bool:
            dead = [name for name, process in started.items() if process.poll() is not None]
            assert not dead, "\n".join(f"{name}: {(folder / f'{name}.out').read_text()}" for name in dead)
            return "idle" in _said(environment, "sinfo", "--noheader", "--format=%T")

        wait_for(is_idle, "the node is not idle")
        yield conf


def _prepare(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    controller_port, node_port = _free_ports(2)
    conf = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    known = {"folder": folder, "host": host, "user": getpass.getuser(), "first_job": random.randint(1_000, 9_000)}
    conf.write_text(CONF.format(**known, controller_port=controller_port, node_port=node_port))
    return conf


def _free_ports(count: int) -> list[int]:
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _daemon(name: str, options: list[str], said: Path, guard: Guard) -> Iterator[subprocess.Popen[bytes]]:
    program = _program(name)
    assert program is not None
    with open(said, "w") as out:
        process = subprocess.Popen(
            [program, *options], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    guard.watch(process.pid)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        guard.forget(process.pid)


def _end_jobs(environment: dict[str, str]) -> None:
    """Kill what still runs: jobs outlive the daemon that started them."""
    _said(environment, "scancel", "--signal=KILL", "--full", "--quiet", f"--user={os.geteuid()}")
    _said(environment, "scancel", "--quiet", f"--user={os.geteuid()}")
    deadline = time.monotonic() + 30
    while _said(environment, "squeue", "--noheader").strip() and time.monotonic() < deadline:
        time.sleep(0.1)


def _said(environment: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout


def wait_for(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait until something holds; after `PATIENCE_SECONDS` it counts as never."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)
