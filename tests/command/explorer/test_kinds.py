"""Sounds, texts, tables and series: what there is to hear or to read is what the command writes."""

from __future__ import annotations

import base64
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.command import cli
from genlab.command.explorer.lab import Lab
from genlab.command.explorer.logs import Logs
from genlab.command.explorer.server import Explorer
from genlab.data import own
from tests.command.kinds import without_pictures

Ask = Callable[..., Any]


@pytest.fixture
def asked(ask: Ask, kinds: dict[str, Path], server_of_kinds: Explorer) -> Ask:
    """Ask for a run on a kind of data."""

    def send(kind: str, of: str, **settings: Any) -> Any:
        name = "/".join(kinds[of].parts[-3:])
        return ask("POST", f"/api/{kind}", {"run": name, **settings}, to=server_of_kinds)

    return send


@pytest.mark.parametrize(
    ("kind", "ending", "begins"),
    [
        ("sound", ".wav", "data:audio/wav;base64,"),
        ("text", ".txt", ""),
        ("table", ".csv", "size,weight,tree\n"),
        ("series", ".csv", "window,step,price,volume\n"),
    ],
)
def test_samples_are_those_of_the_command(asked: Ask, tmp_path: Path, kind: str, ending: str, begins: str) -> None:
    found = asked("sample", kind, n=3, seed=2).json
    shown = found["sounds"] if kind == "sound" else found["texts"]
    assert shown
    assert [part[: len(begins)] for part in shown] == [begins] * len(shown)
    assert (found["picture"] is None) is found["wrapped"] is (kind == "text")
    with without_pictures():
        assert cli.main([*shlex.split(found["command"])[1:], "device=cpu", f"out={tmp_path / 'a'}"]) == 0
    files = sorted(path for path in tmp_path.rglob(f"*{ending}"))
    written = [path.read_bytes() for path in files]
    if kind == "sound":
        assert [base64.b64decode(part.removeprefix(begins)) for part in shown] == written
        assert len(written) == 3
    else:
        assert [part.encode() for part in shown] == written
    assert found["drawable"] is False


def test_ways_are_heard_and_read(asked: Ask) -> None:
    assert len(asked("interpolate", "sound", steps=3).json["sounds"]) == 3
    assert asked("interpolate", "text", steps=3).json["texts"]


def test_what_no_pen_can_draw_is_refused_in_a_line(asked: Ask) -> None:
    answer = asked("draw", "sound", levels=[0])
    assert answer.status == 422
    assert "are no small pictures in levels, which one could draw." in answer.json["error"]
    (entry,) = asked("examples", "sound", count=1).json["examples"]
    assert entry["picture"] is None
    assert "levels" not in entry


def test_runs_on_one_state_of_a_file_share_what_is_read_of_it(
    kinds: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    parse = own.parse_csv
    monkeypatch.setattr(own, "parse_csv", lambda content, where: read.append(where) or parse(content, where))
    monkeypatch.setattr("genlab.command.load.check_same_symbols", lambda place, spec: None)  # it is called otherwise
    run = kinds["table"]
    data, model, identity = run.parts[-3:]
    names = [f"{data}/{model}/{identity}", f"{data}/{model}/other", f"{data}_changed/{model}/{identity}"]
    for name in names:
        shutil.copytree(run, tmp_path / "runs" / name)
    lab, modules = Lab(Logs(tmp_path), "cpu"), []
    for name in names:
        with lab.using(name) as opened:
            modules.append(opened.data)
    assert modules[0] is modules[1]
    assert modules[0] is not modules[2]
    assert read == ["trees.csv"] * 2
