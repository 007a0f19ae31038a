"""Sweeps by submitit, joblib and Ray, of a program that trains nothing; SLURM is a few lines of shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from genlab.command.entry import config_folder
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.remote import RemoteJob
from hydra_plugins.genlab_cluster_launchers.launchers import RayLauncher, SubmititLauncher
from tests import forkserver

DEADLINE_SECONDS = 120.0
"""Far beyond what anything here takes: reached only when it never happens."""

CONFIG = """
defaults: [_self_, override hydra/output: genlab, override hydra/hydra_logging: none, override hydra/job_logging: none]
seed: 0
paths: {logs: logs}
trainer: {devices: 1, num_nodes: 1}
hydra: {output_subdir: null}
"""

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from genlab.core.errors import GenlabError
from genlab.command.entry import run_entry

def run(config):
    rank = os.environ.get("SLURM_PROCID", "0")
    with open("began", "a") as file: print(config.seed, rank, os.environ.get("OMP_NUM_THREADS"), file=file, flush=True)
    if config.seed == 1: raise GenlabError("One is no number.")
    if config.seed == 2: os.kill(os.getpid(), signal.SIGKILL)
    if config.seed == 3 and rank == "0" and not Path("warned").exists():
        Path("warned").touch()
        started = Path(f"slurm/started{os.environ.get('SLURM_ARRAY_TASK_ID', '')}.0").read_text()
        os.kill(int(started), signal.SIGUSR2)  # as a cluster warns what it has started
        time.sleep(600)
    if config.seed == 4:
        try: time.sleep(600)
        finally: Path("saved").touch()
    return {"seed": config.seed}

def after(results): print("results", sorted(result["seed"] for result in results))

sys.exit(run_entry(run, "config", sys.argv[1:], ["program.py"], Path("conf").absolute(), after_sweep=after))
"""

