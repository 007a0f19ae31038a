"""Garbage is searched for in what a command makes, and not among what it imports."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from genlab.processes.deferring import SELDOM_USED, deferred
from genlab.processes.starting import importing


def test_what_is_imported_is_left_alone_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "just_made.py").write_text("import gc\nsearched = gc.isenabled()\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = gc.get_freeze_count()
    with importing():
        made = importlib.import_module("just_made")
    frozen = gc.get_freeze_count()
    assert not made.searched
    assert gc.isenabled()
    assert frozen > before
    with importing():  # whatever a caller has made since can become garbage
        importlib.import_module("just_made")
    assert gc.get_freeze_count() <= frozen  # what was frozen may have been freed since
    del sys.modules["just_made"]


@pytest.fixture
def heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package, and a module that imports a part of it."""
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("class Model:\n    size = 3\n\n\nfrom heavy import more\n")
    (tmp_path / "heavy" / "more.py").write_text("")
    (tmp_path / "user.py").write_text("from heavy import Model\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("user", "heavy", "heavy.more"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("heavy")
def test_what_libraries_import_is_imported_when_it_is_used() -> None:
    with deferred("heavy", "not_installed", "not_installed.more"):
        user = importlib.import_module("user")
        assert importlib.util.find_spec("heavy") is not None, "libraries ask whether it is there"
    assert "heavy" not in sys.modules
    assert (user.Model.size, type(user.Model()).__name__) == (3, "Model")
    with deferred("heavy"):
        assert importlib.import_module("heavy").Model.size == 3, "it is there already"


@pytest.mark.usefixtures("heavy")
def test_who_needs_the_package_meanwhile_gets_it() -> None:
    with deferred("heavy"):
        importlib.import_module("heavy.more")
        assert isinstance(importlib.import_module("heavy").Model, type)
    assert "heavy" in sys.modules


@pytest.mark.usefixtures("heavy")
def test_a_part_can_be_used_meanwhile() -> None:
    with deferred("heavy"):
        assert importlib.import_module("user").Model().size == 3


def test_a_command_starts_without_what_is_seldom_used() -> None:
    code = f"""
import sys
from genlab.processes.starting import importing
with importing():
    import genlab.command.load
sys.exit(", ".join({{*{SELDOM_USED}}} & {{*sys.modules}}) or None)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
