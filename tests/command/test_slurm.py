"""What the pages promise of SLURM, on a private cluster of one node: sweeps, a search, ranks, preemption, time limits.

The clusters' launcher itself is tested without SLURM, see ``tests/hydra_plugins/test_cluster_launchers.py``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.measure.results import read_result
from genlab.runs.checkpoints import load_checkpoint
from genlab.sweeps.slurm_states import SlurmStates
from tests import forkserver
from tests.slurm_cluster import PATIENCE_SECONDS, WHY_NOT, slurm_cluster, wait_for
from tests.tiny import ROOT, SHORT, SMALL, command_to_train, run_folder, train_in_a_process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.waits,
    pytest.mark.timeout(3 * PATIENCE_SECONDS),
    pytest.mark.skipif(bool(WHY_NOT), reason=f"SLURM is {WHY_NOT}"),
]

MIXTURE = [*SHORT, "model=gmm", "data=toy2d", *SMALL["gmm"]]
ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=30"]
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]

WAIT = """
import time
from pathlib import Path
from genlab.training.callbacks.stopping import SaveOnSignal
original = SaveOnSignal.on_train_batch_end
def act(self, trainer, pl_module, *arguments):
    mark = Path({mark!r})
    if trainer.global_rank == 0 and pl_module.progress.batches == 7 and not mark.exists():
        mark.touch()
        deadline = time.monotonic() + {patience}
        while not self._received and time.monotonic() < deadline:
            time.sleep(0.05)
    return original(self, trainer, pl_module, *arguments)
