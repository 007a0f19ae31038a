"""The commands as functions: what they return and raise, and that the program around them finds all as it was."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

import genlab
from genlab.command import calls
from genlab.command.entry import call_entry, config_folder
from genlab.measure.finished_run import FinishedRun
from tests.tiny import tiny


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"paths.logs={tmp_path_factory.mktemp('logs')}"


@pytest.fixture(scope="module")
def run(logs: str) -> FinishedRun:
    return genlab.train(*tiny("gmm"), "data=digits", "evaluation.num_samples=100", logs)


def test_a_training_returns_its_run_whose_command_is_that_of_the_command_line(run: FinishedRun, logs: str) -> None:
    assert (run.place.path / "checkpoints" / "best.ckpt").is_file()
    assert run.result.likelihood is not None
    words = run.result.command.split()
    assert words[:2] == ["python", "train.py"]
    assert {"model=gmm", "data=digits", logs} <= set(words)
    assert not [word for word in words if word.startswith("hydra.")]


def test_what_a_run_is_used_for_returns_what_it_made(run: FinishedRun, logs: str, capsys) -> None:
    given = f"run={run.place.id}"
    (group,) = genlab.compare("data=digits", logs).groups
    assert [row.reference for row in group.rows] == ["floor", "baseline"]
    assert "digits, quick" in capsys.readouterr().out, "it is printed, as by the command"
    assert genlab.sample(given, "n=4", logs).is_file()
    with pytest.raises(genlab.GenlabError, match="reconstruct"):
        genlab.reconstruct(given, logs)
    found = genlab.detect(given, "against=vertical_flip", "scores=[complexity]", logs)
    assert list(json.loads(found.read_text())["scores"]) == ["complexity"]
    (table,) = genlab.anomalies(logs)
    assert table.title.startswith("AUROC, digits against vertical_flip")
    again = genlab.evaluate(given, "evaluation.name=again", "evaluation.num_samples=100", logs)
    assert again.result.protocol.name == "again"


@pytest.mark.parametrize(
    ("call", "words", "message"),
    [
        (calls.train, ["model=gm"], "model has no option 'gm'. Did you mean 'gmm'?"),
        (calls.train, ["model=gmm,vae"], "gives several values"),
        (calls.train, ["-m", "model=gmm,vae"], "call this once for each run"),
        (calls.train, ["hydra.mode=MULTIRUN", "model=gmm,vae"], "call this once for each run"),
        (calls.train, ["budget.minutes=-1"], "budget.minutes"),
        (calls.train, [["model=gmm", "data=digits"]], "each a string, such as 'data=digits'; it was given a list."),
        (calls.sample, [], "run is required: python -m genlab sample run=<path or id>"),
        (calls.detect, ["run=x"], "against is required"),
        (calls.evaluate, ["samples=nothing.npy", "data=digits", "trained_on=a, b"], "there is no such file"),
        (calls.compare, ["folders=[nowhere]"], "There are no results below nowhere"),
    ],
)
def test_what_a_user_can_mend_is_raised_in_the_commands_words(
    call, words: list, message: str, capfd: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(genlab.GenlabError) as raised:
        call(*words)
    assert message in str(raised.value)
    assert len(str(raised.value).splitlines()) <= 2
    error = raised.value
    assert error.__context__ is None or error.__suppress_context__, "Hydra's own traceback would bury it"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, genlab.GenlabError])
def test_the_program_around_it_finds_all_as_it_was(error: type[BaseException]) -> None:
    def job(config: DictConfig) -> None:
        assert sys.argv[1:3] == ["anomalies", "data=digits"]
        raise error

    def state() -> tuple:
        whole = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        return *whole, list(sys.argv), dict(os.environ), [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]

    with initialize_config_dir(str(config_folder())):
        before = state()
        with pytest.raises(error):
            call_entry(job, "anomalies", ["data=digits"], ["__main__.py", "anomalies"])
        assert state() == before
        assert compose("config", ["model=gmm"]).model.name == "gmm"


def test_the_package_has_them_and_says_so() -> None:
    assert set(calls.__all__) <= set(genlab.__all__) <= set(dir(genlab))
    assert genlab.train is calls.train
