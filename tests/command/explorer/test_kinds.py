"""Sounds, texts, tables and series: what there is to hear or to read is what the command writes."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab.command import cli
from genlab.command.explorer.server import Explorer
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
