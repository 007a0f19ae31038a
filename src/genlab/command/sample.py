"""Draw samples from a trained run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from genlab.command.command_line import command_line
from genlab.command.config import check_config
from genlab.command.load import load_run
from genlab.command.schemas import SampleConfig
from genlab.core.errors import GenlabError
from genlab.core.hardware import choose_device
from genlab.core.memory import check_examples_fit
from genlab.core.noise import ExampleNoise
from genlab.core.randomness import Stream, stream_seed
from genlab.core.words import counted
from genlab.measure.batches import BatchSizes
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import atomic_file, make_room
from genlab.runs.folder import find_run

__all__ = ["run"]


def run(config: DictConfig) -> Path:
    """Draw ``config.n`` samples from ``config.run``, save them as NPZ, PNG and what they are, and say where.

    The NPZ file holds ``x [n, ...]`` in the data's own values and, where labels were given, ``y [n]``.

    Args:
        config: The composed config.
    """
    settings = check_config(config, SampleConfig)
    place = find_run(settings.run, settings.paths.logs)
    device = choose_device(settings.device)
    model = load_run(settings.run, settings.checkpoint, device, settings.paths.logs)
    spec = model.spec
    check_examples_fit("n", settings.n, spec.num_dims, "samples", modality_of(spec).dtype(spec).itemsize)
    n, y = settings.n, _labels(model, settings.label, settings.n)
    name = f"sample_n{n}_s{settings.seed}" + ("" if y is None else f"_y{settings.label}")
    out = Path(settings.out) if settings.out else place.samples / f"{name}.png"
    make_room(out)  # before the work, not after it; what is written has one of these names, whatever the given one
    for suffix in (".npz", ".png"):
        make_room(out.with_suffix(suffix))
    base = stream_seed(Stream.SAMPLES, settings.seed)

    def draw(start: int, size: int) -> torch.Tensor:
        labels = None if y is None else y[start : start + size]
        return model.sample(size, labels, generator=ExampleNoise(base, start, device)).cpu()

    with torch.no_grad():
        samples = torch.cat(list(BatchSizes(None, device).each(n, draw)))
    arrays = {"x": samples.numpy()} if y is None else {"x": samples.numpy(), "y": y.cpu().numpy()}
    with atomic_file(out.with_suffix(".npz")) as file:
        np.savez_compressed(file, **arrays)
    title = f"{model.name} on {model.spec.name}, run {place.id}: {command_line('scripts/sample.py')}"
    drawn = modality_of(model.spec).preview(samples, model.spec, out.with_suffix(".png"), title)
    files = modality_of(model.spec).write(samples, model.spec, out.with_suffix(""))
    written = [str(out.with_suffix(ending)) for ending in (".npz", *[".png"] * drawn)]
    # Of many files of one kind the first and the last say enough.
    written += [str(file) for file in files] if len(files) < 3 else [f"{files[0]} to {files[-1].name}"]
    print(f"Saved {counted(n, 'sample')}: {' and '.join(written)}")
    return out.with_suffix(".npz")


def _labels(model: GenerativeModel, label: int | None, n: int) -> torch.Tensor | None:
    if label is None:
        return None
    if not getattr(model, "conditional", False):
        raise GenlabError(f"label is {label}, but this {model.name} is not class-conditional. Leave label out.")
    classes = model.spec.num_classes or 0
    if not 0 <= label < classes:
        raise GenlabError(f"label is {label}, expected 0 to {classes - 1}.")
    return torch.full((n,), label, device=model.device)