SLURM = {
    "sbatch": """
tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
export SLURM_NTASKS=$(sed -n 's/^#SBATCH --ntasks-per-node=//p' "$1") SLURM_JOB_ID=42 SLURM_JOB_NUM_NODES=1
grep '^#SBATCH' "$1" > {state}/options
for task in $(seq 0 ${tasks:-0}); do
  ( [ -z "$tasks" ] || export SLURM_ARRAY_JOB_ID=42 SLURM_ARRAY_TASK_ID=$task
    id=42${tasks:+_$task}
    while rm -f {state}/$id; bash "$1"; [ -e {state}/$id ]; do :; done ) > /dev/null 2>&1 &
done
echo "Submitted batch job 42"
""",
    "srun": """
export SLURM_STEP_NUM_TASKS=$SLURM_NTASKS
while [ "${1#-}" != "$1" ]; do case $1 in --output|--error) shift 2 ;; *) shift ;; esac; done
for rank in $(seq 0 $((SLURM_NTASKS - 1))); do
  SLURM_PROCID=$rank SLURM_LOCALID=$rank "$@" &
  echo $! > {state}/started$SLURM_ARRAY_TASK_ID.$rank
done
wait
""",
    "scontrol": """
echo "$*" >> {state}/calls
[ "$1" != requeue ] || touch {state}/$2
""",
    "sacct": "echo 'JobID|State|NodeList'\n",
}
"""As much of SLURM as a sweep needs: every job starts at once, and again when it is queued again."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the program and its config."""
    (tmp_path / "conf" / "hydra").mkdir(parents=True)
    (tmp_path / "conf" / "config.yaml").write_text(CONFIG)
    for group in ("launcher", "output"):
        shutil.copytree(config_folder() / "hydra" / group, tmp_path / "conf" / "hydra" / group)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def slurm(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in of SLURM keeps what it was asked."""
    state = place / "slurm"
    state.mkdir()
    for name, text in SLURM.items():
        file = place / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("#!/bin/bash\n" + text.replace("{state}", str(state)))
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}:{os.environ['PATH']}")
    return state


def sweep(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "program.py", "-m", *arguments]
    return forkserver.run(command, timeout=DEADLINE_SECONDS, children_too=True)


def sweep_afresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As `sweep`, in processes that begin with nothing: what cannot be imported was not."""
    command = [sys.executable, "program.py", "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)


def began(place: Path) -> list[str]:
    return sorted(line.rpartition(" ")[0] for line in (place / "began").read_text().splitlines())


@pytest.mark.parametrize("launcher", ["submitit_local", "joblib", *(["ray"] if find_spec("ray") else [])])
def test_a_job_that_fails_or_is_killed_leaves_the_others_going(place: Path, launcher: str) -> None:
    start = sweep if launcher == "submitit_local" else sweep_afresh  # the workers of others inherit open files
    done = start(f"hydra/launcher={launcher}", "seed=0,1,2,5")
    assert "results [0, 5]" in done.stdout, done.stderr
    assert done.returncode == 2, done.stderr
    assert "2 of 4 jobs failed" in done.stderr
    assert "One is no number." in done.stderr
    assert "SIGKILL" in done.stderr
    assert began(place) == ["0 0", "1 0", "2 0", "5 0"]
    (again,) = re.findall(r"^ *python program\.py (-m .*only=.*)$", done.stderr, re.MULTILINE)
    (place / "began").unlink()
    start(*shlex.split(again)[1:])
    assert began(place) == ["1 0", "2 0"]


def test_a_sweep_on_slurm_is_one_array_whose_warned_job_is_queued_again_and_goes_on(place: Path, slurm: Path) -> None:
    done = sweep("hydra/launcher=submitit_slurm", "seed=0,1,3", "hydra.launcher.partition=long")
    assert "results [0, 3]" in done.stdout, done.stderr
    assert "Submitted SLURM job 42: 3 jobs." in done.stderr
    assert "1 of 3 jobs failed" in done.stderr
    assert began(place) == ["0 0", "1 0", "3 0", "3 0"]
    assert (slurm / "calls").read_text().splitlines() == ["requeue 42_2"], "once, by submitit"
    options = (slurm / "options").read_text()
    for option in ("partition=long", "array=0-2%3", "time=60", "signal=USR2@120", "job-name=genlab"):
        assert f"--{option}\n" in options


def test_of_several_processes_the_first_speaks(place: Path, slurm: Path) -> None:
    sizes = ["hydra.launcher.tasks_per_node=2", "trainer.devices=2"]
    done = sweep("hydra/launcher=submitit_slurm", "seed=3", *sizes)
    assert "results [3]" in done.stdout, done.stderr
    assert began(place) == ["3 0", "3 0", "3 1", "3 1"]
    assert (slurm / "calls").read_text().splitlines() == ["requeue 42"]
    assert not (place / "logs" / "rank1").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trainer.devices=4"], "trainer.devices asks for 4, but hydra.launcher.tasks_per_node is 1."),
        (["trainer.num_nodes=2"], "trainer.num_nodes asks for 2, but hydra.launcher.nodes is 1."),
        (["hydra.launcher.timeout_min=soon"], "timeout_min"),
    ],
)
def test_what_cannot_be_submitted_is_said_before(place: Path, slurm: Path, arguments: list[str], said: str) -> None:
    done = sweep("hydra/launcher=submitit_slurm", "seed=0", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (slurm / "options").exists()


def test_what_slurm_refuses_is_told(place: Path, slurm: Path) -> None:
    refusal = r"sbatch: error: invalid partition specified: none\nsbatch: error: Batch job submission failed\n"
    (place / "bin" / "sbatch").write_text(f"#!/bin/sh\nprintf '{refusal}' >&2; exit 1\n")
    done = sweep("hydra/launcher=submitit_slurm", "seed=0,1", "hydra.launcher.partition=none")
    assert done.returncode == 2
    refused = "SLURM does not take the jobs: invalid partition specified: none; Batch job submission failed"
    assert done.stderr.splitlines() == [refused]


def test_without_slurm_or_submitit_a_line_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place / "bin"))  # where nothing is
    done = sweep_afresh("hydra/launcher=submitit_slurm", "seed=0")
    assert done.returncode == 2
    assert "srun" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    (place / "submitit.py").write_text("raise ImportError('not installed')")
    done = sweep_afresh("hydra/launcher=submitit_local", "seed=0")
    assert done.returncode == 2
    assert "pip install 'genlab[slurm]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_local_sweep_that_is_stopped_lets_its_jobs_save(place: Path, signum: int) -> None:
    command = [sys.executable, "program.py", "-m", "hydra/launcher=submitit_local", "seed=4"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (place / "began").exists():
            assert time.monotonic() < deadline, "the job never began"
            time.sleep(0.05)
        # Ctrl-C on a terminal reaches all that was started there.
        (os.killpg if signum == signal.SIGINT else os.kill)(process.pid, signum)
        said = process.communicate(timeout=DEADLINE_SECONDS)[1]
    assert process.returncode == 128 + signum, said
    assert (place / "saved").exists()
    assert "Traceback" not in said


@pytest.mark.parametrize("alone", [True, False], ids=["the only thread", "a thread beside it"])
def test_ctrl_c_while_jobs_are_submitted_is_heard_when_they_are_known(
    alone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[object] = []
    over = threading.Event()

    def submit(executor: object, batch: list[object]) -> list[str]:
        # To this thread, or to the process, in which another thread does not block it.
        signal.raise_signal(signal.SIGINT) if alone else os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)  # long enough for the other thread to take it
        return ["submitted"] * len(batch)

    launcher = SubmititLauncher("local")
    monkeypatch.setattr(launcher, "_executor", lambda: None)
    monkeypatch.setattr(launcher, "_submit", submit)
    monkeypatch.setattr(launcher, "_leave", left.extend)
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(launcher._run(iter([SimpleNamespace(job=Job(0, ()))]), None))
    finally:
        over.set()
        other.join()
    assert left == ["submitted"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_search_decides_a_job_when_there_is_room_for_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SubmititLauncher, "_executor", lambda self: None)
    taken: list[int] = []

    def jobs() -> Iterator[Job]:
        for number in range(5):
            taken.append(number)
            yield Job(number, ())

    class Submitted:
        def __init__(self, remote: RemoteJob) -> None:
            self.job = remote.job

        def done(self) -> bool:
            return True

        def task(self, number: int) -> Submitted:
            return self

        def result(self) -> Outcome:
            return Outcome(self.job, 0, None, None, 0.0, Path())

    launcher = SubmititLauncher("local", array_parallelism=2)
    monkeypatch.setattr(launcher, "_submit", lambda executor, batch: [Submitted(remote) for remote in batch])
    launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": "x"}}})
    launcher.task = SimpleNamespace(record=print, environment=dict, command_for=list)
    outcomes = launcher.stream(jobs(), total=5)
    next(outcomes)
    assert taken == [0, 1], "not all five, though their number is known"
    assert len(list(outcomes)) == 4


def test_a_search_on_ray_takes_what_the_gpus_have_room_for() -> None:
    assert RayLauncher(num_cpus=2)._room({"CPU": 8.0}) == 4
    assert RayLauncher(num_cpus=1, num_gpus=1)._room({"CPU": 64.0, "GPU": 8.0}) == 8
    assert RayLauncher(num_cpus=0, num_gpus=0.5)._room({"CPU": 64.0, "GPU": 2.0}) == 4
    assert RayLauncher(num_gpus=1)._room({"CPU": 4.0}) == 1, "a cluster that grows begins without"


@pytest.mark.parametrize(("cluster", "by"), [("slurm", "SLURM job 42_1"), ("local", "Process 42_1")])
def test_of_a_job_that_left_no_result_its_state_is_told(tmp_path: Path, cluster: str, by: str) -> None:
    class Killed:
        job_id = "42_1"
        state = "OUT_OF_MEMORY"
        paths = SimpleNamespace(result_pickle=tmp_path / "result.pkl", stdout=tmp_path / "42_1_0_log.out")

        def task(self, number: int) -> Killed:
            return self

        def result(self) -> Outcome:
            raise RuntimeError("Job 42_1 (task: 0) with path result.pkl\nhas not produced any output")

    launcher = SubmititLauncher(cluster)
    launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": "x"}}})
    outcome = launcher._outcome(Job(1, ()), Killed())
    assert outcome.error == f"{by} ended without a result: OUT_OF_MEMORY."
    assert outcome.log == tmp_path / "42_1_0_log.out", "and where the rest stands"
    assert outcome.failed
