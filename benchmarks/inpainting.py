"""How near the lower halves that models give to pictures are to those of an exact conditional, and what they cost.

    python benchmarks/inpainting.py RUN [RUN ...] --exact RUN [--out results/inpainting_digits.json]

The upper half of test pictures is given, and each is completed several times. The energy distance is to the completions
of the run behind ``--exact``, an autoregressive one such as a PixelCNN, which are draws from its own conditional
distribution. Beside it stand two lines: that of two draws of the exact ones, which is chance alone, and that of lower
halves of training pictures taken at random, which know nothing of what is given. The energy score is against what there
really was, and rests on no model. Values that were given are compared with those that came back. The seconds are of
batches of up to 250 pictures, after a first completion that is not timed. Beside ``--out`` lies a picture of the same
name: the same pictures completed once by each run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import genlab
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.errors import GenlabError
from genlab.core.randomness import Stream, generator, some_of
from genlab.core.spec import DataSpec
from genlab.measure.results import read_result
from genlab.modalities import modality_of
from genlab.modalities.image import rows_grid
from genlab.models.base import GenerativeModel
from genlab.runs.atomic import atomic_file
from genlab.runs.finding import find_run
from genlab.uses.catalogue import require
from genlab.uses.inpaint import Completions, Estimate, inpaint, score_completions
from genlab.uses.masks import mask_of

SHOWN = 8
"""Pictures in the picture."""
CLOSENESS = ("energy_distance", "energy_score")
RANDOM = Inpainting(False, "the lower half of a training picture taken at random")


@dataclass(frozen=True)
class Task:
    """What is filled in: pictures, which of their values are given, and how often."""

    spec: DataSpec
    training: Tensor
    examples: Batch
    given: Tensor
    each: int


def load(run: str) -> GenerativeModel:
    """Load a run that completes pictures."""
    model = genlab.load_run(run)
    require("inpaint", model)
    if model.spec.modality != "image":
        raise GenlabError(f"{run} is a run on {model.spec.name}, expected one on pictures.")
    return model


def set_task(exact: str, model: GenerativeModel, examples: int, each: int) -> Task:
    """Take test pictures of the exact run's data, by chance but always the same."""
    data = build_datamodule(read_trained(find_run(exact)))
    test = data.tensors("test")
    rows = some_of(torch.arange(len(test.x)), examples)
    task = Task(data.spec, data.tensors("train").x, test.rows(rows), mask_of("half", data.spec, len(rows)), each)
    if not (kind := model.inpainting(task.given)).is_exact:
        raise GenlabError(f"{exact} is no measure, {kind}. Give an autoregressive model to --exact.")
    return task


def complete(model: GenerativeModel, task: Task) -> tuple[Completions, dict[str, Any]]:
    """Complete the pictures, and return with that what it cost and how many of the given values came back changed."""
    inpaint(model, task.examples.rows(slice(1)), task.given[:1])
    started, started_cpu = time.perf_counter(), time.process_time()
    found = inpaint(model, task.examples, task.given, task.each)
    seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    count = task.each * len(task.given)
    return found, {
        "is_exact": found.kind.is_exact,
        "method": found.kind.method,
        "is_told_labels": model.conditional,
        "seconds_per_completion": seconds / count,
        "cpu_seconds_per_completion": cpu / count,
        "given_values": task.each * int(task.given.sum()),
        "given_values_changed": int((found.drawn != found.x)[:, task.given].sum()),
    }


def taken_at_random(task: Task) -> Completions:
    """Complete the pictures by the lower halves of training pictures, whatever the upper ones are."""
    shape = (task.each, len(task.given))
    rows = torch.randint(len(task.training), shape, generator=generator(Stream.SAMPLES, 0))
    drawn = torch.where(task.given, task.examples.x, task.training[rows])
    return Completions(task.examples.x, task.given, drawn, RANDOM)


def closeness(found: Completions, exact: tuple[Completions, Completions], task: Task) -> dict[str, float]:
    """Return the figures of completions, each with its standard error over pictures."""
    scores = score_completions(found, task.spec, task.training, exact)
    means = {name: scores[name].mean for name in CLOSENESS}
    return means | {f"{name}_se": scores[name].error for name in CLOSENESS}


def trained(run: str) -> dict[str, Any]:
    """Return what a run's first result says: what it is, how it was trained and how good it is."""
    place = find_run(run)
    result = read_result(min(place.results.glob("*.json"), default=place.results / "quick.json"))
    words = [word for word in result.command.split() if not word.startswith("paths.")]
    likelihood = result.likelihood
    return {
        "run": place.id,
        "model": result.model.name,
        "variant": result.model.variant,
        "trained_by": " ".join(words),
        "train_seconds": result.training.wall_seconds,
        "bits_per_dim": None if likelihood is None else likelihood.bits_per_dim,
        "likelihood_kind": None if likelihood is None else likelihood.kind,
    }


