"""How long what a program does will still take: its phases, and the pace at which it gets on with them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Pace", "Phase", "Timetable"]

FORETOLD_WEIGHT = 0.05
"""Part of a phase after which what it takes says as much of its pace as what was foretold."""


@dataclass
class Pace:
    """Seconds that one unit of a phase takes.

    Attributes:
        units: Units observed, those of long ago counted less where the pace forgets.
        seconds: What they took.
    """

    units: float = 0.0
    seconds: float = 0.0

    def observe(self, units: float, seconds: float, keep: float = 1.0) -> None:
        """Take in what some units took.

        Args:
            units: How many.
            seconds: What they took together.
            keep: Weight, in [0, 1], that what was observed before keeps.
        """
        self.units = keep * self.units + units
        self.seconds = keep * self.seconds + seconds

    @property
    def seconds_per_unit(self) -> float | None:
        """Mean of what was observed; None before anything was."""
        return self.seconds / self.units if self.units > 0 else None


@dataclass
class Phase:
    """One thing that is to be done.

    Attributes:
        name: What it is called.
        total: Units of it: examples, samples, pairs of examples ...
        done: Units that are done.
        counts: Whether its units are something that a user counts.
        like: Name of the pace that it goes by: that of a phase of the same kind.
    """

    name: str
    total: float = 1.0
    done: float = 0.0
    counts: bool = False
    like: str = field(default="", kw_only=True)

    @property
    def pace(self) -> str:
        """Name of the pace that the phase goes by."""
        return self.like or self.name


class Timetable:
    """What is to be done, phase by phase, and the seconds that are left: of each phase and of all.

    Paces are measured as work gets done; `foretell` and `recall` say what is known before. A phase within a phase
    interrupts it: its time is its own.

    Args:
        clock: Returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.phases: list[Phase] = []
        self.paces: dict[str, Pace] = {}
        self.watch: Callable[[], None] = _nobody
        """Called when there is something new to show."""
        self._open: list[tuple[Phase, float]] = []

    @property
    def now(self) -> Phase | None:
        """The phase that goes on; None between two."""
        return self._open[-1][0] if self._open else None

    def plan(self, phases: Iterable[Phase]) -> None:
        """Say what is to be done, instead of what was planned before."""
        self.phases = list(phases)

    def foretell(self, name: str, units: float, seconds: float) -> None:
        """Say what units of a phase will probably take, from something like it; the phase itself soon knows better."""
        self.paces[name] = Pace(FORETOLD_WEIGHT * units, FORETOLD_WEIGHT * seconds)

    def recall(self, paces: dict[str, float]) -> None:
        """Take over the seconds per unit, by phase, of an earlier start, until this one knows better."""
        for name, seconds in paces.items():
            self.paces[name] = Pace(1e-6, 1e-6 * seconds)

    def known(self) -> dict[str, float]:
        """Return the seconds per unit of all phases of which they are known."""
        found = ((name, pace.seconds_per_unit) for name, pace in self.paces.items())
        return {name: seconds for name, seconds in found if seconds is not None}

    @contextmanager
    def phase(self, name: str, total: float = 1.0, counts: bool = False, like: str = "") -> Iterator[Phase]:
        """Do a phase: the first of this name that is planned and not done yet, else one that nobody foresaw.

        Whoever does it may call `advance`; what is left of it counts as done at its end.
        """
        planned = (phase for phase in self.phases if phase.name == name and phase.done < phase.total)
        phase = next(planned, None)
        if phase is None:
            phase = Phase(name, like=like)
            self.phases.append(phase)
        phase.total, phase.counts = total, counts
        began = self.clock()
        self.begin(phase)
        try:
            yield phase
            self.advance(phase.total - phase.done)
        finally:
            self._open.pop()
            self._shift(self.clock() - began)
        self.watch()

    def begin(self, phase: Phase) -> None:
        """Begin a phase, or go on with it, until :meth:`leave`."""
        self._open.append((phase, self.clock()))
        self.watch()

    def leave(self) -> None:
        """Leave the phase that goes on, done or not."""
        self._open.pop()

    def advance(self, units: float, half_life: float = math.inf) -> None:
        """Say that so many units of the phase that goes on have been done since the last call.

        Args:
            units: How many.
            half_life: Seconds after which what was observed counts half.
        """
        phase, since = self._open[-1]
        now = self.clock()
        self._open[-1] = (phase, now)
        phase.done += units
        self.observe(phase.pace, units, now - since, half_life)
        self.watch()

    def observe(self, name: str, units: float, seconds: float, half_life: float = math.inf) -> None:
        """Take in what some units of a phase took, wherever they were done; see `advance`."""
        self.paces.setdefault(name, Pace()).observe(units, seconds, 0.5 ** (seconds / half_life))

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Keep out of the pace of what goes on something that happens once."""
        began = self.clock()
        try:
            yield
        finally:
            self._shift(self.clock() - began)

    def _shift(self, seconds: float) -> None:
        if self._open:  # what is around it is shifted when that ends
            phase, since = self._open[-1]
            self._open[-1] = (phase, since + seconds)

    def left(self) -> float | None:
        """Return the seconds until all is done; None where a phase is to come whose pace nobody knows."""
        of_each = [self._left(phase) for phase in self.phases if phase.done < phase.total]
        return None if None in of_each else math.fsum(seconds for seconds in of_each if seconds is not None)

    def left_of_phase(self) -> float | None:
        """Return the seconds until the phase that goes on is done; None where its pace is not known yet."""
        return None if self.now is None else self._left(self.now)

    def _left(self, phase: Phase) -> float | None:
        pace = self.paces.get(phase.pace, Pace()).seconds_per_unit
        if pace is None:
            return None
        waited = next((self.clock() - since for found, since in self._open[-1:] if found is phase), 0.0)
        return max(0.0, (phase.total - phase.done) * pace - waited)


def _nobody() -> None:
    """Nobody watches."""
