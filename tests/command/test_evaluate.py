"""What an evaluation leaves beside its result."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.command.evaluate import _reasons, evaluate_run
from genlab.command.evaluate import run as evaluate
from genlab.command.train import run as run_train
from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results
from genlab.comparison.report import to_html
from genlab.core.errors import GenlabError
from genlab.data.base import GenlabDataModule, Split
from genlab.measure.metrics import classification_accuracy
from genlab.measure.result import Result
from genlab.measure.result_sections import ReferenceInfo
from genlab.runs.atomic import atomic_file, make_room
from genlab.runs.checkpoints import load_checkpoint
from genlab.runs.folder import RunDir
from tests.contract.families import PLANE, SMALL_DIFFUSION, Case, make_model
from tests.tiny import SHORT, SMALL, composed, run_folder, train

SETTINGS = ["evaluation.num_samples=120", "evaluation.max_examples=20", "evaluation.name=small"]


def test_the_nearest_pairs_are_drawn_for_each_checkpoint_and_the_report_shows_them(tmp_path: Path) -> None:
    result = train(tmp_path, *SETTINGS)
    evaluate(composed([f"run={result.run_id}", f"paths.logs={tmp_path}", "checkpoint=last", *SETTINGS], "evaluate"))
    pictures = sorted(path.name for path in tmp_path.rglob("samples/*_neighbours.png"))
    assert pictures == ["small.last_neighbours.png", "small_neighbours.png"]
    with Image.open(next(tmp_path.rglob("samples/small_neighbours.png"))) as picture:
        assert result.run_id in picture.text["Title"]
    page = to_html(compare(*read_results([tmp_path])))
    assert page.count('alt="Nearest training examples of') == 2
    errors = sorted(tmp_path.rglob("samples/*_reconstructions.json"))
    assert [path.name for path in errors] == ["small.last_reconstructions.json", "small_reconstructions.json"]
    said = json.loads(errors[1].read_text())
    assert len(said["examples"]) == 16
    assert said["mean_error"]["largest"] < 17e-4, "a flow leads back to its examples"
    with Image.open(errors[1].with_suffix(".png")) as picture:
        assert "means in levels, of 17" in picture.text["Title"]
    assert page.count('alt="Reconstructions of') == 2
    assert page.count("means in levels, of 17; codes: inverse of the flow, from the cells&#39; centres") == 2
    errors[0].write_text('{"mean_error": {"rmse": "much"}}')
    assert to_html(compare(*read_results([tmp_path]))).count("means in levels") == 1, "what is damaged is left out"


def test_the_data_is_after_a_training_what_it_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mirrored draws and a cut validation are of the training alone: read afresh, it gives the same figures."""
    given: list[GenlabDataModule] = []

    def listen(*arguments: Any, datamodule: GenlabDataModule, **options: Any) -> Result:
        given.append(datamodule)
        return evaluate_run(*arguments, datamodule=datamodule, **options)

    monkeypatch.setattr("genlab.command.train.evaluate_run", listen)
    random, sizes = np.random.RandomState(0), {"train": 200, "val": 40, "test": 40}
    pictures = {f"{name}_images": random.randint(256, size=(n, 8, 8), dtype=np.uint8) for name, n in sizes.items()}
    with atomic_file(tmp_path / "noise.npz") as file:
        np.savez(file, **pictures)
    own = ["data=npz", f"data.path={tmp_path / 'noise.npz'}", "data.flip=true", "data.validation_examples=8"]
    logs = tmp_path / "logs"
    trained = train(logs, *own, "budget.examples=96", *SETTINGS)
    place = run_folder(logs)
    afresh = build_datamodule(read_trained(RunDir(place)))
    for split in get_args(Split):
        assert torch.equal(given[0].tensors(split).x, afresh.tensors(split).x)
    alone = evaluate(composed([f"run={place}", "evaluation=quick", *SETTINGS], "evaluate")).result
    assert len(given) == 1, "the command reads it afresh"
    assert alone.likelihood == trained.likelihood
    assert alone.quality == trained.quality


def test_a_model_that_samples_choose_has_the_quality_of_its_last_checkpoint_too(tmp_path: Path) -> None:
    tiny = [*SETTINGS, "model=gan", *SMALL["gan"], "validation_samples=100"]
    result = run_train(composed([*SHORT, *tiny, f"paths.logs={tmp_path}"])).result
    again = [f"run={result.run_id}", f"paths.logs={tmp_path}", "checkpoint=last", *SETTINGS]
    last = evaluate(composed(again, "evaluate")).result
    assert result.quality_last.fid == last.quality.fid
    assert not list(tmp_path.rglob("*_reconstructions*")), "its codes are searched for"
    assert "quality_last" not in train(tmp_path, *SETTINGS), "of others the likelihood is given"