def draw(found: Mapping[str, Completions], spec: DataSpec, path: Path, title: str) -> None:
    """Save a picture: the originals, the half that is given, and below them a row for each run, named beside it."""
    # The object interface: pyplot would look for a display.
    from matplotlib.figure import Figure

    first = next(iter(found.values()))
    rows = {"original": first.x, "given": first.x.where(first.given, modality_of(spec).blank(spec))}
    rows |= {name: one.drawn[0] for name, one in found.items()}
    grid = rows_grid([x[:SHOWN] for x in rows.values()], spec.levels, SHOWN)
    height = first.x.shape[-2]
    pixel = grid.shape[0] / (len(rows) * (height + 1) + 1)  # one lies between two pictures, and at either end
    middles = [pixel * (number * (height + 1) + 1 + height // 2) - 0.5 for number in range(len(rows))]
    figure = Figure(figsize=(0.75 * min(SHOWN, len(first.x)) + 2.2, 0.72 * len(rows) + 0.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid.repeat(3 // grid.shape[2], axis=2), interpolation="nearest")
    axes.set_yticks(middles, list(rows), parse_math=False)
    axes.set_xticks([])
    axes.tick_params(length=0, labelsize=9)
    for middle in middles[1:]:
        axes.axhline(middle, color="tab:orange", linewidth=1)
    axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})


def show(lines: Mapping[str, Mapping[str, float]], rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print the table: the two lines, and below them the runs."""
    table = Table(title=title)
    for heading in ("model", "energy distance", "energy score", "s each", "changed"):
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=True)
    table.add_column("how", overflow="fold")
    for name, line in lines.items():
        table.add_row("-", *_figures(line), "", "", name)
    table.add_section()
    for row in rows:
        seconds, changed = (
            f"{row['seconds_per_completion']:.2g}",
            f"{row['given_values_changed']} of {row['given_values']:,}",
        )
        how = str(Inpainting(row["is_exact"], row["method"]))
        table.add_row(row["model"], *_figures(row), seconds, changed, how)
    Console().print(table)


def _figures(row: Mapping[str, float]) -> list[str]:
    return [str(Estimate(row[name], row[f"{name}_se"])) for name in CLOSENESS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--exact", required=True, metavar="RUN", help="whose completions are the measure")
    parser.add_argument("--examples", type=int, default=100, help="test pictures")
    parser.add_argument("--each", type=int, default=8, help="completions of each, at least 2")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    try:
        result = measure(arguments.runs, arguments.exact, arguments.examples, arguments.each, arguments.out)
    except GenlabError as error:
        parser.error(str(error))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


def _kind(spec: DataSpec) -> tuple[Any, ...]:
    return spec.name, spec.shape, spec.levels


def measure(runs: Sequence[str], exact: str, examples: int, each: int, out: Path | None) -> dict[str, Any]:
    """Measure all runs, show the table and draw the picture."""
    if each < 2 or examples < 2:
        raise GenlabError("Distances and their errors need at least 2 pictures and 2 completions of each.")
    about = {run: trained(run) for run in (exact, *runs)}  # before the work, not after it
    model, models = load(exact), {run: load(run) for run in runs}
    task = set_task(exact, model, examples, each)
    for run, other in models.items():
        if _kind(other.spec) != _kind(task.spec):
            raise GenlabError(f"{run} is a run on {other.spec.name}, expected one on {task.spec.name}, as --exact.")
    # Other seeds than the runs' completions, among which may be the same model's.
    first, second = (inpaint(model, task.examples, task.given, each, seed) for seed in (1, 2))
    lines = {
        "two draws of the exact one: chance": closeness(second, (first, second), task),
        "halves of training pictures at random": closeness(taken_at_random(task), (first, second), task),
    }
    rows, found = [], {}
    for run in runs:
        completions, cost = complete(models[run], task)
        rows.append({**about[run], **cost, **closeness(completions, (first, second), task)})
        name = about[run]["model"]
        found[name if name not in found else f"{name} {about[run]['run']}"] = completions
        print(json.dumps(rows[-1]), flush=True)
    show(lines, rows, f"Lower halves of {len(task.given)} test pictures of {task.spec.name}, {each} completions each")
    if out:
        title = f"{task.spec.name}, test: above the line what is given, below it one completion by each"
        draw(found, task.spec, out.with_suffix(".png"), title)
    chance, at_random = lines.values()
    return {
        "command": f"python benchmarks/inpainting.py {' '.join(about[run]['run'] for run in runs)}"
        f" --exact {about[exact]['run']} --examples {examples} --each {each}",
        **{"data": task.spec.name, "split": "test", "mask": "half", "examples": len(task.given), "each": each},
        "exact": {**about[exact], "method": model.inpainting(task.given).method, "is_told_labels": model.conditional},
        "chance": chance,
        "at_random": at_random,
        "rows": rows,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
