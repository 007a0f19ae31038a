"""What an evaluation leaves beside its result."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results
from genlab.comparison.report import to_html
from genlab.errors import GenlabError
from genlab.tasks.evaluate import run as evaluate
from genlab.tasks.train import run as run_train
from tests.training import SHORT, SMALL, composed, train

SETTINGS = ["evaluation.num_samples=120", "evaluation.max_examples=20", "evaluation.name=small"]


def test_the_nearest_pairs_are_drawn_for_each_checkpoint_and_the_report_shows_them(tmp_path: Path) -> None:
    result = train(tmp_path, *SETTINGS)
    evaluate(composed([f"run={result['run_id']}", f"paths.logs={tmp_path}", "checkpoint=last", *SETTINGS], "evaluate"))
    pictures = sorted(path.name for path in tmp_path.rglob("samples/*_neighbours.png"))
    assert pictures == ["small.last_neighbours.png", "small_neighbours.png"]
    with Image.open(next(tmp_path.rglob("samples/small_neighbours.png"))) as picture:
        assert result["run_id"] in picture.text["Title"]
    page = to_html(compare(*read_results([tmp_path])))
    assert page.count('alt="Nearest training examples of') == 2


def test_a_model_that_samples_choose_has_the_quality_of_its_last_checkpoint_too(tmp_path: Path) -> None:
    tiny = [*SETTINGS, "model=gan", *SMALL["gan"], "validation_samples=100"]
    result = run_train(composed([*SHORT, *tiny, f"paths.logs={tmp_path}"]))
    assert result is not None
    again = [f"run={result['run_id']}", f"paths.logs={tmp_path}", "checkpoint=last", *SETTINGS]
    last = evaluate(composed(again, "evaluate"))
    assert result["quality_last"]["fid"] == last["quality"]["fid"]
    assert "quality_last" not in train(tmp_path, *SETTINGS), "of others the likelihood is given"


def test_a_missing_inception_file_is_named_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(GenlabError, match=r"inception_weights is nothing\.pth, which is no file"):
        train(tmp_path, "evaluation.inception_weights=nothing.pth")
    assert not list(tmp_path.rglob("*"))


def test_an_option_that_the_model_cannot_serve_leaves_a_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(tmp_path, *SETTINGS, "evaluation.classification_accuracy=true", "evaluation.name=scored")
    assert result["quality"]["classification_accuracy"] is None
    assert "not class-conditional" in result["missing"]["quality.classification_accuracy"]
    assert "accuracy score" in capsys.readouterr().out
