"""Every config in conf/ composes, binds, and runs three steps where the hardware and the data are at hand."""

from __future__ import annotations

import itertools
import math
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from genlab.command.build import build_model
from genlab.command.config import check_config
from genlab.command.signatures import read_signature
from genlab.command.targets import instantiate, locate
from genlab.runs.atomic import write_atomic
from genlab.training.callbacks.sample_grids import SampleGrids
from tests.tiny import ROOT, SHORT, SMALL, composed, run_folder, train

GROUPS = {
    group.name: sorted(path.stem for path in group.glob("*.yaml"))
    for group in (ROOT / "conf").iterdir()
    if group.is_dir() and group.name != "hydra"
}
CHOICES = [f"{group}={name}" for group, names in GROUPS.items() for name in names if group != "experiment"]
FILES = {
    "mnist": "MNIST/raw",
    "binarized_mnist": "MNIST/raw",
    "fashion_mnist": "FashionMNIST/raw",
    "shakespeare": "tinyshakespeare",
    "text8": "text8",
    "enwik8": "enwik8",
    "spoken_digits": "fsdd",
    "emoji": "emoji",
    "sc09": "speech_commands_v0.02",
    "medmnist": "medmnist",
    "sp500": "series",
    "csv": "tables/diamonds.csv",
    "power": "maf_power",
    "hepmass": "maf_hepmass",
    "miniboone": "maf_miniboone",
    "gas": "maf_gas",
    "bsds300": "maf_bsds300",
}
MODEL_OF, DATA_OF = (
    {
        name: re.search(rf"override /{group}: (\w+)", (ROOT / "conf" / "experiment" / f"{name}.yaml").read_text())[1]
        for name in GROUPS["experiment"]
    }
    for group in ("model", "data")
)
ONE_OF_EACH_MODEL = sorted({model: name for name, model in reversed(MODEL_OF.items())}.values())
"""The first recipe of each model; its others say other numbers to the same code."""
SMALL_DATA = {
    "toy2d": ["data.train_size=500"],
    "shakespeare": ["data.length=8", "evaluation.max_examples=50"],
    "spoken_digits": ["data.seconds=0.01"],
    "emoji": ["data.size=16", "data.cache=memory"],
    "sp500": ["data.length=8"],
    "stochastic_volatility": ["data.length=8", "data.train_size=500"],
}
SEQUENCES = ("enwik8", "sc09", "shakespeare", "spoken_digits", "text8")
"""Data sets that the default model does not take, and that have no picture of their samples yet."""
NOT_BY_A_FLOW = dict.fromkeys(SEQUENCES, "transformer")
TRAINED_ELSEWHERE = {
    "cifar10": "see test_cifar10_trains",
    "csv": "it is one's own, see tests/data/test_tables.py",
    "series": "it is one's own, see tests/data/test_series.py",
    "text_file": "it is one's own, see tests/data/test_own.py",
    "wav_folder": "it is one's own, see tests/data/test_own.py",
    "image_folder": "it is one's own, see tests/data/test_image_folder.py",
    "npz": "it is one's own, see tests/data/test_npz.py",
}
THREE_STEPS = ["budget.examples=96", "budget.minutes=null", "budget.validations=1", "data.batch_size=32"]


def have(data: str) -> bool:
    return data not in FILES or (Path(os.environ.get("GENLAB_DATA", "data")) / FILES[data]).exists()


def test_the_groups_are_all_there() -> None:
    assert set(GROUPS) >= {"model", "data", "trainer", "logger", "evaluation", "experiment"}
    assert {"auto", "cpu", "gpu", "ddp", "fsdp", "debug"} <= set(GROUPS["trainer"])


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_binds_and_names_all_that_its_class_takes(choice: str) -> None:
    config = composed([choice])
    check_config(config)
    assert config.seed == 0
    if choice.startswith("model="):
        assert unlisted(OmegaConf.to_container(config.model), "model", frozenset({"spec"})) == []
    if choice.startswith("data="):
        data = OmegaConf.to_container(config.data, resolve=False)
        # Only of data in files the folder says anything.
        assert unlisted(data, "data", frozenset() if locate(data["_target_"]).archives else frozenset({"root"})) == []


@pytest.mark.parametrize("model", GROUPS["model"])
def test_a_model_that_inherits_states_only_what_differs(model: str) -> None:
    """A value that repeats the inherited one would stay behind when that one changes."""
    own = OmegaConf.load(ROOT / "conf" / "model" / f"{model}.yaml")
    for parent in own.pop("defaults", []):
        if parent != "_self_":
            assert _leaves(own).isdisjoint(_leaves(_inherited(parent)))


def _inherited(parent: str) -> DictConfig:
    """The config that an entry of a defaults list names: another model, or a part that several share."""
    if parent.startswith("/"):
        return OmegaConf.load(ROOT / f"conf{parent.partition('@')[0]}.yaml")
    return composed([f"model={parent}"]).model


def _leaves(node: Any, key: str = "") -> set[tuple[str, str]]:
    if not isinstance(node, DictConfig):
        return {(key, str(node))}
    return {leaf for name, value in node.items() for leaf in _leaves(value, f"{key}.{name}") if name[0] != "_"}


