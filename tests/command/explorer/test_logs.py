"""No run and no file of it lies outside of the logs, whatever a name says and wherever a link leads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from genlab.command.explorer import asked, tables
from genlab.command.explorer.logs import Logs
from genlab.comparison import plots
from genlab.core.errors import GenlabError
from tests.comparison.results import write

HOSTILE = "<img src=x onerror=alert(1)>"


def make(folder: Path) -> Path:
    write(folder / "results" / "quick.json", run_id=folder.name)
    (folder / "config.yaml").write_text("model: {name: vae}\n")
    (folder / "metrics.csv").write_text("examples_seen,val/bits_per_dim\n10,2.5\n20,2.0\n")
    return folder


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    make(tmp_path / "logs" / "runs" / "digits" / "vae" / "1-s0")
    make(tmp_path / "secret" / "vae" / "2-s0")
    return tmp_path / "logs"


@pytest.mark.parametrize(
    "name",
    [
        "", "digits/vae", "digits/vae/1-s0/x", "digits/vae/", "../../secret/vae/2-s0", "digits/../1-s0", "./vae/1-s0",
        "/etc/passwd", "//1-s0", "digits/vae/1-s0\0", "digits/vae/none", "..\\vae\\1-s0", "digits/vae/" + "x" * 5000,
    ],
)  # fmt: skip
def test_a_name_leads_to_no_other_folder(logs: Path, name: str) -> None:
    with pytest.raises(GenlabError, match="is no run below"):
        Logs(logs).run(name)


def test_a_link_leads_out_of_the_logs_and_is_no_run(logs: Path, tmp_path: Path) -> None:
    there = Logs(logs)
    (logs / "runs" / "digits" / "vae" / "linked").symlink_to(tmp_path / "secret" / "vae" / "2-s0")
    (logs / "runs" / "linked").symlink_to(tmp_path / "secret")
    (logs / "runs" / "loop").symlink_to("loop")
    assert there.names() == ["digits/vae/1-s0"]
    for name in ("digits/vae/linked", "linked/vae/2-s0"):
        with pytest.raises(GenlabError, match="is no run"):
            there.run(name)


def test_the_folder_itself_may_be_a_link(logs: Path, tmp_path: Path) -> None:
    (tmp_path / "also").symlink_to(logs)
    assert Logs(tmp_path / "also").names() == ["digits/vae/1-s0"]


def test_results_and_metrics_that_lie_elsewhere_are_not_read(logs: Path, tmp_path: Path) -> None:
    run = logs / "runs" / "digits" / "vae" / "1-s0"
    (run / "results" / "other.json").symlink_to(tmp_path / "secret" / "vae" / "2-s0" / "results" / "quick.json")
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").symlink_to(tmp_path / "secret" / "vae" / "2-s0" / "metrics.csv")
    there = Logs(logs)
    assert [Path(path).name for path in there.results(there.run("digits/vae/1-s0"))] == ["quick.json"]
    ((row,),) = [group["rows"] for group in tables.table(there, asked.Nothing())["groups"]]
    assert row["runs"] == ["digits/vae/1-s0"]
    with pytest.raises(GenlabError, match="None of these runs"):
        tables.curves(there, asked.CurvesOf(["digits/vae/1-s0"]))


def test_nobody_waits_for_a_pipe(logs: Path) -> None:
    run = logs / "runs" / "digits" / "vae" / "1-s0"
    (run / "metrics.csv").unlink()
    os.mkfifo(run / "metrics.csv")
    os.mkfifo(run / "results" / "pipe.json")
    there = Logs(logs)
    assert tables.list_runs(there, asked.Nothing())["groups"][0]["runs"][0]["name"] == "digits/vae/1-s0"
    with pytest.raises(GenlabError, match="None of these runs"):
        tables.curves(there, asked.CurvesOf(["digits/vae/1-s0"]))


def test_runs_are_listed_with_their_figures_and_without_results_too(logs: Path) -> None:
    (logs / "runs" / "digits" / HOSTILE / "3-s0").mkdir(parents=True)
    (logs / "runs" / "digits" / HOSTILE / "3-s0" / "config.yaml").write_text("model: [\n")
    groups = tables.list_runs(Logs(logs), asked.Nothing())["groups"]
    found = {run["id"]: run for group in groups for run in group["runs"]}
    assert found["1-s0"]["figures"][0]["label"].startswith("NLL (")
    assert found["1-s0"]["state"] == ""
    assert found["3-s0"]["state"] == "no weights yet"
    assert found["3-s0"]["model"] == HOSTILE  # the page sets it as text


def test_curves_are_those_of_metrics(logs: Path) -> None:
    found = tables.curves(Logs(logs), asked.CurvesOf(["digits/vae/1-s0"]))
    assert found["figures"] == ["val/bits_per_dim"]
    assert found["runs"] == [{"run": "digits/vae/1-s0", "last": "2", "points": 2}]
    assert found["svg"].startswith("<svg")
    with pytest.raises(GenlabError, match="No run has the figure 'x'"):
        tables.curves(Logs(logs), asked.CurvesOf(["digits/vae/1-s0"], "x"))


def said_and_drawn(
    logs: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> tuple[dict[str, object], list[tuple[float, float]]]:
    """What is said of a curve of these lines of ``metrics.csv``, and the points of its drawing."""
    drawn: list[tuple[float, float]] = []

    def draw(series: Sequence[plots.Series], *labels: str) -> str:
        drawn.extend(series[0].points)
        return "<svg></svg>"

    monkeypatch.setattr(plots, "line_plot", draw)
    metrics = logs / "runs" / "digits" / "vae" / "1-s0" / "metrics.csv"
    metrics.write_text("\n".join(["examples_seen,val/bits_per_dim,val/loss", *lines, ""]))
    (said,) = tables.curves(Logs(logs), asked.CurvesOf(["digits/vae/1-s0"], "val/bits_per_dim"))["runs"]
    return said, drawn


@pytest.mark.parametrize("count", [tables.MOST_POINTS, tables.MOST_POINTS + 1, 3998, 9999])
def test_a_long_curve_is_thinned_and_ends_where_it_ends(
    logs: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    said, drawn = said_and_drawn(logs, monkeypatch, [f"{n},{n}," for n in range(1, count + 1)])
    assert (said["last"], said["points"]) == (str(count), count)
    assert (drawn[0], drawn[-1], len(drawn)) == ((1, 1), (count, count), tables.MOST_POINTS)
    gaps = {after[0] - before[0] for before, after in pairwise(drawn)}
    assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("end", ["nan", "inf", "-inf", "1e+200"])
def test_a_curve_that_ends_in_no_number_says_so(logs: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    said, drawn = said_and_drawn(logs, monkeypatch, ["10,2.5,", "20,2.0,", f"30,{end},", "40,,1.0"])
    assert said == {"run": "digits/vae/1-s0", "last": end, "points": 2}
    assert drawn == [(10, 2.5), (20, 2.0)]
    said, drawn = said_and_drawn(logs, monkeypatch, [f"30,{end},", "40,,1.0"])
    assert said == {"run": "digits/vae/1-s0", "last": end, "points": 0}
    assert drawn == []
