"""Which code it was: what tells it from others, and what it is called."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import genlab
from genlab.core import plugins
from genlab.core.plugins import Plugin, find_plugins
from genlab.runs import code
from genlab.runs.code import Code, code_version, codes_of, count_other_code, other_code, source_sha256, this_code


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def forget() -> None:
    for cached in (code_version, source_sha256, find_plugins):
        cached.cache_clear()


def version() -> str:
    forget()
    return code_version()


def sha256() -> str:
    forget()
    return source_sha256()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two files in a folder ``src``, which genlab is taken for."""
    package = tmp_path / "src" / "genlab"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models" / "flow.py").write_text("1\n")
    monkeypatch.setattr(genlab, "__file__", str(package / "__init__.py"))
    yield package
    forget()


@pytest.fixture
def checkout(package: Path, tmp_path: Path) -> Path:
    """The same, all of it committed, with a folder of configs and one of logs."""
    for name in ("conf/config.yaml", "logs/README", "README"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    git(tmp_path, "tag", "v1")
    return tmp_path


def test_the_version_names_the_commit_or_the_files(
    checkout: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(checkout, "rev-parse", "--short=7", "HEAD")
    assert version() == f"{genlab.__version__} {commit}"
    monkeypatch.setattr(code, "_FOLDERS_OF_GIT", str(checkout))
    assert version() == f"{genlab.__version__}+{code._sha256([package])[:7]}", "git may be missing"


def test_an_installed_package_has_no_commit_even_within_a_checkout(package: Path, tmp_path: Path) -> None:
    outside = version()
    assert outside == f"{genlab.__version__}+{code._sha256([package])[:7]}"
    git(tmp_path, "init", "-q")
    (tmp_path / "mine.py").write_text("1\n")
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-qm", "x")
    assert version() == outside, "a package that merely lies in someone's checkout is not part of it"


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("src/genlab/models/flow.py", True),
        ("src/genlab/models/mine.py", True),
        ("conf/mine.yaml", True),
        ("conf/config.yaml", True),
        ("logs/run.json", False),
        ("logs/README", False),
        ("README", False),
        ("notes.py", False),
    ],
)
def test_only_files_of_the_package_and_its_configs_make_it_dirty(name: str, counts: bool, checkout: Path) -> None:
    (checkout / name).write_text("2\n")
    found = version()
    assert ("+dirty." in found) == counts
    if counts and name.endswith(".py"):
        (checkout / name).write_text("3\n")
        assert "+dirty." in version() != found, "two changes are told apart"


@pytest.mark.parametrize(("name", "counts"), [("models/flow.py", True), ("models/mine.py", True), ("notes.txt", False)])
def test_the_hash_is_of_the_python_files(name: str, counts: bool, package: Path) -> None:
    before = sha256()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "flow.py").write_text("no source\n")
    assert sha256() == before
    (package / name).write_text("2\n")
    assert (sha256() != before) == counts


def test_moving_a_line_from_one_file_to_the_next_is_another_code(package: Path) -> None:
    before = sha256()
    (package / "models" / "flow.py").rename(package / "models" / "wolf.py")
    assert sha256() != before


@pytest.mark.parametrize("name", ["a_plug_in/__init__.py", "a_plug_in.py"])
def test_a_plug_in_is_part_of_the_code(
    name: str, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = sha256()
    path = tmp_path / "site" / name
    path.parent.mkdir(parents=True)
    path.write_text("1\n")
    about = tmp_path / "site" / "a_plug_in-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: a-plug-in\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nnoise = a_plug_in\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with_it = sha256()
    named = version()
    assert with_it != alone
    assert ", a-plug-in 1.2+" in named
    path.write_text("2\n")
    assert sha256() != with_it
    assert version() != named
    assert "a_plug_in" not in sys.modules, "nothing of it is imported"


def test_a_plug_in_that_is_not_there_has_no_sources() -> None:
    assert Plugin("noise", "not_there").find_sources() == []


def test_no_variable_chooses_the_program_that_names_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = code._git_commit(code._package())
    for name in ("git", "trace"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'PWNED'}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("GIT_EXEC_PATH", str(tmp_path))
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", str(tmp_path / "trace"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert code._git_commit(code._package()) == expected
    assert not (tmp_path / "PWNED").exists()


def test_another_code_is_named_and_the_same_is_not() -> None:
    now = this_code()
    assert other_code([now]) is None
    assert other_code([Code("0.0.1 another commit", now.sha256)]) is None, "of the same files"
    assert other_code([Code("0.0.1", "ab"), now]) == f"other code (then 0.0.1, now {now.version})"
    assert other_code([Code(now.version)]) is not None, "of an earlier version nothing is known"
    assert other_code([Code("\x1b[2J")]) == f"other code (then unknown, now {now.version})"
    many = [Code(f"0.0.{number}", f"{number}") for number in range(5)]
    assert other_code([*many, *many]) == f"other code (then 0.0.0 and 0.0.1 and 3 more, now {now.version})"
    line = count_other_code([[now], [Code("0.0.1")], [Code("0.0.1")]], "runs")
    assert line == f"Trained by other code (then 0.0.1, now {now.version}): 2 of 3 runs."
    assert count_other_code([[now]], "runs") is None


@pytest.mark.parametrize(
    "record", [None, [], "x", 3, [3], {"version": "x"}, [{"version": 3, "sha256": 4}], [{"version": "", "sha256": "x"}]]
)
def test_a_record_that_says_nothing_is_of_a_code_that_nobody_knows(record: object) -> None:
    assert codes_of(record) == (Code("unknown"),)


def test_a_code_comes_back_from_plain_containers() -> None:
    codes = (Code("unknown"), Code("0.1.0", "ab" * 32))
    assert codes_of([made.as_dict() for made in codes]) == codes


def test_the_commit_is_not_asked_for_where_the_files_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished run answers at once: git takes longer than all of the hash."""
    now = this_code()
    forget()
    monkeypatch.setattr(code, "_git_commit", lambda package: pytest.fail("git was asked"))
    assert other_code([now]) is None
    forget()
