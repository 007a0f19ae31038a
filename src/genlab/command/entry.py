"""From a command line to a job: Hydra composes the config, and what goes wrong is said in one or two lines."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import genlab
from genlab.command.arguments import read_arguments
from genlab.command.explain import CommandLine, explain, explain_job
from genlab.command.hydra_node import check_hydra_node
from genlab.command.sweep_options import check_line, of_jobs_alone
from genlab.command.sweep_record import (
    SweepRecord,
    check_launcher,
    check_no_search,
    has_search_sweeper,
    hydra_arguments,
    is_trial,
)
from genlab.command.targets import FUNCTIONS
from genlab.core.errors import GenlabError, Interrupted
from genlab.core.plugins import load_plugins
from genlab.core.secrets import redact_text
from genlab.core.words import counted
from genlab.measure.finished_run import FinishedRun
from genlab.processes.job_reports import take_report
from genlab.processes.pipes import drop_unread
from genlab.processes.ranks import is_first_process
from genlab.processes.signals import stoppable
from genlab.sweeps.jobs import Outcome

__all__ = ["call_entry", "config_folder", "run_entry"]

BUG, USER_ERROR, CTRL_C = 1, 2, 130
NO_READER = 128 + signal.SIGPIPE

_FULL_ERROR = "HYDRA_FULL_ERROR"
_ONE_RUN = "hydra.mode=RUN"


def config_folder(config_name: str = "config") -> Path:
    """Return the folder of a command's config: within the installed package, or at the root of a checkout.

    Args:
        config_name: Name of the primary config. One that composes no groups stands apart, in ``command/conf``.

    Raises:
        GenlabError: If neither is there.
    """
    apart = Path(__file__).parent / "conf"
    if (apart / f"{config_name}.yaml").is_file():
        return apart
    package = Path(genlab.__file__).resolve().parent
    candidates = (package / "conf", package.parents[1] / "conf")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise GenlabError(f"The configs are neither in {candidates[0]} nor in {candidates[1]}: install genlab again.")


def run_entry(
    run: Callable[[DictConfig], object],
    config_name: str,
    arguments: Sequence[str],
    command: Sequence[str],
    conf: Path | None = None,
    required: Mapping[str, str] | None = None,
    after_sweep: Callable[[Sequence[object]], object] | None = None,
) -> int:
    """Compose the config of a command line and run its job, or with ``-m`` its jobs.

    In a sweep a job that fails is reported when it fails, and the others still run; what failed stands at the end.
    A job that a sweep started reports to it how it ended; see :mod:`genlab.processes.job_reports`.

    Args:
        run: The job, called with the composed config.
        config_name: Name of the primary config.
        arguments: What stands after the command.
        command: The command itself, e.g. ``["train.py"]`` or ``["bin/genlab", "train"]``.
        conf: Folder of the configs; `config_folder` by default.
        required: What to give for keys that have no default, by key.
        after_sweep: Called after a sweep with what its jobs returned, as far as it came back to this process.

    Returns:
        The exit code: 0, 1 for a bug, which shows its traceback, 2 for what the user can mend, 130 after Ctrl-C, and
        128 plus the number of any other signal, that of a broken pipe too. With ``HYDRA_FULL_ERROR=1`` in the
        environment errors are raised.
    """
    report = take_report()
    job = _Task(run, command, required or {})
    ending = _Ending(BUG)
    try:
        ending = _run(job, config_name, arguments, conf, after_sweep)
    finally:
        if report is not None:
            report.outcome(ending.code, ending.message, job.result)
    return ending.code


def call_entry(
    run: Callable[[DictConfig], object],
    config_name: str,
    arguments: Sequence[str],
    command: Sequence[str],
    required: Mapping[str, str] | None = None,
) -> object:
    """Compose the config of a command line and run its one job, for a program that goes on afterwards.

    Args:
        run: The job, called with the composed config.
        config_name: Name of the primary config.
        arguments: What stands after the command; no sweep.
        command: The command itself, as for `run_entry`.
        required: What to give for keys that have no default, by key.

    Returns:
        What the job returned; None where the arguments ask for none, as ``--cfg job``.

    Raises:
        GenlabError: For what the user can mend. A bug is raised as it is.
    """
    job = _Task(run, command, required or {})
    # Said last, so that no recipe makes a sweep of it either.
    line = read_arguments([*arguments, _ONE_RUN], config_name, config_folder(config_name))
    if line.multirun or any(argument.lstrip("+").startswith("hydra.mode=") for argument in arguments):
        raise GenlabError("A sweep is for the command. In Python, call this once for each run.")
    job.line = line
    with _hydra_of_its_own():
        try:
            _compose(job, config_name)
        except _Failed as failed:
            error, message = failed.error, explain_job(failed.error)
        except SystemExit as left:  # of Hydra, which has said why
            if not left.code:
                return None
            error, message = left, "Hydra refuses these arguments, as is said above."
        except Exception as raised:
            error, message = raised, explain(raised, line)
        else:
            return job.results[0] if job.results else None
    if message is None:
        raise error
    raise GenlabError(redact_text(message)) from None  # the message says all, and Hydra's frames nothing


class _Ending(NamedTuple):
    code: int
    message: str | None = None


def _run(
    job: _Task,
    config_name: str,
    arguments: Sequence[str],
    conf: Path | None,
    after_sweep: Callable[[Sequence[object]], object] | None,
) -> _Ending:
    try:
        job.line = line = read_arguments(arguments, config_name, conf or config_folder(config_name))
    except GenlabError as error:
        return _say(str(error), USER_ERROR)
    try:
        _compose(job, config_name)
        if job.swept and after_sweep is not None:
            load_plugins()
            after_sweep(job.sweep.results() or job.results)
        return job.conclude()
    except KeyboardInterrupt:
        job.conclude(stopped=True)
        return _say("Stopped by Ctrl-C.", CTRL_C)
    except Interrupted as stopped:
        job.conclude(stopped=True)
        return _say(str(stopped), 128 + stopped.signum)
    except SystemExit as left:  # of Hydra, which has said why
        if job.jobs or not left.code:
            raise
        return _Ending(USER_ERROR)
    except _Failed as failed:
        error, message = failed.error, explain_job(failed.error)
    except Exception as raised:
        error, message = raised, explain_job(raised) if job.raised(raised) else explain(raised, line)
    if job.full_error == "1":
        raise error
    return _report(error, message)


def _compose(job: _Task, config_name: str) -> None:
    """Let Hydra compose the config of the job's line and call the job."""
    line = job.line
    # What Hydra itself makes before a job, as callbacks, has no need of what the job makes by `instantiate`.
    decorate = hydra.main(str(line.conf), config_name, execution_whitelist=FUNCTIONS)
    with stoppable(), _replaced([sys.argv[0], *line.arguments], full_error="1"):
        check_line(line)
        line = of_jobs_alone(line)
        check_hydra_node(line, config_name)
        sys.argv[1:] = line.arguments
        decorate(job)()


