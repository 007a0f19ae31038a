"""W&B: when it may log, that no key is left anywhere, and a run that is taken up again goes on in its W&B run."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from genlab.core.errors import GenlabError
from genlab.loggers.wandb_access import find_access
from genlab.loggers.wandb_logger import WandbDashboard
from tests.loggers.shown import CONFIG, KEY, RESULT, RUN_ID
from tests.wandb_server import Server


def dashboard(run_dir: Path, **options: Any) -> WandbDashboard:
    return WandbDashboard(run_dir, RUN_ID, CONFIG, "0.1.0+abc", **options)


# --- W&B: how it may log ---------------------------------------------------------------------------------------------


def test_without_a_key_it_is_offline_and_one_line_says_how_to_upload(
    run_dir: Path, picture: Path, files: list[Path], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = dashboard(run_dir)
    logger.log_metrics({"train/loss": 1.0}, step=128)
    logger.log_picture("samples", picture, 128)
    logger.log_files("samples", files, 128)
    logger.log_result(RESULT)
    logger.close("finished")
    logger.close("failed")
    logger.log_metrics({"train/loss": 1.0}, step=256)  # closed: dropped, and no second run is started
    assert [record.message for record in caplog.records if record.name == "genlab"] == [
        "W&B is offline (not logged in; `wandb login` does that). "
        f"To upload this run: wandb sync logs/runs/mnist/flow/{RUN_ID}/wandb"
    ]
    assert "wandb:" not in "".join(capfd.readouterr())
    (folder,) = run_dir.glob("wandb/offline-run-*")
    assert list(folder.glob("files/media/images/samples*.png"))
    (text,) = folder.glob("files/media/html/samples as text*.html")
    assert "to be &lt;or&gt; not" in text.read_text()
    assert len(list(folder.glob("files/media/audio/samples as sound*.wav"))) == 4, "no more at once"
    assert list(folder.glob("files/media/table/result/quick*.json"))
    (log,) = folder.glob("*.wandb")
    assert sys.executable.encode() not in log.read_bytes()
    # What the upload needs lies in the run's folder, so that the folder can be moved.
    assert list(run_dir.glob("wandb/artifacts/staging/*"))


def test_a_key_is_in_no_file(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", "offline")
    config = {**CONFIG, "data": {"url": f"https://mirror/?k={KEY}", "api_key": "another-secret-value"}}
    logger = WandbDashboard(run_dir, RUN_ID, config, "0.1.0+abc", machine_info=True)
    logger.log_metrics({"train/loss": 1.0}, step=128)
    logger.log_result(RESULT)
    logger.close("finished")
    wandb.teardown()  # as at the end of the process: only then is all of the log on the disk
    content = b"".join(path.read_bytes() for path in run_dir.parents[4].rglob("*") if path.is_file())
    assert sys.executable.encode() in content  # machine_info: what it adds is looked through too
    assert b"visible-setting" in content  # the configuration is there as plain bytes
    assert KEY.encode() not in content
    assert b"another-secret-value" not in content


def test_modes_of_the_user_are_respected(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert find_access("offline", 1.0).mode == "offline"
    assert find_access("disabled", 1.0).mode == "disabled"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert find_access("auto", 1.0) == ("offline", "your W&B settings say so")
    # What is asked for by name overrules the environment: it looks for the server, which is not there.
    assert "does not answer" in find_access("online", 1.0).reason
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = dashboard(run_dir)
    logger.log_metrics({"train/loss": 1.0}, step=128)
    logger.close("finished")
    assert logger.experiment is None
    assert list(run_dir.iterdir()) == []


def test_online_needs_a_key_and_says_so(run_dir: Path) -> None:
    with pytest.raises(GenlabError, match=r"logger.mode=online needs a W&B key(.|\n)*wandb login"):
        dashboard(run_dir, mode="online").log_metrics({"train/loss": 1.0}, step=128)


def test_an_unknown_mode_gets_the_nearest_one(run_dir: Path) -> None:
    with pytest.raises(GenlabError, match=r"'ofline', expected one of auto, .* Did you mean 'offline'"):
        dashboard(run_dir, mode="ofline").log_metrics({"train/loss": 1.0}, step=128)


def test_nobody_is_asked_for_a_key(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a terminal W&B would ask, and the run would wait for an answer.
    asked = []
    monkeypatch.setattr(wandb, "login", lambda prompt=True, **_: asked.append(prompt))
    find_access("auto", 1.0)
    assert asked == [False]


def test_a_key_of_the_wrong_form_is_no_key(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert find_access("auto", 1.0).mode == "offline"


def test_a_server_that_hangs_does_not_hold_up_the_start(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, and nothing ever answers
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        run = dashboard(run_dir, start_seconds=0.2).experiment
        assert run.offline
        run.finish()


# --- W&B online, against a server that keeps what it is sent ---------------------------------------------------------


@pytest.fixture
def server(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        yield server
        wandb.teardown()
        server.shutdown()
        thread.join()


def test_online_a_resumed_run_goes_on_in_the_same_wandb_run(
    run_dir: Path, server: Server, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    where = {"project": "trials", "entity": "me"}
    first = dashboard(run_dir, tags=["trial"], **where)
    first.log_metrics({"train/loss": 1.0}, step=128)
    first.close("interrupted")
    second = dashboard(run_dir, **where)
    second.log_metrics({"train/loss": 0.5}, step=256)
    assert not [record for record in caplog.records if record.name == "genlab"]
    assert "wandb:" not in "".join(capfd.readouterr())
    # This server takes no tables: the figures are there all the same, and the run ends as it should.
    second.log_result(RESULT)
    second.close("finished")
    assert ["W&B has failed" in record.message for record in caplog.records if record.name == "genlab"] == [True]

    ((wandb_id, rows),) = server.history.items()
    assert wandb_id.startswith(f"{RUN_ID}-")
    assert [(row["examples_seen"], row["train/loss"]) for row in rows] == [(128, 1.0), (256, 0.5)]
    assert server.exit_codes == [255, 0]
    assert server.summary["test/bits_per_dim"] == 1.25
    assert (server.summary["protocol"], server.summary["protocol_hash"]) == ("quick", "abc")
    assert server.summary["likelihood_kind"] == "dequantized-8"
    assert "extractor" not in server.summary
    assert server.config["model"]["value"]["lr"] == 0.001
    assert server.config["code_version"]["value"] == "0.1.0+abc"
    assert server.upserts[0]["tags"] == ["mnist", "flow", "trial"]
    assert (server.upserts[0]["project"], server.upserts[0]["entity"]) == ("trials", "me")
    assert server.upserts[0]["groupName"] == "mnist/flow"
    # W&B keeps its axes, numbered from 1, in the configuration: every figure stands over the first one.
    axes = server.config["_wandb"]["value"]["m"]
    assert axes[0]["1"] == "examples_seen"
    assert [axis["5"] for axis in axes if axis.get("2") == "*"] == [1]


def test_an_agent_of_a_wandb_sweep_gets_its_figures_in_the_run_that_it_made(
    run_dir: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = tmp_path / "chosen.yaml"
    chosen.write_text("wandb_version: 1\nmodel.lr: {value: 0.001}\nema_decay: {value: 0.99}\n")
    with monkeypatch.context() as agent:
        for name, value in {"SWEEP_ID": "s1", "RUN_ID": "agents", "SWEEP_PARAM_PATH": str(chosen)}.items():
            agent.setenv(f"WANDB_{name}", value)
        logger = dashboard(run_dir)
        logger.log_metrics({"val/bits_per_dim": 2.0}, step=128)
        logger.close("interrupted")
        wandb.teardown()
    assert server.upserts[0]["sweep"] == "s1"
    assert server.config["model.lr"]["value"] == 0.001  # as the sweep has it, and beside it as all runs have it
    assert server.config["model"]["value"]["lr"] == 0.001
    # The same command without the agent goes on in the agent's run.
    logger = dashboard(run_dir)
    logger.log_metrics({"val/bits_per_dim": 1.5}, step=256)
    logger.close("finished")
    assert {run: [row["val/bits_per_dim"] for row in rows] for run, rows in server.history.items()} == {
        "agents": [2.0, 1.5]
    }
    assert "wandb:" not in "".join(capfd.readouterr())


def test_offline_a_resumed_run_keeps_its_id(run_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for step in (128, 256):
        logger = dashboard(run_dir, mode="offline")
        logger.log_metrics({"train/loss": 1.0}, step=step)
        logger.close("finished")
    logs = list(run_dir.glob("wandb/offline-run-*/*.wandb"))
    assert len(logs) == 2
    assert len({log.name for log in logs}) == 1
    assert "wandb:" not in "".join(capfd.readouterr())


def test_another_folder_with_the_same_run_id_is_another_wandb_run(
    run_dir: Path, tmp_path: Path, server: Server
) -> None:
    # The same command on a second machine, or of a second member of the team, must not write into the first one's run.
    for folder in (run_dir, tmp_path / "other" / "mnist" / "flow" / RUN_ID):
        logger = dashboard(folder)
        logger.log_metrics({"train/loss": 1.0}, step=128)
        logger.close("finished")
    assert [len(rows) for rows in server.history.values()] == [1, 1]


def test_a_refused_key_ends_in_an_offline_run(run_dir: Path, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.accepts = False
    logger = dashboard(run_dir)
    logger.log_metrics({"train/loss": 1.0}, step=128)
    logger.close("finished")
    (line,) = [record.message for record in caplog.records if record.name == "genlab"]
    assert "401" in line
    assert "wandb sync" in line
    assert len(list(run_dir.glob("wandb/offline-run-*"))) == 1


def test_a_failure_of_wandb_is_told_once_and_the_run_goes_on(
    run_dir: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = dashboard(run_dir, mode="offline")
    with monkeypatch.context() as patch:
        patch.setattr(type(logger.experiment), "log", lambda *args: 1 / 0)
        caplog.clear()
        for step in (128, 256):
            logger.log_metrics({"train/loss": 1.0}, step=step)
    logger.close("finished")
    (record,) = [record for record in caplog.records if record.name == "genlab"]
    assert record.levelno == logging.WARNING
    assert "W&B has failed (division by zero)" in record.message
