"""Jobs as fresh processes of the operating system: several at a time, each in a place of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from genlab.core.errors import Interrupted
from genlab.core.secrets import redact_text
from genlab.processes.job_reports import REPORT_VARIABLE, ReportReader
from genlab.processes.ranks import without_launch
from genlab.processes.signals import REQUEUE_SIGNALS, STOP_SIGNALS
from genlab.sweeps.guard import Guard, signal_group
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.places import Place, pinned_to
from genlab.sweeps.summary import explain_exit

__all__ = ["Listener", "ProcessPool"]

PATIENCE_SECONDS = 60.0
"""For a job that was asked to stop: the step that it is in, perhaps a validation, and a checkpoint."""

_POLL_SECONDS = 0.05
_STRAGGLER_SECONDS = 5.0

Watch = Callable[[Job, Mapping[str, Any]], bool]


class Listener(Protocol):
    """Hears what happens in a pool, e.g. to show it."""

    def started(self, job: Job, place: Place, log: Path) -> None: ...

    def reported(self, job: Job, report: Mapping[str, Any]) -> None: ...

    def ended(self, outcome: Outcome) -> None: ...

    def stopping(self, running: int) -> None: ...

    def tick(self) -> None: ...


class ProcessPool:
    """Runs jobs as processes of their own, one in each place at a time.

    Each job has a session of its own: Ctrl-C does not reach it past the sweep, and whatever it starts ends with it.
    Its output goes to ``<folder>/<number>.log``.

    A signal to this process, Ctrl-C or one of `STOP_SIGNALS`, is passed to every job once; jobs that have not ended
    after ``patience_seconds`` are killed, and a second Ctrl-C kills them at once. When this process is killed and
    cannot do so, a :class:`~genlab.sweeps.guard.Guard` does.

    Args:
        command_for: Returns the full command line of a job from its overrides.
        folder: Where the logs go.
        places: Where jobs run; as many run at a time.
        environment: Of the jobs, before their places' settings; ``os.environ`` by default.
        listener: Hears what happens.
        patience_seconds: How long a job that was asked to stop may take to save.
    """

    def __init__(
        self,
        command_for: Callable[[Sequence[str]], list[str]],
        folder: Path | str,
        places: Sequence[Place] = (Place(),),
        environment: Mapping[str, str] | None = None,
        listener: Listener | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.command_for = command_for
        self.folder = Path(folder)
        self.places = list(places)
        self.environment = environment
        self.listener = listener
        self.patience_seconds = patience_seconds

    def run(self, jobs: Iterable[Job], watch: Watch | None = None) -> Iterator[Outcome]:
        """Run the jobs and yield their outcomes as they end.

        Args:
            jobs: Taken one by one, each when a place is free for it: what comes next may depend on what has ended.
            watch: Called with each report of progress; True stops the job, which saves and counts as pruned.

        Raises:
            KeyboardInterrupt: After Ctrl-C, when all jobs have ended and their outcomes were yielded.
            Interrupted: Likewise after another signal.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        queue, free, running = iter(jobs), list(self.places), list[_Process]()
        with _Signals() as signals, Guard(self.patience_seconds) as guard:
            try:
                while True:
                    while free and not signals.received and (job := next(queue, None)) is not None:
                        running.append(self._start(job, free.pop(0), guard))
                    if not running:
                        break
                    if signals.received:
                        self._stop(running, signals.received)
                    for process in [process for process in running if self._look_after(process, watch)]:
                        running.remove(process)
                        free.append(process.place)
                        guard.forget(process.group)
                        yield self._conclude(process)
                    if self.listener is not None:
                        self.listener.tick()
                    time.sleep(_POLL_SECONDS)
            finally:
                # Whatever ends a sweep early, an error too, leaves its jobs time to save; a second Ctrl-C does not.
                self._end(running, 0.0 if signals.again else self.patience_seconds)
                for process in running:  # dead, even where process 1 leaves their children as zombies
                    guard.forget(process.group)
        signals.raise_received()

    def _start(self, job: Job, place: Place, guard: Guard) -> _Process:
        log = _new_file(self.folder, str(job.number), ".log")
        report = _new_file(self.folder, log.stem, ".jsonl")
        base = without_launch(os.environ if self.environment is None else self.environment)
        # Unbuffered, with tracebacks of crashes: the log must hold what a job printed before it was killed.
        settings = {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        environment = {**settings, **base, **place.environment, REPORT_VARIABLE: str(report.absolute())}
        process = _Process(job, place, log, report)
        try:
            command = self.command_for(job.overrides)
            with open(log, "wb") as output, pinned_to(place.cores):
                output.write(f"$ {redact_text(shlex.join(command))}\n".encode())
                output.flush()
                process.popen = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            guard.watch(process.group)
        except OSError as error:
            process.failure = f"Could not be started: {error}"
        if self.listener is not None:
            self.listener.started(job, place, log)
        return process

    def _stop(self, running: Sequence[_Process], signum: int) -> None:
        fresh = [process for process in running if not process.stopped]
        if fresh and self.listener is not None:
            self.listener.stopping(len(fresh))
        for process in fresh:
            process.stopped = True
            process.ask_to_stop(signum, self.patience_seconds)

    def _look_after(self, process: _Process, watch: Watch | None) -> bool:
        """Hear a job's reports, and say whether nothing of it runs any more."""
        ended = process.has_ended()
        for report in process.reports():
            if self.listener is not None:
                self.listener.reported(process.job, report)
            if watch is not None and not ended and not process.asked and watch(process.job, report):
                process.pruned = True
                process.ask_to_stop(signal.SIGTERM, self.patience_seconds)
        return ended

    def _conclude(self, process: _Process) -> Outcome:
        outcome = process.outcome()
        if self.listener is not None:
            self.listener.ended(outcome)
        return outcome

    def _end(self, running: list[_Process], patience_seconds: float) -> None:
        try:
            for process in running:
                process.ask_to_stop(signal.SIGTERM, patience_seconds)
            while [process for process in running if not process.has_ended()]:
                time.sleep(_POLL_SECONDS)
        finally:
            for process in running:
                process.kill()


class _Process:
    """A job that runs, from the start of its process until nothing of its group is left."""

    def __init__(self, job: Job, place: Place, log: Path, report: Path) -> None:
        self.job = job
        self.place = place
        self.log = log
        self.popen: subprocess.Popen[bytes] | None = None
        self.failure: str | None = None
        self.pruned = self.stopped = self.asked = False
        self._report = report
        self._reader = ReportReader(report)
        self._said: dict[str, Any] = {}
        self._began = time.monotonic()
        self._deadline = float("inf")
        self._left = False  # whether the job's own process has ended
        self._gone = False  # whether everything that it started has ended as well

    @property
    def group(self) -> int:
        return self.popen.pid if self.popen else 0

    def ask_to_stop(self, signum: int, patience_seconds: float) -> None:
        self._deadline = min(self._deadline, time.monotonic() + patience_seconds)
        if self.popen is not None and not self.asked:
            self.asked = True
            signal_group(self.group, signum)

    def has_ended(self) -> bool:
        """Whether nothing of the job runs any more; what outlives the job's own process is ended."""
        if self.popen is None or self._gone:
            return True
        if not self._left and self.popen.poll() is not None:
            # E.g. the other ranks of a distributed training whose first process was killed: they would wait for ever.
            self._left = True
            self._deadline = min(self._deadline, time.monotonic() + _STRAGGLER_SECONDS)
            signal_group(self.group, signal.SIGTERM)
        late = time.monotonic() > self._deadline
        if late:
            self.kill()
        # Where process 1 does not reap dead processes, as in some containers, they stay in their group.
        self._gone = self._left and (late or not signal_group(self.group, 0))
        return self._gone

    def kill(self) -> None:
        if self.popen is not None and not self._gone:
            signal_group(self.group, signal.SIGKILL)

    def reports(self) -> Iterator[dict[str, Any]]:
        for report in self._reader.read():
            if report.get("kind") == "outcome":
                self._said = report
            elif isinstance(report.get("fraction"), int | float):
                yield report

    def outcome(self) -> Outcome:
        self._reader.close()
        self._report.unlink(missing_ok=True)
        code = 126 if self.popen is None else _shell_code(self.popen.wait())
        said = self._said.get("error")
        error = None if code == 0 else self.failure or said or explain_exit(code, self.log)
        seconds = time.monotonic() - self._began
        return Outcome(self.job, code, self._said.get("result"), error, seconds, self.log, self.pruned, self.stopped)


class _Signals:
    """Notes Ctrl-C, SIGTERM and what clusters send while jobs run; a second Ctrl-C is raised.

    Only the main thread may have handlers.
    """

    def __init__(self) -> None:
        self.received = 0
        self.again = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as under `nohup ... &`: then it stays so
            for signum in (*(() if ignored else (signal.SIGINT,)), *STOP_SIGNALS):
                self._before[signum] = signal.signal(signum, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        if self.received and signum == signal.SIGINT:
            self.again = True
            raise KeyboardInterrupt
        if not self.received or (signum in REQUEUE_SIGNALS and self.received not in REQUEUE_SIGNALS):
            self.received = signum  # submitit's SIGUSR2 comes just after SIGTERM, and has a job queued again

    def raise_received(self) -> None:
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received:
            raise Interrupted(f"The sweep was stopped by {signal.Signals(self.received).name}.", self.received)


def _shell_code(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


def _new_file(folder: Path, stem: str, suffix: str) -> Path:
    """Make an empty file that nobody else has, such as another sweep of the same second."""
    number, path = 1, folder / f"{stem}{suffix}"
    while True:
        try:
            path.touch(exist_ok=False)
            return path
        except FileExistsError:
            number += 1
            path = folder / f"{stem}-{number}{suffix}"
