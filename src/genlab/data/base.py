"""What all data sets share: loaders, splits, placement, files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypedDict, get_args

import torch
from annotated_types import Ge, Le
from pytorch_lightning import LightningDataModule

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest
from genlab.core.spec import DataSpec
from genlab.data.files import Archive, FolderArchive, ensure_files, ensure_folder
from genlab.data.loader import DrawTransform, EvalLoader, TrainStream
from genlab.runs.caches import cache_folders, first_writable

__all__ = ["GenlabDataModule", "LoaderOptions", "Split", "train_placement"]

Split = Literal["train", "validation", "test"]
BatchSize = Annotated[int, Ge(1), Le(1_000_000)]
Examples = Annotated[int, Ge(1), Le(1_000_000_000)]
Seed = Annotated[int, Ge(0)]
Device = Literal["auto", "cpu"]

MAX_BYTES_ON_ACCELERATOR = 2 << 30  # above this, the data would compete with the model for memory


class LoaderOptions(TypedDict, total=False):
    """The options of every data set, beside its own and its ``root``.

    A data set states its own options and passes these on, ``**loader: Unpack[LoaderOptions]``, so that each is declared
    once and yet all stand side by side in a config. What they mean is said by :class:`GenlabDataModule`.
    """

    batch_size: BatchSize
    seed: Seed
    device: Device
    validation_examples: Examples | None


def train_placement(device: str, root_device: torch.device, num_bytes: int) -> torch.device:
    """Return where the training set lies.

    Args:
        device: ``"auto"``: in the accelerator's memory if the trainer runs on one and the set is under 2 GiB;
            ``"cpu"``: in main memory.
        root_device: The device of this trainer process.
        num_bytes: Size of the training set.
    """
    on_root = device == "auto" and root_device.type != "cpu" and num_bytes < MAX_BYTES_ON_ACCELERATOR
    return root_device if on_root else torch.device("cpu")


class GenlabDataModule(LightningDataModule):
    """A data set with fixed splits that lies in memory as it is, without preprocessing.

    A data set is a subclass with a ``spec`` and a ``load``; one that comes in files lists them in ``archives``,
    or in ``folders`` where they are many.
    It works under a Lightning trainer, and without one through ``tensors``.

    Args:
        root: Folder with the data files; missing ones are downloaded into it.
        batch_size: Examples per batch, all devices together; for training a multiple of the number of devices.
        seed: Seed of the order and noise of training batches. The splits do not depend on it.
        device: ``"auto"`` keeps the training set in the accelerator's memory where there is one and the set is under
            2 GiB, ``"cpu"`` in main memory.
        validation_examples: Number of validation examples that choose the checkpoint during training, or None for all.

    Attributes:
        spec: What one example is; known before any file is read.
        start_batch: Number of the first global batch of training; set it before training to resume.

    Raises:
        GenlabError: If an argument is out of its range.
    """

    spec: DataSpec
    archives: tuple[Archive, ...] = ()
    folders: ClassVar[tuple[FolderArchive, ...]] = ()
    draw_transform: DrawTransform | None = None
    licence: str | None = None
    """Licence of the data, as its source names it; None: not known, as of a user's own."""

    def __init__(
        self,
        root: str | Path = "data",
        batch_size: BatchSize = 128,
        seed: Seed = 0,
        device: Device = "auto",
        validation_examples: Examples | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise GenlabError(f"data.batch_size is {batch_size}, expected at least 1.")
        if seed < 0:
            raise GenlabError(f"data.seed is {seed}, expected at least 0.")
        if device not in ("auto", "cpu"):
            raise GenlabError(f"data.device is '{device}', expected auto or cpu.{nearest(device, ('auto', 'cpu'))}")
        self.root = Path(root or "data").expanduser()  # an environment variable that is set may be empty
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.validation_examples = validation_examples
        self.start_batch = 0
        self._splits: dict[str, Batch] = {}
        self._files_checked = False

    def load(self, split: Split) -> dict[Split, Batch]:
        """Read ``split`` into main memory; return it with the other splits that came from the same read."""
        raise NotImplementedError

    def tensors(self, split: Split) -> Batch:
        """Return a whole split in main memory, ``x`` ``[N, *spec.shape]``; loaded at the first call.

        Raises:
            GenlabError: If there is no such split, or its files are missing and cannot be downloaded.
        """
        if split not in get_args(Split):
            raise GenlabError(
                f"There is no split '{split}', expected {', '.join(get_args(Split))}.{nearest(split, get_args(Split))}"
            )
        if split not in self._splits:
            if not self._files_checked:
                self.prepare_data()
            self._splits.update(self.load(split))
        return self._splits[split]

    is_one_sequence: ClassVar[bool] = False
    """Whether the examples of a split, in their order, are windows of one sequence that follow each other."""

    def split_name(self, split: Split, stride: int | None = None) -> str:
        """Return how ``tensors(split)`` is called in results: the split, and what was done to it if anything was.

        Args:
            split: The split.
            stride: Values by which the windows slide in which a sequence is scored; None: they are disjoint.
        """
        return split

    def examples_of(self, folder: Path) -> Batch | None:
        """Return the examples in anybody's folder, treated as the set's own are; None where it reads no such folder.

        Args:
            folder: What ``against`` of `detect` names.

        Raises:
            GenlabError: If there are none, or one cannot be read.
        """
        return None

    def true_entropy(self) -> float | None:
        """Return the differential entropy of the distribution behind the data in nats, or None if it is not known."""
        return None

    def train_source(self) -> Batch:
        """Return what training batches are drawn from: the training split, or what ``draw_transform`` expects."""
        return self.tensors("train")

    def cache_folder(self) -> Path | None:
        """Return where what is computed once for the data is kept; None where it is too little to be kept."""
        return first_writable(cache_folders(self.root)) if self.archives else None

    def prepare_data(self) -> None:
        """Check the data files and download what is missing."""
        for archive in self.archives:
            ensure_files(self.root, archive)
        for folder in self.folders:
            ensure_folder(self.root, folder)
        self._files_checked = True

    def setup(self, stage: str) -> None:
        """Load the splits of a stage into memory."""
        if stage == "fit":
            self.train_source()
        if stage in ("fit", "validate"):
            self.tensors("validation")
        if stage == "test":
            self.tensors("test")

    def train_dataloader(self) -> TrainStream:
        """Return this rank's endless stream of training batches, from batch ``start_batch`` on."""
        rank, world_size, root_device = self._process()
        source = self.train_source()
        num_bytes = sum(tensor.nbytes for tensor in source if tensor is not None)
        device = train_placement(self.device, root_device, num_bytes)
        return TrainStream(
            source.to(device),
            self.batch_size,
            self.seed,
            rank,
            world_size,
            self.start_batch,
            self.draw_transform,
        )

    def val_dataloader(self) -> EvalLoader:
        """Return this rank's part of the validation split, or of ``validation_examples`` of it.

        They are drawn from all of it, always the same: files are often in the order of their labels.
        """
        some, count = self.tensors("validation"), self.validation_examples
        if count is not None and count < len(some.x):
            order = torch.randperm(len(some.x), generator=torch.Generator().manual_seed(0))
            some = some.rows(order[:count].sort().values)
        return EvalLoader(some, self.batch_size, *self._process()[:2])

    def test_dataloader(self) -> EvalLoader:
        """Return this rank's part of the test split."""
        return EvalLoader(self.tensors("test"), self.batch_size, *self._process()[:2])

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Bring a batch of data that lie in main memory to the trainer's device."""
        return batch.sent_to(device)

    def _process(self) -> tuple[int, int, torch.device]:
        if self.trainer is None:
            return 0, 1, torch.device("cpu")
        return self.trainer.global_rank, self.trainer.world_size, self.trainer.strategy.root_device
