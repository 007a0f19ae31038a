"""The W&B workspace: what a dry run shows, that its panels show what runs log, and that it is saved."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from omegaconf import OmegaConf

from genlab.command.cli import dashboard
from genlab.command.dashboard import run
from genlab.loggers.protocols import flatten, result_figures
from genlab.loggers.wandb_logger import result_summary
from genlab.measure.result import Result
from genlab.measure.results import read_result
from genlab.runs.metrics_csv import MetricsCsv
from tests.comparison.results import result
from tests.tiny import ROOT, run_folder, train
from tests.wandb_server import Server

KEY = "0123456789abcdef0123456789abcdef01234567"
SECTIONS = [
    "About", "Likelihood and quality by family", "Quality against cost", "Samples", "Training curves", "Sweeps",
    "System use",
]  # fmt: skip


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A world in which nobody has a key or has set up W&B."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_ENTITY", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name))
    wandb.teardown()
    yield
    wandb.teardown()


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert dashboard(["--dry-run", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def panels(view: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def shown(panel: dict[str, Any]) -> set[str]:
    """The keys that a panel takes from runs: history, summary and media as they are, settings with ``config:``."""
    config = panel["config"]
    keys = {
        *config.get("metrics", []),
        *config.get("mediaKeys", []),
        *(config[axis] for axis in ("xAxis", "yAxis") if axis in config),
        *(column["accessor"] for column in config.get("columns", [])),
        *re.findall(r"summary:[\w/]+", config.get("legendTemplate", "")),
    }
    return {key.removeprefix("summary:") for key in keys}


def test_a_dry_run_needs_no_network_and_no_account(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a dry run opens no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    view = dry_run(capsys)
    logger = OmegaConf.load(ROOT / "conf" / "logger" / "wandb.yaml")
    assert (view["project"], view["entity"]) == (logger.project, logger.entity)
    assert list(panels(view)) == SECTIONS
    assert all(panels(view).values())


def test_the_sections_hold_what_they_are_named_after(capsys: pytest.CaptureFixture[str]) -> None:
    view = panels(dry_run(capsys))
    kinds = {name: {panel["viewType"] for panel in found} for name, found in view.items()}
    assert kinds["Likelihood and quality by family"] == {"Bar Chart"}
    assert all(panel["config"]["groupBy"] == "group" for panel in view["Likelihood and quality by family"])
    assert kinds["Quality against cost"] == {"Scatter Plot"}
    costs = {panel["config"]["xAxis"] for panel in view["Quality against cost"]}
    assert costs == {"summary:sampling/ms_per_sample", "summary:training/wall_seconds"}
    assert kinds["Samples"] == {"Media Browser"}
    assert {panel["config"]["xAxis"] for panel in view["Training curves"]} == {"examples_seen"}
    assert kinds["Sweeps"] == {"Parallel Coordinates Plot"}
    assert {"system/cpu", "system/gpu.0.gpu"} <= set().union(*map(shown, view["System use"]))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of a run on images and of one on vectors, shown by TensorBoard."""
    folders = []
    for data in ("digits", "toy2d"):
        logs = tmp_path_factory.mktemp(data)
        train(logs, f"data={data}", "validation_samples=100", "model.vector.hidden=[8]", "logger=tensorboard")
        folders.append(run_folder(logs))
    return folders


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload()


def measured(folder: Path) -> set[str]:
    """The names in a run's ``metrics.csv`` but for the axis."""
    return {name for row in MetricsCsv(folder / "metrics.csv").rows() for name in row} - {MetricsCsv.POSITION}


def final(folder: Path) -> Result:
    return read_result(next((folder / "results").glob("*.json")))


def test_tensorboard_shows_the_same_scalars_and_grids(runs: list[Path]) -> None:
    for folder in runs:
        shown = events(folder)
        assert {*shown.Tags()["scalars"]} == measured(folder) | set(result_figures(final(folder)))
        rows = MetricsCsv(folder / "metrics.csv").rows()
        assert [(event.step, f"{event.value:.4g}") for event in shown.Scalars("train/loss")] == [
            (int(row[MetricsCsv.POSITION]), f"{float(row['train/loss']):.4g}") for row in rows if row["train/loss"]
        ]
        drawn = [f"examples_{event.step:010d}.png" for event in shown.Images("samples")]
        assert drawn == sorted(path.name for path in (folder / "samples").glob("examples_*.png"))
        assert len(shown.Images("samples/final")) == 1


