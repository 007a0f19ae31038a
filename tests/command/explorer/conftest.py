"""Tiny runs, and servers of their folders: three on digits, one of them without a code, and one on each other kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from genlab.command.explorer.server import Explorer
from genlab.core.plugins import load_plugins
from tests.command.explorer.serving import served
from tests.command.kinds import KINDS, trained
from tests.tiny import train


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="package")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs")
    load_plugins()
    for model in ("vae", "flow", "gmm"):
        train(folder, "budget.examples=320", model=model)
    return folder


@pytest.fixture(scope="package")
def names(logs: Path) -> dict[str, str]:
    """The names of the runs by their model."""
    runs = logs / "runs"
    return {path.parts[-3]: str(path.parent.relative_to(runs)) for path in runs.glob("*/*/*/config.yaml")}


@pytest.fixture(scope="package")
def server(logs: Path) -> Iterator[Explorer]:
    with served(logs) as server:
        yield server


@pytest.fixture(scope="package")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of runs on what is no picture, by its kind; all are below one folder of logs."""
    folder = tmp_path_factory.mktemp("kinds")
    load_plugins()
    found = {}
    for kind in KINDS:
        (folder / kind).mkdir()
        run = trained(kind, folder / kind).path
        found[kind] = folder / "logs" / run.relative_to(folder / kind / "logs")
        shutil.copytree(folder / kind / "logs", folder / "logs", dirs_exist_ok=True)
    return found


@pytest.fixture(scope="package")
def server_of_kinds(kinds: dict[str, Path]) -> Iterator[Explorer]:
    with served(kinds["sound"].parents[3]) as server:
        yield server


@pytest.fixture(scope="package")
def ask(server: Explorer) -> Callable[..., Answer]:
    """Send a request as the page does, with other headers where they are given."""

    def send(method: str, path: str, settings: Any = None, to: Explorer = server, **headers: str | None) -> Answer:
        connection = HTTPConnection("127.0.0.1", to.server_port, timeout=60)
        given = {"Host": f"127.0.0.1:{to.server_port}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        body = settings if isinstance(settings, bytes) else json.dumps(settings or {}).encode()
        connection.request(
            method,
            path,
            body if method == "POST" else None,
            {key: value for key, value in given.items() if value is not None},
        )
        answer = connection.getresponse()
        found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return found

    return send
