"""What a user sees while a program works: a bar on a terminal, a line now and then in a log file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.table import Column
from rich.text import Text

from genlab.core.timetable import Timetable
from genlab.processes.ranks import is_first_process

__all__ = ["Display", "clock_time"]

SECONDS_BETWEEN_FRAMES = 0.5
SHORTEST_PAUSE, LONGEST_PAUSE = 30.0, 600.0
"""Seconds between two lines in a log file: a twentieth of what has passed, within these."""
SHORT_PHASE = 2.0
"""Seconds of a phase that gets no line of its own."""

BAR_WIDTH = 12


class Told(NamedTuple):
    """What was known at a moment."""

    at: float
    fraction: float | None = None
    left: float | None = None
    phase: str = ""
    left_of_phase: float | None = None
    remarks: str = ""


class Display:
    """Shows a timetable for as long as it is entered; of several processes the first alone shows it.

    A terminal gets a bar with the percentage of the whole time that has passed, the time left, the phase and remarks;
    what is narrow loses the remarks first. A log file gets lines, at each phase and at growing intervals.

    Args:
        timetable: What is shown.
        console: Where to; standard error by default.

    Attributes:
        details: Gives what stands behind the phase's name in the place of its units, and remarks; called when shown.
        before: Seconds that an earlier start of the same took.
    """

    def __init__(self, timetable: Timetable, console: Console | None = None) -> None:
        self.timetable = timetable
        self.details: Callable[[], tuple[str, str]] = _no_details
        self.before = 0.0
        self._console = console or Console(stderr=True)
        self._began = self._shown_at = timetable.clock()
        self._bar: Progress | None = None
        self._told = Told(self._began)
        self._phase_shown = ""

    def __enter__(self) -> Display:
        self._began = self._shown_at = self.timetable.clock()
        if not is_first_process():
            return self
        self.timetable.watch = self.tick
        if self._console.is_terminal:
            columns = (_Percentage(self), BarColumn(BAR_WIDTH), _Words(self))
            self._bar = Progress(*columns, console=self._console, refresh_per_second=1, expand=True)
            self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.timetable.watch = _nothing
        if self._bar is not None:
            if kind is None:
                self._told = Told(self.timetable.clock(), 1.0, phase=f"done in {clock_time(self.elapsed)}")
                self._bar.update(self._bar.task_ids[0], total=1.0, completed=1.0)
            self._bar.stop()
            self._bar = None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, over all starts."""
        return self.before + self.timetable.clock() - self._began

    def tick(self) -> None:
        """Show what is new, unless something was shown a moment ago."""
        since = self.timetable.clock() - self._shown_at
        if self._bar is not None:
            if since >= SECONDS_BETWEEN_FRAMES:
                self.show()
            return
        passed = self.elapsed - self.before
        pause = min(LONGEST_PAUSE, max(SHORTEST_PAUSE, passed / 20))
        if since >= pause or (since >= passed / 100 and self._is_new_phase()):
            self.show()

    def _is_new_phase(self) -> bool:
        phase = self.timetable.now
        if phase is None or phase.name == self._phase_shown:
            return False
        left = self.timetable.left_of_phase()
        return left is None or left > SHORT_PHASE

    def show(self) -> None:
        """Show what is known now."""
        if self.timetable.watch != self.tick:
            return
        self._told = self._look()
        self._shown_at = self._told.at
        self._phase_shown = "" if self.timetable.now is None else self.timetable.now.name
        if self._bar is None:
            print(f"{self.percentage}  {self.words()}", file=sys.stderr, flush=True)
        else:
            fraction = self._told.fraction
            total = None if fraction is None else 1.0
            self._bar.update(self._bar.task_ids[0], total=total, completed=fraction or 0.0, refresh=True)

    def _look(self) -> Told:
        timetable, elapsed = self.timetable, self.elapsed
        left, phase = timetable.left(), timetable.now
        fraction = None if left is None else elapsed / max(elapsed + left, 1e-9)
        name = ""
        count, remarks = self.details()
        if phase is not None:
            units = f"{phase.done:,.0f}/{phase.total:,.0f}" if phase.counts else count
            name = f"{phase.name} {units}".rstrip()
        return Told(timetable.clock(), fraction, left, name, timetable.left_of_phase(), remarks)

    @property
    def percentage(self) -> str:
        """Share of the whole time that has passed; where nobody knows it yet, dashes."""
        fraction = self._told.fraction
        return " --%" if fraction is None else f"{100 * fraction:3.0f}%"

    def words(self) -> str:
        """What stands behind the bar; called by another thread too, so it looks at nothing but what was told."""
        told = self._told
        passed = self.timetable.clock() - told.at
        parts = [] if told.left is None else [f"{clock_time(told.left - passed)} left"]
        if told.phase:
            rest = None if told.left_of_phase is None else clock_time(told.left_of_phase - passed)
            same = told.left is not None and told.left == told.left_of_phase
            parts.append(told.phase if rest is None or same else f"{told.phase}, {rest} left")
        return "  ".join([*parts, *([told.remarks] if told.remarks else [])])


class _Percentage(ProgressColumn):
    def __init__(self, display: Display) -> None:
        super().__init__(Column(width=4, no_wrap=True))
        self._display = display

    def render(self, task: Task) -> Text:
        return Text(self._display.percentage)


class _Words(ProgressColumn):
    def __init__(self, display: Display) -> None:
        super().__init__(Column(ratio=1, no_wrap=True, overflow="ellipsis"))
        self._display = display

    def render(self, task: Task) -> Text:
        return Text(self._display.words())


def clock_time(seconds: float) -> str:
    """Return minutes and seconds, or hours too: ``"1:05"``, ``"2:01:05"``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _nothing() -> None:
    """Nobody watches."""


def _no_details() -> tuple[str, str]:
    return "", ""
