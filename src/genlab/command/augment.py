"""Say whether the samples of a run make a classifier better."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig

from genlab.command.config import check_config
from genlab.command.schemas import AugmentConfig
from genlab.command.used_run import UsedRun
from genlab.core.errors import GenlabError
from genlab.core.memory import check_examples_fit
from genlab.core.timetable import Timetable
from genlab.modalities import modality_of
from genlab.processes.display import Display
from genlab.uses.augment import KINDS, Accuracies, Interval, accuracies, learner_of, require_labels

__all__ = ["run"]

_VERDICTS = {
    1: "The synthetic examples help",
    0: "No difference beyond chance",
    -1: "The synthetic examples harm",
}


GUESS = "the most frequent class"


def run(config: DictConfig) -> Path:
    """Train classifiers on a part of a run's training data, on its samples and on both, and compare them on test data.

    Args:
        config: The composed config.

    Returns:
        The JSON file with the accuracies.
    """
    settings = check_config(config, AugmentConfig)
    used = UsedRun.load("augment", settings, "scripts/augment.py")
    model, spec = used.model, used.model.spec
    learner = learner_of(spec)  # what no label would help comes first
    if spec.num_classes is None:
        raise GenlabError(f"augment needs labels, and {spec.name} has none.")
    require_labels(model)
    check_examples_fit("n", settings.n, spec.num_dims, "samples", modality_of(spec).dtype(spec).itemsize)
    last = "_last" if settings.checkpoint == "last" else ""
    name = f"augment_f{settings.fraction:g}_n{settings.n}_seeds{settings.seeds}{last}"
    path = used.place_for(settings.out, name, (".json",))
    datamodule = used.datamodule()
    train, test = datamodule.tensors("train"), datamodule.tensors("test")
    timetable = Timetable()
    with Display(timetable), timetable.phase("classifiers", len(KINDS) * settings.seeds, counts=True):
        found = accuracies(
            model, train, test, learner,
            fraction=settings.fraction, n=settings.n, seeds=settings.seeds, done=lambda: timetable.advance(1),
        )  # fmt: skip
    own = {key: getattr(settings, key) for key in ("checkpoint", "fraction", "n", "seeds")}
    measured = {
        "accuracies": found.of_seeds,
        "mean": {kind: asdict(found.interval(kind)) for kind in KINDS},
        "gain": asdict(found.gain),
        "synthetic_less_real": asdict(found.gap),
        "most_frequent_class": found.guess,
        "real_examples": found.real,
        "model_saw": len(train.x),
    }
    record = used.record(path, own, measured)
    _say(found, len(train.x), len(test.x), settings.seeds, spec.name)
    print(f"Saved: {record}")
    return record


def _say(found: Accuracies, seen: int, tested: int, seeds: int, name: str) -> None:
    counts = {
        "real": f"{found.real:,} real",
        "synthetic": f"{found.synthetic:,} synthetic",
        "both": f"{found.real:,} real and {found.synthetic:,} synthetic",
    }
    width = max(map(len, (*counts.values(), GUESS)))
    print(f"Accuracy on {tested:,} test examples of {name}, mean of {seeds} seeds and its 95 % interval:")
    for kind in KINDS:
        print(f"  {counts[kind]:{width}}  {_percent(found.interval(kind))}")
    print(f"  {GUESS:{width}}  {100 * found.guess:.2f}")
    gain = found.gain
    print(f"{_VERDICTS[gain.sign]}: both less real is {_percent(gain, '+')} points.")
    print(f"Trained on synthetic, tested on real: less real is {_percent(found.gap, '+')} points.")
    if found.real < seen:
        print(f"The model learned from all {seen:,} training examples, of which a classifier saw {found.real:,}.")


def _percent(interval: Interval, sign: str = "") -> str:
    low, high = (100 * (interval.mean + side * interval.half_width) for side in (-1, 1))
    return f"{100 * interval.mean:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"
