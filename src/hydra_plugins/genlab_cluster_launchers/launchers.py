"""Hydra's side of the schedulers. Hydra imports this at every start: the schedulers wait until one is used.

Hydra's own plugins for them run the job within the scheduler's worker, where a crash takes the worker with it and
Lightning cannot start the helpers of a distributed training; and they give up the whole sweep at the first worker that
is lost. Here a worker starts the command of a single run, and each job has its outcome.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import signal
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from genlab.core.errors import GenlabError
from genlab.processes.starting import working
from hydra_plugins.genlab_process_launcher.launcher import ProcessLauncher

if TYPE_CHECKING:
    from genlab.sweeps.jobs import Job, Outcome
    from genlab.sweeps.remote import RemoteJob
    from genlab.sweeps.slurm_states import SlurmStates
    from genlab.sweeps.status import Tell

__all__ = ["JoblibLauncher", "RayLauncher", "SubmititLauncher"]

_LOOK_SECONDS = {"slurm": (0.5, 5.0), "local": (0.2, 0.2)}
"""Between two looks whether a job has ended, at the start of a sweep and at most: a twentieth of its time."""

_LONGEST_REFUSAL = 400


class ClusterLauncher(ProcessLauncher):
    """What the launchers share: jobs become :class:`~genlab.sweeps.remote.RemoteJob`, and their outcomes are recorded.

    Args:
        only: Numbers of the jobs to run; None for all.
    """

    def __init__(self, only: Sequence[int] | None = None) -> None:
        super().__init__(only=only)

    def stream(
        self,
        jobs: Iterable[Job],
        watch: Callable[[Job, Mapping[str, Any]], bool] | None = None,
        total: int | None = None,
        tell: Tell | None = None,
    ) -> Iterator[Outcome]:
        """Run jobs, and yield how they ended as they end; see `ProcessLauncher.stream`.

        What a job reports while it runs is not seen from here: ``watch`` is never called, and nothing is pruned. Nor
        is ``tell``: the engines show what runs in ways of their own.
        """
        # Of a search the number of jobs is known, and each is decided when there is room for it.
        decided = len(jobs) if isinstance(jobs, Sequence) else None
        with working():
            for outcome in self._run(map(self._remote, jobs), decided):
                self.task.record(outcome)
                yield outcome

    @abstractmethod
    def _run(self, jobs: Iterator[RemoteJob], decided: int | None) -> Iterator[Outcome]:
        """Run jobs, taking the next when there is room for it; all at once where they are ``decided``, so many."""

    def _remote(self, job: Job) -> RemoteJob:
        from genlab.sweeps.remote import RemoteJob

        # Hydra raises errors in this process alone; all other variables are the worker's own.
        name = "HYDRA_FULL_ERROR"
        environment = {name: self.task.environment().get(name)}
        command = tuple(self.task.command_for(job.overrides))
        return RemoteJob(job, command, self._folder(), Path.cwd(), environment)

    def _folder(self) -> Path:
        return Path(self.config.hydra.sweep.dir).absolute()

    def _lost(self, job: Job, error: Exception) -> Outcome:
        """Make the outcome of a job whose worker is gone."""
        from genlab.sweeps.jobs import Outcome

        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        # A traceback ends in what matters, another message begins with it.
        message = said[-1 if "Traceback" in str(error) else 0] if said else type(error).__name__
        message = message.removeprefix("genlab.core.errors.GenlabError: ")[:300]
        return Outcome(job, 1, None, message, 0.0, self._folder())

    def _engine(self, module: str, extra: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            launcher = self.config.hydra.runtime.choices["hydra/launcher"]
            raise GenlabError(
                f"hydra/launcher={launcher} needs {module} ({error}).\nInstall it: pip install 'genlab[{extra}]'."
            ) from error


class SubmititLauncher(ClusterLauncher):
    """Submits jobs to SLURM, or to processes of this machine, by submitit.

    The arguments stand with their meaning in ``conf/hydra/launcher/submitit_slurm.yaml``.
    """

    def __init__(self, cluster: str, only: Sequence[int] | None = None, **parameters: Any) -> None:
        super().__init__(only)
        self.cluster = cluster
        self._known_states: SlurmStates | None = None
        self.parameters = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in parameters.items()
            if value is not None
        }

    def _run(self, jobs: Iterator[RemoteJob], decided: int | None) -> Iterator[Outcome]:
        executor = self._executor()
        began = time.monotonic()
        at_a_time = decided or self.parameters.get("array_parallelism", os.cpu_count() or 1)
        running: dict[Any, Job] = {}
        try:
            while True:
                batch = list(islice(jobs, at_a_time - len(running)))
                with self._out_of_reach():
                    running |= zip(self._submit(executor, batch), (remote.job for remote in batch), strict=True)
                if not running:
                    return
                while (ended := next((job for job in running if job.done()), None)) is None:
                    shortest, longest = _LOOK_SECONDS[self.cluster]
                    time.sleep(min(longest, max(shortest, (time.monotonic() - began) / 20)))
                yield self._outcome(running.pop(ended), ended)
        finally:
            self._leave(list(running))

    def _executor(self) -> Any:
        self._check_sizes()
        submitit = self._engine("submitit", "slurm")
        at_start = {f"{self.cluster}_{name}": self.parameters.get(name) for name in ("max_num_timeout", "python")}
        generic = submitit.AutoExecutor._typed_parameters()
        parameters = {
            name if name in generic else f"{self.cluster}_{name}": value
            for name, value in self.parameters.items()
            if f"{self.cluster}_{name}" not in at_start
        }
        try:
            executor = submitit.AutoExecutor(
                self._folder() / "submitit", self.cluster, **{k: v for k, v in at_start.items() if v is not None}
            )
            executor.update_parameters(**parameters, stderr_to_stdout=True)
        except (RuntimeError, NameError, ValueError, AssertionError, TypeError) as error:
            raise GenlabError(f"submitit: {str(error).splitlines()[0]}") from error
        return executor

    def _check_sizes(self) -> None:
        """SLURM starts all processes of a distributed training: the trainer must expect as many."""
        if self.cluster != "slurm":
            return
        tasks, gpus = self.parameters.get("tasks_per_node", 1), self.parameters.get("gpus_per_node")
        devices = OmegaConf.select(self.config, "trainer.devices", default=1)
        expected = {
            "nodes": (OmegaConf.select(self.config, "trainer.num_nodes", default=1), "trainer.num_nodes"),
            "tasks_per_node": (gpus or tasks if devices in ("auto", -1) else devices, "trainer.devices"),
        }
        for name, (wanted, key) in expected.items():
            given = self.parameters.get(name, 1)
            if isinstance(wanted, int) and wanted != given:
                raise GenlabError(
                    f"{key} asks for {wanted}, but hydra.launcher.{name} is {given}.\n"
                    f"Add hydra.launcher.{name}={wanted}: SLURM starts one process for each device."
                )

    def _submit(self, executor: Any, jobs: Sequence[RemoteJob]) -> list[Any]:
        if not jobs:
            return []
        errors = self._engine("submitit.core.utils", "slurm")
        try:
            with redirect_stderr(io.StringIO()), executor.batch():  # where submitit prints what it then raises
                submitted = [executor.submit(job) for job in jobs]
        except (errors.FailedJobError, errors.FailedSubmissionError) as error:
            said = [line.strip().removeprefix("sbatch: ").removeprefix("error: ") for line in str(error).splitlines()]
            reason = "; ".join(line for line in said if line)[:_LONGEST_REFUSAL]
            raise GenlabError(f"SLURM does not take the jobs: {reason or 'sbatch failed'}") from error
        if self.cluster == "slurm":
            count = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
            print(f"Submitted SLURM job {submitted[0].job_id.partition('_')[0]}: {count}.", file=sys.stderr)
            states = self._states()
            for process in (each for job in submitted for each in (job, *job._sub_jobs)):
                process.watcher = states  # in place of submitit's, which knows accounting alone
        return submitted

    def _states(self) -> SlurmStates:
        from genlab.sweeps.slurm_states import SlurmStates

        if self._known_states is None:
            self._known_states = SlurmStates()
        return self._known_states

    @contextmanager
    def _out_of_reach(self) -> Iterator[None]:
        """Ctrl-C on a terminal reaches the processes of this machine too: it must not end those that wait for jobs.

        What is started meanwhile inherits that the signal is blocked; here one that came is heard at the end. Blocking
        alone would not do that: a signal to a process goes to any thread that does not block it, and Python then hears
        it in the main thread.
        """
        if self.cluster != "local" or threading.current_thread() is not threading.main_thread():
            yield
            return
        heard: list[int] = []
        handler = signal.signal(signal.SIGINT, lambda signum, frame: heard.append(signum))
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            signal.signal(signal.SIGINT, handler)
            if heard:
                signal.raise_signal(signal.SIGINT)

    def _outcome(self, job: Job, submitted: Any) -> Outcome:
        first = submitted.task(0)  # the first process speaks for all
        try:
            return first.result()
        except Exception as error:  # whatever became of the worker
            lost = replace(self._lost(job, error), log=first.paths.stdout)
        if first.paths.result_pickle.exists():
            return lost
        ended = f"SLURM job {first.job_id}" if self.cluster == "slurm" else f"Process {first.job_id}"
        return replace(lost, error=f"{ended} ended without a result: {first.state}.")

    def _leave(self, running: Sequence[Any]) -> None:
        """The sweep ends before its jobs: those of this machine too, those of a cluster have their own life."""
        if self.cluster == "slurm":
            ids = " ".join(dict.fromkeys(job.job_id.partition("_")[0] for job in running))
            if ids:
                print(f"The SLURM jobs go on: scancel {ids} ends them.", file=sys.stderr)
            return
        processes = [job._process for job in running]
        for process in processes:
            process.send_signal(signal.SIGTERM)  # the controller passes it on, and the run saves
        for process in processes:
            process.wait()


class JoblibLauncher(ClusterLauncher):
    """Runs jobs in joblib's workers.

    The arguments stand with their meaning in ``conf/hydra/launcher/joblib.yaml``.
    """

    def __init__(
        self, n_jobs: int = -1, backend: str = "loky", threads: int | None = None, only: Sequence[int] | None = None
    ) -> None:
        super().__init__(only)
        self.n_jobs = n_jobs
        self.backend = backend
        self.threads = threads

    def _run(self, jobs: Iterator[RemoteJob], decided: int | None) -> Iterator[Outcome]:
        joblib = self._engine("joblib", "joblib")
        try:
            pool = joblib.Parallel(
                self.n_jobs, self.backend, return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs"
            )
        except ValueError as error:
            raise GenlabError(f"joblib: {str(error).splitlines()[0]}") from error
        yield from pool(joblib.delayed(_call)(self._with_threads(job)) for job in jobs)

    def _with_threads(self, remote: RemoteJob) -> RemoteJob:
        from genlab.sweeps.places import THREAD_VARIABLES, allowed_cores

        cores = len(allowed_cores())
        share = self.threads or max(1, cores // (self.n_jobs if self.n_jobs > 0 else cores))
        threads = dict.fromkeys(THREAD_VARIABLES, str(share))
        return replace(remote, environment={**remote.environment, **threads})


class RayLauncher(ClusterLauncher):
    """Runs jobs as tasks of Ray.

    The arguments stand with their meaning in ``conf/hydra/launcher/ray.yaml``.
    """

    def __init__(
        self,
        address: str | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
        only: Sequence[int] | None = None,
    ) -> None:
        super().__init__(only)
        self.address = address
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def _run(self, jobs: Iterator[RemoteJob], decided: int | None) -> Iterator[Outcome]:
        ray = self._engine("ray", "ray")
        try:
            ray.init(self.address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        except Exception as error:  # some of Ray's own are no more than that
            raise GenlabError(f"Ray does not start: {str(error).splitlines()[0]}") from error
        try:
            call = ray.remote(max_retries=0, **self.resources)(_call)
            at_a_time = decided or self._room(ray.cluster_resources())
            running: dict[Any, Job] = {}
            while True:
                running |= {call.remote(remote): remote.job for remote in islice(jobs, at_a_time - len(running))}
                if not running:
                    return
                (ended,), _ = ray.wait(list(running))
                job = running.pop(ended)
                try:
                    yield ray.get(ended)
                except ray.exceptions.RayError as error:
                    yield self._lost(job, error)
        finally:
            ray.shutdown()

    def _room(self, cluster: Mapping[str, float]) -> int:
        """How many jobs a cluster with these CPUs and GPUs can run at a time."""
        asked = {"CPU": self.resources["num_cpus"], "GPU": self.resources["num_gpus"]}
        room = [cluster.get(name, 0) / each for name, each in asked.items() if each]
        return max(1, int(min(room, default=1)))


def _call(job: RemoteJob) -> Outcome:
    return job()
