"""The commands themselves: how they are listed, what their help says, and what that imports."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from genlab.command import cli
from genlab.command.entry import config_folder


def test_commands_are_listed_and_a_misspelled_one_gets_the_nearest(capsys: pytest.CaptureFixture) -> None:
    assert cli.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"genlab {name} " in listed for name in cli.COMMANDS)
    assert cli.main(["--help"]) == 0
    assert capsys.readouterr().out == listed
    assert cli.main(["trian", "model=flow"]) == 2
    assert capsys.readouterr().err.startswith("Unknown command 'trian'. Did you mean 'train'?")


def test_the_installed_command_passes_the_rest_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/genlab", "sample", "n=3"])
    assert cli.main() == 2
    assert capfd.readouterr().err == "run is required: genlab sample run=<path or id>\n"


def test_help_config_and_refusals_import_nothing_heavy() -> None:
    """In one process: who imports it first is named."""
    tries = [(name, ["--help"]) for name in ("train", "evaluate", "reconstruct", "compare", "dashboard", "explore")]
    tries += [("train", ["--cfg", "job"]), ("sample", [])]
    code = f"""
import sys
from genlab.command import cli
for name, arguments in {tries}:
    try: getattr(cli, name)(arguments)
    except SystemExit: pass
    heavy = {{"torch", "pytorch_lightning", "numpy", "wandb", "rich", "matplotlib"}} & set(sys.modules)
    print(f"TRIED {{name}}", *arguments, *heavy)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tried = [line.removeprefix("TRIED ") for line in done.stdout.splitlines() if line.startswith("TRIED ")]
    assert tried == [" ".join([name, *arguments]) for name, arguments in tries]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "config",
        "evaluate",
        "sample",
        "reconstruct",
        "interpolate",
        "traverse",
        "detect",
        "anomalies",
        "inpaint",
        "augment",
        "compare",
        "dashboard",
        "explore",
    ],
)
def test_help_has_examples_that_compose(name: str, capsys: pytest.CaptureFixture) -> None:
    with initialize_config_dir(str(config_folder(name))):
        help_text = compose(name, return_hydra_config=True).hydra.help.template
    examples = [line.strip() for line in help_text.splitlines() if line.strip().startswith("python ")]
    assert len(examples) >= 3
    for example in examples:
        # Beyond two blanks stands what the example does.
        overrides = [word for word in shlex.split(example.split("  ")[0])[2:] if word not in ("-m", "--dry-run")]
        with initialize_config_dir(str(config_folder(name))):
            compose(name, [override.partition(",")[0] for override in overrides])
