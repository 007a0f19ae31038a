"""The way from a command line to a job, and what is said when it fails."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from genlab.command.command_line import command_line
from genlab.command.entry import config_folder, run_entry
from genlab.command.explain import CommandLine
from genlab.command.sweep_options import check_line
from genlab.core.errors import GenlabError, Interrupted

CONFIGS = {
    "config.yaml": """
defaults:
  - _self_
  - model: flow
  - extra: null
  - override hydra/output: genlab
  - override hydra/hydra_logging: none
  - override hydra/job_logging: none
seed: 0
run: ???
size: {width: 4, height: 4}
paths: {logs: logs}
hydra: {output_subdir: null}
""",
    "model/flow.yaml": "name: flow\nlr: 0.1\n",
    "model/mixture.yaml": "name: mixture\ncomponents: 3\n",
    "extra/none.yaml": "{}\n",
    "unused/one.yaml": "{}\n",
    "hydra/launcher/elsewhere.yaml": "_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n",
    "broken/list.yaml": "a: [1, 2\nb: 3\n",
    "hydra/output/genlab.yaml": (Path(config_folder()) / "hydra/output/genlab.yaml").read_text(),
}


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "conf"
    for name, text in CONFIGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return folder


def unreached(config: DictConfig) -> None:
    raise AssertionError("the job began")


def enter(conf: Path, *arguments: str, run: Callable[[DictConfig], object] = unreached, **options: Any) -> int:
    return run_entry(run, "config", arguments, ["train.py"], conf, **options)


def raising(error: BaseException) -> Callable[[DictConfig], None]:
    def run(config: DictConfig) -> None:
        raise error

    return run


def test_a_job_gets_the_composed_config_and_leaves_nothing_behind(conf: Path, capfd: pytest.CaptureFixture) -> None:
    seen: list[DictConfig] = []
    assert enter(conf, "model=mixture", "size.width=9", run=seen.append) == 0
    assert (seen[0].model.components, seen[0].size.width, seen[0].size.height) == (3, 9, 4)
    assert "hydra" not in seen[0]
    assert os.listdir() == ["conf"], "Hydra writes no folder and no log"
    assert capfd.readouterr() == ("", "")


def test_a_sweep_over_models_may_set_what_the_default_model_does_not_have(conf: Path) -> None:
    (conf / "model/other.yaml").write_text("name: other\ncomponents: 5\nsizes: []\n")
    (conf / "experiment").mkdir()
    (conf / "experiment/recipe.yaml").write_text("# @package _global_\ndefaults: [{override /model: mixture}]\n")
    (conf / "hydra").mkdir(exist_ok=True)  # a folder like that of a group, whose settings are of the whole sweep
    base = conf / "config.yaml"
    base.write_text(base.read_text().replace("  - extra: null", "  - extra: null\n  - experiment: null"))
    for sweep, names in (("model=mixture,other", ["mixture", "other"]), ("experiment=choice(recipe)", ["mixture"])):
        seen: list[DictConfig] = []
        given = [sweep, "model.components=7", "+model.sizes=[1, 2]", "+model.note='a, b'", "+model.seed=${seed}"]
        given.append("hydra.job.name=named")
        assert enter(conf, "-m", *given, run=seen.append) == 0
        assert [config.model.name for config in seen] == names
        for config in seen:
            assert (config.model.components, config.model.sizes, config.model.note) == (7, [1, 2], "a, b")
            assert config.model.seed == 0


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("7", 7),
        ("1e-3", 0.001),
        ("'5'", "5"),
        ('"null"', "null"),
        ('"it\'s"', "it's"),
        ('"/home/josé/#1 a"', "/home/josé/#1 a"),
        ("'a, b'", "a, b"),
        ("[1, '2']", [1, "2"]),
        ("{a: '1'}", {"a": "1"}),
        ("${seed}", 0),
        ("null", None),
        ("", ""),
    ],
)
def test_a_value_means_in_a_sweep_over_models_what_it_means_in_a_run(conf: Path, given: str, value: Any) -> None:
    seen: list[Any] = []
    (conf.parent / "own").mkdir()
    for chosen in (["model=mixture"], ["-m", "model=mixture,mixture"]):
        arguments = ["--config-dir", "own", *chosen, f"model.components={given}"]
        assert enter(conf, *arguments, run=lambda config: seen.append(config.model.components)) == 0
    assert seen == [value, value, value]
    assert len({type(each) for each in seen}) == 1


def test_what_the_default_model_has_stays_in_the_sweeps_own_config(conf: Path) -> None:
    """Launchers read there what a job asks for, as the devices of its trainer."""
    assert enter(conf, "-m", "model=choice(flow)", "model.lr=0.5", "+model.note='5'", run=lambda config: None) == 0
    (written,) = Path("logs/sweeps").glob("*/multirun.yaml")
    assert OmegaConf.load(written).model == {"name": "flow", "lr": 0.5, "note": "5"}


def test_a_search_may_have_more_points_than_a_sweep_has_runs(conf: Path) -> None:
    space = ("model.lr=range(200)", "seed=range(200)")
    check_line(CommandLine(conf, "config", ("search=flow", *space), multirun=True))
    for sweep in (space, ("hydra/sweeper=basic", *space)):
        with pytest.raises(GenlabError, match="This sweep has 40,000 runs"):
            check_line(CommandLine(conf, "config", sweep, multirun=True))


@pytest.mark.filterwarnings("error")
def test_hydra_warns_of_nothing(conf: Path) -> None:
    assert enter(conf, run=lambda config: None) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model.lrr=1"], "Unknown key 'model.lrr'. Did you mean 'model.lr'?"),
        (["lr=1"], "Unknown key 'lr'. Did you mean 'model.lr'?"),
        (["width=1"], "Unknown key 'width'. Did you mean 'size.width'?"),
        (["qqq=1"], "Unknown key 'qqq'. --cfg job shows all keys."),
        (["modle=flow"], "Unknown key 'modle'. Did you mean 'model'?"),
        (["size.width.x=1"], "Unknown key 'size.width.x'. Did you mean 'size.width'?"),
        (["~model.lrr"], "Unknown key 'model.lrr'. Did you mean 'model.lr'?"),
        (
            ["model.lrr=1", "sead=2"],
            "Unknown key 'model.lrr'. Did you mean 'model.lr'?\nUnknown key 'sead'. Did you mean 'seed'?",
        ),
        (["model=mixture", "model.lr=1"], "Unknown key 'model.lr'. Did you mean 'model'?"),
        (["~model", "sead=1"], "Unknown key 'sead'. Did you mean 'seed'?"),
        (["-m", "model=mixture,mixture", "model.componnts=1"], "Unknown key 'model.componnts'. Did you mean 'model.c"),
        (["-m", "model.lrr=1,2"], "Unknown key 'model.lrr'. Did you mean 'model.lr'?"),
        (["-m", "model=mixture,mixture", "model.componnts=null"], "Unknown key 'model.componnts'. Did you mean"),
        (["model=flwo"], "model has no option 'flwo'. Did you mean 'flow'? Choices: flow, mixture."),
        (["-m", "model=flow,flwo"], "model has no option 'flwo'. Did you mean 'flow'? Choices: flow, mixture."),
        (["extra=nine"], "extra has no option 'nine'. Did you mean 'none'? Choices: none."),
        (["model=5"], "'model=5' names no option of model. Choices: flow, mixture."),
        (["extra=null"], "'extra=null' names no option of extra. Choices: none, ~extra to go without."),
        (["unused=one"], "Could not override 'unused'. No match in the defaults list."),
        (["hydra/launcher=slrum"], "hydra/launcher has no option 'slrum'."),
        (["flow"], "'flow' is no setting: write key=value or group=option"),
        (["seed=["], "Cannot read the setting 'seed=['."),
        (["seed=[db://me:hunter2@host"], "Cannot read the setting 'seed=[db://me:***@host'."),
        (["seed=1,2"], "'seed=1,2' gives several values: add -m"),
        (["seed=range(3)"], "'seed=range(3)' gives several values: add -m"),
        (["--cfg", "job", "--resolve", "seed=${nope}"], "seed: Interpolation key 'nope' not found"),
        (["--lr=3"], "Unknown flag '--lr=3'. Settings are given without dashes: key=value."),
        (["--cgf", "job"], "Unknown flag '--cgf'. Did you mean '--cfg'?"),
        (["--cfg", "jbo"], "Argument --cfg/-c: invalid choice: 'jbo'"),
        (["--resolve"], "The --resolve flag can only be used"),
        (["--config-dir", "nowhere"], "Additional config directory"),
        (["--config-name", "nope"], "Cannot find primary config 'nope'."),
        (["+broken=list"], "Cannot read the config "),
    ],
)
def test_a_command_line_that_cannot_be_is_told_in_one_or_two_lines(
    conf: Path, capfd: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    assert enter(conf, *arguments) == 2
    out, err = capfd.readouterr()
    assert err.startswith(message), err
    assert len(err.splitlines()) <= 2
    assert out == ""


def test_the_users_own_groups_count_as_known(conf: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    for group in ("model", "style"):
        (tmp_path / "own" / group).mkdir(parents=True)
        (tmp_path / "own" / group / "mine.yaml").write_text("temperature: 1.0\n")
    assert enter(conf, "--config-dir", "own", "model=mine", "model.temprature=2") == 2
    assert capfd.readouterr().err == "Unknown key 'model.temprature'. Did you mean 'model.temperature'?\n"
    assert enter(conf, "--config-dir", "own", "+style=mine", "style.temprature=2") == 2
    assert capfd.readouterr().err == "Unknown key 'style.temprature'. Did you mean 'style.temperature'?\n"


def test_a_command_names_the_users_own_folder_of_configs(conf: Path, tmp_path: Path) -> None:
    (tmp_path / "my own" / "model").mkdir(parents=True)
    (tmp_path / "my own" / "model" / "mine.yaml").write_text("temperature: 1.0\n")
    seen: list[str] = []
    arguments = ["--config-dir", "my own", "model=mine", "run=a"]
    assert enter(conf, *arguments, run=lambda _: seen.append(command_line("train.py"))) == 0
    assert seen == [f"python train.py '--config-dir={tmp_path / 'my own'}' model=mine run=a"]


@pytest.mark.parametrize("sweep", [[], ["-m"]])
def test_a_command_keeps_what_other_machines_fill_in(
    conf: Path, monkeypatch: pytest.MonkeyPatch, sweep: list[str]
) -> None:
    monkeypatch.setenv("PLACE", "/home/somebody")
    seen: list[str] = []
    arguments = [*sweep, "run=${oc.env:PLACE}/a", "seed=3"]
    assert enter(conf, *arguments, run=lambda _: seen.append(command_line("train.py"))) == 0
    assert seen == ["python train.py 'run=${oc.env:PLACE}/a' seed=3"]


def test_a_required_key_is_asked_for_with_the_command(conf: Path, capfd: pytest.CaptureFixture) -> None:
    required = {"run": "<path or id>"}
    assert enter(conf, required=required) == 2
    assert capfd.readouterr().err == "run is required: python train.py run=<path or id>\n"
    assert run_entry(unreached, "config", [], ["/usr/bin/genlab", "sample"], conf, required) == 2
    assert capfd.readouterr().err == "run is required: genlab sample run=<path or id>\n"
    assert enter(conf, "run=x", required=required, run=lambda config: None) == 0


def test_what_the_user_can_mend_is_a_message_and_code_2(conf: Path, capfd: pytest.CaptureFixture) -> None:
    assert enter(conf, run=raising(GenlabError("This does not fit.\nUse that."))) == 2
    assert capfd.readouterr() == ("", "This does not fit.\nUse that.\n")


def test_an_interpolation_that_fails_in_a_job_is_a_message(conf: Path, capfd: pytest.CaptureFixture) -> None:
    assert enter(conf, "seed=${nope}", run=lambda config: config.seed) == 2
    assert capfd.readouterr().err == "seed: Interpolation key 'nope' not found\n"


@pytest.mark.parametrize("error", [KeyError("lost"), ValueError("odd"), AttributeError("none")])
def test_a_bug_keeps_its_traceback_and_is_code_1(conf: Path, capfd: pytest.CaptureFixture, error: Exception) -> None:
    assert enter(conf, run=raising(error)) == 1
    err = capfd.readouterr().err
    assert err.startswith("Traceback")
    assert error.args[0] in err.splitlines()[-1]
    assert "hydra" not in err.lower(), "the traceback begins in the job"


def test_a_key_that_our_code_gets_wrong_is_a_bug(conf: Path, capfd: pytest.CaptureFixture) -> None:
    assert enter(conf, run=lambda config: config.sede) == 1
    assert "Traceback" in capfd.readouterr().err


def test_signals_leave_one_line_and_the_shells_code(conf: Path, capfd: pytest.CaptureFixture) -> None:
    assert enter(conf, run=raising(KeyboardInterrupt())) == 130
    assert capfd.readouterr().err == "Stopped by Ctrl-C.\n"
    assert enter(conf, run=raising(Interrupted("Saved; goes on.", signal.SIGTERM))) == 143
    assert capfd.readouterr().err == "Saved; goes on.\n"


def test_full_errors_are_raised_when_the_user_asks(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(GenlabError, match="mend me"):
        enter(conf, run=raising(GenlabError("mend me")))
    with pytest.raises(Exception, match=r"Could not override 'model\.lrr'"):
        enter(conf, "model.lrr=1")


def test_a_job_sees_the_users_environment_and_its_own_arguments(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["somewhere/train.py", "-m", "seed=1,2"])
    seen: list[tuple[Any, ...]] = []

    def run(config: DictConfig) -> None:
        seen.append((os.environ.get("HYDRA_FULL_ERROR"), sys.argv))

    assert enter(conf, "-m", "seed=1,2", "--config-dir", "conf", run=run) == 0
    assert seen == [(None, ["train.py", f"--config-dir={conf}", f"seed={seed}"]) for seed in (1, 2)]
    assert sys.argv == ["somewhere/train.py", "-m", "seed=1,2"]
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.parametrize("batches", [[], ["hydra.sweeper.max_batch_size=1"]])
def test_one_failed_job_never_harms_a_sweep(conf: Path, capfd: pytest.CaptureFixture, batches: list[str]) -> None:
    done: list[int] = []

    def run(config: DictConfig) -> None:
        if config.seed == 1:
            raise GenlabError("One is no number.")
        done.append(config.seed)

    assert enter(conf, "-m", "seed=0,1,2,3", *batches, run=run) == 2
    assert done == [0, 2, 3]
    assert capfd.readouterr().err.splitlines() == [
        "Job 1 failed: seed=1",
        "One is no number.",
        "1 of 4 jobs failed; the same command starts them again.",
    ]
    assert sorted(os.listdir()) == ["conf", "logs"], "a sweep writes under logs alone"


def test_a_bug_in_a_sweep_shows_its_traceback_and_is_code_1(conf: Path, capfd: pytest.CaptureFixture) -> None:
    def run(config: DictConfig) -> None:
        raise GenlabError("mend") if config.seed == 1 else KeyError("lost")

    assert enter(conf, "-m", "seed=0,1", run=run) == 1
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(GenlabError("mend"), 2), (KeyError("lost"), 1)])
def test_other_launchers_see_that_a_job_failed(
    conf: Path, capfd: pytest.CaptureFixture, error: Exception, code: int
) -> None:
    # A sweeper that learns from its jobs must not take a failed one for a result.
    assert enter(conf, "-m", "seed=0", "hydra/launcher=elsewhere", run=raising(error)) == code
    comment, first, *rest = capfd.readouterr().err.splitlines()
    assert comment.startswith("Error executing job with overrides: ['seed=0']")
    assert (first, *rest) == ("mend",) if code == 2 else first.startswith("Traceback")
    assert not any("_run_job" in line for line in rest), "the traceback begins in the job"


def test_ctrl_c_ends_a_whole_sweep(conf: Path) -> None:
    begun: list[int] = []

    def run(config: DictConfig) -> None:
        begun.append(config.seed)
        raise KeyboardInterrupt

    assert enter(conf, "-m", "seed=0,1", run=run) == 130
    assert begun == [0]


@pytest.mark.parametrize(
    ("target", "arguments"), [("os.mkdir", "path:made"), ("genlab.data.files.ensure_files", "root:made,archive:null")]
)
def test_a_config_cannot_make_hydra_call_what_it_names(
    target: str, arguments: str, conf: Path, capfd: pytest.CaptureFixture
) -> None:
    assert enter(conf, f"+hydra.callbacks.mine={{_target_:{target},{arguments}}}") == 2
    assert f"'{target}'" in capfd.readouterr().err
    assert not Path("made").exists()
