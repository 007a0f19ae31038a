"""Rows of ``metrics.csv``: written as soon as they are logged, once, against the examples seen."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

from genlab.core.errors import GenlabError
from genlab.loggers.csv_logger import CsvLogger
from genlab.runs.folder import RunDir
from genlab.runs.metrics_csv import MetricsCsv


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "3f2a91cc-s0")


@pytest.fixture
def metrics(tmp_path: Path) -> MetricsCsv:
    return MetricsCsv(tmp_path / "run" / "metrics.csv")


def table(metrics: MetricsCsv) -> list[list[str]]:
    with open(metrics.path, newline="") as file:
        return list(csv.reader(file))


def test_row_can_be_read_as_soon_as_it_is_logged(metrics: MetricsCsv) -> None:
    metrics.log({"loss": 0.1, "grad_norm": math.nan}, 128)
    assert table(metrics) == [["examples_seen", "loss", "grad_norm"], ["128", "0.1", "nan"]]
    metrics.log({"loss": 1 / 3}, 2**40)
    assert table(metrics)[2] == [str(2**40), repr(1 / 3), ""]


def test_later_figure_gets_a_new_column(metrics: MetricsCsv) -> None:
    metrics.log({"loss": 3.0}, 1)
    metrics.log({"val/loss": 2.0}, 1)
    metrics.log({"a,b": 1.0, "loss": 1.0}, 2)
    assert table(metrics) == [
        ["examples_seen", "loss", "val/loss", "a,b"],
        ["1", "3.0", "", ""],
        ["1", "", "2.0", ""],
        ["2", "1.0", "", "1.0"],
    ]
    assert metrics.rows()[2] == {"examples_seen": "2", "loss": "1.0", "val/loss": "", "a,b": "1.0"}


def test_position_is_the_callers(metrics: MetricsCsv) -> None:
    metrics.log({"examples_seen": 16777216.0, "loss": 1.0}, 16777217)
    assert table(metrics)[1] == ["16777217", "1.0"]


def test_resumed_run_has_no_row_twice(metrics: MetricsCsv) -> None:
    for position in (128, 256, 384, 1000):
        metrics.log({"loss": 1.0 / position}, position)
    again = MetricsCsv(metrics.path)
    again.truncate(256)
    again.log({"loss": 0.5}, 384)
    assert [row[0] for row in table(metrics)] == ["examples_seen", "128", "256", "384"]
    again.truncate(0)
    assert table(metrics) == [["examples_seen", "loss"]]


def test_truncating_nothing_makes_no_file(metrics: MetricsCsv) -> None:
    metrics.truncate(0)
    assert not metrics.path.exists()


@pytest.mark.parametrize("tail", ["3", "384", "384,", "384,0.", '384,"', "384,1.0,2.0\n", "384\n", "junk,1.0\n"])
def test_half_written_row_is_dropped(metrics: MetricsCsv, tail: str) -> None:
    metrics.log({"loss": 1.0}, 128)
    with open(metrics.path, "a") as file:
        file.write(tail)
    again = MetricsCsv(metrics.path)
    again.log({"loss": 2.0}, 512)
    assert table(metrics) == [["examples_seen", "loss"], ["128", "1.0"], ["512", "2.0"]]


def test_file_of_something_else_is_left_alone(metrics: MetricsCsv) -> None:
    metrics.path.parent.mkdir()
    metrics.path.write_text("epoch,loss\n1,2\n")
    with pytest.raises(GenlabError, match="begins with the column 'epoch'"):
        metrics.log({"loss": 1.0}, 1)
    assert metrics.path.read_text() == "epoch,loss\n1,2\n"


def test_logger_writes_against_examples_seen(run: RunDir) -> None:
    logger = CsvLogger(run)
    logger.log_metrics({"loss": 2.0}, step=256)
    logger.log_hyperparams({"lr": 1})
    logger.finalize("success")
    assert table(logger.metrics) == [["examples_seen", "loss"], ["256", "2.0"]]
    assert logger.metrics.path == run.metrics
    with pytest.raises(ValueError, match="step is None"):
        logger.log_metrics({"loss": 2.0})


def test_lightning_logs_through_it(run: RunDir) -> None:
    import torch
    from pytorch_lightning import Trainer
    from pytorch_lightning.demos.boring_classes import BoringModel

    class Model(BoringModel):
        def on_train_batch_end(self, outputs: Any, batch: Any, index: int) -> None:
            self.logger.log_metrics({"loss": torch.tensor(1.0)}, step=32 * (index + 1))

    trainer = Trainer(
        max_steps=2, limit_val_batches=0, accelerator="cpu", logger=CsvLogger(run), enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(Model())
    assert table(trainer.logger.metrics) == [["examples_seen", "loss"], ["32", "1.0"], ["64", "1.0"]]
