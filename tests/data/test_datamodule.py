"""What all data sets share: under Lightning, without it, and against their configs."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile
import torch
from annotated_types import Ge, Le
from hydra.utils import get_class
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from genlab.command.signatures import read_signature
from genlab.command.targets import instantiate
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.data.base import MAX_BYTES_ON_ACCELERATOR, GenlabDataModule, train_placement
from genlab.data.images import Digits
from genlab.data.loader import EvalLoader, TrainStream
from genlab.data.stochastic_volatility import StochasticVolatility
from genlab.data.tables import BreastCancer, Diabetes, Wine
from genlab.data.toy2d import Toy2D

CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "data").glob("*.yaml"))


class Recorder(pl.LightningModule):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[Batch]] = {"fit": [], "validation": [], "test": []}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self.seen["fit"].append(batch)
        return self.weight * batch.x.float().mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        self.seen["validation"].append(batch)

    def test_step(self, batch: Batch, index: int) -> None:
        self.seen["test"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**kwargs: object) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **{**quiet, **kwargs})


class TestLightning:
    """The loaders go through a Trainer as they are."""

    @pytest.fixture(autouse=True)
    def _no_complaints(self) -> None:
        warnings.filterwarnings("ignore")

    def test_fit_takes_the_batches_of_the_stream(self) -> None:
        data, model = Digits(batch_size=500, seed=3), Recorder()
        run = trainer(max_steps=7, num_sanity_val_steps=0)
        run.fit(model, datamodule=data)
        assert type(run.train_dataloader) is TrainStream
        assert len(model.seen["fit"]) == 7, "more than an epoch"
        for number, batch in enumerate(model.seen["fit"]):
            assert isinstance(batch, Batch)
            assert torch.equal(batch.x, data.train_dataloader().batch(number).x)

    def test_resuming_starts_where_the_run_stopped(self) -> None:
        data, model = Digits(batch_size=500), Recorder()
        data.start_batch = 4
        trainer(max_steps=2).fit(model, datamodule=data)
        expected = TrainStream(data.tensors("train"), 500, seed=0)
        assert torch.equal(model.seen["fit"][0].x, expected.batch(4).x)
        assert torch.equal(model.seen["fit"][1].y, expected.batch(5).y)

    def test_validation_at_an_interval_and_test_see_their_splits(self) -> None:
        data, model = Digits(batch_size=100), Recorder()
        run = trainer(max_steps=4, val_check_interval=4, num_sanity_val_steps=0)
        run.fit(model, datamodule=data)
        run.test(model, datamodule=data)
        for split in ("validation", "test"):
            assert torch.equal(torch.cat([batch.x for batch in model.seen[split]]), data.tensors(split).x)
            assert torch.equal(torch.cat([batch.y for batch in model.seen[split]]), data.tensors(split).y)
        assert type(run.test_dataloaders) is EvalLoader

    def test_data_without_labels(self) -> None:
        model = Recorder()
        trainer(max_steps=3).fit(model, datamodule=Toy2D(dataset="checkerboard", train_size=100, batch_size=32))
        assert [batch.y for batch in model.seen["fit"]] == [None] * 3

    def test_only_the_splits_of_a_stage_are_loaded(self) -> None:
        data = Toy2D(train_size=100)
        data.setup("test")
        assert set(data._splits) == {"test"}
        data.setup("fit")
        assert set(data._splits) == {"train", "validation", "test"}


def attached(data: GenlabDataModule, rank: int, world_size: int, device: str = "cpu") -> GenlabDataModule:
    strategy = SimpleNamespace(root_device=torch.device(device))
    data.trainer = SimpleNamespace(global_rank=rank, world_size=world_size, strategy=strategy)
    return data


def test_each_rank_gets_its_part() -> None:
    alone = Digits(batch_size=64)
    parts = [attached(Digits(batch_size=64), rank, 4) for rank in range(4)]
    batch = torch.cat([data.train_dataloader().batch(3).x for data in parts])
    assert torch.equal(batch, alone.train_dataloader().batch(3).x)
    for split, loader in (("validation", "val_dataloader"), ("test", "test_dataloader")):
        seen = torch.cat([batch.x for data in parts for batch in getattr(data, loader)()])
        assert torch.equal(seen, alone.tensors(split).x)


def test_some_validation_examples_are_drawn_from_all_of_them() -> None:
    """The first ones would be of the first classes alone, where files are in the order of their labels."""
    data = Digits(validation_examples=40)
    seen, again = (torch.cat([batch.x for batch in data.val_dataloader()]) for _ in range(2))
    whole = data.tensors("validation").x
    places = [int((whole == x).flatten(1).all(1).nonzero()[0]) for x in seen]
    assert torch.equal(seen, again)
    assert len(seen) == 40
    assert max(places) > 150


def test_a_batch_that_the_devices_cannot_share_is_refused() -> None:
    with pytest.raises(GenlabError, match=r"data.batch_size is 128, .* number of devices, 3"):
        attached(Digits(), 0, 3).train_dataloader()


def test_the_training_set_goes_to_the_accelerator_and_the_split_stays() -> None:
    data = attached(Digits(), 0, 1, "meta")
    assert data.train_dataloader().tensors.x.device.type == "meta"
    assert data.tensors("train").x.device.type == "cpu"
    data = attached(Digits(device="cpu"), 0, 1, "meta")
    assert data.train_dataloader().tensors.x.device.type == "cpu"


@pytest.mark.parametrize(
    ("device", "root_device", "num_bytes", "expected"),
    [
        ("auto", "cuda:1", 10, "cuda:1"),
        ("auto", "mps", 10, "mps"),
        ("auto", "cpu", 10, "cpu"),
        ("cpu", "cuda:1", 10, "cpu"),
        ("auto", "cuda:1", MAX_BYTES_ON_ACCELERATOR - 1, "cuda:1"),
        ("auto", "cuda:1", MAX_BYTES_ON_ACCELERATOR, "cpu"),
    ],
)
def test_placement(device: str, root_device: str, num_bytes: int, expected: str) -> None:
    assert train_placement(device, torch.device(root_device), num_bytes) == torch.device(expected)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"batch_size": 0}, "data.batch_size is 0, expected at least 1"),
        ({"seed": -1}, "data.seed is -1"),
        ({"device": "gpu"}, "data.device is 'gpu', expected auto or cpu"),
    ],
)
def test_bad_arguments_are_named(argument: dict[str, object], message: str) -> None:
    with pytest.raises(GenlabError, match=message):
        Digits(**argument)


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(GenlabError, match=r"no split 'valid', expected train, validation, test\. Did you mean"):
        Digits().tensors("valid")


def test_the_entropy_of_real_data_is_not_known() -> None:
    assert Digits().true_entropy() is None


def own_data(name: str, folder: Path) -> Path:
    if name == "series":
        (folder / "series.csv").write_text("\n".join(["x", *map(str, range(400))]))
        return folder / "series.csv"
    if name == "text_file":
        (folder / "text.txt").write_text("abc")
        return folder / "text.txt"
    if name == "npz":
        np.savez(folder / "a.npz", **{f"{split}_images": np.zeros((1, 2, 2), np.uint8) for split in ("train", "test")})
        return folder / "a.npz"
    if name == "csv":
        (folder / "table.csv").write_text("\n".join(["size", *map(str, range(20))]))
        return folder / "table.csv"
    for number in range(3):
        if name == "image_folder":
            Image.new("L", (2, 2), number).save(folder / f"{number}.png")
        else:
            soundfile.write(folder / f"{number}.wav", [0.5, -0.5], 8000)
    return folder


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_lists_the_arguments_with_their_ranges(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENLAB_DATA", "/somewhere")
    config = OmegaConf.merge({"seed": 3}, OmegaConf.load(path))
    values = OmegaConf.to_container(config, resolve=True)["data"]
    cls = get_class(target := values.pop("_target_"))
    values.pop("_convert_")
    parameters = read_signature(cls).parameters
    generated = cls in (Digits, Toy2D, StochasticVolatility, Wine, BreastCancer, Diabetes)  # they read no files
    assert set(values) == set(parameters) - ({"root"} if generated else set())
    if "path" in values:  # one's own data, which has to be there
        assert values["path"] is None
        values["path"] = str(own_data(path.stem, tmp_path))
    data = instantiate({"_target_": target, "_convert_": "all", **values})
    assert isinstance(data, cls)
    assert data.seed == 3
    assert data.spec.name.startswith(path.stem)
    assert data.root == Path("data" if generated else "/somewhere")
    assert config.budget.examples > 0
    assert parameters["batch_size"].annotation.__metadata__ == (Ge(1), Le(1_000_000))
    assert parameters["seed"].annotation.__metadata__ == (Ge(0),)


def test_there_is_a_config_for_each_data_set() -> None:
    names = {"digits", "mnist", "fashion_mnist", "binarized_mnist", "cifar10", "toy2d"}
    assert names <= {path.stem for path in CONFIGS}
