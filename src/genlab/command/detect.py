"""Score how unusual examples are for a trained run, and say how well that tells another data set from its own."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from genlab.command.build import build_datamodule
from genlab.command.config import check_config
from genlab.command.load import load_run
from genlab.command.schemas import DetectConfig, OtherDataConfig
from genlab.command.used_run import UsedRun
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, nearest, shown
from genlab.core.randomness import some_of
from genlab.core.spec import DataSpec
from genlab.core.timetable import Timetable
from genlab.core.words import counted
from genlab.data.base import GenlabDataModule, Split
from genlab.measure.case import Instruments
from genlab.measure.features.cache import FeatureCache, MemoryCache
from genlab.measure.features.choice import choose_extractor
from genlab.modalities import modality_of
from genlab.modalities.base import Places
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.runs.atomic import write_atomic
from genlab.runs.finding import find_run
from genlab.uses.detect.compression import compressed_bits
from genlab.uses.detect.detect import FLIPS, Detection, check_alike, choose_scores, detect, flipped
from genlab.uses.detect.evidence import Evidence, Examples
from genlab.uses.detect.pictures import draw_scores
from genlab.uses.detect.scores import SCORES
from genlab.uses.foreign import read_samples

__all__ = ["run"]

UNUSUAL = 16
"""Most unusual examples in a picture, by each score."""
ENDINGS = (".json", "_scores.csv", "_histograms.png", "_unusual.png")
"""Of the files that are written."""


def run(config: DictConfig) -> Path:
    """Score examples of a run's own data and of ``config.against``, and write the scores, what they tell, and pictures.

    Args:
        config: The composed config.

    Returns:
        The JSON file.
    """
    settings = check_config(config, DetectConfig)
    used = UsedRun.load("detect", settings, "scripts/detect.py")
    model, spec = used.model, used.model.spec
    data = used.datamodule()
    background = _background(settings, spec, model.device)
    sets = _sets(data, settings)
    if (fewest := min(len(sets.own.x), len(sets.other.x))) < 2:
        raise GenlabError(
            f"A set has {counted(fewest, 'example')}, expected at least 2 of {spec.name} and {sets.name}."
        )
    path = used.place_for(settings.out, _name(settings, sets.name), ENDINGS)
    timetable, training = Timetable(), data.tensors("train")
    rows = some_of(torch.arange(len(training.x)), settings.n)
    evidence = Evidence(
        model,
        Examples("training", training.rows(rows), 2),
        training,
        max(len(sets.own.x), len(sets.other.x), len(rows)),
        _instruments(data, training),
        background,
        settings.draws,
        settings.seed,
        timetable,
    )
    choose_scores(evidence, settings.scores)  # before the work, not after it
    with Display(timetable):
        found = detect(sets.own, sets.other, evidence, settings.scores)
    _write(path, used, sets, found)
    return used.record(path, _own(settings), _figures(sets, found, background))


def _name(settings: DetectConfig, other: str) -> str:
    """Return the name of what is written, by the settings that it depends on."""
    parts = ["detect", settings.split, other, f"n{settings.n}"]
    parts += [f"draws{settings.draws}"] if settings.draws > 1 else []
    parts += [f"s{settings.seed}"] if settings.seed else []
    parts += [find_run(settings.background, settings.paths.logs).id] if settings.background is not None else []
    parts += ["last"] if settings.checkpoint == "last" else []
    return "_".join([*parts, *(name for name in settings.scores or () if name in SCORES)])


def _instruments(data: GenlabDataModule, training: Batch) -> Instruments:
    """Return the features by which the samples of a data set are judged, and where evaluations keep them."""
    folder = data.cache_folder()
    cache = MemoryCache() if folder is None else FeatureCache(folder)
    return Instruments(choose_extractor(data.spec, lambda: training.x), cache)


class _Sets(NamedTuple):
    """Examples of one's own data and of the other set, with their places in their splits."""

    name: str
    own: Batch
    other: Batch
    own_rows: Tensor
    other_rows: Tensor