@pytest.mark.real_data
@pytest.mark.parametrize("data", [name for name in GROUPS["data"] if name not in TRAINED_ELSEWHERE])
def test_every_data_set_trains(data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not have(data):
        pytest.skip(f"the files of {data} are not in $GENLAB_DATA")
    monkeypatch.setattr(SampleGrids, "_draw", lambda *_: None)  # one picture is enough: that of the evaluation
    model = NOT_BY_A_FLOW.get(data, "flow")
    result = train(tmp_path, f"data={data}", *THREE_STEPS, *SMALL_DATA.get(data, []), model=model)
    assert result.training.optimizer_steps == 3
    assert math.isfinite(result.likelihood.nats)
    assert (run_folder(tmp_path) / "samples" / "quick.png").exists()


@pytest.mark.parametrize("experiment", GROUPS["experiment"])
def test_every_recipe_is_a_model_of_its_data(experiment: str) -> None:
    composed_config = composed([f"experiment={experiment}"])
    config = check_config(composed_config)
    assert config.seed == 0
    if not Path(composed_config.data.get("path") or ".").exists():
        pytest.skip("its table is not in $GENLAB_DATA")
    # In its own size, and without weights; where a layer cannot do without, it comes after what a model checks.
    with torch.device("meta"), suppress(NotImplementedError, RuntimeError):
        build_model(config)


@pytest.mark.real_data
@pytest.mark.parametrize("experiment", ONE_OF_EACH_MODEL)
def test_a_recipe_of_each_model_runs_three_steps(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DATA_OF[experiment]
    if not have(data):
        pytest.skip(f"the files of {data} are not in $GENLAB_DATA")
    # Pictures are drawn above, of every data set.
    monkeypatch.setattr(SampleGrids, "_draw", lambda *_: None)
    monkeypatch.setattr("genlab.command.evaluate.draw_pictures", lambda *_: None)
    # What makes a recipe large is scaled down; what makes it this recipe stays.
    scale = ["trainer.accelerator=cpu", "evaluation.num_draws=1"]
    scale += SMALL_DATA.get(data, [])
    if data == "csv":
        scale.append(f"data.path={first_rows(Path(composed([f'experiment={experiment}']).data.path), tmp_path)}")
    kept = [override for override in SHORT if not override.startswith(("trainer=", "budget"))]
    small = SMALL.get(MODEL_OF[experiment], [])
    overrides = [f"experiment={experiment}", *kept, *small, *THREE_STEPS, *scale, f"paths.logs={tmp_path}"]
    from genlab.command.train import run

    assert run(composed(overrides)).result.training.optimizer_steps == 3


def first_rows(table: Path, folder: Path) -> Path:
    """A table of its own with the first thousand rows of another."""
    with open(table) as rows:
        write_atomic(folder / table.name, "".join(itertools.islice(rows, 1001)))
    return folder / table.name


@pytest.mark.parametrize("experiment", GROUPS["experiment"])
def test_a_recipe_opens_with_command_hardware_and_score(experiment: str) -> None:
    text = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text()
    header = text[: text.index("defaults:")]
    assert f"python train.py experiment={experiment}" in header
    assert all(word in header for word in ("command:", "hardware:", "expect:"))


def unlisted(node: Any, key: str, supplied: frozenset[str] = frozenset()) -> list[str]:
    """Arguments of our own classes that a node and those within it leave out: options that nobody finds."""
    if not isinstance(node, dict):
        return []
    missing = []
    if str(node.get("_target_")).startswith("genlab."):
        missing = [
            name for name in read_signature(locate(node["_target_"])).parameters if name not in {*node, *supplied}
        ]
    within = (found for name, value in node.items() for found in unlisted(value, f"{key}.{name}"))
    return [*(f"{key}.{name}" for name in missing), *within]


def test_an_argument_that_a_config_leaves_out_is_noticed() -> None:
    model = OmegaConf.to_container(composed(["model=vae"]).model)
    del model["latent_dims"], model["conv"]["blocks"]
    assert unlisted(model, "model", frozenset({"spec"})) == ["model.latent_dims", "model.conv.blocks"]


def test_debug_runs_a_few_steps(tmp_path: Path) -> None:
    config = composed(["trainer=debug"])
    assert config.trainer.detect_anomaly
    assert config.budget.examples // config.data.batch_size <= 10


@pytest.mark.parametrize("protocol", GROUPS["evaluation"])
def test_protocols_differ_in_their_hash(protocol: str) -> None:
    settings = composed([f"evaluation={protocol}"]).evaluation

    def made(**changes: Any) -> str:
        return instantiate(OmegaConf.merge(settings, changes)).hash

    assert made() == made(name="other") == made(batch_size=11)
    changes = {"num_draws": 3, "num_samples": 7, "seed": 5, "split": "validation", "max_examples": 9}
    hashes = {made(**{name: value}) for name, value in changes.items()}
    assert len(hashes | {made()}) == 1 + len(changes)
