"""Garbage is searched for in what a command makes, and not among what it imports."""

from __future__ import annotations

import gc
import importlib.util
import sys
from pathlib import Path

import pytest

from genlab.processes.deferring import deferred
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
    assert gc.get_freeze_count() == frozen
    del sys.modules["just_made"]


def test_what_torchmetrics_imports_for_texts_is_imported_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heavy").mkdir()
    (tmp_path / "heavy" / "__init__.py").write_text("class Model:\n    size = 3\n\n\nfrom heavy import more\n")
    (tmp_path / "heavy" / "more.py").write_text("")
    (tmp_path / "user.py").write_text("from heavy import Model\n")
    monkeypatch.syspath_prepend(tmp_path)
    with deferred("heavy"), deferred("not_installed"):
        user = importlib.import_module("user")
        assert importlib.util.find_spec("heavy") is not None, "libraries ask whether it is there"
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("heavy.more")
    assert "heavy" not in sys.modules
    assert (user.Model.size, type(user.Model()).__name__) == (3, "Model")
    with deferred("heavy"):
        assert importlib.import_module("heavy").Model.size == 3, "it is there already"
    for name in ("user", "heavy", "heavy.more"):
        del sys.modules[name]
