"""What a folder of configs from a stranger may do to the one who uses it: nothing but choose."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from omegaconf import DictConfig

from genlab.command.entry import run_entry

ACTS = "{_target_: genlab.core.atomic.write_text, path: PWNED, text: x}"
CALLS = """{evil: {_target_: genlab.sweeps.remote.RemoteJob.__call__, self: {_target_: genlab.sweeps.remote.RemoteJob,
    job: {_target_: genlab.sweeps.jobs.Job, number: 0, overrides: []}, command: [touch, PWNED], folder: jobs,
    working_directory: .}}}"""

NODES = {
    "callbacks": f"callbacks: {CALLS}",
    "callback of a function": f"callbacks: {{evil: {ACTS}}}",
    "formatter": "job_logging: {formatters: {simple: {(): genlab.core.atomic.write_text, path: PWNED, text: x}}}",
    "handler": "job_logging: {handlers: {file: {class: logging.FileHandler, filename: PWNED, mode: w}}}",
    "Hydra's own logging": "hydra_logging: {handlers: {file: {class: logging.FileHandler, filename: PWNED}}}",
    "environment": "job: {env_set: {PATH: /tmp/bin}}",
    "environment copied": "job: {env_copy: [PATH]}",
    "folder": "run: {dir: elsewhere}",
    "subfolder": "output_subdir: PWNED",
    "folder of the sweep": "sweep: {dir: elsewhere}",
    "change of folder": "job: {chdir: true}",
    "name": "job: {name: ../../PWNED}",
    "search path": "searchpath: ['pkg://somewhere']",
    "shell of a launcher": "launcher: {setup: [touch PWNED]}",
    "python of a launcher": "launcher: {python: touch PWNED}",
    "arguments of srun": "launcher: {srun_args: ['--prolog=x']}",
    "options of sbatch": "launcher: {additional_parameters: {wrap: touch PWNED}}",
    "a line for the shell within a name": 'launcher: {partition: "gpu\\ntouch PWNED"}',
    "a secret within a name": "launcher: {name: '${oc.env:HOME}'}",
    "another's cluster": "launcher: {address: 'ray://evil:10001'}",
    "another's launcher": "launcher: {_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher, folder: x}",
    "storage": "sweeper: {storage: 'sqlite:///PWNED'}",
    "a swept key of Hydra's": "sweeper: {params: {hydra.job.env_set.PATH: /tmp/bin}}",
    "a swept key of Hydra's, added": "sweeper: {params: {+hydra.job.env_set.PATH: /tmp/bin}}",
    "a swept flag": "sweeper: {params: {--config-dir: elsewhere}}",
    "a reference in place of the node": "launcher: '${elsewhere}'",
}

IN_A_SWEEP_OF_THIS_PROCESS = ["-m", "experiment=kind,evil", "hydra/launcher=basic"]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configs with a harmless recipe; where the test is, lies nothing else."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "stranger" / "experiment" / "kind.yaml", "seed: 3")
    return tmp_path / "stranger"


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# @package _global_\n{text}\n")


def recipe(node: str) -> str:
    sweeper = "defaults: [override /hydra/sweeper: optuna]\n" if "storage" in node else ""
    return f"{sweeper}elsewhere: {{}}\nhydra:\n  {node}"


def refused(arguments: list[str], capsys: pytest.CaptureFixture) -> str:
    """Enter a command and return the refusal; neither the job begins, nor is anything left behind."""
    begun: list[DictConfig] = []
    before = dict(os.environ)
    assert run_entry(begun.append, "config", arguments, ["train.py"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) in (1, 2), said
    assert os.listdir() == ["stranger"]
    assert dict(os.environ) == before
    assert not begun
    return said


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_a_recipe_sets_nothing_of_hydra_but_choices(stranger: Path, node: str, capsys: pytest.CaptureFixture) -> None:
    write(stranger / "experiment" / "evil.yaml", recipe(node))
    said = refused([f"--config-dir={stranger}", "experiment=evil"], capsys)
    assert said.startswith("hydra.") or "hydra.searchpath is only supported from the primary config" in said


# Each way in is another; what is refused on one of them is refused by the same table on all.
@pytest.mark.parametrize("name", ["callbacks", "environment", "shell of a launcher", "storage", "a swept flag"])
def test_nor_in_a_sweep_or_along_another_way(stranger: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    write(stranger / "experiment" / "evil.yaml", recipe(NODES[name]))
    given = f"--config-dir={stranger}"
    assert refused([given, "-m", "experiment=evil"], capsys).startswith("hydra.")
    # Here the recipe is not seen before its job; some do not even fit the launcher.
    refused([given, *IN_A_SWEEP_OF_THIS_PROCESS], capsys)
    refused([f"hydra.searchpath=[{stranger}]", "experiment=evil"], capsys)


def test_nor_does_a_primary_config(stranger: Path, capsys: pytest.CaptureFixture) -> None:
    write(stranger / "config.yaml", f"seed: 0\nhydra: {{{NODES['environment']}}}")
    assert refused([f"--config-path={stranger}"], capsys).startswith("hydra.job.env_set.PATH ")
    write(stranger / "mine.yaml", f"defaults: [config, _self_]\nhydra: {{{NODES['folder']}}}")
    assert refused([f"--config-dir={stranger}", "--config-name=mine"], capsys).startswith("hydra.run.dir ")
    assert refused(["--config-path=stranger"], capsys).startswith("--config-path is 'stranger', expected a whole path")
    assert refused(["--config-name=../stranger/mine"], capsys).startswith(
        "--config-name is '../stranger/mine', expected"
    )
    assert refused(["--experimental-rerun=stranger"], capsys).startswith("--experimental-rerun is not for genlab")


def test_nor_a_group_of_hydras_own(stranger: Path, capsys: pytest.CaptureFixture) -> None:
    (stranger / "hydra" / "job_logging").mkdir(parents=True)
    (stranger / "hydra" / "job_logging" / "evil.yaml").write_text("handlers: {f: {class: logging.FileHandler}}\n")
    given = [f"--config-dir={stranger}", "hydra/job_logging=evil"]
    assert refused(given, capsys).startswith("hydra")
    write(stranger / "experiment" / "evil.yaml", "defaults: [/hydra/job_logging@hydra.hydra_logging: evil]")
    assert refused([given[0], "experiment=evil"], capsys).startswith("hydra.hydra_logging.")
    write(stranger / "other" / "any.yaml", "a: {_target_: genlab.core.atomic.write_text}")
    (stranger / "other" / "any.yaml").write_text("a: {_target_: genlab.core.atomic.write_text}\n")
    write(stranger / "experiment" / "evil.yaml", "defaults: [/other@hydra.callbacks: any]")
    assert refused([given[0], "experiment=evil"], capsys).startswith("hydra.callbacks.a._target_ ")


def test_what_a_recipe_may_say(stranger: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    seen: list[DictConfig] = []
    monkeypatch.setenv("GENLAB_TRIED", "")  # put back at the end
    (stranger / "hydra" / "launcher").mkdir(parents=True)
    (stranger / "hydra" / "launcher" / "ours.yaml").write_text(
        "defaults: [submitit_slurm]\npartition: gpu\ngpus_per_node: 1\n"
    )
    write(
        stranger / "experiment" / "sweep.yaml",
        "seed: 4\nhydra: {mode: RUN, launcher: {name: mine, only: [1, 2]}, sweeper: {params: {model.lr: '1,2'}}}",
    )
    given = [f"--config-dir={stranger}", "experiment=sweep", "hydra/launcher=ours"]
    assert run_entry(seen.append, "config", given, ["train.py"]) == 0, capsys.readouterr().err
    # The command line is the user's own word.
    given += ["hydra.launcher.setup=[module load cuda]", "+hydra.job.env_set.GENLAB_TRIED=x"]
    assert run_entry(seen.append, "config", given, ["train.py"]) == 0, capsys.readouterr().err
    given[0] = f"hydra.searchpath=[{stranger}]"
    assert run_entry(seen.append, "config", given, ["train.py"]) == 0, capsys.readouterr().err
    assert [config.seed for config in seen] == [4, 4, 4]