@contextmanager
def _hydra_of_its_own() -> Iterator[None]:
    """Leave what Hydra knows of the program's own job, in a notebook that uses Hydra too, as it was before."""
    whole, own = GlobalHydra.instance(), HydraConfig.instance()
    before = whole.hydra, own.cfg
    whole.clear()
    try:
        yield
    finally:
        whole.hydra, own.cfg = before


class _Failed(BaseException):
    """Carries an error out of a single job past Hydra, which would comment on an ``Exception``."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Task:
    """What Hydra calls with a composed config, in this process or, by some launchers, in another.

    Launchers that start processes ask it for their command lines and tell it how they ended.
    """

    line: CommandLine

    def __init__(
        self, run: Callable[[DictConfig], object], command: Sequence[str], required: Mapping[str, str]
    ) -> None:
        self.run = run
        self.command = list(command)
        self.required = dict(required)
        self.full_error = os.environ.get(_FULL_ERROR)
        self.jobs = 0
        self.codes: list[int] = []
        self.results: list[object] = []
        self.sweep = SweepRecord()

    def __call__(self, config: DictConfig) -> object:
        self.jobs += 1
        overrides: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
        # Lightning starts its helpers with our arguments and environment: they must be those of this job alone, and
        # not of a whole sweep.
        with _replaced([*self.command, *self.arguments(overrides)], self.full_error):
            try:
                self._check_required(config)
                check_no_search()
                check_launcher(config)
                load_plugins()
                result = self.run(config)
                if not is_trial():  # trials are compared by validation, and not in a table of results
                    self.results.append(result)
                return result
            except Interrupted:
                if is_first_process():
                    raise
                # Whoever watches over the processes would kill all of them for one that fails, while the first still
                # closes what is open.
                return None
            except Exception as error:
                return self._fail(error, overrides)

    @property
    def swept(self) -> bool:
        """Whether this is a sweep, as the command line or the config asked for."""
        return self.line.multirun or bool(self.sweep.outcomes)

    @property
    def result(self) -> Mapping[str, Any] | None:
        """What a single run returned, in plain containers, if it is a result."""
        plain = (result.as_dict() if isinstance(result, FinishedRun) else result for result in self.results)
        return next((result for result in plain if isinstance(result, Mapping)), None)

    def arguments(self, overrides: Sequence[str]) -> list[str]:
        """Return the arguments of a single run with these settings and what else the command line decides of it."""
        return [*self.line.flags, *hydra_arguments(self.line), *overrides]

    def command_for(self, overrides: Sequence[str]) -> list[str]:
        """Return the whole command line of a single run with these settings."""
        return [sys.executable, *self._program(), *self.arguments(overrides)]

    def environment(self) -> dict[str, str]:
        """Return the environment of a single run: the user's own, without what was set for Hydra in this process."""
        environment = dict(os.environ)
        environment.pop(_FULL_ERROR, None)
        return environment if self.full_error is None else {**environment, _FULL_ERROR: self.full_error}

    def record(self, outcome: Outcome) -> None:
        """Take in how a job ended that ran as a process of its own; those of a search are judged by it alone."""
        if not has_search_sweeper():
            self.sweep.add(outcome, str(HydraConfig.get().runtime.choices["hydra/sweeper"]))

    def _check_required(self, config: DictConfig) -> None:
        for key, what in self.required.items():
            if OmegaConf.is_missing(config, key):
                raise GenlabError(f"{key} is required: {' '.join(self._typed())} {key}={what}")

    def _program(self) -> list[str]:
        """The command as Python is given it: of ``python -m genlab`` Python's own arguments tell the file alone."""
        is_module = Path(self.command[0]).name == "__main__.py"
        return ["-m", genlab.__name__, *self.command[1:]] if is_module else self.command

    def _typed(self) -> list[str]:
        script = self.command[0].endswith(".py")
        return ["python", *self._program()] if script else [Path(self.command[0]).name, *self.command[1:]]

    def _fail(self, error: Exception, overrides: list[str]) -> None:
        if HydraConfig.get().mode is not RunMode.MULTIRUN:
            raise _Failed(error)
        choices = HydraConfig.get().runtime.choices
        if (choices["hydra/launcher"], choices["hydra/sweeper"]) != ("basic", "basic"):
            error._genlab_job = True  # type: ignore[attr-defined]
            raise error
        # Hydra's own sweeper drops the batches that follow a failed one, and asks for no result: keep the failure here.
        print(f"Job {HydraConfig.get().job.num} failed: {' '.join(overrides)}", file=sys.stderr)
        self.codes.append(_report(error, explain_job(error)).code)

    def raised(self, error: Exception) -> bool:
        """Whether an error comes from a job, and not from Hydra."""
        return getattr(error, "_genlab_job", False)

    def conclude(self, stopped: bool = False) -> _Ending:
        """Say which jobs of a sweep failed, and return the exit code.

        Args:
            stopped: Whether the sweep was stopped before its end.
        """
        if text := self.sweep.describe([*self._typed(), *self.line.arguments], stopped):
            print(text, file=sys.stderr)
        if self.codes:
            _say(f"{len(self.codes)} of {counted(self.jobs, 'job')} failed; the same command starts them again.", 0)
        codes = [*self.codes, *(outcome.code for outcome in self.sweep.failed)]
        return _Ending(min(codes, default=0), f"{counted(len(codes), 'job')} failed." if codes else None)


