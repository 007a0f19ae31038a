"""From ``search=<family>`` to plain runs, and from the best of them to a recipe."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from genlab.command.build import build_model
from genlab.command.config import check_config
from genlab.command.entry import _Task, run_entry
from genlab.command.search_outcome import recipe, report, use_command
from genlab.command.search_space import SearchCommand, _at, _ends, check_space, read_command
from genlab.command.start_search import _keep_from_jobs, _plan, _stream, _write_multirun, search, study_folder
from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results
from genlab.core.errors import GenlabError
from genlab.measure.results import read_result
from genlab.runs.code import code_version
from genlab.runs.identity import run_id
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.search import open_study, override_of, run_search
from genlab.sweeps.study_tables import trials_on_front
from tests import forkserver
from tests.sweeps.searching import MONITOR, FakeLauncher
from tests.tiny import ROOT, SHORT

SEARCHES = sorted(path.stem for path in (ROOT / "conf" / "search").glob("*.yaml"))
MODELS = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))


@contextmanager
def composed(*arguments: str, conf: Path | None = None) -> Iterator[tuple[Any, SearchCommand]]:
    """What Hydra and then we make of ``python train.py -m <arguments>``."""
    extra = [f"hydra.searchpath=[{conf}]"] if conf else []
    with initialize_config_dir(str(ROOT / "conf")):
        parsed = OverridesParser.create().parse_overrides([*extra, *arguments])
        plain = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
        config = compose("config", plain, return_hydra_config=True)
        context = SimpleNamespace(config_loader=GlobalHydra.instance().config_loader())
        params = config.hydra.sweeper.get("params") or {}
        task = [argument for argument in arguments if not argument.startswith("hydra")]
        yield config, read_command(config, context, params, task)


def settings(**changes: Any) -> dict[str, Any]:
    path = ROOT / "conf" / "hydra" / "sweeper" / "optuna.yaml"
    return {**yaml.safe_load(path.read_text()), **changes}


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


class Recorded(FakeLauncher):
    """A launcher whose runs' objectives depend on any one parameter."""

    key = "model.lr"

    def run(self, job: Job, watch: Any):  # type: ignore[no-untyped-def]
        given = dict(override.split("=", 1) for override in job.overrides if "=" in override)
        plain = {"lr": given[self.key], "layers": 1 + job.number % 5, "kind": "a"}
        overrides = tuple(f"{key}={value}" for key, value in plain.items())
        outcome = super().run(Job(job.number, overrides), watch)
        return type(outcome)(job, *[getattr(outcome, n) for n in ("code", "result", "error", "seconds", "log")])


def searched(tmp_path: Path, *arguments: str, launcher: Any = None, **changes: Any) -> tuple[Any, SearchCommand, Any]:
    arguments = (*arguments, f"paths.logs={tmp_path}")
    with composed(*arguments) as (_, command):
        plan = _plan(settings(pruner="none", **changes), command)
        with open_study(plan) as study:
            run_search(plan, study, (launcher or Recorded(tmp_path)).stream)
            folder = study_folder(command.base.paths.logs, plan.study)
            report(plan, study, command, folder, ["python", "train.py", "-m", *arguments])
            return plan, command, study.trials()


