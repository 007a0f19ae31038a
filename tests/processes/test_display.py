"""What is shown of a timetable: a bar that keeps what matters where it is narrow, and plain lines in a log file."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from genlab.core.timetable import Phase, Timetable
from genlab.processes.display import Display, clock_time


class Work:
    """A training of 600 seconds and an evaluation of 300, by a clock of its own."""

    def __init__(self, console: Console) -> None:
        self.now = 0.0
        self.timetable = Timetable(lambda: self.now)
        self.display = Display(self.timetable, console)
        self.display.details = lambda: ("43,008/100,000", "val FID 25.536  loss 1.539  1,234/s  val recall 0.123")
        self.timetable.foretell("training", 100, 600.0)
        self.timetable.foretell("likelihood", 10_000, 300.0)
        self.timetable.plan([Phase("training", 100), Phase("likelihood", 10_000)])

    def go(self) -> None:
        with self.display:
            for name, units, seconds in (("training", 100, 600.0), ("likelihood", 10_000, 300.0)):
                with self.timetable.phase(name, units, counts=name == "likelihood"):
                    for _ in range(100):
                        self.now += seconds / 100
                        self.timetable.advance(units / 100)


@pytest.mark.parametrize("width", [80, 200])
def test_a_bar_keeps_the_percentage_and_the_time_left(width: int) -> None:
    file = io.StringIO()
    Work(Console(file=file, force_terminal=True, width=width, color_system=None)).go()
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in re.split(r"[\r\n]", file.getvalue())]
    assert all(len(frame) <= width for frame in frames)
    half = next(frame for frame in frames if frame.startswith(" 50%"))
    assert re.search(r"━ +7:30 left  training 43,008/100,000, 2:30 left  val", half)
    assert ("val recall" in half) == (width == 200), "what is narrow loses the remarks first"
    assert any("likelihood 5,000/10,000" in frame for frame in frames)
    assert "100%" in frames[-1] or "100%" in frames[-2]


def test_a_log_file_gets_lines_at_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    Work(Console(file=io.StringIO())).go()
    said = capsys.readouterr().err
    assert "\r" not in said
    assert "\x1b" not in said
    lines = said.splitlines()
    assert 15 < len(lines) < 35, "every half minute, then each twentieth of what has passed, and at each phase"
    assert any(re.match(r" 6[78]%.*likelihood [123]00/10,000", line) for line in lines), "at a new phase too"


def test_what_nobody_knows_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    work = Work(Console(file=io.StringIO()))
    work.timetable.phases.append(Phase("unknown"))
    work.go()
    assert all(line.startswith(" --%") for line in capsys.readouterr().err.splitlines())


def test_another_process_than_the_first_shows_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    Work(Console(file=io.StringIO())).go()
    assert capsys.readouterr().err == ""


def test_hours_are_told_from_minutes() -> None:
    assert [clock_time(seconds) for seconds in (-3, 5, 65, 3725)] == ["0:00", "0:05", "1:05", "1:02:05"]
