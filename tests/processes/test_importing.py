"""Garbage is searched for in what a command makes, and not among what it imports."""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path

import pytest

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