def test_the_best_is_a_recipe_that_works(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ("search=vae", "data=digits", "experiment=vae_mnist", "trainer=cpu", "~model.optimizer.betas")
    plan, command, trials = searched(tmp_path, *arguments, trials=6)
    folder = tmp_path / "studies" / plan.study
    best = min(trials, key=lambda trial: trial.value)
    text = (folder / "experiment" / "best.yaml").read_text()
    assert f"trial {best.number}" in text
    assert f"{MONITOR} {best.value:.6g}" in text
    out = capsys.readouterr().out
    use = next(line for line in out.splitlines() if line.startswith("Best: ")).removeprefix("Best: ")
    assert f"--config-dir={folder}" in use
    assert f"paths.logs={tmp_path}" in use
    assert "6 trials: 6 complete." in out
    assert "This measures the test split, which the search did not." in out
    assert f"Trained by other code (then 0.1.0 abc1234, now {code_version()}): 6 of 6 complete trials." in out
    # Used as the report says, it is the very run of the best trial.
    with initialize_config_dir(str(ROOT / "conf")):
        words = [word for word in shlex.split(use)[2:] if not word.startswith("--")]
        used = compose("config", [f"hydra.searchpath=[{folder}]", *words])
        ran = compose("config", [*command.fixed, *(override_of(k, best.params[k]) for k in plan.space)])
    used, ran = OmegaConf.to_container(used, resolve=True), OmegaConf.to_container(ran, resolve=True)
    assert used == ran
    assert run_id(used, 0) == run_id(ran, 0)
    for picture in ("history.png", "importance.png"):
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_trials_measure_validation_and_recipes_the_test_split(tmp_path: Path) -> None:
    launcher = Recorded(tmp_path)
    own = ["evaluation=standard", "evaluation.name=mine"]
    plan, _, trials = searched(tmp_path, "search=gmm", "data=digits", *own, launcher=launcher, trials=2)
    for job, trial in zip(launcher.jobs, trials, strict=True):
        with initialize_config_dir(str(ROOT / "conf")):
            measured, later = compose("config", list(job.overrides)), compose("config", [*plan.overrides(trial.params)])
        protocols = [check_config(config).evaluation.make() for config in (measured, later)]
        assert [(protocol.name, protocol.split) for protocol in protocols] == [
            ("mine-validation", "validation"), ("mine", "test"),
        ]  # fmt: skip
        assert len({run_id(OmegaConf.to_container(config, resolve=True), 0) for config in (measured, later)}) == 1
    text = (tmp_path / "studies" / plan.study / "experiment" / "best.yaml").read_text()
    assert yaml.safe_load(text)["evaluation"] == {"name": "mine"}
    with composed("search=gmm", "data=digits", "evaluation.split=validation") as (_, command):
        assert _plan(settings(), command).measured_by == (), "it is what all runs of this command measure"


def test_two_objectives_leave_a_front_of_recipes(tmp_path: Path) -> None:
    plan, _, trials = searched(
        tmp_path, "search=gmm", "data=digits", trials=6, objective=[MONITOR, "sampling.nfe"], seed=1
    )
    front = trials_on_front(trials, plan.objectives)
    for trial in trials:
        better = [t for t in trials if t.values[0] <= trial.values[0] and t.values[1] <= trial.values[1]]
        assert (trial in front) == all(other.values == trial.values for other in better)
    folder = tmp_path / "studies" / plan.study
    assert {path.stem for path in (folder / "experiment").iterdir()} == {f"pareto_{t.number}" for t in front}
    assert (folder / "pareto.png").exists()


def test_a_search_without_a_complete_trial_says_why(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    class Failing(FakeLauncher):
        def run(self, job: Job, watch: Any):  # type: ignore[no-untyped-def]
            return Outcome(job, 2, None, "The pair does not fit.", 0.1, tmp_path / "0.log")

    with pytest.raises(GenlabError, match=r"None of the 3 trials is complete: trial 0: The pair does not fit\."):
        searched(tmp_path, "search=gmm", launcher=Failing(tmp_path), trials=3)
    assert "failed, 0, 1, 2: The pair does not fit." in capsys.readouterr().out


def test_recipes_say_what_yaml_cannot(tmp_path: Path) -> None:
    plan, command, trials = searched(
        tmp_path, "search=gmm", "+model.optimizer.weight_decay=0.1", "~model.optimizer.betas", trials=1
    )
    text = recipe("best", trials[0], plan, command, tmp_path, ["python"], 1)
    assert yaml.safe_load(text)["model"]["optimizer"] == {"weight_decay": 0.1}
    assert "experiment=best '~model.optimizer.betas'" in text


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["process", "basic"])
def test_a_search_from_the_command_to_the_recipe(launcher: str, tmp_path: Path) -> None:
    small = ["budget.examples=64", "model.em_steps=1", "model.components=int(interval(2, 4))", "model.prior=1e-4"]
    small += [o for o in SHORT if not o.startswith("budget.examples")]
    command = [sys.executable, str(ROOT / "train.py"), "-m", "search=gmm", "hydra.sweeper.trials=2", *small]
    command.append(f"hydra/launcher={launcher}")
    ended = forkserver.run([*command, f"paths.logs={tmp_path}"], cwd=tmp_path, timeout=280, children_too=True)
    assert ended.returncode == 0, ended.stderr
    assert "2 trials: 2 complete." in ended.stdout
    said = ended.stdout + ended.stderr
    assert ("done in" in said and "val/bits_per_dim " in said) == (launcher == "process")
    # What is seen of all trials chooses among them, as the test split must not.
    figures = re.sub(r"(?m)^ *[-0-9]+% .*$", "", said)  # without the progress, which names the phases
    assert not re.search(r"(?<!val )FID|±|likelihood|[0-9] bits/dim", figures)
    (best,) = tmp_path.glob("studies/*/experiment/best.yaml")
    assert "override /model: gmm" in best.read_text()
    measured = [read_result(path) for path in tmp_path.glob("runs/digits/gmm/*/results/*.json")]
    assert 1 <= len(measured) <= 2
    assert {(result.data.split, result.protocol.name) for result in measured} == {("validation", "quick-validation")}
    if launcher == "basic":
        return
    # The best is then measured on the test split, with the weights that it has.
    use = next(line for line in ended.stdout.splitlines() if line.startswith("Best: ")).removeprefix("Best: ")
    command = [sys.executable, str(ROOT / "train.py"), *shlex.split(use)[2:]]
    before = {path: path.read_bytes() for path in tmp_path.rglob("last.ckpt")}
    ended = forkserver.run(command, cwd=tmp_path, timeout=280)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"data +digits, test", ended.stdout)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("last.ckpt")}
    groups = compare(read_results([tmp_path])[0]).groups
    found = {group.data.split: {row.first.run_id for row in group.rows if row.model == "gmm"} for group in groups}
    assert len(found["test"]) == 1
    assert found["test"] <= found["validation"]


