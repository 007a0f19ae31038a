"""Hydra's side of the process launcher. Hydra imports this at every start: whatever is heavy waits until it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genlab.core.errors import GenlabError
from genlab.processes.starting import working

if TYPE_CHECKING:
    from genlab.sweeps.jobs import Job, Outcome
    from genlab.sweeps.places import Place
    from genlab.sweeps.status import Tell

__all__ = ["ProcessLauncher"]

_ANY_GPU = (None, "auto", "gpu", "cuda")


class ProcessLauncher(Launcher):
    """Runs each job as a fresh process with the arguments of a single run; see `genlab.sweeps.process_pool`.

    The arguments stand with their meaning in ``conf/hydra/launcher/process.yaml``.
    """

    def __init__(self, jobs: int | None = None, gpus_per_job: int = 1, only: Sequence[int] | None = None) -> None:
        self.jobs = jobs
        self.gpus_per_job = gpus_per_job
        self.only = only

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra knows of the sweep.

        Raises:
            GenlabError: If the task is none of genlab's, or an option of the launcher or the sweeper does not fit.
        """
        from genlab.command.sweep_options import LAUNCHER, SWEEPER, check_options

        check_options("hydra.launcher", config.hydra.launcher, LAUNCHER)
        check_options("hydra.sweeper", config.hydra.sweeper, SWEEPER)
        if not hasattr(task_function, "command_for"):
            raise GenlabError("hydra/launcher=process starts genlab's own commands; use another launcher here.")
        self.task: Any = task_function
        self.config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run a batch of jobs, and return how they ended, in their order."""
        from genlab.sweeps.jobs import Job

        jobs = [Job(initial_job_idx + index, tuple(overrides)) for index, overrides in enumerate(job_overrides)]
        if self.only is not None:
            known, jobs = len(jobs), [job for job in jobs if job.number in self.only]
            if not jobs and self.config.hydra.sweeper.get("max_batch_size") is None:
                raise GenlabError(f"hydra.launcher.only is {self.only}, but the sweep's jobs are 0 to {known - 1}.")
        ended = {outcome.job.number: self._job_return(outcome) for outcome in self.stream(jobs, total=len(jobs))}
        return [ended[job.number] for job in jobs]

    def stream(
        self,
        jobs: Iterable[Job],
        watch: Callable[[Job, Mapping[str, Any]], bool] | None = None,
        total: int | None = None,
        tell: Tell | None = None,
    ) -> Iterator[Outcome]:
        """Run jobs that may be decided late, and yield how they ended as they end.

        Args:
            jobs: Taken one by one, each when a place is free for it.
            watch: Called with each report of progress; True stops the job.
            total: How many jobs there will be, if it is known.
            tell: Says of a job that is done what it achieved; the headlines of its result by default.

        Raises:
            GenlabError: If the machine does not have what a job asks for.
        """
        from genlab.sweeps.process_pool import ProcessPool
        from genlab.sweeps.status import make_status

        places = self._places()
        folder = Path(self.config.hydra.sweep.dir)
        with working(), make_status(jobs if isinstance(jobs, list) else [], total, len(places), tell) as status:
            pool = ProcessPool(self.task.command_for, folder, places, self.task.environment(), status)
            for outcome in pool.run(jobs, watch):
                self.task.record(outcome)
                yield outcome

    def _places(self) -> list[Place]:
        from genlab.sweeps.places import allowed_cores, make_places, visible_gpus

        # A trainer says where it computes, an evaluation names its device.
        device = OmegaConf.select(self.config, "trainer.accelerator") or OmegaConf.select(self.config, "device")
        wanted = OmegaConf.select(self.config, "trainer.devices")
        # Whoever names GPUs by number, as cuda:1 or devices=[1], counts from the first of the machine's: hide none.
        by_number = OmegaConf.is_list(wanted) or (isinstance(wanted, str) and "," in wanted)
        gpus = visible_gpus() if device in _ANY_GPU and not by_number else []
        places = make_places(self.jobs, self.gpus_per_job, gpus, allowed_cores())
        if gpus and isinstance(wanted, int) and wanted > self.gpus_per_job:
            raise GenlabError(
                f"trainer.devices is {wanted}, but each job gets {self.gpus_per_job} of the GPUs.\n"
                f"Add hydra.launcher.gpus_per_job={wanted}."
            )
        return places

    def _job_return(self, outcome: Outcome) -> JobReturn:
        """Translate for Hydra's sweepers: its own needs no figure and would drop what follows a failed job."""
        sweeper = self.config.hydra.runtime.choices["hydra/sweeper"]
        returned = JobReturn(overrides=list(outcome.job.overrides), status=JobStatus.COMPLETED)
        if outcome.failed and sweeper != "basic":
            returned.status = JobStatus.FAILED
            returned.return_value = GenlabError(f"Job {outcome.job.number}: {outcome.error}")
        elif sweeper != "basic":
            returned.return_value = outcome.result
        return returned
