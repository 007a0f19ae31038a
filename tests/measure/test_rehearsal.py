"""What is foretold of work in batches from a little of it, by a clock that the work itself turns."""

from __future__ import annotations

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec
from genlab.core.timetable import Timetable
from genlab.measure.case import Instruments, Reference
from genlab.measure.features.extractors import Values
from genlab.measure.rehearsal import _rehearse_quality, _seconds


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


def test_figures_are_rehearsed_where_they_will_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[torch.device] = []
    monkeypatch.setattr(
        "genlab.measure.rehearsal.measure_quality",
        lambda samples, part, instruments, **options: places.append(instruments.device),
    )
    x = torch.zeros(2000, 2)
    reference = Reference(DataSpec("points", "vector", (2,)), Batch(x), "test", Batch(x))
    _rehearse_quality(reference, Instruments(Values(), device=torch.device("meta")), Timetable())
    assert set(places) == {torch.device("meta")}
