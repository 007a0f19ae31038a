"""What a job says of itself, and that nobody else says it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genlab.processes.job_reports import JobReport, ReportReader, current_report, take_report


@pytest.fixture(autouse=True)
def no_report_remains() -> object:
    yield
    os.environ.pop("GENLAB_JOB_REPORT", None)
    assert take_report() is None


def test_a_reader_gets_each_line_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.touch()
    reader, report = ReportReader(path), JobReport(path)
    assert reader.read() == []
    report.progress(0.25, 64, {"val/nats": 1.5})
    report.progress(0.5, 128)
    assert reader.read() == [
        {"kind": "progress", "fraction": 0.25, "examples": 64, "metrics": {"val/nats": 1.5}},
        {"kind": "progress", "fraction": 0.5, "examples": 128, "metrics": {}},
    ]
    with open(path, "a") as file:
        file.write('{"kind": "out')
    assert reader.read() == []
    with open(path, "a") as file:
        file.write('come", "code": 0}\nno json\n')
    assert reader.read() == [{"kind": "outcome", "code": 0}]
    reader.close()


def test_the_variable_leaves_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert take_report() is current_report() is None
    monkeypatch.setenv("GENLAB_JOB_REPORT", str(tmp_path / "report"))
    report = take_report()
    assert report is not None
    assert "GENLAB_JOB_REPORT" not in os.environ, "what the job starts would report in its place"
    assert current_report() is report


@pytest.mark.parametrize(
    ("rank", "others"),
    [
        ("LOCAL_RANK", {}),
        ("NODE_RANK", {}),
        ("RANK", {"TORCHELASTIC_RUN_ID": "run", "WORLD_SIZE": "2"}),
        ("SLURM_PROCID", {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}),
    ],
)
def test_of_several_processes_the_first_alone_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str, others: dict[str, str]
) -> None:
    for name, value in others.items():
        monkeypatch.setenv(name, value)
    for value, reports in (("0", True), ("1", False)):
        monkeypatch.setenv("GENLAB_JOB_REPORT", str(tmp_path / "report"))
        monkeypatch.setenv(rank, value)
        assert (take_report() is not None) is reports
        assert "GENLAB_JOB_REPORT" not in os.environ


def test_a_report_that_cannot_be_written_harms_no_job(tmp_path: Path) -> None:
    JobReport(tmp_path / "nowhere" / "report").outcome(0, None, {"a": 1})