def test_panels_show_only_what_runs_log(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    known = {MetricsCsv.POSITION, "_runtime", "run:displayName"}  # the axes, and W&B's own
    for folder in runs:
        known |= measured(folder) | set(result_summary(final(folder))) | set(events(folder).Tags()["images"])
        config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
        known |= {"config:" + re.sub(r"^([^.]+)", r"\1.value", key) for key in flatten(config)}
    # So few samples have no FID; a whole result names all its figures.
    others = {"quality__ngram_divergence": 0.1, "quality__column_distance": 0.1}
    known |= set(result_summary(Result.of(result(quality__sliced_wasserstein=0.1, **others))))
    known |= {"val/ngram_divergence", "val/column_distance"}  # of text and tables, which none of these runs is
    view = dry_run(capsys)
    keys = {key for found in panels(view).values() for panel in found for key in shown(panel)}
    assert {"train/loss", "val/bits_per_dim", "val/fid", "test/fid", "samples", "config:model.value.lr"} <= keys
    assert {key for key in keys - known if not key.startswith("system/")} == set()
    (run_set,) = view["spec"]["section"]["runSets"]
    assert {column.removeprefix("summary:") for column in run_set["runFeed"]["columnOrder"]} <= known


def test_data_and_protocol_choose_the_runs_and_sweep_the_axes(capsys: pytest.CaptureFixture[str]) -> None:
    view = dry_run(capsys, "data=mnist", "protocol=standard", "sweep=[model.lr,model.multiscale.bins]", "name=flows")
    (runs,) = view["spec"]["section"]["runSets"]
    assert [(rule["key"]["name"], rule["value"]) for rule in runs["filters"]["filters"]] == [
        ("tags", ["mnist"]), ("protocol", "standard"),
    ]  # fmt: skip
    for panel in panels(view)["Sweeps"]:
        assert [column["accessor"] for column in panel["config"]["columns"]][:2] == [
            "config:model.value.lr", "config:model.value.multiscale.bins",
        ]  # fmt: skip
    assert view["name"] == "flows"
    assert not dry_run(capsys)["spec"]["section"]["runSets"][0]["filters"]["filters"]


def test_out_is_the_file_of_the_same_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a" / "view.json"
    assert dashboard(["dry_run=true", f"out={out}"]) == 0
    assert str(out) in capsys.readouterr().out
    assert list(panels(json.loads(out.read_text()))) == SECTIONS
    assert dashboard(["--dry-run", f"out={tmp_path}"]) == 2
    assert "which is a folder" in capsys.readouterr().err


def test_no_secret_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert KEY not in json.dumps(dry_run(capsys, f"name={KEY}"))
    dry_run_file = tmp_path / "view.json"
    assert dashboard(["--dry-run", f"project={KEY}", f"out={dry_run_file}"]) == 0
    assert KEY not in dry_run_file.read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], ["not logged in", "--dry-run"]),
        (["nam=x"], ["'nam'", "'name'"]),
        (["sweep=lr"], ["sweep"]),
        (["--dry-run", 'name="a≈b"'], ["a≈b", "W&B does not take"]),
    ],
)
def test_what_cannot_be_is_said_in_one_or_two_lines(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert dashboard(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert 1 <= len(error.splitlines()) <= 2
    assert all(text in error for text in expected), error


def test_without_the_library_the_user_is_told_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.workspaces", None)
    monkeypatch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
    assert dashboard(["--dry-run"]) == 2
    assert "pip install 'genlab[dashboard]'" in capsys.readouterr().err


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
        wandb.teardown()
        server.shutdown()
        thread.join()


def test_it_is_saved_as_a_view_of_the_project(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard(["project=trials", "name=flows"]) == 0
    text = capsys.readouterr().out
    (view,) = server.views
    assert (view["entityName"], view["projectName"], view["displayName"]) == ("me", "trials", "flows")
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    assert [section["name"] for section in sections] == SECTIONS
    assert f"{server.url}/me/trials?nw=" in text
    assert KEY not in json.dumps(view)


def test_a_refusal_is_one_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.accepts = False
    assert dashboard(["project=trials", "entity=me"]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "did not save the workspace" in error


def test_the_task_returns_what_it_writes() -> None:
    from hydra import compose, initialize_config_dir

    from genlab.command.entry import config_folder

    with initialize_config_dir(str(config_folder("dashboard"))):
        config = compose("dashboard", ["dry_run=true"])
    assert list(panels(run(config))) == SECTIONS
