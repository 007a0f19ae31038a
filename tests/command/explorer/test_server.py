"""Who is answered, with what, and what no request can do; two people at once."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from genlab.command.explorer import lab, views
from genlab.command.explorer.guard import Guard
from genlab.command.explorer.logs import Logs
from genlab.command.explorer.server import MOST_POSTED, Explorer
from genlab.core.errors import GenlabError
from genlab.data.files import Archive
from genlab.data.images import Digits
from genlab.runs.atomic import write_atomic
from genlab.runs.folder import RunDir, read_config
from tests.command.explorer.serving import served
from tests.tiny import train

Ask = Callable[..., Any]
ABROAD = "https://evil.example"


def test_the_page_and_its_files_are_there_and_nothing_else(ask: Ask) -> None:
    for path, kind in (("/", "text/html"), ("/style.css", "text/css"), ("/main.js", "text/javascript")):
        answer = ask("GET", path)
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer.headers
    for path in ("/server.py", "/../server.py", "/%2e%2e/server.py", "//etc/passwd", "/page/index.html", "/api/runs"):
        assert ask("GET", path).status == 404
    assert ask("POST", "/").status == ask("POST", "/api/none").status == ask("POST", "/api/../runs").status == 404
    for method in ("PUT", "DELETE", "OPTIONS", "HEAD"):
        assert ask(method, "/").status == 501


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:1"}, 200),  # a tunnel's port
        ({"Host": "[::1]:8642"}, 200),
        ({"Host": "127.0.0.1:8642", "Origin": "http://127.0.0.1:8642", "Sec_Fetch_Site": "same-origin"}, 200),
        ({"Host": "evil.example"}, 403),  # a name that was let point here
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "10.0.0.7:8642"}, 403),
        ({"Host": "["}, 403),
        ({"Host": ""}, 403),
        ({"Origin": ABROAD}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "127.0.0.1:8642", "Origin": "http://127.0.0.1:8643"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Length": str(MOST_POSTED + 1)}, 413),
        ({"Content_Length": "-1"}, 413),
    ],
)
def test_foreign_pages_are_refused(ask: Ask, headers: dict[str, str], status: int) -> None:
    answer = ask("POST", "/api/runs", **headers)
    assert answer.status == status
    assert ("groups" if status == 200 else "error") in answer.json


def test_a_link_of_others_leads_to_the_page_and_their_pages_see_no_file(ask: Ask) -> None:
    assert ask("GET", "/", Sec_Fetch_Site="cross-site").status == 200
    assert ask("GET", "/main.js", Sec_Fetch_Site="cross-site").status == 403
    assert ask("GET", "/", Origin=ABROAD).status == 403


def test_other_machines_need_the_token(logs: Path, ask: Ask) -> None:
    with served(logs, host="0.0.0.0") as server:
        secret = server.guard.token
        assert secret is not None
        assert len(secret) >= 40
        assert server.address.endswith(f"/?token={secret}")
        for path in ("/", "/main.js", f"/main.js?token={secret}", "/?token=", f"/?token={secret[:-1]}"):
            answer = ask("GET", path, to=server)
            assert answer.status == 401
            assert secret.encode() not in answer.body
        assert ask("POST", "/api/runs", to=server).status == 401
        let_in = ask("GET", f"/?token={secret}", to=server)
        assert (let_in.status, let_in.headers["Location"]) == (303, "/")
        assert let_in.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
        cookie = let_in.headers["Set-Cookie"].partition(";")[0]
        assert ask("POST", "/api/runs", to=server, Cookie=cookie).status == 200
        assert ask("POST", "/api/runs", to=server, Cookie=f"{cookie}x").status == 401
        for other in ('x={"a": 1}', "a[b]=1", "none", "", "é=ü"):  # of other programs on the host
            assert ask("POST", "/api/runs", to=server, Cookie=f"{other}; {cookie}").status == 200, other
            assert ask("POST", "/api/runs", to=server, Cookie=f"{other}; x{cookie}").status == 401, other
        assert ask("POST", "/api/runs", to=server, Cookie=cookie, Origin=ABROAD).status == 403
        assert ask("POST", "/api/runs", to=server, Cookie=cookie, Host="evil.example").status == 403
        assert ask("POST", "/api/runs", to=server, Cookie=cookie, Host="10.0.0.7:80").status == 200, "no name, no trick"


def test_silent_strangers_are_few_and_keep_nobody_out(logs: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a thread for half a minute; a browser's own connections are none of them, however long they wait."""
    monkeypatch.setattr("genlab.command.explorer.server.MOST_STRANGERS", 3)
    with served(logs, host="0.0.0.0") as server, ExitStack() as opened:
        place = "127.0.0.1", server.server_port
        cookie = {"Cookie": server.guard.cookie(server.server_port).partition(";")[0]}
        browser = [opened.enter_context(closing(HTTPConnection(*place, timeout=60))) for _ in range(6)]

        def statuses() -> list[int]:
            found = []
            for connection in browser:
                connection.request("GET", "/main.js", headers=cookie)
                answer = connection.getresponse()
                found.append(answer.status)
                answer.read()
            return found

        assert statuses() == [200] * 6
        sockets = [connection.sock for connection in browser]
        silent = [opened.enter_context(socket.create_connection(place, 60)) for _ in range(10)]
        assert [one.recv(1) for one in silent[:7]] == [b""] * 7, "all but the last three are closed at once"
        assert ask("POST", "/api/runs", to=server, **cookie).status == 200
        assert statuses() == [200] * 6
        assert [connection.sock for connection in browser] == sockets
        silent[-1].settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent[-1].recv(1)


