"""What is said of jobs: those that failed, and those that run."""

from __future__ import annotations

import io
import signal
from functools import partial
from pathlib import Path

import pytest

from genlab.runs.metrics_csv import MetricsCsv
from genlab.sweeps import status
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.objectives import Objective, objectives_text
from genlab.sweeps.places import Place
from genlab.sweeps.status import LiveStatus, PlainStatus
from genlab.sweeps.summary import describe_failures, explain_exit, varying
from tests.comparison.results import finished

JOBS = [Job(n, ("model=flow", f"seed={n}", *(["width=[a,b]"] if n == 2 else []))) for n in range(4)]


def ended(number: int, code: int = 0, error: str | None = None, **more: object) -> Outcome:
    return Outcome(JOBS[number], code, None, error, 90.0, Path(f"logs/{number}.log"), **more)


def test_what_tells_jobs_apart_is_all_that_is_shown_of_them() -> None:
    assert varying(JOBS) == {0: "seed=0", 1: "seed=1", 2: "seed=2 width=[a,b]", 3: "seed=3"}
    assert varying(JOBS[:1]) == {0: "model=flow seed=0"}
    assert varying([]) == {}


def test_the_failed_jobs_of_one_reason_stand_together() -> None:
    outcomes = [ended(3, 1, "Bad."), ended(0), ended(1, 1, "Bad."), ended(2, 137, "Killed.\nMemory?")]
    assert describe_failures(outcomes, varying(JOBS)).splitlines() == [
        "  job 1: seed=1  (logs/1.log)",
        "  job 3: seed=3  (logs/3.log)",
        "      Bad.",
        "  job 2: seed=2 width=[a,b]  (logs/2.log)",
        "      Killed.",
        "      Memory?",
    ]


def test_a_thousand_failures_make_no_thousand_lines() -> None:
    same = [Outcome(Job(n, (f"seed={n}",)), 1, None, "Bad.", 1.0, Path("x")) for n in range(1000)]
    text = describe_failures(same, varying(outcome.job for outcome in same))
    assert len(text.splitlines()) == 12
    assert "and 990 more" in text
    different = [Outcome(Job(n, ()), 1, None, f"Bad {n}.", 1.0, Path("x")) for n in range(1000)]
    assert describe_failures(different, {}).splitlines()[-1] == "  and 980 other reasons"


def test_pruned_and_stopped_jobs_have_not_failed() -> None:
    outcomes = [ended(0, 143, pruned=True), ended(1, 130, stopped=True)]
    assert not any(outcome.failed for outcome in outcomes)
    assert describe_failures(outcomes, {}) == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (137, "Killed by SIGKILL: out of memory?"),
        (128 + signal.SIGSEGV, "Killed by SIGSEGV. It said last: the last thing"),
        (3, "Exit code 3. It said last: the last thing"),
        (255, "Exit code 255. It said last: the last thing"),
    ],
)
def test_a_process_that_said_nothing_is_explained_by_its_end_and_its_log(tmp_path: Path, code: int, said: str) -> None:
    (tmp_path / "0.log").write_text("$ python train.py\nfirst\nthe last thing\n\n")
    assert explain_exit(code, tmp_path / "0.log") == said


def test_a_log_that_is_not_there_or_empty_says_nothing(tmp_path: Path) -> None:
    assert explain_exit(3, tmp_path / "nothing") == "Exit code 3."
    (tmp_path / "0.log").write_text("$ python train.py\n")
    assert explain_exit(3, tmp_path / "0.log") == "Exit code 3."


