"""The examples of docs/extending.md, run as they stand there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from tests.tiny import ROOT, TINY

PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"`(src/genlab|conf)/([\w/]+)\.(py|yaml)`:.*?```(?:python|yaml)\n(.*?)```", re.DOTALL)


def test_the_examples_train_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genlab.command.train import run

    blocks = {f"{root}/{name}": code for root, name, _, code in BLOCK.findall(PAGE)}
    assert set(blocks) == {
        "src/genlab/models/independent",
        "conf/model/independent",
        "src/genlab/data/noise",
        "conf/data/noise",
    }
    for place, code in blocks.items():
        if place.startswith("conf/"):
            file = tmp_path / f"{place}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code)
        else:
            name = place.removeprefix("src/").replace("/", ".")
            module = types.ModuleType(name)
            monkeypatch.setitem(sys.modules, name, module)
            monkeypatch.setattr(sys.modules[name.rpartition(".")[0]], name.rpartition(".")[2], module, raising=False)
            exec(compile(code, place, "exec"), module.__dict__)  # the page's own code is what is tested

    kept = [override for override in TINY if not override.startswith(("model.", "budget.examples", "evaluation"))]
    with initialize_config_dir(str(ROOT / "conf")):
        config = compose(
            "config",
            [
                *kept,
                "model=independent",
                "data=noise",
                f"paths.logs={tmp_path / 'logs'}",
                f"hydra.searchpath=[file://{tmp_path / 'conf'}]",
            ],
        )
    result = run(config).result
    assert result.model.family == "independent"
    assert result.likelihood.kind == "exact"
    # Uniform noise over 4 levels has 2 bits; what the model learned of the training set costs a little.
    assert 2.0 <= result.likelihood.bits_per_dim < 2.05
    assert torch.load(next(tmp_path.glob("logs/runs/noise/independent/*/checkpoints/best.ckpt")), weights_only=True)
