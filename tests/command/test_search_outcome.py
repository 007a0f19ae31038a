"""What a search leaves: the best of its runs as a recipe, or the front of them."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from genlab.command.config import check_config
from genlab.command.search_outcome import recipe, report, use_command
from genlab.command.search_space import SearchCommand
from genlab.command.start_search import _plan, study_folder
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
from tests.command.searches import composed, settings
from tests.sweeps.searching import MONITOR, FakeLauncher
from tests.tiny import ROOT, SHORT


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
