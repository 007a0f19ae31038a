"""From a command line with ``search=<family>`` to a search: its space, what all trials share, its study."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genlab.command.config import check_config
from genlab.command.explain import explain_job
from genlab.command.schemas import TrainConfig
from genlab.command.search_space import SearchCommand, check_space, plain_config, read_command
from genlab.core.errors import GenlabError, Interrupted
from genlab.core.plugins import load_plugins
from genlab.core.secrets import REDACTED, redact
from genlab.measure.finished_run import FinishedRun
from genlab.processes.starting import working
from genlab.runs.atomic import write_atomic
from genlab.runs.identity import config_hash
from genlab.sweeps.jobs import Job, Outcome

if TYPE_CHECKING:
    from genlab.sweeps.search import SearchPlan, Stream
    from genlab.sweeps.status import Tell

__all__ = ["search", "study_folder"]

_SECRET = "hydra.sweeper.storage"


def search(
    settings: Mapping[str, Any],
    config: DictConfig,
    context: HydraContext,
    task: TaskFunction,
    arguments: Sequence[str],
) -> None:
    """Search as ``hydra.sweeper`` says, print the best trials and leave the best as a recipe.

    Args:
        settings: The keys of ``conf/hydra/sweeper/optuna.yaml``.
        config: What Hydra composed for the multirun.
        context: Hydra's.
        task: What a job calls.
        arguments: The overrides of the command line, without Hydra's own.

    Raises:
        GenlabError: For everything that the user can mend, and if no trial was complete.
    """
    if importlib.util.find_spec("optuna") is None:
        raise GenlabError("A search needs Optuna: pip install 'genlab[search]', or pip install optuna.")
    from genlab.command.search_outcome import report
    from genlab.sweeps.objectives import objectives_text
    from genlab.sweeps.search import open_study, run_search

    load_plugins()  # their figures may be objectives
    command = read_command(config, context, settings.get("params") or {}, arguments)
    check_space(command)
    if command.launcher_config.hydra.launcher.get("only") is not None:
        raise GenlabError("hydra.launcher.only chooses jobs of a sweep; of a search the same command goes on.")
    plan = _plan(settings, command)
    launcher = Plugins.instance().instantiate_launcher(context, task, command.launcher_config)
    _write_multirun(config)
    _keep_from_jobs(config)
    with working(), open_study(plan) as study:
        print(f"Study {plan.study} in {study.url}: {_progress(study.trials(), plan.trials)}")
        try:
            left = plan.trials - sum(trial.state.is_finished() for trial in study.trials())
            tell = partial(objectives_text, objectives=plan.objectives, monitor=plan.monitor)
            run_search(plan, study, _stream(launcher, settings.get("batch", 1), left, tell))
        except (KeyboardInterrupt, Interrupted):
            print(f"{_progress(study.trials(), plan.trials)} The same command goes on with the study.")
            raise
        report(plan, study, command, study_folder(command.base.paths.logs, plan.study), typed_command())


def _plan(settings: Mapping[str, Any], command: SearchCommand) -> SearchPlan:
    from genlab.sweeps.objectives import parse_objectives
    from genlab.sweeps.search import SearchPlan

    base = check_config(command.base)
    monitor = _monitor(base)
    wanted = settings.get("objective")
    objectives = parse_objectives(list(wanted) if OmegaConf.is_list(wanted) else wanted, monitor)
    about = {
        "objectives": [objective.name for objective in objectives],
        "space": {key: str(o.input_line).partition("=")[2] for key, o in sorted(command.overrides.items())},
        "config": config_hash(base.plain),
        "run_seed": base.seed,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
    choices = command.choices
    name = settings.get("study") or f"{choices['data']}-{base.model.name}-{digest}"
    folder = study_folder(base.paths.logs, str(name))
    return SearchPlan(
        study=str(name),
        storage=settings.get("storage") or f"sqlite:///{(folder / 'study.db').absolute()}",
        trials=settings.get("trials"),
        objectives=objectives,
        monitor=monitor,
        sampler=settings.get("sampler"),
        pruner=settings.get("pruner") or "none",
        seed=settings.get("seed"),
        space=command.space,
        fixed=command.fixed,
        validations=base.budget.validations,
        about=about,
        written={key: str(override.get_key_element()) for key, override in command.overrides.items()},
        measured_by=_on_validation(base),
    )


def _on_validation(base: TrainConfig) -> tuple[str, ...]:
    """Return the overrides by which a trial measures validation: what is seen of all trials chooses among them.

    The evaluation is no part of a run's identity, so that the weights are those of the run with the trial's settings;
    under a name of its own it leaves room for that run's result of the test split.
    """
    evaluation = base.plain["evaluation"]
    if evaluation["split"] == "validation":
        return ()
    return "evaluation.split=validation", f"evaluation.name={evaluation['name']}-validation"


def study_folder(logs: str, name: str) -> Path:
    """Return the folder of a study's files: its database, unless that is elsewhere, recipes and pictures.

    Args:
        logs: Root of what runs write.
        name: The study's.
    """
    if not name or set(name) & set("/\\ ") or name.startswith("."):
        raise GenlabError(f"hydra.sweeper.study is '{name}', which cannot name a folder: no blanks and no slashes.")
    return Path(logs) / "studies" / name


def _monitor(base: TrainConfig) -> str:
    from genlab.command.build import build_model

    return build_model(base).monitor


def _stream(launcher: Launcher, batch: int, left: int, tell: Tell | None = None) -> Stream:
    """Return the launcher's way to run jobs: as they come, or in batches where it tells nothing before all ended."""
    if hasattr(launcher, "stream"):
        return partial(launcher.stream, total=left, tell=tell)
    if not isinstance(batch, int) or batch < 1:
        raise GenlabError(f"hydra.sweeper.batch is {batch}, expected a whole number >= 1.")
    folder = Path(launcher.config.hydra.sweep.dir) if hasattr(launcher, "config") else Path()

    def stream(jobs: Iterable[Job], watch: object = None) -> Iterator[Outcome]:
        for some in _batches(iter(jobs), batch):
            returns = launcher.launch([list(job.overrides) for job in some], initial_job_idx=some[0].number)
            yield from (_outcome(job, returned, folder) for job, returned in zip(some, returns, strict=True))

    return stream


