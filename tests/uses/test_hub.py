"""The Hugging Face Hub, by a small one of our own: what is pushed is pulled, whole or not at all."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import genlab
from genlab.command import cli
from genlab.core.errors import GenlabError
from genlab.measure.results import read_result
from genlab.runs import hub as client
from genlab.runs import pulling
from genlab.runs.addresses import Address
from genlab.runs.atomic import write_atomic
from genlab.runs.caches import user_cache_folder
from genlab.runs.exports import CARD, INDEX, WEIGHTS
from tests.command.hostile import refused
from tests.hub_server import Hub, serving
from tests.tiny import run_folder, train

NAME = "hf://ada/gmm"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    logs = tmp_path_factory.mktemp("logs")
    train(logs, model="gmm")
    return run_folder(logs)


@pytest.fixture(scope="module")
def export(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("exports") / "gmm"
    assert cli.export([f"run={run}", f"to={target}"]) == 0
    return target


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an empty cache folder."""
    monkeypatch.setenv("GENLAB_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    with serving(monkeypatch) as hub:
        yield hub


@pytest.fixture
def shared(hub: Hub, export: Path) -> Hub:
    """The export is on the hub."""
    hub.put("ada/gmm", export)
    return hub


def kept() -> list[Path]:
    return [path for path in user_cache_folder().rglob("*") if path.is_file()]


def test_what_is_pushed_is_pulled(
    run: Path, hub: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert cli.export([f"run={run}", f"to={NAME}"]) == 0
    pinned = f"{NAME}@{hub.commit('ada/gmm')}"
    said = capfd.readouterr()
    assert pinned in said.out
    assert "It is private" in said.out
    assert hub.private == {"ada/gmm"}
    assert f'genlab.load_run("{NAME}")' in hub.models["ada/gmm"][CARD].decode()
    for given in (NAME, f"{NAME}@main", pinned):
        model = genlab.load_run(given)
        assert torch.equal(
            model.sample(3, None, torch.Generator()), genlab.load_run(run).sample(3, None, torch.Generator())
        )
    assert cli.sample([f"run={NAME}", "n=2", "out=a.npz"]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["settings"]["run"] == pinned
    assert cli.sample([f"run={NAME}@main", "n=2"]) == 0
    assert list(tmp_path.glob("logs/runs/digits/gmm/*/samples/sample_n2_s0.npz"))
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert hub.token not in everything.decode(errors="ignore") + caplog.text + said.out + said.err


def test_a_commit_that_is_here_needs_no_network(shared: Hub) -> None:
    genlab.load_run(NAME)
    asked = len(shared.requests)
    genlab.load_run(f"{NAME}@{shared.commit('ada/gmm')}")
    assert len(shared.requests) == asked
    genlab.load_run(NAME)
    assert len(shared.requests) == asked + 1, "the files are fetched again"


def test_what_a_killed_pull_left_is_removed_by_the_next(shared: Hub) -> None:
    kept_here = user_cache_folder() / "hub" / "ada" / "gmm"
    left = kept_here / ".pull-0123abcd"
    (left / "half").mkdir(parents=True)
    write_atomic(left / ".in_use", "genlab\n")
    genlab.load_run(NAME)
    assert [path.name for path in kept_here.iterdir()] == [shared.commit("ada/gmm")]


def test_it_is_copied_and_evaluated_from_there(shared: Hub, export: Path, tmp_path: Path) -> None:
    shared.models["ada/gmm"][CARD] = b"Ada's card.\n"
    assert cli.export([f"run={NAME}", "to=copy"]) == 0
    assert (tmp_path / "copy" / CARD).read_text() == "Ada's card.\n"
    assert (tmp_path / "copy" / INDEX).read_bytes() == (export / INDEX).read_bytes()
    given = ["evaluation=quick", "evaluation.num_samples=8", "evaluation.max_examples=20"]
    assert cli.evaluate([f"run={NAME}", *given]) == 0
    (result,) = tmp_path.glob("logs/runs/digits/gmm/*/results/quick.json")
    assert f"run={NAME}@{shared.commit('ada/gmm')} " in read_result(result).command


def test_nothing_is_overwritten_without_being_told(
    export: Path, shared: Hub, capfd: pytest.CaptureFixture[str]
) -> None:
    files = shared.models["ada/gmm"]
    files |= {"notes.txt": b"mine", "results/older.json": b"{}"}
    before = dict(files)
    refused(["export", f"run={export}", f"to={NAME}"], capfd, ["files already", "overwrite=true"])
    assert shared.models["ada/gmm"] == before
    assert cli.export([f"run={export}", f"to={NAME}", "overwrite=true", "private=false"]) == 0
    pushed = {name: data for name, data in before.items() if "older" not in name}
    pushed[CARD] = pushed[CARD].replace(b"<this folder>", NAME.encode())
    assert shared.models["ada/gmm"] == pushed
    assert f'genlab.load_run("{NAME}")' in pushed[CARD].decode()
    assert not shared.private


def test_what_was_pushed_meanwhile_is_not_lost(
    export: Path, shared: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from genlab.command import export as command

    def look(*arguments: Any) -> Any:
        found = looked(*arguments)
        shared.models["ada/gmm"] = {"theirs": b"x"}
        return found

    looked = command.look
    monkeypatch.setattr(command, "look", look)
    refused(["export", f"run={export}", f"to={NAME}", "overwrite=true"], capfd, ["412"])
    assert shared.models["ada/gmm"] == {"theirs": b"x"}


def test_without_a_token(
    export: Path, shared: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    refused(["export", f"run={export}", f"to={NAME}"], capfd, ["without a token", "hf auth login", "HF_TOKEN"])
    assert not shared.requests


INFO, FILE, COMMIT = "GET /api/models", f"GET /ada/gmm/resolve/{{commit}}/{WEIGHTS}", "POST /api/models/ada/gmm/commit"
TROUBLE = {
    "401": (401, "the Hub says 401: it is private, missing, or your token is not valid"),
    "403": (403, "the Hub says 403"),
    "404": (404, "the Hub says 404: there is no such model or revision"),
    "429": (429, "the Hub says 429: too many requests. Try again in 7 s"),
    "500": (500, "the Hub says 500: it has trouble of its own"),
    "slow": ("slow", "does not answer in time"),
    "cut": ("cut", "the connection was cut off"),
}


@pytest.mark.parametrize("where", [INFO, FILE, COMMIT], ids=["at first", "in the middle", "at the commit"])
@pytest.mark.parametrize("name", TROUBLE)
def test_trouble_is_said_in_a_line_and_nothing_is_half_there(
    name: str,
    where: str,
    shared: Hub,
    export: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    trouble, says = TROUBLE[name]
    if trouble == "slow":  # only here: a busy machine is slow by itself
        monkeypatch.setattr(client, "READ_SECONDS", 0.2)
        monkeypatch.setattr(client, "CONNECT_SECONDS", 0.2)
    shared.trouble[where.format(commit=shared.commit("ada/gmm"))] = trouble
    before = dict(shared.models["ada/gmm"])
    if where == COMMIT:
        said = refused(["export", f"run={export}", f"to={NAME}", "overwrite=true"], capfd, [f"{NAME} cannot", says])
        assert shared.models["ada/gmm"] == before
    else:
        said = refused(["sample", f"run={NAME}"], capfd, [NAME, says])
    assert len(said.splitlines()) == 1
    assert shared.token not in said
    assert not kept()
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("wait", ["\u00b2", "\u0663", "9" * 5000, "-1", "", "Sun, 29 Nov 2026 16:00:00 GMT"])
def test_how_long_to_wait_may_be_nonsense(wait: str) -> None:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    request = httpx2.Request("GET", "https://example.org")
    response = httpx2.Response(429, headers={"retry-after": wait.encode()}, request=request)
    with (
        pytest.raises(GenlabError, match=r"too many requests\. Try again later\.$"),
        client.asked(Address("a/b"), "pulled"),
    ):
        raise HfHubHTTPError("too many", response=response)


def test_no_network(shared: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    genlab.load_run(NAME)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    pinned = f"{NAME}@{shared.commit('ada/gmm')}"
    refused(["sample", f"run={NAME}"], capfd, ["no connection to http://127.0.0.1:9", f"Pulled before: {pinned}."])
    genlab.load_run(pinned)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused(["sample", f"run={NAME}"], capfd, ["HF_HUB_OFFLINE is set", pinned])


def test_a_card_that_the_hub_does_not_take(export: Path, shared: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    shared.trouble["POST /api/validate-yaml"] = 400
    before = dict(shared.models["ada/gmm"])
    refused(["export", f"run={export}", f"to={NAME}", "overwrite=true"], capfd, [f"head of its {CARD}", "apache-2.0"])
    assert shared.models["ada/gmm"] == before


def test_a_stream_that_does_not_end_is_left(shared: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    commit = shared.commit("ada/gmm")
    for name in (WEIGHTS, INDEX):
        shared.trouble = {f"GET /ada/gmm/resolve/{commit}/{name}": "endless"}
        refused(["sample", f"run={NAME}"], capfd, [f"{name} is larger than"])
    shared.trouble = {"GET /api/models": "nonsense"}
    refused(["sample", f"run={NAME}"], capfd, ["cannot be read"])
    assert not kept()


def test_a_stream_that_drips_is_left(
    shared: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pulling, "ALLOWED_SECONDS", 0.0)
    monkeypatch.setattr(pulling, "SLOWEST_BYTES_PER_SECOND", 1e12)
    refused(["sample", f"run={NAME}"], capfd, ["comes too slowly"])
    assert not kept()


def test_the_token_is_not_carried_to_another_host(shared: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch) as other:
        other.models = shared.models
        monkeypatch.setenv("HF_ENDPOINT", shared.url)
        shared.trouble["GET /ada/gmm/resolve"] = other.url.replace("127.0.0.1", "localhost")
        genlab.load_run(NAME)
    assert all(token for _, _, token in shared.requests)
    assert other.requests
    assert not any(token for _, _, token in other.requests)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda files: files.pop(INDEX), "it is no export of genlab"),
        (lambda files: files.update({WEIGHTS: files[WEIGHTS][:-1]}), "was cut off after"),
        (lambda files: files.update({WEIGHTS: files[WEIGHTS][:-1] + b"x"}), f"{WEIGHTS} is not what its {INDEX} says"),
        (lambda files: files.update({INDEX: files[INDEX].replace(b"samples/", b"../")}), "is no file of an export"),
        (lambda files: files.update({INDEX: files[INDEX].replace(b"samples/", b"/tmp/")}), "is no file of an export"),
        (lambda files: files.update({INDEX: b"{}"}), f"{INDEX} of {NAME}"),
    ],
)  # fmt: skip
def test_a_strangers_files_are_left(
    harm: Any, says: str, shared: Hub, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    harm(shared.models["ada/gmm"])
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    refused(["sample", f"run={NAME}"], capfd, [says])
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before


def test_what_the_index_does_not_name_is_not_fetched(shared: Hub) -> None:
    shared.models["ada/gmm"] |= {"setup.py": b"", "checkpoints/best.ckpt": b""}
    genlab.load_run(NAME)
    assert not [path for _, path, _ in shared.requests if "setup" in path or "ckpt" in path]


@pytest.mark.parametrize(
    "text",
    ["hf://ada", "hf://ada/", "hf://ada/x/y", "hf://../x", "hf://ada/x@", "hf://ada/x@../y", "hf://ada/x@a//b",
     "hf://ada/x.git", "hf://ada/-x--y", "hf://ada/x@a..b", "hf:///etc/passwd", "hf://ada/x\n"],
)  # fmt: skip
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(GenlabError, match="is no address"):
        Address.parse(text)


def test_addresses() -> None:
    for text in ("hf://ada/gmm", "hf://ada/my_model-1.0@v1.0", "hf://ada/x@refs/pr/1"):
        assert str(Address.parse(text)) == text


def test_without_the_client(hub: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    refused(["sample", f"run={NAME}"], capfd, ["pip install 'genlab[hub]'"])


def test_a_full_disk_is_said(shared: Hub, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    usage = shutil.disk_usage("/")._replace(free=10)
    monkeypatch.setattr("genlab.runs.pulling.shutil.disk_usage", lambda folder: usage)
    refused(["sample", f"run={NAME}"], capfd, ["cannot be kept", "10 are free"])
    assert not kept()


def test_a_push_takes_no_revision(export: Path, hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    refused(["export", f"run={export}", f"to={NAME}@main"], capfd, ["without a revision"])
