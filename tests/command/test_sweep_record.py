"""Sweeps from the command to their end, each job a process of its own."""

from __future__ import annotations

import inspect
import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from genlab.command.entry import config_folder, run_entry
from genlab.command.sweep_record import SweepRecord
from genlab.sweeps.jobs import Job, Outcome
from genlab.sweeps.places import allowed_cores, make_places
from hydra_plugins.genlab_process_launcher.launcher import ProcessLauncher
from tests import forkserver
from tests.tiny import ROOT, SHORT, SMALL

CONFIG = """
defaults:
  - _self_
  - style: none
  - override hydra/output: genlab
  - override hydra/launcher: process
  - override hydra/hydra_logging: none
  - override hydra/job_logging: none
seed: 0
value: null
ill: {}
trainer: {accelerator: auto, devices: 1, num_nodes: 1, strategy: auto}
paths: {logs: logs}
hydra: {output_subdir: null}
"""

# A command like train.py: what it has done once it answers at once.
COMMAND = """
import json, os, signal, sys
from pathlib import Path
from omegaconf import OmegaConf
from genlab.core.errors import GenlabError
from genlab.sweeps.places import allowed_cores, make_places
from genlab.command.entry import run_entry

def run(config):
    print("begun", config.seed, flush=True)
    if config.seed in config.ill:
        if config.ill[config.seed] == "raise": raise ValueError("odd")
        if config.ill[config.seed] == "kill": os.kill(os.getpid(), signal.SIGKILL)
        raise GenlabError("seed is 3, expected less.\\nUse another.")
    environment = {key: os.environ.get(key) for key in ("GENLAB_JOB_REPORT", "HYDRA_FULL_ERROR")}
    ill, style = OmegaConf.to_container(config.ill), OmegaConf.to_container(config.style)
    return {"seed": config.seed, "value": config.value, "ill": ill, "style": style, "environment": environment}

def after(results):
    print("RESULTS", json.dumps(list(results)))

sys.exit(run_entry(run, "config", sys.argv[1:], sys.argv[:1], Path(__file__).parent / "conf", after_sweep=after))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    files = {
        "job.py": COMMAND,
        "conf/config.yaml": CONFIG,
        "conf/style/none.yaml": "{}\n",
        "own/style/mine.yaml": "temperature: 2.0\n",
        **{
            f"conf/hydra/{name}": (config_folder() / "hydra" / name).read_text()
            for name in ("launcher/process.yaml", "output/genlab.yaml")
        },
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def sweep(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "job.py", "-m", *arguments]
    return forkserver.run(command, cwd=place, timeout=120, children_too=True)


def results(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULTS "))
    return json.loads(line.removeprefix("RESULTS "))


def logs(place: Path) -> dict[int, Path]:
    """The logs of the newest sweep, by job."""
    folder = max((place / "logs" / "sweeps").iterdir())
    return {int(path.stem): path for path in folder.glob("*.log")}


def test_three_jobs_of_four_fail_each_in_its_way_and_just_they_run_again(place: Path) -> None:
    ill = "+ill={1: raise, 2: kill, 3: refuse}"
    first = sweep(place, "seed=0,1,2,3", ill, "hydra.launcher.jobs=2")
    assert first.returncode == 1, "a bug is among them"
    assert [result["seed"] for result in results(first)] == [0]
    folder = logs(place)[0].parent.relative_to(place)
    start = first.stderr.splitlines().index("3 of 4 jobs failed:")
    *said, remark = first.stderr.splitlines()[start + 1 :]
    assert said[:-1] == [
        f"  job 1: seed=1  ({folder}/1.log)",
        "      ValueError: odd",
        f"  job 2: seed=2  ({folder}/2.log)",
        "      Killed by SIGKILL: out of memory?",
        f"  job 3: seed=3  ({folder}/3.log)",
        "      seed is 3, expected less.",
        "      Use another.",
        "Just these again:",
    ]
    assert remark.startswith("The same command")
    assert "Traceback" in logs(place)[1].read_text()
    assert "Traceback" not in first.stderr
    # The command that it names, in good health.
    again = [sys.executable, *shlex.split(said[-1])[1:], "ill={}"]
    again.remove(ill)
    second = forkserver.run(again, cwd=place, timeout=120, children_too=True)
    assert second.returncode == 0, second.stderr
    assert sorted(logs(place)) == [1, 2, 3], "as they were numbered"
    assert sorted(result["seed"] for result in results(second)) == [1, 2, 3]


ODD = [
    "'a b'",
    "'a, b=c'",
    "[1,'x y',null]",
    "{k: 'v w'}",
    r"'it\'s'",
    "''",
    "'1'",
    "1e-3",
    r"a\,b",
    "'ü$HOME;`\"'",
    "null",
]


def test_jobs_get_the_config_and_the_environment_of_a_single_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [f"+ill.{index}={value}" for index, value in enumerate(ODD)]
    arguments += ["value='p q','r, s=t'", "style=mine", "--config-dir", "own"]
    done = sweep(place, *arguments)
    assert done.returncode == 0, done.stderr
    here: list[DictConfig] = []
    monkeypatch.chdir(place)
    assert run_entry(here.append, "config", ["-m", *arguments, "hydra/launcher=basic"], ["job.py"], place / "conf") == 0
    expected = [{key: OmegaConf.to_container(config)[key] for key in ("value", "ill", "style")} for config in here]
    found = results(done)
    assert [{key: result[key] for key in ("value", "ill", "style")} for result in found] == expected
    assert expected[0]["value"] == "p q"
    assert expected[0]["ill"]["1"] == "a, b=c"
    assert expected[0]["style"] == {"temperature": 2.0}
    assert found[0]["environment"] == {"GENLAB_JOB_REPORT": None, "HYDRA_FULL_ERROR": None}


def test_a_config_may_ask_for_a_sweep_itself(place: Path) -> None:
    config = place / "conf" / "config.yaml"
    config.write_text(CONFIG.replace("hydra: {", "hydra: {mode: MULTIRUN, "))
    (place / "found" / "style").mkdir(parents=True)
    (place / "found" / "style" / "other.yaml").write_text("temperature: 3.0\n")
    command = [sys.executable, "job.py", "style=other", f"hydra.searchpath=[{place / 'found'}]"]
    done = forkserver.run(command, cwd=place, timeout=120, children_too=True)
    assert [result["style"] for result in results(done)] == [{"temperature": 3.0}], "Hydra's own settings come along"


def test_jobs_read_the_folder_of_configs_that_was_given(place: Path) -> None:
    shutil.copytree(place / "conf", place / "other")
    (place / "other" / "config.yaml").write_text(CONFIG.replace("value: null", "value: 7"))
    done = sweep(place, "seed=5", "--config-path", str(place / "other"))
    assert [(result["seed"], result["value"]) for result in results(done)] == [(5, 7)], done.stderr


def test_ctrl_c_ends_the_sweep_with_its_jobs(place: Path) -> None:
    code = COMMAND.replace('print("begun"', 'time.sleep(600 * config.seed); print("begun"').replace(
        "import json,", "import time, json,"
    )
    (place / "job.py").write_text(code)
    command = [sys.executable, "job.py", "-m", "seed=0,1,2"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("Job 1 begins"):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "RESULTS" not in out
    assert err.splitlines()[-2:] == ["1 job was done. The same command goes on from there.", "Stopped by Ctrl-C."]


def test_the_launchers_config_names_all_that_it_takes() -> None:
    settings = yaml.safe_load((config_folder() / "hydra/launcher/process.yaml").read_text())
    assert settings.pop("_target_") == f"{ProcessLauncher.__module__}.{ProcessLauncher.__name__}"
    defaults = {name: p.default for name, p in inspect.signature(ProcessLauncher).parameters.items()}
    assert settings == defaults


def refused(place: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.chdir(place)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")

    def run(config: DictConfig) -> None:
        print("BEGUN")

    return run_entry(run, "config", ["-m", *arguments], ["job.py"], place / "conf")


@pytest.mark.parametrize(
    ("trainer", "is_refused"),
    [
        ("trainer.strategy=ddp trainer.devices=2", True),
        ("trainer.devices=auto", True),
        ("trainer.devices=auto trainer.accelerator=cpu", False),
        ("trainer.devices=[0,1]", True),
        ("trainer.devices='0,'", False),
        ("trainer.strategy=fsdp trainer.num_nodes=2", True),
        ("trainer.strategy=ddp", False),
    ],
)
def test_a_launcher_that_would_lead_a_distributed_training_astray_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, trainer: str, is_refused: bool
) -> None:
    code = refused(place, monkeypatch, "seed=0", "hydra/launcher=basic", *trainer.split())
    out, err = capfd.readouterr()
    assert code == (2 if is_refused else 0), err
    assert ("BEGUN" in out) is not is_refused
    assert ("Use hydra/launcher=process, or hydra/launcher=submitit_slurm on a cluster." in err) is is_refused


def test_a_training_gets_no_fewer_gpus_than_it_asks_for(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    assert refused(place, monkeypatch, "seed=0", "trainer.devices=2") == 2
    assert capfd.readouterr().err.splitlines()[-1] == "Add hydra.launcher.gpus_per_job=2."
    assert refused(place, monkeypatch, "seed=0", "hydra.launcher.gpus_per_job=3") == 2
    assert "gpus_per_job is 3, but 2 GPUs can be seen here (0, 1)." in capfd.readouterr().err


@pytest.mark.parametrize(
    ("config", "visible"),
    [
        ({"trainer": {"accelerator": "auto", "devices": 1}}, ["0", "1"]),
        ({"trainer": {"accelerator": "gpu", "devices": "auto"}}, ["0", "1"]),
        ({"trainer": {"accelerator": "cpu", "devices": 2}}, [None]),
        ({"trainer": {"accelerator": "auto", "devices": [1]}}, [None]),
        ({"trainer": {"accelerator": "auto", "devices": "1,"}}, [None]),
        ({"device": "auto"}, ["0", "1"]),
        ({"device": "cuda:1"}, [None]),
        ({}, ["0", "1"]),
    ],
)
def test_gpus_are_divided_among_jobs_that_take_any(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], visible: list[str | None]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    launcher = ProcessLauncher()
    launcher.config = OmegaConf.create(config)
    assert [place.environment.get("CUDA_VISIBLE_DEVICES") for place in launcher._places()] == visible


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("3", "hydra.launcher.only is 3, expected a list, each a whole number >= 0 and <= 1000000 or null."),
        ("[5]", "hydra.launcher.only is [5], but the sweep's jobs are 0 to 1."),
    ],
)
def test_jobs_that_are_not_there_are_not_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, only: str, said: str
) -> None:
    assert refused(place, monkeypatch, "seed=0,1", f"hydra.launcher.only={only}") == 2
    assert capfd.readouterr().err.splitlines()[-1] == said


def test_a_sweep_of_trainings_trains_each_once_and_ends_with_their_table(tmp_path: Path) -> None:
    arguments = [*SHORT, "data=toy2d", "model=gmm", *SMALL["gmm"], f"paths.logs={tmp_path}", "-m"]
    command = [sys.executable, "train.py", *arguments, "hydra.launcher.jobs=2", "seed=0,1"]
    done = forkserver.run(command, cwd=ROOT, timeout=280, children_too=True)
    assert done.returncode == 0, done.stderr
    assert "2 seeds" in done.stdout
    assert "1 done, 1 running, about " in done.stderr, done.stderr
    runs = sorted(tmp_path.glob("runs/*/*/*/train.log"))
    before = [(path, path.stat().st_mtime_ns) for path in runs]
    assert len(runs) == 2
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/*/*/results/quick.json")]
    threads = [int(result["training"]["device"].split()[-2]) for result in results]  # torch.get_num_threads()
    shares = [int(place.environment["OMP_NUM_THREADS"]) for place in make_places(2, cores=allowed_cores())]
    assert sorted(threads) == sorted(shares)
    # Started again, it says at once what is there.
    again = forkserver.run([*command[:-1], "seed=0,1"], cwd=ROOT, timeout=280, children_too=True)
    assert again.returncode == 0, again.stderr
    assert [(path, path.stat().st_mtime_ns) for path in runs] == before
    assert again.stdout.count("2 seeds") == 1
    # One job is a sweep like any other, also where the launcher shows nothing while it runs.
    one = [sys.executable, "train.py", *arguments, "hydra/launcher=submitit_local", "seed=0"]
    done = forkserver.run(one, cwd=ROOT, timeout=280, children_too=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("toy2d_two_moons, quick") == 1
    assert "gmm" in done.stdout


def test_a_sweep_of_reruns_is_not_said_to_go_on() -> None:
    record, log = SweepRecord(), Path("log")
    record.add(Outcome(Job(0, ("seed=0",)), 0, {}, None, 1.0, log), "basic")
    record.add(Outcome(Job(1, ("seed=1",)), 1, None, "odd", 1.0, log), "basic")
    command = ["python", "train.py", "-m", "seed=0,1"]
    assert "answers at once" in record.describe(command)
    assert "goes on from there" in record.describe(command, stopped=True)
    afresh = record.describe([*command, "rerun=true"])
    assert "answers at once" not in afresh
    assert "only=[1]" in afresh
    assert "trains them afresh" in record.describe([*command, "rerun=true"], stopped=True)
