"""What a run hands to the command that started it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from genlab.measure.finished_run import FinishedRun
from genlab.measure.result import Result
from genlab.runs.folder import RunDir
from genlab.sweeps.jobs import Job, Outcome
from tests.comparison.results import result


def test_a_run_comes_back_from_another_process_as_it_was() -> None:
    made = FinishedRun(RunDir(Path("logs/runs/mnist/flow/3f2a91cc-s0")), Result.of(result()))
    reported = json.loads(json.dumps(made.as_dict()))
    assert FinishedRun.of(reported) == made
    assert FinishedRun.of(made) is made
    assert Outcome(Job(0, ()), 0, reported, None, 1.0, Path("0.log")).finished == made


@pytest.mark.parametrize(
    "content", [None, 3, {}, {"run_dir": "x"}, {"run_dir": "x", "result": {}}, {"run_dir": None, "result": result()}]
)
def test_what_is_no_finished_run_is_none(content: object) -> None:
    assert FinishedRun.of(content) is None


@pytest.mark.parametrize("module", ["genlab.command.entry", "genlab.sweeps.process_pool", "genlab.command.finished"])
def test_what_starts_at_once_waits_for_no_validator(module: str) -> None:
    """Importing it takes a twentieth of a second, which only commands that read a result need."""
    code = f"import sys, {module}; sys.exit(bool({{'pydantic', 'torch'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
