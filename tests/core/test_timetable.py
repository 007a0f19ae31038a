"""Time left, by a clock that only these tests turn: what is told of a run is what the run then takes."""

from __future__ import annotations

import pytest

from genlab.core.timetable import Phase, Timetable


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_is_left_is_what_remains_of_each_phase_at_its_pace(clock: Clock) -> None:
    timetable = Timetable(clock)
    timetable.foretell("a", 10, 20.0)
    timetable.foretell("b", 1, 7.0)
    timetable.plan([Phase("a", 10), Phase("b")])
    assert timetable.left() == pytest.approx(27.0)
    with timetable.phase("a", 10):
        for _ in range(5):
            clock.turn(2.0)
            timetable.advance(1)
        assert timetable.left_of_phase() == pytest.approx(10.0)
        clock.turn(1.5)  # within a unit the time goes on
        assert timetable.left() == pytest.approx(15.5)
        clock.turn(100.0)  # one that takes longer than it should leaves no less than nothing
        assert timetable.left_of_phase() == 0.0 or timetable.left_of_phase() > 0


def test_a_phase_whose_pace_nobody_knows_leaves_the_whole_unknown_and_not_too_small(clock: Clock) -> None:
    timetable = Timetable(clock)
    timetable.foretell("known", 1, 5.0)
    timetable.plan([Phase("known"), Phase("unknown", 4)])
    assert timetable.left() is None
    with timetable.phase("known"):
        assert timetable.left_of_phase() == pytest.approx(5.0)
        clock.turn(5.0)
    with timetable.phase("unknown", 4):
        clock.turn(3.0)
        timetable.advance(1)
        assert timetable.left() == pytest.approx(9.0)


def test_what_is_measured_soon_outweighs_what_was_foretold(clock: Clock) -> None:
    timetable = Timetable(clock)
    timetable.foretell("a", 100, 100.0)
    timetable.plan([Phase("a", 100)])
    with timetable.phase("a", 100):
        for _ in range(20):
            clock.turn(4.0)
            timetable.advance(1)
        assert timetable.left() == pytest.approx(4.0 * 80, rel=0.2)


def test_a_phase_within_a_phase_and_what_happens_once_are_not_of_its_pace(clock: Clock) -> None:
    timetable = Timetable(clock)
    with timetable.phase("outer", 2):
        clock.turn(1.0)
        with timetable.phase("inner"):
            clock.turn(50.0)
        with timetable.apart():
            clock.turn(30.0)
        clock.turn(1.0)
        timetable.advance(1)
        clock.turn(2.0)
    assert timetable.known() == {"inner": 50.0, "outer": 2.0}


def test_two_phases_of_one_name_are_done_one_after_the_other(clock: Clock) -> None:
    timetable = Timetable(clock)
    timetable.foretell("likelihood", 10, 10.0)
    timetable.foretell("figures", 100, 3.0)
    timetable.plan([Phase("likelihood", 10), Phase("likelihood", 10), Phase("floor", 100, like="figures")])
    assert timetable.left() == pytest.approx(23.0)
    with timetable.phase("likelihood", 10):
        clock.turn(10.0)
    assert timetable.left() == pytest.approx(13.0)
    with timetable.phase("likelihood", 10):
        clock.turn(10.0)
    assert timetable.left() == pytest.approx(3.0)


def test_an_error_within_a_phase_leaves_it(clock: Clock) -> None:
    timetable = Timetable(clock)
    with pytest.raises(ValueError, match="no"), timetable.phase("a", 3):
        raise ValueError("no")
    assert timetable.now is None
