"""Every command of the README and of the documentation is run by a test, or stands here with the reason why none does.

The README's way from a clone to a first picture is gone here, by its own lines, and the explorer is served as its page
says.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import pytest
from PIL import Image

from genlab.command import cli
from genlab.command.explorer.server import Explorer
from tests import test_documented_trainings as trainings
from tests import test_documented_uses as uses
from tests.documented import DOCS, commands, one_by_one, other_commands
from tests.tiny import ROOT, TINY

PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("models/*.md"))]
WHOLE_PAGES = {"errors.md": "tests/test_documentation.py", "extending.md": "tests/test_extending.py"}
"""Pages of whose commands one test is, with what they need beside them."""
HERE = "tests/test_documented_commands.py"
RUN_BY = {
    r"train .*(--help|--cfg job)": "tests/command/test_entry.py",
    r"explore\b.*": HERE,
    r"export .*network=true": "tests/uses/test_network.py",
    r"(export|sample) .*=hf://.*": "tests/uses/test_hub.py",  # by a server of its own
    r"dashboard .*": "tests/command/test_dashboard.py",
    r"train .*hydra\.sweeper\.storage=.*": "tests/sweeps/test_shared_study.py",
    r"train .*search=.*": "tests/command/test_search_outcome.py",
    r"train .*hydra/launcher=(joblib|ray) (?!.*address=auto).*": "tests/hydra_plugins/test_cluster_launchers.py",
    r"train (?!.*trainer=).*hydra/launcher=submitit_slurm .*": "tests/command/test_slurm.py",  # on a CPU
    r"train trainer=ddp trainer\.accelerator=cpu .*": "tests/training/test_distributed.py",
    r"train model=pretrained_text model\.path=DIR .*": "tests/models/test_pretrained_text.py",
    r"python train\.py --config-dir=logs/studies.*": "tests/command/test_search_outcome.py",
    r"python train\.py --config-dir my_conf .*hydra/launcher=ours": "tests/command/test_hydra_node.py",
    r"python train\.py --config-dir my_conf data=my_noise": "tests/command/test_search.py",
    r".*-sc install=.*|genlab --version|python -m genlab": "tests/command/test_completion.py",
    r"python benchmarks/.*": "tests/test_benchmarks.py",
    r"python docs/(families|uses)\.py": "tests/test_family_matrix.py",
}
"""Commands that other tests give, or such of their kind, with settings that make them tiny, by what they look like."""
NOT_RUN = {
    r"git clone .*": "the repository's address; `.ci/run` begins in a clone",
    r"pip install .*": "downloads packages; `.ci/run` installs the locked set into a new environment",
    r"sphinx-build .*": "takes a minute; `.ci/run` builds the site",
    r"(OMP_NUM_THREADS=2 )?pytest.*": "the tests themselves, those of tests/gpu on a GPU",
    r"hf auth login": "an account at the Hugging Face Hub",
    r"wandb (sweep|agent) .*": "an account at W&B; tests/command/test_wandb_sweep.py reads the file",
    r"srun .*|scontrol .*": "a cluster; tests/command/test_slurm.py starts one of one node where SLURM is installed",
    r"train .*hydra\.launcher\.address=auto.*": "a Ray cluster",
    r"train .*trainer=(ddp|fsdp).*": "several GPUs; tests/training/test_distributed.py has two processes on a CPU",
    r"train .*data=(medmnist|miniboone).*": "a download; tests of data read such files that they make",
    r"train model=pretrained .*hf://.*": "a download; tests/models/test_pretrained.py has a pipeline and a server",
}
"""Commands that no test can run, by what they look like, each with what it would need."""


def line(command: str, words: tuple[str, ...]) -> str:
    return " ".join([command, *words])


def places(page: Path) -> dict[str, list[str]]:
    """Each command of a page, with the tests that run it and the reasons why none does."""
    text, found = page.read_text(), {}
    asked = [(line(*each), each) for each in commands(text)] + [(other, None) for other in other_commands(text)]
    for said, ours in asked:
        whole = WHOLE_PAGES.get(page.name) if ours and "--cfg" not in said else None
        ruled = [place for rules in (RUN_BY, NOT_RUN) for rule, place in rules.items() if re.fullmatch(rule, said)]
        found[said] = [whole] if whole else ruled[:1] or run_by_page(ours)
    return found


def run_by_page(ours: tuple[str, tuple[str, ...]] | None) -> list[str]:
    if ours is not None and uses.is_run_here(*ours):
        return ["tests/test_documented_uses.py"]
    if ours is not None and ours[0] == "train" and all(map(trainings.is_done_here, one_by_one(ours[1]))):
        return ["tests/test_documented_trainings.py"]
    return []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_run_or_has_a_reason(page: Path) -> None:
    for said, found in places(page).items():
        assert found, f"{said}: run it in a test, or say in NOT_RUN why it cannot be"


def test_rules_are_of_commands_that_there_are_and_tests_too() -> None:
    said = [each for page in PAGES for each in places(page)]
    for rule, place in {**RUN_BY, **NOT_RUN}.items():
        assert any(re.fullmatch(rule, each) for each in said), f"no page has {rule} any more"
        assert place in NOT_RUN.values() or (ROOT / place).is_file(), place
    assert sum(map(len, map(places, PAGES))) > 100


Look = Callable[[str], None]


@pytest.fixture
def explore(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], Look], int]:
    """Give the command of the explorer and look at its page as soon as it is served; it ends then."""

    def give(words: list[str], look: Look) -> int:
        failed: list[BaseException] = []

        def visit(server: Explorer) -> None:
            try:
                look(server.address)
            except BaseException as error:
                failed.append(error)
            finally:
                server.shutdown()

        def warm_up(server: Explorer) -> None:
            if visits:  # else it is the page that asks for it, being looked at
                threading.Thread(target=visits.pop(), args=[server], daemon=True).start()

        visits = [visit]
        monkeypatch.setattr(Explorer, "warm_up", warm_up)
        code = cli.explore([*words, "port=0", "device=cpu"])
        if failed:
            raise failed[0]
        return code

    return give


def ask(address: str, kind: str, **settings: object) -> dict:
    body, headers = json.dumps(settings).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{address}api/{kind}", body, headers), timeout=60) as answer:
        return json.load(answer)


def test_three_commands_lead_from_a_clone_to_a_first_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, explore: Callable[[list[str], Look], int]
) -> None:
    monkeypatch.chdir(tmp_path)
    readme = re.search(r"\n\n((?:    .*\n)+)", (ROOT / "README.md").read_text())
    assert readme is not None
    cloned, trained, explored = (said.strip() for said in readme[1].splitlines())
    assert cloned.startswith("git clone ")
    assert trained.startswith("pip install -r requirements.txt -e . && ")
    assert f"{cloned}\n    {trained}\n    {explored}\n" in (DOCS / "start.md").read_text()

    ((command, words),) = commands(f"    {trained}\n")
    assert command == "train"
    assert cli.train([*words, *TINY]) == 0

    def look(address: str) -> None:
        (group,) = ask(address, "runs")["groups"]
        (run,) = group["runs"]
        picture = ask(address, "sample", run=run["name"], n=16)["picture"]
        with Image.open(BytesIO(base64.b64decode(picture.removeprefix("data:image/png;base64,")))) as drawn:
            seen.append(drawn.getextrema())

    seen: list[object] = []
    ((command, words),) = commands(f"    {explored}\n")
    assert command == "explore"
    assert explore(list(words), look) == 0
    ((least, most), *_) = seen
    assert least != most


EXPLORED = sorted({words for page in PAGES for command, words in commands(page.read_text()) if command == "explore"})


@pytest.mark.parametrize("words", EXPLORED, ids=lambda words: " ".join(words) or "default")
def test_the_explorer_is_served_as_its_page_says(
    words: tuple[str, ...], tmp_path: Path, explore: Callable[[list[str], Look], int]
) -> None:
    def look(address: str) -> None:
        port, _, query = address.rpartition(":")[2].partition("/")
        with build_opener(HTTPCookieProcessor()).open(f"http://127.0.0.1:{port}/{query}", timeout=60) as answer:
            assert b"<title>genlab explorer</title>" in answer.read()
        queries.append(query)

    queries: list[str] = []
    here = [word for word in words if not word.startswith(("port=", "paths.logs="))]
    assert explore([*here, f"paths.logs={tmp_path}"], look) == 0
    needs_token = any(word in ("token=true", "host=0.0.0.0") for word in words)
    assert [query.startswith("?token=") for query in queries] == [needs_token]