class Clock:
    """The time of the status, in a test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(status.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def report(fraction: float, **metrics: float) -> dict:
    return {"kind": "progress", "fraction": fraction, "examples": 0, "metrics": metrics}


def test_a_line_says_when_a_job_begins_and_how_it_ended(clock: Clock) -> None:
    stream = io.StringIO()
    lines = PlainStatus(JOBS, len(JOBS), 2, stream)
    lines.started(JOBS[0], Place("GPU 3"), Path("logs/0.log"))
    lines.started(JOBS[1], Place(), Path("logs/1.log"))
    result = finished(Path("run"), likelihood__bits_per_dim=3.14159, quality__fid=12.3456)
    lines.ended(Outcome(JOBS[0], 0, result, None, 90.0, Path("logs/0.log")))
    lines.ended(ended(1, 1, "ValueError: odd\nand more"))
    assert stream.getvalue().splitlines() == [
        "Job 0 begins on GPU 3: seed=0 (logs/0.log)",
        "Job 1 begins: seed=1 (logs/1.log)",
        "Job 0 (seed=0) done in 1:30: 3.142 bits/dim, FID 12.35. 1 done, 1 running, 2 waiting, about 2:15 more.",
        "Job 1 (seed=1) failed after 1:30: ValueError: odd. 1 done, 1 failed, 0 running, 2 waiting, about 1:30 more.",
    ]


def test_a_search_shows_validation_and_no_figure_of_the_test_split(clock: Clock, tmp_path: Path) -> None:
    MetricsCsv(tmp_path / "metrics.csv").log({"val/bits_per_dim": 3.5}, 100)
    result = finished(tmp_path, likelihood__bits_per_dim=3.14159, quality__fid=12.3456, sampling__nfe=35)
    objectives = (Objective("val/bits_per_dim"), Objective("sampling.nfe"))
    tell = partial(objectives_text, objectives=objectives, monitor="val/bits_per_dim")
    for kind in (PlainStatus, LiveStatus):
        lines = kind(JOBS, len(JOBS), 2, stream := io.StringIO(), tell)
        lines.started(JOBS[0], Place(), Path("logs/0.log"))
        lines.ended(Outcome(JOBS[0], 0, result, None, 90.0, Path("logs/0.log")))
        (line,) = [line for line in stream.getvalue().splitlines() if line.startswith("Job 0 (seed=0)")]
        assert line.startswith("Job 0 (seed=0) done in 1:30: val/bits_per_dim 3.5, 35 network evaluations")
    (tmp_path / "metrics.csv").unlink()
    assert tell(Outcome(JOBS[0], 0, result, None, 90.0, Path("x")).finished) == "", "the trial fails, and says why"


def test_the_time_left_follows_what_the_jobs_report(clock: Clock) -> None:
    known = PlainStatus(JOBS, len(JOBS), 2, io.StringIO())
    for job in JOBS[:2]:
        known.started(job, Place(), Path("x"))
    assert known.seconds_left() is None
    # Both go on from 20 %, which is no time of theirs.
    for job in JOBS[:2]:
        known.reported(job, report(0.2))
    clock.now += 30
    for job in JOBS[:2]:
        known.reported(job, report(0.5))
    # Each 50 s more; then two whole jobs of 80 s, in two places.
    assert known.seconds_left() == pytest.approx(50 + 80)
    # A run that was finished before is no measure for the others.
    known.ended(Outcome(JOBS[0], 0, None, None, 80.0, Path("x")))
    known.started(JOBS[2], Place(), Path("x"))
    known.ended(Outcome(JOBS[2], 0, None, None, 1.0, Path("x")))
    assert known.seconds_left() == pytest.approx((50 + 80) / 2)
    search = PlainStatus([], None, 2, io.StringIO())
    search.started(JOBS[0], Place(), Path("x"))
    assert search.seconds_left() is None, "nobody knows how many will come"


def test_a_job_that_begins_again_counts_once() -> None:
    status = PlainStatus([], 2, 1, io.StringIO())
    for _ in range(3):
        status.started(JOBS[0], Place(), Path("x"))
        status.ended(ended(0, 2, "The run is in use."))
    status.started(JOBS[0], Place(), Path("x"))
    assert status.summary() == "1 running, 1 waiting"


def test_the_table_shows_each_job_that_runs(clock: Clock) -> None:
    stream = io.StringIO()
    table = LiveStatus(JOBS, len(JOBS), 2, stream)
    table.console.width, table.console.height = 110, 40
    table.started(JOBS[0], Place("GPU 0"), Path("x"))
    table.started(JOBS[2], Place("GPU 1"), Path("x"))
    table.reported(JOBS[0], report(0.0))
    clock.now += 60
    table.reported(JOBS[0], report(0.25, **{"val/bits_per_dim": 3.25, "val/fid": 80.0}))
    table.reported(JOBS[0], report(0.5))
    table.console.print(table.render())
    begin, _, header, first, second, counts = (line.split() for line in stream.getvalue().splitlines())
    assert " ".join(begin) == "4 jobs, 2 at a time; what they print is in ."
    assert header == ["job", "settings", "on", "validation", "time", "left"]
    assert first[:4] == ["0", "seed=0", "GPU", "0"]
    assert first[-5:] == ["50%", "3.25", "bits/dim", "1:00", "1:00"], "the latest figure stays"
    assert second[:3] == ["2", "seed=2", "width=[a,b]"]
    assert second[-2:] == ["starting", "1:00"]
    assert " ".join(counts) == "2 running, 2 waiting, about 3:00 more"


def test_the_table_is_never_higher_than_the_terminal(clock: Clock) -> None:
    stream = io.StringIO()
    jobs = [Job(n, (f"seed={n}",)) for n in range(50)]
    table = LiveStatus(jobs, 50, 50, stream)
    table.console.width, table.console.height = 80, 20
    for job in jobs:
        table.started(job, Place(), Path("x"))
    table.console.print(table.render())
    assert len(stream.getvalue().splitlines()) < 20
    assert "and 36 more" in stream.getvalue()


def test_settings_that_find_no_room_are_cut_where_jobs_do_not_differ(clock: Clock) -> None:
    stream = io.StringIO()
    jobs = [Job(n, (f"model.multiscale.dequantization_hidden={n}28", "seed=0")) for n in (1, 2)]
    table = LiveStatus(jobs, 2, 2, stream)
    table.console.width, table.console.height = 80, 20
    for job in jobs:
        table.started(job, Place(), Path("x"))
    table.console.print(table.render())
    assert "hidden=128" in stream.getvalue()
    assert "hidden=228" in stream.getvalue()