def test_a_token_may_be_asked_for_on_this_machine_and_each_start_has_another() -> None:
    assert Guard.of("127.0.0.1", False).token is None
    assert Guard.of("::1", False).token is None
    assert Guard.of("127.0.0.1", True).token != Guard.of("127.0.0.1", True).token
    for host in ("0.0.0.0", "::", "192.168.0.3", "workstation"):
        assert Guard.of(host, False).token, host


@pytest.mark.parametrize(
    ("kind", "settings", "line"),
    [
        ("sample", b"{", "The request is no JSON."),
        ("sample", b"[" * 100_000, "The request is no JSON."),
        ("sample", [1], "no mapping"),
        ("sample", {}, "run is missing"),
        ("sample", {"run": "../.."}, "is no run below"),
        ("sample", {"run": "x", "n": 1001}, "n is 1001, expected a whole number >= 1 and <= 1000."),
        ("sample", {"run": "x", "n": True}, "n is True"),
        ("sample", {"run": "x", "seeds": 1}, "Unknown key 'seeds'. Did you mean 'seed'?"),
        ("interpolate", {"run": "x", "steps": 10**9}, "steps is 1000000000"),
        ("draw", {"run": "x", "levels": [0] * 65_537}, "levels is a list of 65,537"),
        ("decode", {"run": "x", "example": 0, "latents": [0], "values": [float("nan")]}, "values is a list of 1"),
        ("curves", {"runs": []}, "runs is a list of 0"),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_line(ask: Ask, kind: str, settings: Any, line: str) -> None:
    answer = ask("POST", f"/api/{kind}", settings)
    assert answer.status in (400, 422)
    assert line in answer.json["error"]


def test_a_fault_of_the_program_shows_no_traceback_in_the_page(
    ask: Ask, names: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(views, "sample", lambda lab, asked: 1 / 0)
    answer = ask("POST", "/api/sample", {"run": names["gmm"]})
    assert answer.status == 500
    assert b"ZeroDivisionError" not in answer.body
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_two_people_at_once_get_what_each_would_get_alone(
    ask: Ask, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [{"run": name, "n": 4, "seed": seed} for seed in range(4) for name in names.values()]
    alone = [ask("POST", "/api/sample", request).json["picture"] for request in requests]
    assert len(set(alone)) == len(alone)
    busy, most = 0, 0

    def watched(*arguments: Any) -> Iterator[torch.Tensor]:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        found = list(draw(*arguments))
        busy -= 1
        yield from found

    draw = views.draw_samples
    monkeypatch.setattr(views, "draw_samples", watched)
    with ThreadPoolExecutor(2) as people:
        answers = list(people.map(lambda request: ask("POST", "/api/sample", request), requests))
    assert [answer.json["picture"] for answer in answers] == alone
    assert most == 1, "one model computes at a time"


def test_who_asks_while_it_warms_up_waits_and_nothing_is_loaded_twice(
    logs: Path, ask: Ask, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [{"run": name, "n": 4, "seed": 1} for name in names.values()]
    expected = [ask("POST", "/api/sample", request).json["picture"] for request in requests]
    may_load, loaded = threading.Event(), []

    def load(place: RunDir, *arguments: Any, **options: Any) -> Any:
        assert may_load.wait(60)
        loaded.append((threading.current_thread().name, place.path))
        return open_run(place, *arguments, **options)

    def warm(self: lab.Lab, runs: list[str]) -> None:
        warmed.append(runs)
        load_first(self, runs)

    open_run, load_first, warmed = lab.open_run, lab.Lab.load, []
    monkeypatch.setattr(lab, "open_run", load)
    monkeypatch.setattr(lab.Lab, "load", warm)
    with served(logs) as server, ThreadPoolExecutor(3) as people:
        for _ in range(2):
            server.warm_up()
        assert ask("GET", "/", to=server).status == 200, "the page waits for the models"
        assert ask("POST", "/api/runs", to=server).json["first"]
        asked = [people.submit(ask, "POST", "/api/sample", request, to=server) for request in requests]
        assert not any(answer.done() for answer in asked)
        may_load.set()
        assert [answer.result().json["picture"] for answer in asked] == expected
    assert [sorted(runs) for runs in warmed] == [sorted(names.values())], "it warms up twice"
    assert len({place for _, place in loaded}) == len(loaded) == len(names)
    assert "warm-up" in {thread for thread, _ in loaded}


def test_what_cannot_be_loaded_is_told_to_who_asks_for_it(
    logs: Path, ask: Ask, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_run = lab.open_run

    def load(place: RunDir, *arguments: Any, **options: Any) -> Any:
        if str(place.path).endswith(names["gmm"]):
            raise GenlabError("its weights are damaged.")
        return open_run(place, *arguments, **options)

    monkeypatch.setattr(lab, "open_run", load)
    with served(logs) as server:
        server.warm_up()
        answers = {model: ask("POST", "/api/sample", {"run": name}, to=server) for model, name in names.items()}
    assert {model: answer.status for model, answer in answers.items()} == {"gmm": 422, "vae": 200, "flow": 200}


@pytest.fixture
def trained_elsewhere(logs: Path, names: dict[str, str], tmp_path: Path) -> Path:
    """A folder of logs with somebody's run, whose config names a model of the Hub."""
    run = tmp_path / "runs" / "digits" / "pretrained" / "1-s0"
    shutil.copytree(logs / "runs" / names["gmm"], run)
    target = "genlab.models.pretrained.Pretrained"
    model = {"_target_": target, "name": "pretrained", "path": "hf://evil/huge", "steps": None}
    write_atomic(run / "config.yaml", yaml.safe_dump(read_config(RunDir(run)) | {"model": model}))
    return tmp_path


def test_what_comes_trained_is_not_opened_before_it_is_asked_for_nor_pulled_then(
    trained_elsewhere: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Path] = []

    def load(place: RunDir, *arguments: Any, **options: Any) -> Any:
        loaded.append(place.path)
        return open_run(place, *arguments, **options)

    open_run = lab.open_run
    monkeypatch.setattr(lab, "open_run", load)
    monkeypatch.setattr("genlab.runs.hub.open_client", lambda: pytest.fail("the network is asked"))
    with served(trained_elsewhere) as server:
        (name,) = server.answer("runs", {})["first"]
        server.warm_up()
        server._warming.join()
        assert not loaded
        answer = ask("POST", "/api/sample", {"run": name}, to=server)
    assert loaded
    assert answer.status == 422
    assert "hf://evil/huge is not in the cache folder, and nothing is pulled here" in answer.json["error"]


def test_missing_data_is_not_downloaded(
    logs: Path, ask: Ask, names: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Archive("digits.gz", "md5:0", ("http://127.0.0.1:1/",), {f"{tmp_path}/digits": "md5:0"})
    monkeypatch.setattr(Digits, "archives", (missing,))
    with served(logs) as server:
        answer = ask("POST", "/api/examples", {"run": names["gmm"]}, to=server)
    assert answer.status == 422
    assert f"{tmp_path}/digits is missing, and nothing is downloaded here." in answer.json["error"]


def test_a_test_that_fails_beside_its_server_ends_it(logs: Path) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ZeroDivisionError), served(logs) as server:
        raise ZeroDivisionError
    assert set(threading.enumerate()) <= before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.server_port))


def test_a_run_does_not_say_where_its_pictures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLAB_HOME", str(tmp_path / "home"))
    (tmp_path / "photos").mkdir()
    for number in range(30):
        Image.effect_noise((8, 8), 50 + number).save(tmp_path / "photos" / f"{number}.png")
    data = ["data=image_folder", f"data.path={tmp_path / 'photos'}", "data.size=8", f"data.root={tmp_path / 'data'}"]
    train(tmp_path, *data, "data.cache=memory", "model.components=1", "budget.examples=32", model="gmm")
    (config,) = tmp_path.glob("runs/*/*/*/config.yaml")
    plain = yaml.safe_load(config.read_text())
    plain["data"]["cache"] = str(tmp_path / "anywhere")
    write_atomic(config, yaml.safe_dump(plain))
    with lab.Lab(Logs(tmp_path), "cpu").using(str(config.parent.relative_to(tmp_path / "runs"))) as opened:
        assert len(opened.data.tensors("train").x)
    assert not (tmp_path / "anywhere").exists()
    assert not (tmp_path / "data").exists(), "the config names that folder too"
    assert {path.suffix for path in (tmp_path / "home" / "cache").iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0"])
def test_where_it_listens_on_all_addresses_it_names_this_machine(
    host: str, logs: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Workstation")
    monkeypatch.setattr(socket, "getfqdn", lambda *_: "workstation.lab")
    with served(logs, host=host) as server:
        port = server.server_port
        assert server.address == f"http://Workstation:{port}/?token={server.guard.token}"
        asked = {"Cookie": server.guard.cookie(port).partition(";")[0], "to": server}
        for name, status in (("workstation", 200), ("workstation.evil.example", 403), ("evil.example", 403)):
            assert ask("POST", "/api/runs", Host=f"{name}:{port}", **asked).status == status


def test_a_port_that_is_taken_is_said_in_a_line(server: Explorer, logs: Path) -> None:
    with pytest.raises(GenlabError, match="port=0 takes any that is free"):
        Explorer(str(logs), port=server.server_port)


def test_page_table_and_curves_need_no_torch(logs: Path, names: dict[str, str]) -> None:
    code = f"""
import json, sys, threading, urllib.request
from genlab.command.explorer.server import Explorer
Explorer.warm_up = lambda self: print("served", "torch" in sys.modules)
with Explorer({str(logs)!r}) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    urllib.request.urlopen(server.address).read()
    for kind, settings in (("runs", {{}}), ("table", {{}}), ("curves", {{"runs": [{names["gmm"]!r}]}})):
        request = urllib.request.Request(server.address + "api/" + kind, json.dumps(settings).encode(),
            {{"Content-Type": "application/json"}})
        urllib.request.urlopen(request).read()
    print("torch" in sys.modules)
    server.shutdown()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["served", "False", "False"]
