"""What the user sees while a sweep runs: a table that keeps itself up to date on a terminal, else single lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from genlab.core.labels import tell_apart
from genlab.core.words import counted
from genlab.measure.figures import headlines, validated
from genlab.measure.finished_run import FinishedRun
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.places import Place
from genlab.sweeps.summary import varying

__all__ = ["LiveStatus", "PlainStatus", "Status", "Tell", "headlines_text", "make_status"]

Tell = Callable[[FinishedRun], str]
"""Says in a line what a finished job achieved."""

SECONDS_BETWEEN_FRAMES = 0.5


@dataclass
class _Running:
    job: Job
    place: Place
    log: Path
    began: float
    fraction: float | None = None
    first: tuple[float, float] | None = None  # fraction and time of the first report: a resumed run does not begin at 0
    metrics: dict[str, float] = field(default_factory=dict)

    def seconds_left(self, now: float) -> float | None:
        if self.first is None or self.fraction is None or self.fraction <= self.first[0]:
            return None
        return (now - self.first[1]) * (1 - self.fraction) / (self.fraction - self.first[0])


class Status(AbstractContextManager["Status"]):
    """What is known of a sweep; listens to a :class:`~genlab.sweeps.process_pool.ProcessPool`.

    Args:
        jobs: All jobs, as far as they are known.
        total: How many jobs there will be, or None.
        places: How many run at a time.
        stream: Where it is shown.
        tell: Says of a job that is done what it achieved; the headlines of its result by default.
    """

    def __init__(
        self, jobs: Sequence[Job], total: int | None, places: int, stream: TextIO, tell: Tell | None = None
    ) -> None:
        self.total = total
        self.places = places
        self.stream = stream
        self.tell = tell or headlines_text
        self.running: dict[int, _Running] = {}
        self.counts = {"done": 0, "failed": 0, "pruned": 0, "stopped": 0}
        self._states: dict[int, str] = {}
        self._jobs = list(jobs)
        self._names = varying(jobs) if jobs else {}
        self._times: list[float] = []
        self._short_times: list[float] = []
        self._is_stopping = False

    def started(self, job: Job, place: Place, log: Path) -> None:
        """A job's process has begun."""
        if job.number not in self._names:  # of a search, whose jobs come one by one
            self._jobs.append(job)
            self._names = varying(self._jobs)
        if (state := self._states.pop(job.number, None)) is not None:  # a trial that was interrupted, and goes on
            self.counts[state] -= 1
        self.running[job.number] = _Running(job, place, log, time.monotonic())

    def reported(self, job: Job, report: Mapping[str, Any]) -> None:
        """A job says how far it is."""
        running, now = self.running[job.number], time.monotonic()
        running.fraction = report["fraction"]
        running.first = running.first or (report["fraction"], now)
        running.metrics |= report.get("metrics") or {}

    def ended(self, outcome: Outcome) -> None:
        """Nothing of a job runs any more."""
        running = self.running.pop(outcome.job.number)
        self._states[outcome.job.number] = state_of(outcome)
        self.counts[state_of(outcome)] += 1
        if outcome.code == 0:
            # A run that was finished before only says so: it tells nothing of the others' times.
            (self._times if running.first else self._short_times).append(outcome.seconds)

    def stopping(self, running: int) -> None:
        """The sweep was asked to stop."""
        self._is_stopping = True

    def tick(self) -> None:
        """Time goes by."""

    def __exit__(self, *error: object) -> None:
        """Nothing is left on the screen that would change."""

    @property
    def left(self) -> int | None:
        """How many jobs have not begun, or None if nobody knows."""
        return None if self.total is None else self.total - sum(self.counts.values()) - len(self.running)

    def name(self, job: Job) -> str:
        """Return what tells a job from the others."""
        return self._names.get(job.number, "")

    def seconds_left(self) -> float | None:
        """Estimate how long the sweep will take yet, or None as long as nothing is known."""
        now, left = time.monotonic(), self.left
        own = {number: running.seconds_left(now) for number, running in self.running.items()}
        spent = {number: now - running.began for number, running in self.running.items()}
        whole = self._times or [spent[number] + seconds for number, seconds in own.items() if seconds is not None]
        whole = whole or self._short_times
        if left is None or not whole:
            return None
        typical = sum(whole) / len(whole)
        rest = sum(max(0.0, typical - spent[n]) if seconds is None else seconds for n, seconds in own.items())
        return (rest + left * typical) / max(1, min(self.places, left + len(self.running)))

    def summary(self) -> str:
        """Return the counts and the time left, e.g. ``"3 done, 1 failed, 2 running, 6 waiting, about 0:14 more"``."""
        parts = [f"{count} {state}" for state, count in self.counts.items() if count]
        parts.append(f"{len(self.running)} running")
        if self.left:
            parts.append(f"{self.left} waiting")
        seconds = self.seconds_left() if not self._is_stopping else None
        if seconds is not None and (self.running or self.left):
            parts.append(f"about {duration(seconds)} more")
        return ", ".join(parts)