def test_a_model_that_gives_up_its_likelihood_does_not_speak_for_its_family() -> None:
    none = {"likelihood": None, "likelihood_last": None}
    model = make_model(Case("diffusion", PLANE, [*SMALL_DIFFUSION, "likelihood=none"]))
    said = _reasons(model, none, ReferenceInfo(true_entropy_nats=1.0))
    assert said == dict.fromkeys(none, "this diffusion was made without a likelihood")


def test_the_cost_of_an_adaptive_sampler_is_that_of_the_checkpoint_that_the_figures_are_of(tmp_path: Path) -> None:
    adaptive = ["model=flow_matching", "data=toy2d", *SMALL["flow_matching"], "model.sampler.solver=dopri5"]
    few = ["evaluation.num_samples=8", "evaluation.max_examples=2"]
    short = [*SHORT, *few, "budget.examples=64", "budget.validations=1", "validation_samples=100"]
    result = run_train(composed([*short, *adaptive, f"paths.logs={tmp_path}"])).result
    (path,) = tmp_path.rglob("last.ckpt")
    last = load_checkpoint(path)
    last["genlab"]["progress"]["batches"] += 1
    last["state_dict"]["network.network.leave.bias"] += 50  # a field that takes more steps
    torch.save(last, path)
    again = evaluate(composed([f"run={result.run_id}", f"paths.logs={tmp_path}", *few], "evaluate")).result
    assert again.training.optimizer_steps == result.training.optimizer_steps + 1
    assert again.sampling.nfe == result.sampling.nfe


def test_checkpoints_that_are_not_of_this_run_get_a_line(tmp_path: Path) -> None:
    result = train(tmp_path, *SETTINGS)
    last, best = (next(tmp_path.rglob(name)) for name in ("last.ckpt", "best.ckpt"))
    settings = [*SETTINGS, "evaluation.name=again"]
    again = composed([f"run={result.run_id}", f"paths.logs={tmp_path}", *settings], "evaluate")
    content = load_checkpoint(best)
    torch.save(content | {"state_dict": {"other": torch.zeros(1)}}, best)
    with pytest.raises(GenlabError, match=r"best\.ckpt does not fit the model"):
        evaluate(again)
    torch.save({"state_dict": content["state_dict"]}, best)
    assert evaluate(again).result.training.checkpoint == "last"
    for record in ({}, {"genlab": 3}, {"genlab": {"progress": {}}}):
        torch.save({"state_dict": content["state_dict"], **record}, last)
        with pytest.raises(GenlabError, match=r"last\.ckpt does not say how it was trained"):
            evaluate(again)


def test_where_nothing_chose_a_checkpoint_it_is_not_called_the_best(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(tmp_path, *SETTINGS, model="gmm")
    assert (result.training.checkpoint, result.training.chosen_by) == ("best", "val/bits_per_dim")
    assert re.search(r"checkpoint +best by val/bits_per_dim", capsys.readouterr().out)
    (best,) = tmp_path.rglob("best.ckpt")
    content = load_checkpoint(best)
    content["callbacks"]["SaveCheckpoints"]["best_score"] = math.inf  # what it is where validation measured nothing
    torch.save(content, best)
    again = [f"run={result.run_id}", f"paths.logs={tmp_path}", "evaluation=quick", *SETTINGS]
    result = evaluate(composed(again, "evaluate")).result
    assert (result.training.checkpoint, result.training.chosen_by) == ("last", None)
    assert re.search(r"checkpoint +last: validation did not measure val/bits_per_dim", capsys.readouterr().out)
    assert len(list(tmp_path.rglob("gmm/*/results/small.json"))) == 1, "it is the run's result all the same"
    evaluate(composed([*again, "checkpoint=last"], "evaluate"))
    assert re.search(r"checkpoint +last: it was asked for", capsys.readouterr().out)


@pytest.mark.parametrize("out", ["folder", "file/below.png"])
def test_a_place_where_samples_cannot_go_is_named(out: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(GenlabError, match=r"out is .*which is a folder|out is .*a file is in its way"):
        make_room(tmp_path / out)


def test_a_missing_inception_file_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"inception_weights is nothing\.pth, which is no file"):
        train(tmp_path, "evaluation.inception_weights=nothing.pth")
    assert not list(tmp_path.rglob("*"))


def test_an_option_that_the_model_cannot_serve_leaves_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification_accuracy, "STEPS", 2)  # for the floor, which can serve it
    result = train(tmp_path, *SETTINGS, "evaluation.classification_accuracy=true", "evaluation.name=scored")
    assert result.quality.classification_accuracy is None
    assert "not class-conditional" in result.missing["quality.classification_accuracy"]
    assert "accuracy score" in capsys.readouterr().out
