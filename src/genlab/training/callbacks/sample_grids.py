"""Pictures of samples while a run trains."""

from __future__ import annotations

from pathlib import Path

from pytorch_lightning import Trainer

from genlab.core.noise import integers
from genlab.core.randomness import Stream, generator, some_of
from genlab.core.sharded import gathered
from genlab.loggers.protocols import LogsFiles, LogsPicture
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.base import Callback

__all__ = ["SampleGrids"]


class SampleGrids(Callback):
    """Draw the same noise through the averaged weights at every validation and save the picture.

    Args:
        folder: Where the PNG files go.
        count: Number of images in a picture; other data shows more.
        seed: The run's seed.
        title: What the picture's metadata says of the run.
    """

    def __init__(self, folder: Path, count: int, seed: int, title: str) -> None:
        self.folder = folder
        self.count = count
        self.seed = seed
        self.title = title

    def samples_of(self, model: GenerativeModel) -> int:
        """Return the number of samples in a picture."""
        return modality_of(model.spec).shown(self.count)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        with gathered(pl_module):
            if trainer.is_global_zero:
                self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: GenerativeModel) -> None:
        noise = generator(Stream.GRIDS, self.seed, device=pl_module.device)
        modality = modality_of(pl_module.spec)
        count, classes = self.samples_of(pl_module), pl_module.num_classes
        labels = integers(classes, count, noise, pl_module.device) if classes else None
        samples = pl_module.sample(count, y=labels, generator=noise)
        examples = pl_module.progress.examples
        path = self.folder / f"examples_{examples:010d}.png"
        real = some_of(trainer.datamodule.tensors("validation").x, len(samples))
        files = modality.write(samples, pl_module.spec, path.with_suffix(""), labels)
        drawn = modality.preview(samples, pl_module.spec, path, f"{self.title}, {examples:,} examples seen", real)
        for logger in trainer.loggers:
            if drawn and isinstance(logger, LogsPicture):
                logger.log_picture("samples", path, examples)
            if files and isinstance(logger, LogsFiles):
                logger.log_files("samples", files, examples)
