"""The pictures of an evaluation: where they stand, and how they are drawn."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from genlab.core.contract import Encodes
from genlab.core.errors import GenlabError
from genlab.core.randomness import some_of
from genlab.core.words import counted
from genlab.measure.case import Reference
from genlab.measure.floor import PICTURE_SAMPLES
from genlab.measure.measuring import Measured
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.result_sections import ProtocolInfo
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import write_atomic
from genlab.runs.folder import RunDir
from genlab.uses.codes import deviations, errors_in_words, unit_of_errors
from genlab.uses.reconstruct import reconstruct

__all__ = ["Pictures", "draw_pictures", "draw_reconstructions", "pictures", "written_samples"]

RECONSTRUCTED = 16
"""Examples in the picture of reconstructions."""
MOST_SECONDS = 5.0
"""What these may take, as far as one can tell by what samples took: it is a look in passing."""

_log = logging.getLogger("genlab")


class Pictures(NamedTuple):
    """Where an evaluation's pictures stand.

    Attributes:
        samples: That of samples.
        neighbours: Of samples and the training examples nearest to them.
        reconstructions: Of examples and what a model makes of their codes.
        errors: How far off these are, a JSON file.
    """

    samples: Path
    neighbours: Path
    reconstructions: Path
    errors: Path


def pictures(place: RunDir, protocol: EvaluationProtocol | ProtocolInfo, checkpoint: str = "best") -> Pictures:
    """Return where an evaluation's pictures stand.

    Args:
        place: The run.
        protocol: Its name is asked for.
        checkpoint: The checkpoint that the figures are of, ``"best"`` or ``"last"``.
    """
    stem = protocol.name if checkpoint == "best" else f"{protocol.name}.last"  # as in the results' names
    endings = (".png", "_neighbours.png", "_reconstructions.png", "_reconstructions.json")
    return Pictures(*(place.samples / f"{stem}{ending}" for ending in endings))


def written_samples(picture: Path) -> list[Path]:
    """Return the files of samples to read or listen to that lie beside their picture."""
    sounds = itertools.takewhile(
        Path.is_file, (picture.with_name(f"{picture.stem}_{number}.wav") for number in itertools.count(1))
    )
    return [path for path in (picture.with_suffix(".txt"),) if path.is_file()] + list(sounds)


def draw_pictures(paths: Pictures, title: str, measured: Measured, reference: Reference) -> None:
    """Draw an evaluation's samples, and those that are nearest to training examples, with these."""
    spec, samples = reference.spec, measured.samples.x
    modality = modality_of(spec)
    shown = samples[: modality.shown(PICTURE_SAMPLES)]
    labels = None if measured.samples.y is None else measured.samples.y[: len(shown)]
    modality.write(shown, spec, paths.samples.with_suffix(""), labels)
    modality.preview(shown, spec, paths.samples, title, some_of(reference.examples.x, len(shown)))
    if measured.quality.pairs is not None and reference.training is not None:
        near, nearest = measured.quality.pairs
        pairs = samples[near], reference.training.x[nearest]
        modality.preview_pairs(*pairs, spec, paths.neighbours, title)


def draw_reconstructions(
    model: GenerativeModel, paths: Pictures, title: str, reference: Reference, sampling: Mapping[str, Any] | None
) -> None:
    """Draw some examples beside what the model makes of their codes, if it has codes and these cost little.

    Args:
        model: In eval mode.
        paths: Where the picture goes, and the JSON file of its errors.
        title: Says which run.
        reference: The data.
        sampling: What samples cost, a section of a result.
    """
    if not isinstance(model, Encodes) or sampling is None or _seconds(model, sampling) > MOST_SECONDS:
        return
    spec, data = reference.spec, reference.examples
    rows = some_of(torch.arange(len(data.x)), RECONSTRUCTED)
    try:
        found = reconstruct(model, data.rows(rows), deviations(data.x, spec))
    except GenlabError as error:  # an ODE that cannot be solved: the figures stand all the same
        _log.warning("There is no picture of reconstructions: %s", error)
        return
    of = f"{counted(len(rows), 'example')} of {reference.split}"
    caption = f"{of} and what their codes decode to; {errors_in_words(found.mean_errors, spec)}; codes: {found.kind}"
    if modality_of(spec).preview_rows(found.rows, spec, paths.reconstructions, f"{title}; {caption}"):
        record = {
            "split": reference.split, "examples": rows.tolist(), "rows": list(found.rows),
            "mean_error": found.mean_errors, "unit": unit_of_errors(spec), "codes": found.kind,
        }  # fmt: skip
        write_atomic(paths.errors, json.dumps(record, indent=2) + "\n")


def _seconds(model: Encodes, sampling: Mapping[str, Any]) -> float:
    """Foretell what the reconstructions take, of what an evaluation of the network took for a sample."""
    one = sampling["ms_per_sample"] / max(1.0, sampling["nfe"]) / 1000
    return RECONSTRUCTED * model.encoding_evaluations() * one
