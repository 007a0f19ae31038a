"""One computes at a time, in the order of asking; who has left is left out; what needs no computing waits for none."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any

import pytest

from genlab.command.explorer import views
from genlab.command.explorer.lab import MOST_WAITING
from genlab.command.explorer.server import Explorer
from genlab.command.explorer.turns import Left, Turns, asked_by

Ask = Callable[..., Any]


def wait_for(turns: Turns, people: int) -> None:
    """Wait until so many have the turn or wait for it."""
    with turns._changed:
        assert turns._changed.wait_for(lambda: len(turns) == people, 30), f"{len(turns)}, expected {people}"


def test_turns_come_in_the_order_of_asking_and_none_to_who_has_left() -> None:
    turns, computed, left = Turns(), [], set()

    def compute(number: int) -> None:
        try:
            with asked_by(lambda: number in left), turns:
                computed.append(number)
        except Left:
            computed.append(-number)

    people = [threading.Thread(target=compute, args=(number,)) for number in range(1, 7)]
    with turns:
        for waiting, person in enumerate(people, 2):
            person.start()
            wait_for(turns, waiting)
        left |= {2, 5}
        wait_for(turns, 5)
        left.add(1)  # who is next, and may be noticed when the turn has come
    for person in people:
        person.join()
    assert {number for number in computed if number < 0} == {-1, -2, -5}
    assert [number for number in computed if number > 0] == [3, 4, 6]
    assert len(turns) == 0


def test_who_has_closed_the_page_is_not_computed_for_nor_counted(
    server: Explorer, ask: Ask, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, drawn, draw = names["gmm"], [], views.draw_samples
    assert ask("POST", "/api/sample", {"run": run}).status == 200

    def watched(model: Any, n: int, seed: int, *more: Any) -> Any:
        drawn.append(seed)
        return draw(model, n, seed, *more)

    monkeypatch.setattr(views, "draw_samples", watched)
    people, turns = [], server._lab._computing
    with turns:
        for seed in range(MOST_WAITING):
            connection = HTTPConnection("127.0.0.1", server.server_port, timeout=60)
            content = json.dumps({"run": run, "n": 1, "seed": seed})
            connection.request("POST", "/api/sample", content, {"Content-Type": "application/json"})
            people.append(connection)
        wait_for(turns, 1 + MOST_WAITING)
        refused = ask("POST", "/api/sample", {"run": run})
        assert (refused.status, refused.json["error"][:19]) == (422, "Too much is waiting")
        for connection in people[1:]:
            connection.close()
        wait_for(turns, 2)
    assert people[0].getresponse().status == 200
    people[0].close()
    assert ask("POST", "/api/sample", {"run": run, "seed": 99}).status == 200
    assert drawn == [0, 99]


def test_what_needs_no_computing_waits_for_none(server: Explorer, ask: Ask, names: dict[str, str]) -> None:
    asked = {"run": names["gmm"], "start": 2, "count": 3}
    expected = ask("POST", "/api/examples", asked).json["examples"]
    with server._lab._computing:
        assert ask("POST", "/api/examples", asked).json["examples"] == expected
        for kind, settings in (("runs", {}), ("table", {}), ("curves", {"runs": [names["vae"]]})):
            assert ask("POST", f"/api/{kind}", settings).status == 200