def test_a_key_that_is_new_stays_new_in_every_trial(tmp_path: Path) -> None:
    new = "+model.optimizer.weight_decay=interval(0.0, 0.1)"
    plan, command, trials = searched(tmp_path, "search=gmm", new, trials=1)
    value = trials[0].params["model.optimizer.weight_decay"]
    assert f"+model.optimizer.weight_decay={value!r}" in plan.overrides(trials[0].params)
    text = recipe("best", trials[0], plan, command, tmp_path, ["python", "train.py"], 1)
    assert yaml.safe_load(text)["model"]["optimizer"] == {"weight_decay": value}
    assert f" +model.optimizer.weight_decay={value!r}" in text, "the command too"


def test_the_command_for_a_recipe_finds_what_the_search_found(tmp_path: Path) -> None:
    with composed("search=gmm", "data=digits") as (_, command):
        folder, typed = tmp_path / "study", ["genlab", "train"]
        words = shlex.split(use_command("best", folder, command, ["model=gmm"], typed))
        assert words == ["genlab", "train", f"--config-dir={folder}", "experiment=best"]
        command.own = ("hydra.searchpath=[mine]",)
        words = shlex.split(use_command("best", folder, command, ["model=gmm"], typed))
        assert words[2:] == [f"--config-dir={folder}", "experiment=best", "hydra.searchpath=[mine]"]
        # Hydra takes one such folder: the settings themselves, then.
        command.own = ("--config-dir=/mine",)
        words = shlex.split(use_command("best", folder, command, ["model=gmm", "model.lr=0.1"], typed))
        assert words[2:] == ["--config-dir=/mine", "model=gmm", "model.lr=0.1"]


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
