"""The pictures of an evaluation: where they stand, and how they are drawn."""

from __future__ import annotations

import itertools
from pathlib import Path

from genlab.core.randomness import some_of
from genlab.measure.case import Reference
from genlab.measure.floor import PICTURE_SAMPLES
from genlab.measure.measuring import Measured
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.result import ProtocolInfo
from genlab.modalities import modality_of
from genlab.runs.folder import RunDir

__all__ = ["draw_pictures", "pictures", "written_samples"]


def pictures(place: RunDir, protocol: EvaluationProtocol | ProtocolInfo, checkpoint: str = "best") -> tuple[Path, Path]:
    """Return where an evaluation's pictures stand: that of samples, and that of samples and their nearest neighbours.

    Args:
        place: The run.
        protocol: Its name is asked for.
        checkpoint: The checkpoint that the figures are of, ``"best"`` or ``"last"``.
    """
    stem = protocol.name if checkpoint == "best" else f"{protocol.name}.last"  # as in the results' names
    return place.samples / f"{stem}.png", place.samples / f"{stem}_neighbours.png"


def written_samples(picture: Path) -> list[Path]:
    """Return the files of samples to read or listen to that lie beside their picture."""
    sounds = itertools.takewhile(
        Path.is_file, (picture.with_name(f"{picture.stem}_{number}.wav") for number in itertools.count(1))
    )
    return [path for path in (picture.with_suffix(".txt"),) if path.is_file()] + list(sounds)


def draw_pictures(paths: tuple[Path, Path], title: str, measured: Measured, reference: Reference) -> None:
    """Draw an evaluation's samples, and those that are nearest to training examples, with these."""
    spec, samples = reference.spec, measured.samples.x
    modality = modality_of(spec)
    shown = samples[: modality.shown(PICTURE_SAMPLES)]
    modality.write(shown, spec, paths[0].with_name(paths[0].name.removesuffix(".png")))
    modality.preview(shown, spec, paths[0], title, some_of(reference.examples.x, len(shown)))
    if measured.quality.pairs is not None and reference.training is not None:
        near, nearest = measured.quality.pairs
        pairs = samples[near], reference.training.x[nearest]
        modality.preview_pairs(*pairs, spec, paths[1], title)
