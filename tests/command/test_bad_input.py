"""What a user can get wrong, through the real command and the real configs: one or two lines, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from genlab.command.cli import evaluate, sample, train
from tests.tiny import TINY


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    def unreachable(*arguments: object, **options: object) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests.Session, "get", unreachable)
    monkeypatch.setattr(requests, "get", unreachable)


def said(arguments: list[str], capsys: pytest.CaptureFixture[str], command=train) -> str:
    assert command(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    assert "HYDRA" not in error
    assert 1 <= len(error.splitlines()) <= 2, error
    return error


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.lrr=1", ["model.lrr", "'model.lr'"]),
        ("modle=flow", ["modle", "'model'"]),
        ("model=flwo", ["flwo", "'flow'"]),
        ("data=mnits", ["mnits", "'mnist'", "toy2d"]),
        ("model.lr=-1", ["model.lr", "-1", "> 0"]),
        ("model.lr=fast", ["model.lr", "fast", "number"]),
        ("data.batch_size=0", ["data.batch_size", "0", ">= 1"]),
        ("data.batch_size=1.5", ["data.batch_size", "1.5"]),
        ("ema_decay=1", ["ema_decay", "< 1"]),
        ("seed=null", ["seed"]),
        ("budget.examples=null budget.minutes=null", ["budget.examples", "budget.minutes"]),
        ("model.multiscale.coupling=splines", ["coupling", "'spline'", "affine"]),
        ("model.optimizer.beta=[0.9]", ["model.optimizer.beta", "betas"]),
        ("trainer.acelerator=gpu", ["acelerator", "'trainer.accelerator'"]),
        ("model.multiscale.hidden=[]", ["model.multiscale.hidden", "length >= 1"]),
        ("+trainer.accumulate_grad_batches=4", ["accumulate_grad_batches", "data.batch_size"]),
        ("trainer.precision=64-true", ["trainer.precision", "bf16-mixed"]),
        ("model.name=a/b", ["model.name", "names files"]),
        ("seed=20000000000000000000", ["seed"]),
        ("model.lr=", ["model.lr"]),
        ("model.lr=[", ["model.lr=["]),
        ("+model._recursive_=no", ["model._recursive_", "true or false"]),
        ("model._convert_=sideways", ["model._convert_", "sideways", "partial"]),
        ("+data._partial_=true", ["data._partial_", "leave it out"]),
        ("logger={_target_:genlab.models.gmm.GMM}", ["logger", "GMM", "Logger"]),
        ("model.optimizer={_target_:torch.optim.lr_scheduler.LambdaLR,_partial_:true,lr_lambda:[1]}", ["lr_lambda"]),
    ],
)
def test_the_config(override: str, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = said([f"paths.logs={tmp_path}", "logger=none", *override.split()], capsys)
    missing = [text for text in expected if text not in error]
    assert not missing, error
    assert not list(tmp_path.iterdir())


def test_a_pair_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = said([f"paths.logs={tmp_path}", "data=toy2d", "model.network=multiscale", "logger=none"], capsys)
    assert "model.network=nsf" in error


def test_a_missing_file_without_a_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    error = said([*TINY, f"paths.logs={tmp_path / 'logs'}", "data=mnist", f"data.root={root}"], capsys)
    assert f"{root}/MNIST/raw/train-images-idx3-ubyte is missing" in error
    assert "https://" in error
    assert "data.root" in error


def test_a_truncated_file_is_kept_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    assert train([*TINY, f"paths.logs={tmp_path / 'logs'}", "data=mnist", f"data.root={tmp_path / 'data'}"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert "expected sha256:" in error
    assert "found sha256:" in error
    assert (raw / "train-images-idx3-ubyte.corrupt").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.accelerator=quantum", "'quantum'"),
        ("trainer.devices=-3", "trainer.devices is -3"),
        ("model.optimizer.betas=[0.9,2]", "model.optimizer does not take its settings: Invalid beta"),
    ],
)
def test_what_only_the_library_can_judge(
    override: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train([*TINY, f"paths.logs={tmp_path}", override]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error


def test_gpu_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        return
    error = said([*TINY, f"paths.logs={tmp_path}", "trainer=gpu", "trainer.precision=32-true"], capsys)
    assert "trainer=cpu" in error


@pytest.mark.parametrize("command", [evaluate, sample])
def test_a_run_that_is_not_there(command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run is required" in said([f"paths.logs={tmp_path}"], capsys, command)
    assert "nowhere" in said([f"paths.logs={tmp_path}", "run=nowhere"], capsys, command)