class PlainStatus(Status):
    """A line when a job begins and when it ends."""

    def started(self, job: Job, place: Place, log: Path) -> None:
        super().started(job, place, log)
        where = f" on {place.name}" if place.name else ""
        self._say(f"Job {job.number} begins{where}: {self.name(job)} ({log})")

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        self._say(f"{describe_end(outcome, self.name(outcome.job), self.tell)}. {self.summary()}.")

    def stopping(self, running: int) -> None:
        super().stopping(running)
        self._say(describe_stop(running))

    def _say(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


class LiveStatus(Status):
    """A table of the jobs that run, kept up to date below a line for each that has ended."""

    def __init__(
        self, jobs: Sequence[Job], total: int | None, places: int, stream: TextIO, tell: Tell | None = None
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(jobs, total, places, stream, tell)
        self.console = Console(file=stream, highlight=False, markup=False)  # a setting may hold a list in brackets
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._shown_at = 0.0

    def __enter__(self) -> LiveStatus:
        self._live.start()
        return self

    def started(self, job: Job, place: Place, log: Path) -> None:
        if not self.running and not any(self.counts.values()):
            jobs = "Jobs" if self.total is None else counted(self.total, "job")
            self.console.print(f"{jobs}, {self.places} at a time; what they print is in {log.parent}", soft_wrap=True)
        super().started(job, place, log)

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def ended(self, outcome: Outcome) -> None:
        from rich.text import Text

        super().ended(outcome)
        style = _STYLES[state_of(outcome)]
        self._live.update(self.render())  # the table without the job, below the line
        self.console.print(Text(describe_end(outcome, self.name(outcome.job), self.tell), style), soft_wrap=True)

    def stopping(self, running: int) -> None:
        super().stopping(running)
        self.console.print(describe_stop(running))

    def tick(self) -> None:
        if time.monotonic() - self._shown_at >= SECONDS_BETWEEN_FRAMES:
            self._shown_at = time.monotonic()
            self._live.update(self.render(), refresh=True)

    def render(self) -> Any:
        """Return the table and the counts below it, as rich draws them."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("job", justify="right")
        table.add_column("settings", overflow="ellipsis", no_wrap=True, ratio=1)
        shows_places = any(running.place.name for running in self.running.values())
        if shows_places:
            table.add_column("on", no_wrap=True)
        for title in ("", "", "validation", "time", "left"):
            table.add_column(title, justify="right", no_wrap=True)
        # Above and below the table something else must find room too.
        shown = list(self.running.values())[: max(1, self.console.height - 6)]
        cells = [self._cells(running, now) for running in shown]
        places = [running.place.name if shows_places else "" for running in shown]
        # What the other columns, with two blanks behind each, and the bar leave.
        columns = zip(("job", "", "validation", "time", "left"), *cells, strict=True)
        taken = sum(max(map(len, column)) + 2 for column in (*columns, places or [""])) + 18
        names = tell_apart([self.name(running.job) for running in shown], max(12, self.console.width - taken))
        for running, name, (number, *others) in zip(shown, names, cells, strict=True):
            bar = ProgressBar(total=1.0, completed=running.fraction or 0.0, width=14, complete_style="cyan")
            table.add_row(number, name, *([running.place.name] if shows_places else []), bar, *others)
        more = len(self.running) - len(shown)
        rows: list[Any] = ["", table] if shown else [""]
        if more:
            rows.append(Text(f"and {more} more", "dim"))
        return Group(*rows, Text(self.summary(), "bold"))

    def _cells(self, running: _Running, now: float) -> list[str]:
        """Return the texts of a job's row, but for its settings and its place."""
        fraction, left = running.fraction, running.seconds_left(now)
        return [
            str(running.job.number),
            "starting" if fraction is None else "evaluating" if fraction >= 1 else f"{100 * fraction:.0f}%",
            _figure(running.metrics),
            duration(now - running.began),
            duration(left) if left and not self._is_stopping else "",
        ]


_STYLES = {"done": "green", "failed": "red", "pruned": "yellow", "stopped": "yellow"}


def make_status(jobs: Sequence[Job], total: int | None, places: int, tell: Tell | None = None) -> Status:
    """Make what fits standard error: a live table on a terminal, else lines."""
    kind = LiveStatus if sys.stderr.isatty() else PlainStatus
    return kind(jobs, total, places, sys.stderr, tell)


def state_of(outcome: Outcome) -> str:
    """Return in one word how a job ended."""
    if outcome.pruned:
        return "pruned"
    if outcome.code == 0:
        return "done"
    return "stopped" if outcome.stopped else "failed"


def describe_end(outcome: Outcome, name: str, tell: Tell) -> str:
    """Say in one line how a job ended, and what it achieved."""
    state = state_of(outcome)
    line = f"Job {outcome.job.number}{f' ({name})' if name else ''} {state} {'in' if state == 'done' else 'after'}"
    line += f" {duration(outcome.seconds)}"
    said = (outcome.error or "").partition("\n")[0].rstrip(".")
    if state == "done":
        said = "" if (finished := outcome.finished) is None else tell(finished)
    return f"{line}: {said}" if said and state in ("done", "failed") else line


def describe_stop(running: int) -> str:
    """Say what happens to the jobs of a sweep that is asked to stop."""
    jobs = "1 job saves and leaves" if running == 1 else f"{running} jobs save and leave"
    return f"Stopping: {jobs}. Ctrl-C again kills at once."


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds: ``"0:07"``, ``"1:02:03"``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _figure(metrics: Mapping[str, float]) -> str:
    """The first of the headlines that validation has measured."""
    known = validated(headlines_only=True)
    return next((figure.phrase(metrics[name]) for figure in known if (name := f"val/{figure.key}") in metrics), "")


def headlines_text(finished: FinishedRun) -> str:
    """Return the headlines of a result: one likelihood, and what is known of the samples."""
    known = [figure for figure in headlines() if finished.result.value(figure) is not None]
    likelihoods = [figure for figure in known if figure.section == "likelihood"]
    shown = [*likelihoods[:1], *(figure for figure in known if figure.section != "likelihood")]
    result = finished.result
    return ", ".join(
        f"{result.value(figure):.4g} {result.data.likelihood_unit}"
        if figure.key == "bits_per_dim"
        else figure.phrase(result.value(figure))
        for figure in shown
    )
