"""Fill in the rest of examples of a run's data, given a part of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from genlab.command.config import check_config
from genlab.command.schemas import InpaintConfig
from genlab.command.used_run import UsedRun
from genlab.core.batch import Batch
from genlab.core.contract import Inpaints
from genlab.core.errors import GenlabError, shown
from genlab.core.memory import check_examples_fit
from genlab.core.randomness import some_of
from genlab.core.spec import DataSpec
from genlab.core.words import counted
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.finding import find_run
from genlab.uses.arrays import Stored, write_arrays
from genlab.uses.catalogue import require
from genlab.uses.inpaint import Completions, Estimate, inpaint, score_completions
from genlab.uses.masks import mask_of

__all__ = ["run"]

_ENDINGS = (".npz", ".png", ".json")
_SHOWN, _SHOWN_EACH = 32, 6
"""Examples in a picture, and completions of each."""
_OWN = ("checkpoint", "split", "mask", "n", "each", "seed", "rounds", "exact")


def run(config: DictConfig) -> Path:
    """Fill in ``config.n`` examples of a split, some by chance but always the same, each several times.

    With ``config.exact``, another run whose completions are exact, it says how far off the completions are of those.

    Args:
        config: The composed config.

    Returns:
        The file of arrays: the examples ``x``, what was ``given`` of them and their ``completions [each, n, ...]``.
    """
    settings = check_config(config, InpaintConfig)
    used = UsedRun.load("inpaint", settings, "scripts/inpaint.py")
    model, spec = used.model, used.model.spec
    require("inpaint", model)
    check_examples_fit("n and each", settings.n * settings.each, spec.num_dims, "completions")
    mask_of(settings.mask, spec, 1)  # before any data is read
    exact = None if settings.exact is None else _reference(settings, spec)
    data = used.datamodule().tensors(settings.split)
    rows = some_of(torch.arange(len(data.x)), settings.n)
    given = mask_of(settings.mask, spec, len(rows), settings.seed)
    path = used.place_for(settings.out, _name(settings, given), _ENDINGS)
    examples = data.rows(rows)
    found = inpaint(model, examples, given, settings.each, settings.seed, settings.rounds)
    scores = _scores(found, examples, data, exact, settings, spec)
    drawn = modality_of(spec).preview_rows(_shown(found, spec), spec, _with(path, ".png"), used.title)
    files = modality_of(spec).write(found.drawn[0], spec, path)
    arrays = {"x": found.x, "given": found.given.to(torch.uint8), "completions": found.drawn}
    array = _with(path, ".npz")
    write_arrays(array, {name: Stored.of(x.contiguous()) for name, x in arrays.items()}, "npz")
    own = {key: getattr(settings, key) for key in _OWN}
    measured = {"is_exact": found.kind.is_exact, "method": found.kind.method, "examples": rows.tolist()}
    used.record(path, own, measured | {name: score._asdict() for name, score in scores.items()})
    share = found.given.float().mean().item()
    print(
        f"Filled in {counted(len(rows), 'example')} of {spec.name}, {settings.split}, {counted(settings.each, 'time')} "
        f"each; {share:.0%} of the values were given, mask {shown(settings.mask)}.\n{_sentence(str(found.kind))}."
    )
    print("".join(f"{_TITLES[name]}: {score}\n" for name, score in scores.items()), end="")
    print(used.saved(path, [".npz"], [".png"] if drawn else [], [".json"], files))
    return array


_TITLES = {
    "energy_score": "Energy score against what there was, lower is better",
    "energy_score_of_exact": "That of the exact completions",
    "energy_distance": "Energy distance to the exact completions, 0 for none",
    "energy_distance_of_exact": "That of two draws of the exact ones, by chance",
}


def _reference(settings: InpaintConfig, spec: DataSpec) -> GenerativeModel:
    """Return the model whose completions are the measure, and see that they are exact."""
    assert settings.exact is not None
    try:
        model = UsedRun.load("inpaint", replace(settings, run=settings.exact), "scripts/inpaint.py").model
    except GenlabError as error:
        raise GenlabError(f"exact: {error}") from error
    if (model.spec.name, model.spec.shape, model.spec.levels) != (spec.name, spec.shape, spec.levels):
        raise GenlabError(f"exact is a run on {model.spec.name}, expected one on {spec.name}.")
    if settings.each < 2:
        raise GenlabError("each is 1, but distances between completions need at least 2 of each example.")
    kind = None
    if isinstance(model, Inpaints):
        kind = model.inpainting(mask_of(settings.mask, spec, settings.n, settings.seed))
    if kind is None or not kind.is_exact:
        how = "it cannot fill in" if kind is None else f"{kind.method} is approximate"
        raise GenlabError(
            f"exact is a run of {model.name}, which is no measure for mask={shown(settings.mask)}: {how}. Use an "
            "autoregressive model and mask=half, or a gmm."
        )
    return model


def _scores(
    found: Completions,
    examples: Batch,
    data: Batch,
    exact: GenerativeModel | None,
    settings: InpaintConfig,
    spec: DataSpec,
) -> dict[str, Estimate]:
    if settings.each < 2:
        return {}
    measure = None
    if exact is not None:
        # Other seeds than the completions': two draws of one model with one seed would be the same.
        first, second = (
            inpaint(exact, examples, found.given, settings.each, seed, settings.rounds)
            for seed in (settings.seed + 1, settings.seed + 2)
        )
        measure = first, second
    return score_completions(found, spec, data.x, measure)


def _shown(found: Completions, spec: DataSpec) -> Mapping[str, Any]:
    """Rows of the picture: the examples, what was given of them, and completions."""
    given = found.x.where(found.given, modality_of(spec).blank(spec))
    completions = {f"completion {number}": x for number, x in enumerate(found.drawn[:_SHOWN_EACH], 1)}
    rows = {"example": found.x, "given": given, **completions}
    return {name: x[:_SHOWN] for name, x in rows.items()}


def _name(settings: InpaintConfig, given: Tensor) -> str:
    """Return the name of what is written, by the settings that it depends on."""
    mask = re.sub(r"[^A-Za-z0-9]+", "-", Path(settings.mask).name)[:40].strip("-")
    parts = ["inpaint", settings.split, mask]
    # Where that leaves something out, as the folder of a PNG, the mask of an example says the rest.
    parts += [] if mask == settings.mask else [hashlib.sha256(given[0].numpy().tobytes()).hexdigest()[:8]]
    parts += [f"n{len(given)}", f"each{settings.each}", f"s{settings.seed}"]
    parts += [] if settings.rounds is None else [f"rounds{settings.rounds}"]
    parts += [] if settings.exact is None else [find_run(settings.exact, settings.paths.logs).id]
    parts += ["last"] if settings.checkpoint == "last" else []
    return "_".join(parts)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]  # the others, which may be names, stay as they are


def _with(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