def _batches(jobs: Iterator[Job], size: int) -> Iterator[list[Job]]:
    while some := [job for _, job in zip(range(size), jobs, strict=False)]:
        yield some


def _outcome(job: Job, returned: JobReturn, folder: Path) -> Outcome:
    if returned.status is JobStatus.COMPLETED:
        value = returned.return_value
        return Outcome(job, 0, value.as_dict() if isinstance(value, FinishedRun) else value, None, 0.0, folder)
    try:
        error: Exception | None = None
        _ = returned.return_value  # raises what the job raised
    except Exception as raised:
        error = raised
    text = (explain_job(error) or f"{type(error).__name__}: {error}") if error else "The launcher returned no result."
    return Outcome(job, 1, None, text, 0.0, folder)


def _write_multirun(config: DictConfig) -> None:
    """Leave ``multirun.yaml`` as Hydra's sweepers do, without what opens the database."""
    plain = redact(plain_config(config, resolve=False))
    sweeper = plain["hydra"]["sweeper"]
    if sweeper["storage"] is not None and "${" not in str(sweeper["storage"]):
        sweeper["storage"] = REDACTED
    overrides = plain["hydra"]["overrides"]
    overrides["hydra"] = [o for o in overrides["hydra"] if _SECRET not in o]
    folder = Path(config.hydra.sweep.dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "multirun.yaml", OmegaConf.to_yaml(OmegaConf.create(plain)))


def _keep_from_jobs(config: DictConfig) -> None:
    """Take the variables that name the database from the environment, which jobs inherit."""
    written = plain_config(config.hydra.sweeper, resolve=False)["storage"]
    for name in re.findall(r"\$\{oc\.env:\s*(\w+)", str(written)):
        os.environ.pop(name, None)


def _progress(trials: Sequence[Any], total: int) -> str:
    done = sum(trial.state.is_finished() for trial in trials)
    return f"{done} of {total} trials are done."


def typed_command() -> list[str]:
    """Return the command as it was typed, without what opens the database."""
    words = [word for word in sys.argv[1:] if _SECRET not in word]
    return ["python", sys.argv[0], *words] if sys.argv[0].endswith(".py") else ["genlab", "train", *words]
