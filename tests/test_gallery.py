"""The gallery is made again by the commands that its page shows, and lays down nothing that is of several codes."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from tests import forkserver
from tests.tiny import ROOT, tiny

sys.path.append(str(ROOT / "docs"))  # behind all packages: only `making` is looked for there

from making.gathering import Given, gather, read_given
from making.measured import comparisons

FEW = " ".join(word.replace("num_samples=8", "num_samples=100") for word in tiny("gmm"))  # fewer have no floor
PAGE = f"""# Results

**[Digits](comparison_digits/comparison.md)**: tiny ones.

    python train.py {FEW} \\
        seed=0
    python scripts/compare.py data=digits protocol=quick out=report

**[Others](comparison_others/comparison.md)**: never asked for.

    python train.py model=none
    python scripts/compare.py data=digits protocol=quick out=report
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``docs/gallery.py``, whose commands are real processes that have their imports done."""
    spec = importlib.util.spec_from_file_location("gallery_script", ROOT / "docs" / "gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "subprocess", ModuleType("subprocess"))
    module.subprocess.run = partial(forkserver.run, timeout=120)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose README gives two comparisons."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / "results").mkdir()
    (folder / "results" / "README.md").write_text(PAGE)
    return folder


def call(script: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    places = {"work": folder / "work", "results": folder / "results", "pictures": folder / "pictures"}
    (folder / "pictures").mkdir(exist_ok=True)
    options = [word for key, path in places.items() for word in (f"--{key}", str(path))]
    monkeypatch.setattr(sys, "argv", ["gallery.py", *names, *options])
    script.main()


def test_one_command_makes_a_comparison(made: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    old = made / "results" / "comparison_digits" / "vae-s0"
    old.mkdir(parents=True)
    call(script, made, monkeypatch, "comparison_digits")
    folder = made / "results" / "comparison_digits"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    kept = {"quick.json", "samples.png", "neighbours.png", "metrics.csv"}
    assert files >= {"comparison.md", "comparison.csv", "floor/quick.json", "floor/samples.png"}
    assert {f"gmm-s0/{name}" for name in kept} <= files
    assert not old.exists(), "what an earlier making left"
    assert "| gmm (*baseline*) | diagonal" in (folder / "comparison.md").read_text()
    result = json.loads((folder / "gmm-s0" / "quick.json").read_text())
    assert result["command"] == f"python train.py {FEW} seed=0"
    text = "".join(path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".md", ".csv"))
    assert str(made) not in text, "where it was made"
    with Image.open(made / "pictures" / "comparison_digits.png") as picture:
        assert picture.width > 300


def test_results_of_two_codes_are_refused(made: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    call(script, made, monkeypatch, "comparison_digits")  # again: the run has ended, and is not trained twice
    work = made / "work" / "comparison_digits"
    (floor,) = work.glob("logs/runs/digits/floor/*/results/quick.json")
    was = floor.read_text()
    floor.write_text(json.dumps({**json.loads(was), "code_sha256": "0" * 64}))
    given = read_given(PAGE)["comparison_digits"]
    kept = made / "results" / "comparison_digits"
    with pytest.raises(SystemExit, match="of 2 versions of the code"):
        gather(given, work, kept, made / "pictures" / "x.png")
    floor.write_text(was)
    assert (kept / "gmm-s0" / "quick.json").is_file(), "what was there stays"


@pytest.mark.parametrize(("size", "kept"), [(10, True), (600_000, False)])
def test_large_files_of_samples_are_left_out(
    size: int, kept: bool, made: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(script, made, monkeypatch, "comparison_digits")
    work, folder = made / "work" / "comparison_digits", made / "results" / "comparison_digits"
    (run,) = work.glob("logs/runs/digits/gmm/*")
    (run / "samples" / "quick.csv").write_bytes(bytes(size))
    gather(read_given(PAGE)["comparison_digits"], work, folder, made / "pictures" / "x.png")
    assert (folder / "gmm-s0" / "samples.csv").exists() == kept
    assert (folder / "gmm-s0" / "samples.png").exists()


def test_two_results_of_one_model_and_seed_are_refused(
    made: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(script, made, monkeypatch, "comparison_digits")
    work = made / "work" / "comparison_digits"
    (run,) = work.glob("logs/runs/digits/gmm/*")
    shutil.copytree(run, run.with_name("other"))
    kept = made / "results" / "comparison_digits"
    with pytest.raises(SystemExit, match="several results of gmm-s0"):
        gather(read_given(PAGE)["comparison_digits"], work, kept, made / "pictures" / "x.png")
    assert (kept / "gmm-s0" / "quick.json").is_file(), "what was there stays"
    shutil.rmtree(run.with_name("other"))


def test_a_command_that_fails_stops(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"ended with 2: python train\.py model=none"):
        script._run("python train.py model=none", tmp_path)


def test_a_name_that_no_page_has_is_refused(
    made: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        call(script, made, monkeypatch, "comparison_faces")
    assert "comparison_faces: expected names" in capsys.readouterr().err


def test_each_kept_comparison_has_its_commands_in_the_page() -> None:
    given = read_given((ROOT / "results" / "README.md").read_text())
    kept = {comparison.name: comparison for comparison in comparisons()}
    assert set(given) == set(kept)
    for name, commands in given.items():
        assert commands.train, name
        assert commands.setting("data") == kept[name].rows[0]["data"]


def test_lines_that_go_on_are_one_command() -> None:
    page = "**[A](a/comparison.md)**\n\n    python train.py model=x,\\\n    y data=z \\\n        seed=0\n"
    assert read_given(page) == {}, "no table yet"
    page += "    python scripts/compare.py data=z protocol=quick out=report\n"
    compare = "python scripts/compare.py data=z protocol=quick out=report"
    assert read_given(page) == {"a": Given(("python train.py model=x,y data=z seed=0",), compare)}


def test_nothing_that_is_kept_says_where_it_was_made() -> None:
    """Commands stand in results, tables and pictures: with somebody's folders they make nothing again."""
    places = re.compile(r"paths\.logs=|(?<![\w.])/(tmp|home|root|Users)/")
    for path in sorted((ROOT / "results").rglob("*.*")):
        if path.suffix in (".json", ".csv", ".md", ".txt"):
            assert not places.search(path.read_text()), path
        elif path.suffix == ".png":
            with Image.open(path) as picture:
                assert not places.search(" ".join(map(str, picture.info.values()))), path