def _sets(data: GenlabDataModule, settings: DetectConfig) -> _Sets:
    """Choose the examples; where both are of one set, none is in both: standard errors are of independent ones."""
    against, spec, own = settings.against, data.spec, data.tensors(settings.split)
    name, other = (against, None) if against in FLIPS else _other(against, data, settings.split)
    if other is not None and name != spec.name:
        rows, others = (some_of(torch.arange(len(batch.x)), settings.n) for batch in (own, other))
        return _Sets(name, own.rows(rows), other.rows(others), rows, others)
    both = some_of(torch.arange(len(own.x)), min(2 * settings.n, len(own.x)))
    rows, others = both[: len(both) // 2], both[len(both) // 2 :]
    other = own.rows(others)
    other = flipped(other, against, spec) if against in FLIPS else other
    return _Sets(against, own.rows(rows), other, rows, others)


def _other(against: str, own: GenlabDataModule, split: Split) -> tuple[str, Batch]:
    """Return the name and the examples of a data set, with the settings of its config, or of a file of examples."""
    spec = own.spec
    known = GlobalHydra.instance().config_loader().get_group_options("data")
    if against in known:
        data = _other_data(against)
        check_alike(spec, data.spec)
        return data.spec.name, data.tensors(split)
    if not os.path.exists(against):
        near = nearest(against, [*known, *FLIPS])
        raise GenlabError(
            f"against is '{shown(against)}', expected a data set, {', '.join(FLIPS)}, or a file or folder.{near}"
        )
    path = Path(against)
    return re.sub(r"[^A-Za-z0-9]+", "_", path.resolve().stem)[:40], _of_file(path, own)


def _of_file(path: Path, own: GenlabDataModule) -> Batch:
    if not own.spec.has_mask:
        try:
            return read_samples(path, own.spec)
        except GenlabError as error:
            raise GenlabError(f"against: {error}") from error
    found = own.examples_of(path)
    if found is None:
        raise GenlabError(
            f"against is {shown(path)}, but examples of {own.spec.name} differ in length, which such files do not say. "
            "Give a data set."
        )
    return found


def _other_data(name: str) -> GenlabDataModule:
    config = compose("detect", [f"+data={name}", "run=none", f"against={name}"])
    part = OmegaConf.create({"data": OmegaConf.to_container(config.data, resolve=False), "seed": 0})
    try:
        return build_datamodule(check_config(part, OtherDataConfig))
    except GenlabError as error:
        reason = str(error).splitlines()[0]
        raise GenlabError(
            f"against is {name}: {reason}\nGive examples of one's own as a file or folder: against=<file>."
        ) from error


def _background(settings: DetectConfig, spec: DataSpec, device: torch.device) -> GenerativeModel | None:
    if settings.background is None:
        return None
    background = load_run(settings.background, "best", device, settings.paths.logs)
    check_alike(spec, background.spec, "The data of background")
    return background


def _own(settings: DetectConfig) -> dict[str, Any]:
    keys = ("checkpoint", "against", "scores", "split", "n", "draws", "seed")
    own = {key: getattr(settings, key) for key in keys}
    if settings.background is None:
        return own | {"background": None}
    return own | {"background": find_run(settings.background, settings.paths.logs).given}


def _figures(sets: _Sets, found: Detection, background: GenerativeModel | None) -> dict[str, Any]:
    scores = {
        name: {
            **dataclasses.asdict(one.separation),
            "mean_own": float(one.own.mean()),
            "mean_other": float(one.other.mean()),
            "rests_on": one.settings,
        }
        for name, one in found.found.items()
    }
    told = background is not None and background.spec.name == sets.name
    return {
        "other": sets.name,
        "own_examples": len(sets.own_rows),
        "other_examples": len(sets.other_rows),
        "scores": scores,
        "missing": found.missing,
        "told_by_the_other_set": ["likelihood_ratio"] if told else [],
    }


def _write(path: Path, used: UsedRun, sets: _Sets, found: Detection) -> None:
    spec = used.model.spec
    write_atomic(path.with_name(f"{path.name}_scores.csv"), _table(spec, sets, found))
    pictures, files = [], []
    if found.found:
        names = (f"{spec.name} (its own)", sets.name)
        draw_scores(found.found, names, path.with_name(f"{path.name}_histograms.png"), used.title)
        most = min(UNUSUAL, modality_of(spec).most_shown or UNUSUAL)
        unusual = {name: sets.own.x[one.own.argsort(descending=True)[:most]] for name, one in found.found.items()}
        picture = path.with_name(f"{path.name}_unusual.png")
        ranks = Places("rank", [str(rank) for rank in range(1, len(next(iter(unusual.values()))) + 1)])
        drawn = modality_of(spec).preview_rows(unusual, spec, picture, f"{used.title}: most unusual of its own", ranks)
        files = modality_of(spec).write(next(iter(unusual.values())), spec, path.with_name(f"{path.name}_unusual"))
        pictures = ["_histograms.png", *(["_unusual.png"] if drawn else [])]
    saved = used.saved(path, [".json"], ["_scores.csv"], pictures, files)
    rows = [f"Rows of _unusual.png from above: {', '.join(found.found)}."] if len(pictures) == 2 else []
    print("\n".join([*_said(spec, sets, found), *rows, saved]))


def _said(spec: DataSpec, sets: _Sets, found: Detection) -> list[str]:
    counts = f"{counted(len(sets.own_rows), 'example')} of {spec.name} and {len(sets.other_rows):,} of {sets.name}"
    lines = [f"Scored {counts}. High scores are unusual; 0.5 is chance.", ""]
    lines.append(f"{'score':18}{'AUROC':>16}{'average precision':>20}{'FPR at 95 % TPR':>18}")
    for name, one in found.found.items():
        s = one.separation
        cells = (
            f"{s.auroc:.3f} ± {s.auroc_se:.3f}", f"{s.average_precision:.3f} ± {s.average_precision_se:.3f}",
            f"{s.fpr_at_95:.3f} ± {s.fpr_at_95_se:.3f}",
        )  # fmt: skip
        lines.append(f"{name:18}{cells[0]:>16}{cells[1]:>20}{cells[2]:>18}")
    lines += [f"No {name}: {reason}." for name, reason in found.missing.items()]
    return lines


def _table(spec: DataSpec, sets: _Sets, found: Detection) -> str:
    """Return as CSV each example's set, place in the split, label, scores and compressed bits."""
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    extra = ["compressed_bits"] if "complexity" in found.found else []
    writer.writerow(["set", "example", "label", *found.found, *extra])
    parts = ((spec.name, sets.own, sets.own_rows, "own"), (sets.name, sets.other, sets.other_rows, "other"))
    for name, batch, rows, which in parts:
        columns = [rows.tolist(), [""] * len(rows) if batch.y is None else batch.y.tolist()]
        columns += [[f"{value:.9g}" for value in getattr(one, which).tolist()] for one in found.found.values()]
        columns += [compressed_bits(batch.x, spec, batch.mask).long().tolist() for _ in extra]
        writer.writerows([name, *row] for row in zip(*columns, strict=True))
    return content.getvalue()