@contextmanager
def _replaced(argv: list[str], full_error: str | None) -> Iterator[None]:
    """Exchange the arguments, which Hydra reads there, and whether Hydra raises errors or prints and exits."""
    before = sys.argv, os.environ.get(_FULL_ERROR)
    _set(argv, full_error)
    try:
        yield
    finally:
        _set(*before)


def _set(argv: list[str], full_error: str | None) -> None:
    sys.argv = list(argv)
    if full_error is None:
        os.environ.pop(_FULL_ERROR, None)
    else:
        os.environ[_FULL_ERROR] = full_error


def _report(error: Exception, message: str | None) -> _Ending:
    if message is not None:
        return _say(message, USER_ERROR)
    if isinstance(error, BrokenPipeError) and drop_unread():
        return _Ending(NO_READER)
    traceback.print_exception(type(error), error, _within_job(error))
    return _Ending(BUG, traceback.format_exception_only(error)[0].strip())


def _within_job(error: Exception) -> object:
    """Return the traceback from where the job begins: Hydra's frames above it say nothing."""
    start = error.__traceback__
    while start is not None and start.tb_frame.f_code is not _Task.__call__.__code__:
        start = start.tb_next
    return start.tb_next if start is not None else error.__traceback__


def _say(message: str, code: int) -> _Ending:
    message = redact_text(message)  # it may repeat a setting, such as the address of a database
    print(message, file=sys.stderr)
    return _Ending(code, message)