SaveOnSignal.on_train_batch_end = act
"""
"""Within its seventh step a run makes a file, once, and goes on when it is asked to stop."""


class Cluster:
    """The programs of a private cluster; what jobs print goes to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, *options: str, script: str) -> str:
        """Queue a batch script, and return its number."""
        place = [f"--chdir={ROOT}", f"--output={self.folder}/%A.log", "--open-mode=append"]
        return self("sbatch", "--parsable", *place, *options, f"--wrap={script}").strip()

    def shown(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job."""
        return dict(re.findall(r"(\w+)=(\S*)", self("scontrol", "show", "job", job)))

    def wait_for(self, job: str, what: str, condition: Callable[[dict[str, str]], bool]) -> None:
        """Wait until something holds of what SLURM shows of a job; in vain if the job has failed."""

        def holds() -> bool:
            shown = self.shown(job)
            if condition(shown):
                return True
            assert shown["JobState"] not in ("FAILED", "CANCELLED", "TIMEOUT"), f"{shown}\n{self.log(job)}"
            return False

        wait_for(holds, f"{what}\n{self.log(job)}")

    def wait_for_end(self, job: str) -> None:
        self.wait_for(job, "the job does not end", lambda shown: shown["JobState"] == "COMPLETED")

    def log(self, job: str) -> str:
        file = self.folder / f"{job}.log"
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster() as conf, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(conf))
        yield Cluster(tmp_path_factory.mktemp("jobs"))


def sweep(logs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "train.py", "-m", *arguments, *ON_SLURM, f"paths.logs={logs}"]
    return forkserver.run(command, cwd=ROOT, timeout=PATIENCE_SECONDS, children_too=True)


def forked(command: list[str]) -> list[str]:
    """The same command with its imports done, for a cluster to start."""
    return [forkserver.python(), *command[1:]]


def weights(logs: Path) -> dict[str, Any]:
    checkpoint = load_checkpoint(run_folder(logs) / "checkpoints" / "last.ckpt")
    return {**checkpoint["state_dict"], **checkpoint["current_model_state"]}


def check_same_end(interrupted: Path, never: Path) -> None:
    """The weights to the last bit, and the figures."""
    ours, theirs = weights(interrupted), weights(never)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    results = [read_result(run_folder(logs) / "results" / "quick.json") for logs in (interrupted, never)]
    assert results[0].training.examples_seen == results[1].training.examples_seen == 640
    assert results[0].likelihood == results[1].likelihood


def test_a_sweep_is_an_array_that_ends_with_its_table_and_the_failed_job(cluster: Cluster, tmp_path: Path) -> None:
    done = sweep(tmp_path, *MIXTURE, "model.components=2", "seed=0,1,-1")
    assert done.returncode == 2, done.stderr
    assert "2 seeds" in done.stdout
    assert "K=2" in done.stdout
    (array,) = re.findall(r"Submitted SLURM job (\d+): 3 jobs\.", done.stderr)
    assert "1 of 3 jobs failed:" in done.stderr
    assert re.search(r"job 2: seed=-1 +\(.*/2\.log\)", done.stderr)
    assert "seed is -1, expected a whole number >= 0" in done.stderr
    assert "hydra.launcher.only=[2]" in done.stderr
    assert "sacct" not in done.stderr.lower(), "a cluster without accounting is no reason to complain"
    assert f"{array}_[0-2%3]" not in cluster("squeue"), "all of them are over"
    tasks = cluster("squeue", "--states=all", "--array", "--noheader", "--format=%i %T", f"--jobs={array}")
    assert sorted(tasks.splitlines()) == [f"{array}_{task} COMPLETED" for task in range(3)]


def test_what_becomes_of_jobs_is_seen_without_accounting(
    cluster: Cluster, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_PARTITION", "high")  # the user's own way to look at the queue hides no job
    ends = "case $SLURM_ARRAY_TASK_ID in 0) exit 3;; 1) true;; *) exec tail -f /dev/null;; esac"
    array = cluster.submit("--array=0-3", script=ends)
    states = SlurmStates()
    jobs = [f"{array}_{task}" for task in range(4)]

    def known() -> list[str]:
        return [states.get_state(job, mode="force") for job in jobs]

    wait_for(lambda: known() == ["FAILED", "COMPLETED", "RUNNING", "RUNNING"], "the jobs do not run")
    assert [states.is_done(job) for job in jobs] == [True, True, False, False]
    cluster("scancel", jobs[2])
    wait_for(lambda: known()[2:] == ["CANCELLED", "RUNNING"], "the job does not end")
    assert [states.is_done(job) for job in jobs] == [True, True, True, False]
    cluster("scancel", array)
    wait_for(lambda: states.is_done(jobs[3], mode="force"), "the job does not end")
    assert capfd.readouterr().err == ""


def test_a_search_runs_its_trials_as_jobs(cluster: Cluster, tmp_path: Path) -> None:
    space = ["search=gmm", "hydra.sweeper.trials=2", "model.components=int(interval(2, 4))", "model.prior=1e-4"]
    small = [override for override in MIXTURE if not override.startswith(("model=", "model.components"))]
    done = sweep(tmp_path, *small, *space, "hydra.launcher.array_parallelism=2")
    assert done.returncode == 0, done.stderr
    assert "2 trials: 2 complete." in done.stdout
    assert "Submitted SLURM job" in done.stderr
    assert "sacct" not in done.stderr.lower()
    (best,) = tmp_path.glob("studies/*/experiment/best.yaml")
    assert "override /model: gmm" in best.read_text()


def test_two_ranks_that_are_preempted_save_and_go_on_as_if_they_never_were(cluster: Cluster, tmp_path: Path) -> None:
    mark, logs, never = tmp_path / "mark", tmp_path / "preempted", tmp_path / "never"
    wait = WAIT.format(mark=str(mark), patience=PATIENCE_SECONDS)
    command = ["srun", "--kill-on-bad-exit=1", *forked(command_to_train(logs, *TWO, prelude=wait))]
    low = cluster.submit("--partition=low", "--ntasks-per-node=2", "--requeue", script=shlex.join(command))
    cluster.wait_for(low, "the run does not train", lambda shown: mark.exists())
    high = cluster.submit("--partition=high", "--ntasks=2", script="true")
    cluster.wait_for_end(high)
    unbroken = train_in_a_process(never, *TWO, timeout=PATIENCE_SECONDS)
    assert unbroken.returncode == 0, unbroken.stderr
    cluster.wait_for_end(low)
    assert cluster.shown(low)["Restarts"] == "1"
    log = cluster.log(low)
    assert "Stopped by SIGTERM after 224 examples" in log
    assert log.count(f"SLURM job {low} is back in the queue.") == 1
    assert log.count("\nprotocol ") == 1, "the first process speaks for both"
    check_same_end(logs, never)


def test_a_run_whose_time_is_up_saves_and_goes_on_as_if_it_never_was(cluster: Cluster, tmp_path: Path) -> None:
    mark, logs, never = tmp_path / "mark", tmp_path / "limited", tmp_path / "never"
    wait = WAIT.format(mark=str(mark), patience=PATIENCE_SECONDS)
    command = ["srun", *forked(command_to_train(logs, prelude=wait))]
    job = cluster.submit("--time=60", "--signal=USR1@120", "--requeue", script=shlex.join(command))
    cluster.wait_for(job, "the run does not train", lambda shown: mark.exists())
    # A limit so short from the start would be over on a busy machine before the run trains. SLURM counts in minutes,
    # looks twice a minute whose time is nearly up, and lets the run have one more minute at least.
    hours, minutes, _ = map(int, cluster.shown(job)["RunTime"].split(":"))
    cluster("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * hours + minutes + 2}")
    cluster.wait_for(job, "the run is not warned", lambda shown: "Stopped by SIGUSR1" in cluster.log(job))
    cluster("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    unbroken = train_in_a_process(never, timeout=PATIENCE_SECONDS)
    assert unbroken.returncode == 0, unbroken.stderr
    cluster.wait_for_end(job)
    assert "Stopped by SIGUSR1 after 224 examples" in cluster.log(job)
    assert f"SLURM job {job} is back in the queue." in cluster.log(job)
    check_same_end(logs, never)
