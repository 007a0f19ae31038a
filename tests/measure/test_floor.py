"""The floor of a table: real data in the place of samples, once for each data set and protocol."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from genlab.command.evaluate import run as evaluate
from genlab.comparison.figures import galleries
from genlab.comparison.ranking import compare
from genlab.comparison.reading import read_results
from genlab.measure.results import read_result
from genlab.runs.atomic import write_atomic
from tests.tiny import composed, train

SETTINGS = ["evaluation.num_samples=120", "evaluation.max_examples=20", "evaluation.name=floored"]


def test_the_floor_stands_beside_the_runs_of_a_protocol(tmp_path: Path) -> None:
    result = train(tmp_path, *SETTINGS)
    (path,) = tmp_path.glob("runs/digits/floor/*/results/floored.json")
    floor = read_result(path)
    assert floor.model.family == "floor"
    assert floor.protocol == result.protocol
    assert floor.data == result.data
    assert (floor.quality.n_fake, floor.quality.n_real) == (120, 250)
    assert floor.quality.fid < result.quality.fid
    assert floor.likelihood is None
    picture = path.parent.parent / "samples" / "floored.png"
    assert picture.is_file(), "real data, as the samples of models are shown"
    picture.unlink()  # as of a floor that was written before floors had one
    written = path.stat().st_mtime_ns
    train(tmp_path, "seed=1", *SETTINGS)
    assert path.stat().st_mtime_ns == written
    assert picture.is_file()
    (gallery, *_) = galleries(compare(read_results([tmp_path])[0]).groups[0])
    assert [shown.name.partition(",")[0] for shown in gallery.pictures] == ["real data", "flow (multiscale-spline)"]


def test_a_run_that_was_moved_elsewhere_leaves_nothing_beside_it(tmp_path: Path) -> None:
    train(tmp_path / "logs")
    (config,) = (tmp_path / "logs").glob("runs/*/*/*/config.yaml")
    moved = shutil.copytree(config.parent, tmp_path / "a" / "b" / "c" / "moved")
    evaluate(composed([f"run={moved}", *SETTINGS], "evaluate"))
    assert (moved / "results" / "floored.json").exists()
    assert not list(tmp_path.rglob("floor-*"))


def test_a_floor_of_fewer_training_examples_is_another_one(tmp_path: Path) -> None:
    settings = ["evaluation.num_samples=400", "evaluation.max_examples=20", "evaluation.name=floored"]
    toy = ["data=toy2d", "budget.examples=256", *settings]
    for size in (300, 2000):
        train(tmp_path, *toy, f"data.train_size={size}", model="gmm")
    floors = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/floor/*/results/floored.json")]
    assert sorted(floor["quality"]["n_fake"] for floor in floors) == [200, 400]
    assert len({floor["config_hash"] for floor in floors}) == 2
    groups = compare(read_results([tmp_path])[0]).groups
    assert all("floor" in {row.first.family for row in group.rows} for group in groups), "whose entropy is known"


def test_a_floor_of_other_examples_under_one_name_is_another_one(tmp_path: Path) -> None:
    """As of one text split in two ways, or of one folder of recordings at two rates."""
    train(tmp_path, *SETTINGS)
    (path,) = tmp_path.glob("runs/digits/floor/*/results/floored.json")
    plain = json.loads(path.read_text())
    write_atomic(path, json.dumps({**plain, "data": {**plain["data"], "split": "test of others"}}))
    for seed in (1, 2):
        train(tmp_path, f"seed={seed}", *SETTINGS)
    floors = [read_result(each) for each in tmp_path.glob("runs/digits/floor/*/results/floored.json")]
    assert sorted(floor.data.split for floor in floors) == ["test", "test of others"]
    assert len({floor.config_hash for floor in floors}) == 2
