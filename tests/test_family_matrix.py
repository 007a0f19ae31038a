"""The page of which model takes which data is what the code says."""

from __future__ import annotations

import runpy

import pytest

from genlab.core.spec import DataSpec
from tests.contract.families import CASES
from tests.tiny import ROOT

KINDS = {"image": "pictures", "vector": "vectors", "text": "text", "waveform": "sound", "series": "series"}


def test_the_page_is_what_the_script_makes(capsys: pytest.CaptureFixture) -> None:
    runpy.run_path(str(ROOT / "docs" / "families.py"), run_name="__main__")
    made = capsys.readouterr().out
    assert made == (ROOT / "docs" / "families.md").read_text(), "run python docs/families.py > docs/families.md"
    assert "| `wavenet` | - | - | - | wavenet |" in made


def kind_of(spec: DataSpec) -> str:
    if spec.modality != "table":
        return KINDS[spec.modality]
    if "fields" in spec.needs:
        return "mixed tables"
    return "rounded numbers" if spec.needs else "tables of numbers"


def test_the_contract_is_tested_of_every_pair_that_the_page_promises() -> None:
    page = runpy.run_path(str(ROOT / "docs" / "families.py"))
    models = sorted(path.stem for path in (ROOT / "conf" / "model").glob("*.yaml"))
    promised = {
        (model, kind)
        for model in models
        if not page["family_of"](model).comes_trained
        for kind, network in zip(page["KINDS"], page["networks"](model), strict=True)
        if network != "-"
    }
    tested = {(case.model, kind_of(case.spec)) for case in CASES}
    assert not promised - tested, "add cases to tests/contract/families.py"


def test_the_table_of_uses_is_what_the_script_makes(capsys: pytest.CaptureFixture) -> None:
    runpy.run_path(str(ROOT / "docs" / "uses.py"), run_name="__main__")
    made = capsys.readouterr().out
    assert made in (ROOT / "docs" / "uses.md").read_text(), "put what python docs/uses.py prints into docs/uses.md"
    assert "| `gmm` | yes | - | - | - |" in made
    assert "| `flow` | yes | yes | yes | yes |" in made
