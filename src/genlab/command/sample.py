"""Draw samples from a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from genlab.command.command_line import command_line
from genlab.command.config import check_config
from genlab.command.load import load_run
from genlab.command.schemas import SampleConfig
from genlab.core.errors import GenlabError
from genlab.core.hardware import choose_device
from genlab.core.randomness import Stream, generator
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.folder import find_run

__all__ = ["run"]


def run(config: DictConfig) -> Path:
    """Draw ``config.n`` samples from ``config.run``, save them as PNG and NPZ, and say where.

    The NPZ file holds ``x [n, ...]`` in the data's own values and, where labels were given, ``y [n]``.

    Args:
        config: The composed config.
    """
    check_config(config, SampleConfig)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    place = find_run(plain["run"], plain["paths"]["logs"])
    device = choose_device(plain["device"])
    model = load_run(plain["run"], plain["checkpoint"], device, plain["paths"]["logs"])
    n, y = plain["n"], _labels(model, plain["label"], plain["n"])
    noise = generator(Stream.SAMPLES, plain["seed"], device=device)
    with torch.no_grad():
        samples = model.sample(n, y, generator=noise).cpu()
    name = f"sample_n{n}_s{plain['seed']}" + ("" if y is None else f"_y{plain['label']}")
    out = Path(plain["out"]) if plain["out"] else place.samples / f"{name}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"x": samples.numpy()} if y is None else {"x": samples.numpy(), "y": y.cpu().numpy()}
    np.savez_compressed(out.with_suffix(".npz"), **arrays)
    title = f"{model.name} on {model.spec.name}, run {place.id}: {command_line('scripts/sample.py')}"
    drawn = modality_of(model.spec).preview(samples, model.spec, out.with_suffix(".png"), title)
    print(f"Saved {n} samples: {out.with_suffix('.npz')}" + (f" and {out.with_suffix('.png')}" if drawn else ""))
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
