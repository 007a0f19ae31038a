"""Between two rows of the log a training waits for nothing that the device computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop

from genlab.processes.job_reports import JobReport
from tests.contract.reading_back import ReadsBack
from tests.tiny import train

NO_READING = [
    "torch/optim/optimizer.py:_get_value",
    "genlab/core/finite.py:_read",
    "genlab/data/loader.py:_gather",
]
"""Where what is read lies on the host on a GPU too, or is not read there: Adam's count of steps, answers that were
copied behind the work some steps ago, and data that lies in the host's memory."""
EVERY = 5


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> dict[bool, list[str]]:
    """What is read in steps, with all that Lightning and the callbacks do at one, by whether a row follows."""
    found: dict[bool, list[str]] = {True: [], False: []}

    def watched(part: Callable[..., None]) -> Callable[..., None]:
        def watch(loop: Any, *arguments: Any) -> None:
            with ReadsBack(NO_READING) as mode:
                part(loop, *arguments)
            ends_row = loop.trainer.lightning_module.progress.batches % EVERY == 0
            found[ends_row] += mode.found

        return watch

    for name in ("advance", "on_advance_end"):
        monkeypatch.setattr(_TrainingEpochLoop, name, watched(getattr(_TrainingEpochLoop, name)))
    return found


@pytest.mark.parametrize("model", ["vae", "gan", "flow"])
def test_between_rows_nothing_is_read_back(
    model: str, readings: dict[bool, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report"
    monkeypatch.setattr("genlab.training.trainer.current_report", lambda: JobReport(report))
    for place in ("report_progress.SECONDS_BETWEEN_REPORTS", "display.SECONDS_BETWEEN_LOOKS"):
        monkeypatch.setattr(f"genlab.training.callbacks.{place}", 0.0)  # what is done now and then is done at each step
    for place in ("SHORTEST_PAUSE", "LONGEST_PAUSE"):
        monkeypatch.setattr(f"genlab.processes.display.{place}", 0.0)
    # A rehearsal of the evaluation samples and scores, once or twice in a training, whose clock stands still.
    monkeypatch.setattr("genlab.training.callbacks.display.SHORTEST_TRAINING", math.inf)
    train(tmp_path, f"log_every={EVERY}", "budget.examples=480", "budget.validations=1", model=model)
    assert readings[False] == []
    assert any("log_metrics.py" in reading for reading in readings[True]), "a row is"
    assert len(report.read_text().splitlines()) > 15, "reported at each step"
