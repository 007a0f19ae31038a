"""The page of which model takes which data is what the code says."""

from __future__ import annotations

import runpy

import pytest

from tests.tiny import ROOT


def test_the_page_is_what_the_script_makes(capsys: pytest.CaptureFixture) -> None:
    runpy.run_path(str(ROOT / "docs" / "families.py"), run_name="__main__")
    made = capsys.readouterr().out
    assert made == (ROOT / "docs" / "families.md").read_text(), "run python docs/families.py > docs/families.md"
    assert "| `wavenet` | - | - | - | wavenet |" in made


def test_the_table_of_uses_is_what_the_script_makes(capsys: pytest.CaptureFixture) -> None:
    runpy.run_path(str(ROOT / "docs" / "uses.py"), run_name="__main__")
    made = capsys.readouterr().out
    assert made in (ROOT / "docs" / "uses.md").read_text(), "put what python docs/uses.py prints into docs/uses.md"
    assert "| `gmm` | yes | - | - | - |" in made
    assert "| `flow` | yes | yes | yes | yes |" in made
