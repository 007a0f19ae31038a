"""What is foretold of work in batches from a little of it, by a clock that the work itself turns."""

from __future__ import annotations

import pytest

from genlab.measure.rehearsal import _seconds


@pytest.mark.parametrize("limit", [0.1, 100.0])
@pytest.mark.parametrize(("constant", "each"), [(0.5, 0.0), (0.0, 0.01), (0.3, 0.002), (5.0, 0.05)])
def test_a_batch_is_a_constant_and_so_much_for_each_example(constant: float, each: float, limit: float) -> None:
    now = [0.0]

    def work(n: int) -> None:
        now[0] += constant + each * n

    foretold = _seconds(work, 1000, 250, lambda: now[0], limit)
    assert foretold == pytest.approx(4 * (constant + 250 * each), rel=0.01)


def test_a_pause_of_the_machine_is_not_taken_for_the_work() -> None:
    now, calls = [0.0], [0]

    def work(n: int) -> None:
        calls[0] += 1
        now[0] += 0.01 + 0.0001 * n + (3.0 if calls[0] == 3 else 0.0)

    assert _seconds(work, 1000, 250, lambda: now[0], 0.1) == pytest.approx(4 * 0.035, rel=0.01)
