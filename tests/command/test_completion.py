"""What Tab completes, and the other ways into the command: ``genlab --version`` and ``python -m genlab``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import genlab
from genlab.command import cli
from genlab.command.entry import _Task
from genlab.command.explain import CommandLine

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(autouse=True)
def no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", "")  # so that it is as it was when the test is over
    monkeypatch.setattr(sys, "argv", ["/usr/bin/genlab"])


def suggested(line: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    assert cli.main(["-sc", "query=bash"]) == 0
    printed = capfd.readouterr()
    assert printed.err == ""  # it would stand in the midst of the line
    return printed.out.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("genlab ", list(cli.COMMANDS)),
        ("genlab co", ["compare"]),
        ("genlab compare", ["compare"]),
        ("/opt/python3.11+x/bin/genlab train mod", ["model.", "model="]),
        ("genlab train model=va", ["model=vae"]),
        ("genlab train model=gmm model.comp", ["model.components="]),  # which only this family has
        ("genlab train model=vae experiment=gan_m", ["experiment=gan_mnist"]),
        ("genlab train budget.minutes=5 seed=", ["seed=0"]),
        ("genlab train -m 'model.lr=tag(log, interval(1e-4, 1e-2))' model=va", ["model=vae"]),
        ("genlab train --mu", ["--multirun"]),
        ("genlab evaluate evaluation=p", ["evaluation=paper"]),
        ("genlab sample ru", ["run="]),
        ("genlab compare da", ["data="]),
        ("genlab train model.multiscale.hidden=", []),  # Hydra says hidden=0=, which is no setting
        ("genlab trian model=", []),
        ("genlab train nonsense=1 --nonsense mod", []),
        ("genlab train 'mod", []),
        ("", list(cli.COMMANDS)),
    ],
)
def test_tab_goes_on_with_what_is_typed(
    line: str, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    assert suggested(line, monkeypatch, capfd) == words


@pytest.mark.parametrize(
    "arguments", [["-sc"], ["-sc", "install=tcsh"], ["train", "-sc", "query=bash", "install=bash"]]
)
def test_a_shell_that_is_none_is_refused_in_a_line(arguments: list[str], capfd: pytest.CaptureFixture) -> None:
    assert cli.main(arguments) == 2
    assert capfd.readouterr().err.startswith("Expected -sc install=<shell>, of bash, fish, zsh; given is '-sc")


# As bash calls a completion: it sets these variables and reads COMPREPLY.
TAB = """
eval "$(genlab -sc install=bash)"
tab() {
    COMP_LINE=$1 COMP_POINT=${#1} COMPREPLY=()
    read -ra COMP_WORDS <<< "$1"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    hydra_bash_completion
    printf '%s\\n' "${COMPREPLY[*]}"
}
complete -p genlab > /dev/null && tab 'genlab trai' && tab 'genlab train data=digi' && tab 'genlab train data.root=./'
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_and_runs_nothing_that_a_file_is_named(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "genlab"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport sys\nfrom genlab.command.cli import main\nsys.exit(main())\n")
    program.chmod(0o755)
    there = tmp_path / "there"
    (there / "images").mkdir(parents=True)
    (there / "$(touch${IFS}made)").touch()
    environment = {**ENVIRONMENT, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", TAB], cwd=there, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.splitlines(), done.stderr) == (["train", "data=digits", "data.root=./images"], "")
    assert not (there / "made").exists()


def test_hydras_functions_find_the_scripts() -> None:
    for script in (ROOT / "train.py", *(ROOT / "scripts").glob("*.py")):
        assert "@hydra.main" in script.read_text(), script  # what they look for before they call it


def test_the_version_is_told(capfd: pytest.CaptureFixture) -> None:
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out == f"genlab {genlab.__version__}\n"
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--version"])
    assert capfd.readouterr().out.startswith(f"genlab {genlab.__version__} (Hydra ")


def test_the_module_is_the_command() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, text=True)

    version = run("-X", "importtime", "-m", "genlab", "--version")
    imported = {line.rpartition("|")[2].strip() for line in version.stderr.splitlines()}
    assert version.stdout == f"genlab {genlab.__version__}\n"
    assert "genlab.command.cli" in imported
    assert not {"torch", "hydra", "numpy"} & imported  # it is there at once
    refused = run("-m", "genlab", "sample")
    assert (refused.returncode, refused.stderr) == (2, "run is required: python -m genlab sample run=<path or id>\n")


def test_jobs_of_the_module_are_started_as_the_module() -> None:
    task = _Task(lambda config: None, ["/lib/genlab/__main__.py", "train"], {})
    task.line = CommandLine(ROOT / "conf", "config")
    assert task.command_for(["seed=1"]) == [sys.executable, "-m", "genlab", "train", "seed=1"]
