"""The command itself: what it reads, prints, writes and refuses, and the table after a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb

from genlab.command.cli import compare, train
from genlab.command.compare import FORMATS, compare_sweep
from genlab.command.entry import NO_READER
from genlab.runs.code import this_code
from tests.comparison.results import finished, write
from tests.tiny import ROOT, TINY


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for number, (data, protocol) in enumerate((("mnist", "standard"), ("mnist", "quick"), ("digits", "standard"))):
        write(
            tmp_path / "logs" / f"{number}.json",
            data__name=data,
            protocol__name=protocol,
            protocol__hash=f"{number}a",
            model__name=f"model{number}",
        )
    return tmp_path / "logs"


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert compare(arguments) == 0
    return capsys.readouterr().out


def test_data_and_protocol_choose(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def models(*arguments: str) -> list[str]:
        text = said([f"paths.logs={logs}", *arguments], capsys)
        return [name for name in ("model0", "model1", "model2") if name in text]

    assert models() == ["model0", "model1", "model2"]
    assert models("data=mnist") == ["model0", "model1"]
    assert models("data=mnist", "protocol=quick") == ["model1"]
    assert models("protocol=2a") == ["model2"], "a protocol's hash names it too"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["data=mnits"], ["'mnits'", "Did you mean 'mnist'?", "digits, mnist."]),
        (["protocol=paper"], ["'paper'", "quick, standard"]),
        (["formats=[pdf]"], ["formats", "pdf"]),
        (["folder=x"], ["'folder'", "'folders'"]),
        (["folders=[nowhere]"], ["nowhere", "there is no such file or folder"]),
    ],
)
def test_what_cannot_be_is_said_in_one_or_two_lines(
    logs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert compare([f"paths.logs={logs}", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert 1 <= len(error.splitlines()) <= 2
    assert all(text in error for text in expected), error


def test_an_empty_folder_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare([f"paths.logs={tmp_path}"]) == 2
    assert "There are no results below" in capsys.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_a_reader_that_leaves_is_no_error(logs: Path, tmp_path: Path, arguments: list[str], unbuffered: str) -> None:
    """As ``| head`` does; what was asked for beside the table is written all the same."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), f"paths.logs={logs}", f"out={tmp_path / 'out'}"]
    ended = subprocess.run(
        [*command, "formats=[csv]", *arguments],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        cwd=tmp_path,
        text=True,
        timeout=120,
    )
    os.close(writer)
    assert ended.stderr == ""
    assert ended.returncode in ((0, NO_READER) if arguments else (0,))
    assert arguments or (tmp_path / "out" / "comparison.csv").exists()


def test_what_the_output_cannot_encode_is_no_error(logs: Path) -> None:
    write(logs / "greek.json", config_hash="7" * 64, model__name="λ-flow")
    command = [sys.executable, str(ROOT / "scripts" / "compare.py"), f"paths.logs={logs}"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(command, capture_output=True, env=environment, cwd=logs, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\\u03bb-flow" in ended.stdout


def test_out_holds_the_formats_that_were_asked_for(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b"
    text = said([f"folders=[{logs / '0.json'},{logs / '2.json'}]", f"out={out}"], capsys)
    assert sorted(path.name for path in out.iterdir()) == sorted(file for file, _ in FORMATS.values())
    assert all(str(path) in text for path in out.iterdir())
    assert "python scripts/compare.py" in (out / "comparison.html").read_text()
    said([f"paths.logs={logs}", f"out={tmp_path / 'c'}", "formats=[csv]"], capsys)
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["comparison.csv"]
    assert compare([f"paths.logs={logs}", f"out={logs / '0.json'}"]) == 2
    assert "which is a file" in capsys.readouterr().err


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A world in which nobody is logged in to W&B."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_DATA_DIR", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("CONFIG", "CACHE"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name))
    wandb.teardown()
    yield
    wandb.teardown()


def tables(logs: Path) -> dict[str, list[dict[str, object]]]:
    """The tables of the only W&B run below a folder, by their names."""
    (files,) = logs.glob("wandb/offline-run-*/files/media/table")
    found = {}
    for path in files.rglob("*.table.json"):
        table = json.loads(path.read_text())
        name = str(path.relative_to(files)).rsplit("_", 2)[0]
        found[name] = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    return found


@pytest.mark.usefixtures("offline")
def test_wandb_gets_a_table_for_each_protocol_in_a_run_of_type_comparison(
    logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        write(logs / f"more{seed}.json", config_hash="5" * 64, seed=seed, data__name="digits", protocol__hash="2a",
              model__name="vae", likelihood__kind="iwae-16", likelihood__bits_per_dim=2.0 + seed)  # fmt: skip
    text = said([f"paths.logs={logs}", "wandb=me/trials"], capsys)
    wandb.teardown()  # as at the end of the process: only then is all of the log on the disk
    assert "W&B is offline (not logged in" in text
    (folder,) = logs.glob("wandb/offline-run-*")
    assert f"wandb sync {os.path.relpath(folder)}" in text
    (log,) = folder.glob("*.wandb")
    content = log.read_bytes()
    assert all(word in content for word in (b"comparison", b"trials", b"python scripts/compare.py"))
    found = tables(logs)
    assert sorted(found) == [
        "comparison/digits/standard-2a",
        "comparison/mnist/quick-1a",
        "comparison/mnist/standard-0a",
    ]
    for name, rows in found.items():
        assert {f"comparison/{row['data']}/{row['protocol']}-{row['protocol_hash']}" for row in rows} == {name}
    vae = next(row for row in found["comparison/digits/standard-2a"] if row["model"] == "vae")
    assert (vae["likelihood"], vae["likelihood_count"], vae["likelihood_kind"]) == (2.5, 2, "iwae-16")
    assert "inception_fid" not in vae, "no row has it"
    # What W&B wrote is not read as results.
    assert said([f"paths.logs={logs}"], capsys).count("\nmodel0 ") == 1


@pytest.mark.usefixtures("offline")
def test_without_wandb_nothing_is_logged_and_a_disabled_one_says_so(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said([f"paths.logs={logs}"], capsys)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert compare([f"paths.logs={logs}", "wandb=trials"]) == 2
    assert "W&B is disabled" in capsys.readouterr().err
    assert not (logs / "wandb").exists()


def test_a_sweep_ends_with_the_table_of_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, f"paths.logs={tmp_path}", "budget.examples=64", "budget.validations=1", "seed=0,1", "-m"]
    assert train([*arguments, "hydra/launcher=basic"]) == 0
    text = capsys.readouterr().out
    assert "digits, quick" in text
    assert "2 seeds" in text
    assert "±" in text.split("digits, quick")[1]
    assert "other code" not in text
    assert compare([f"paths.logs={tmp_path}"]) == 0
    assert "2 seeds" in capsys.readouterr().out, "and compare finds the same"


def test_a_sweep_says_once_how_many_runs_other_code_has_trained(capsys: pytest.CaptureFixture[str]) -> None:
    now = this_code()
    here = {"code_version": now.version, "code_sha256": now.sha256}
    runs = [finished(Path(f"{seed}"), seed=seed, **(here if seed < 2 else {})) for seed in range(5)]
    compare_sweep(runs)
    line = f"Trained by other code (then 0.1.0 abc1234, now {now.version}): 3 of 5 runs. rerun=true trains afresh."
    text = capsys.readouterr().out
    assert text.count(line) == 1
    compare_sweep(runs[:1])
    assert "other code" not in capsys.readouterr().out
