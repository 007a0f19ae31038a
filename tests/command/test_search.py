"""From ``search=<family>`` to plain runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from genlab.command.build import build_model
from genlab.command.config import check_config
from genlab.command.entry import _Task, run_entry
from genlab.command.search_space import SearchCommand, _at, _ends, check_space
from genlab.command.start_search import _keep_from_jobs, _plan, _stream, _write_multirun, search
from genlab.core.errors import GenlabError
from genlab.sweeps.jobs import Job, Outcome
from tests.command.searches import composed, settings
from tests.tiny import ROOT

SEARCHES = sorted(path.stem for path in (ROOT / "conf" / "search").glob("*.yaml"))
MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))


def test_there_is_a_search_for_every_model() -> None:
    # An n-gram model has one choice, its order, and makes it itself; others have made those of a pretrained one.
    assert [model for model in MODELS if model not in ("ngram", "pretrained", "pretrained_text")] == SEARCHES


@pytest.mark.parametrize("family", SEARCHES)
def test_every_space_fits_at_its_ends_and_every_combination_of_choices_is_a_model(family: str) -> None:
    data = {"forest": "wine", "masked_diffusion": "shakespeare", "wavenet": "spoken_digits"}.get(family, "mnist")
    with composed(f"search={family}", f"data={data}") as (config, command):
        assert config.hydra.runtime.choices["hydra/sweeper"] == "optuna"
        assert config.hydra.sweeper._target_.startswith("hydra_plugins.genlab_optuna_sweeper."), "ours, by its name"
        assert command.fixed == (f"model={family}", f"data={data}")
        assert len(command.space) >= 2
        check_space(command)
        ends = [_ends(d) if hasattr(d, "choices") else _ends(d)[:1] for d in command.space.values()]
        for point in product(*ends):
            config = check_config(_at(command, dict(zip(command.space, point, strict=True))))
            # Weights are not needed; where a layer cannot do without, it comes after what a model checks.
            with torch.device("meta"), suppress(NotImplementedError, RuntimeError):
                build_model(config)


def test_a_family_without_a_space_is_told_how_to_give_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "lone.yaml").write_text((ROOT / "conf" / "model" / "gmm.yaml").read_text())
    arguments = ["-m", f"--config-dir={tmp_path}", "search=lone"]
    assert run_entry(lambda config: None, "config", arguments, ["train.py"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "model=lone has no search space of its own. Give it one: -m hydra/sweeper=optuna model=lone "
    )


def test_a_single_run_refuses_a_search(capsys: pytest.CaptureFixture) -> None:
    begun: list[object] = []
    assert run_entry(begun.append, "config", ["search=gmm"], ["train.py"]) == 2
    assert capsys.readouterr().err.startswith("search=gmm is a search over many runs, one at a time: add -m")
    assert not begun


def test_the_command_line_fixes_keys_and_gives_spaces() -> None:
    given = ("model.lr=0.001", "model.latent_dims=8,16", "trainer=cpu", "seed=3")
    with composed("search=vae", *given, "hydra.sweeper.trials=3") as (_, command):
        assert command.fixed == ("model=vae", "model.lr=0.001", "trainer=cpu", "seed=3")
        assert "model.lr" not in command.space
        assert command.space["model.latent_dims"].choices == ("8", "16")
        assert "search" not in command.choices or command.choices["search"] is None
        assert command.base.model.lr == 0.001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search=vae", "model=gmm"], "model.latent_dims"),
        (["search=vae", "model.lr=interval(-1, 1)"], r"does not fit, at model.lr=-1.0"),
        (["search=vae", "model.latent_dims=interval(2, 8)"], r"int\(interval"),
    ],
)
def test_a_space_that_does_not_fit_is_refused(arguments: list[str], message: str) -> None:
    with composed(*arguments) as (_, command), pytest.raises(GenlabError, match=message):
        check_space(command)


def test_a_search_that_sets_what_its_runs_would_not_see_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "search" / "mine.yaml"
    own.parent.mkdir()
    text = (ROOT / "conf" / "search" / "gmm.yaml").read_text()
    own.write_text(text + "budget:\n  examples: 1000\n")
    with pytest.raises(GenlabError, match=r"search=mine sets budget\.examples"), composed("search=mine", conf=tmp_path):
        pass


def test_the_same_command_means_the_same_study() -> None:
    def name(*arguments: str, **changes: Any) -> str:
        with composed("search=gmm", *arguments) as (_, command):
            return _plan(settings(**changes), command).study

    usual = name()
    assert usual.startswith("digits-gmm-")
    assert name("logger=none", trials=7, sampler="random", seed=5) == usual
    other = {name("budget.examples=7"), name("model.lr=0.1"), name("seed=1"), name(objective=["val/fid"])}
    assert len(other | {usual}) == 5
    assert name(study="mine") == "mine"


def test_the_default_objective_is_what_chooses_the_checkpoint() -> None:
    for family, monitor in (("gmm", "val/bits_per_dim"), ("gan", "val/fid")):
        with composed(f"search={family}", "data=digits") as (_, command):
            assert [objective.name for objective in _plan(settings(), command).objectives] == [monitor]


def test_no_password_reaches_a_file_or_a_job(tmp_path: Path) -> None:
    url = "postgresql+pg8000://me:hunter2secret@localhost/studies"
    folder = f"hydra.sweep.dir={tmp_path}"
    with composed("search=gmm", f"hydra.sweeper.storage='{url}'", folder, "hydra.sweeper.trials=3") as (
        config,
        command,
    ):
        config.hydra.overrides.hydra = [f"hydra.sweeper.storage={url}", folder]
        _write_multirun(config)
        assert "hunter2secret" not in OmegaConf.to_yaml(command.launcher_config)
        assert "hunter2secret" not in repr(command.fixed)
    written = (tmp_path / "multirun.yaml").read_text()
    assert "hunter2secret" not in written
    assert "model.components" in written


def test_without_optuna_a_search_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(GenlabError, match=r"pip install 'genlab\[search\]'"):
        search({}, OmegaConf.create(), None, lambda config: None, [])  # type: ignore[arg-type]


def test_no_job_inherits_the_address_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIES_URL", "postgresql://me:hunter2secret@localhost/studies")
    with composed("search=gmm", "hydra.sweeper.storage='${oc.env:STUDIES_URL}'") as (config, _):
        assert "hunter2secret" in config.hydra.sweeper.storage
        _keep_from_jobs(config)
    assert "STUDIES_URL" not in os.environ


def test_a_launcher_that_tells_nothing_before_the_end_gets_batches() -> None:
    class Batches:
        def __init__(self) -> None:
            self.config = OmegaConf.create({"hydra": {"sweep": {"dir": "x"}}})
            self.seen: list[tuple[int, int]] = []

        def launch(self, overrides: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
            self.seen.append((len(overrides), initial_job_idx))
            good = JobReturn(status=JobStatus.COMPLETED, _return_value={"run_dir": "r"})
            bad = JobReturn(status=JobStatus.FAILED, _return_value=GenlabError("It does not fit."))
            return [good if o[0] != "a=2" else bad for o in overrides]

    taken: list[int] = []

    def jobs() -> Iterator[Job]:
        for number in range(5):
            taken.append(number)
            yield Job(number, (f"a={number}",))

    launcher = Batches()
    outcomes = iter(_stream(launcher, 2, 5)(jobs(), None))  # type: ignore[arg-type]
    assert next(outcomes).job.number == 0
    assert taken == [0, 1], "no more than a batch is asked for"
    rest = list(outcomes)
    assert launcher.seen == [(2, 0), (2, 2), (1, 4)]
    assert (rest[1].code, rest[1].error) == (1, "It does not fit.")
    assert rest[0].result == {"run_dir": "r"}
    with pytest.raises(GenlabError, match=r"hydra\.sweeper\.batch is 0"):
        _stream(launcher, 0, 5)  # type: ignore[arg-type]


def test_a_folder_of_ones_own_configs_goes_into_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text((ROOT / "conf" / "data" / "digits.yaml").read_text())
    seen: list[SearchCommand] = []

    def keep(plan: Any, study: Any, command: SearchCommand, folder: Path, typed: list[str]) -> None:
        seen.append(command)

    monkeypatch.setattr("genlab.command.search_outcome.report", keep)
    monkeypatch.setattr("genlab.command.start_search._stream", lambda *given: lambda jobs, watch=None: iter(()))
    arguments = ["-m", "search=gmm", "data=mine", "--config-dir", str(tmp_path), f"paths.logs={tmp_path / 'logs'}"]
    assert run_entry(lambda config: None, "config", arguments, ["train.py"]) == 0, capsys.readouterr().err
    assert seen[0].own == (f"--config-dir={tmp_path}",)
    # What chooses jobs of a sweep has no meaning in a search.
    assert run_entry(lambda config: None, "config", [*arguments, "hydra.launcher.only=[1]"], ["train.py"]) == 2
    assert "hydra.launcher.only" in capsys.readouterr().err


@pytest.mark.parametrize("sweeper", ["optuna", "ours"])
def test_trials_that_fail_are_no_failed_jobs_of_a_sweep(tmp_path: Path, sweeper: str) -> None:
    own = tmp_path / "hydra" / "sweeper" / "ours.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [optuna]\ntrials: 7\n")
    job = _Task(lambda config: None, ["train.py"], {})
    failed = Outcome(Job(0, ()), 1, None, "It went wrong.", 0.1, tmp_path)
    with composed("search=gmm", f"hydra/sweeper={sweeper}", conf=tmp_path) as (config, _):
        HydraConfig.instance().set_config(config)
        try:
            job.record(failed)
        finally:
            HydraConfig.instance().cfg = None
    assert not job.sweep.failed
