"""FID of a trained diffusion model's samples by each sampler, against 1000 steps of ancestral sampling.

    python benchmarks/samplers.py RUN [--samples 1000] [--repeats 3] [--out results/samplers.json]
    python benchmarks/samplers.py RUN --samplers heun-50 [--out results/samplers_heun_50.json]

All samplers draw equally many images from the same weights, so that the bias of the FID is the same, which falls with
the number of images. Repeats with other noise say how much chance is in a figure; the slow sampler is not repeated.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch

import genlab
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.core.batch import Batch
from genlab.core.randomness import Stream, generator
from genlab.data.base import GenlabDataModule
from genlab.measure.case import Instruments
from genlab.measure.features.choice import choose_extractor
from genlab.measure.measuring import reference_of
from genlab.measure.quality import measure_quality
from genlab.models.diffusion import Diffusion
from genlab.runs.finding import find_run

BATCH = 250
REFERENCE = "ddpm-1000"
SAMPLERS = ("heun-18", "stochastic_heun-18", "dpm_solver_2m-18", "ddim-35", REFERENCE)


def measure(model: Diffusion, data: GenlabDataModule, sampler: str, count: int, seed: int) -> dict[str, Any]:
    """Draw so many images and return their FID against the test split, and what an image costs."""
    name, _, steps = sampler.rpartition("-")
    model.sampler, model.steps = name, int(steps)
    started = time.perf_counter()
    drawn = []
    for start in range(0, count, BATCH):
        noise = generator(Stream.SAMPLES, seed, start)
        drawn.append(model.sample(min(BATCH, count - start), generator=noise))
    milliseconds = 1000 * (time.perf_counter() - started) / count
    instruments = Instruments(choose_extractor(data.spec, lambda: data.tensors("train").x))
    quality = measure_quality(Batch(torch.cat(drawn)), reference_of(data, "test"), instruments)
    assert quality.figures is not None
    figures = {name: quality.figures[name] for name in ("fid", "recall", "class_total_variation")}
    return {"nfe": model.nfe, "ms_per_sample": milliseconds, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=1000, help="of each sampler, at least 100")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, help="each with its steps, such as heun-18")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = genlab.load_run(arguments.run)
    assert isinstance(model, Diffusion), f"{arguments.run} is no diffusion model"
    data = build_datamodule(read_trained(find_run(arguments.run)))
    rows: dict[str, Any] = {}
    for sampler in arguments.samplers:
        repeats = 1 if sampler == REFERENCE else arguments.repeats
        found = [measure(model, data, sampler, arguments.samples, seed) for seed in range(repeats)]
        fids = [row.pop("fid") for row in found]
        rows[sampler] = {
            "fid": statistics.fmean(fids),
            "fid_of_each": fids,
            **{key: statistics.fmean(row[key] for row in found) for key in found[0]},
        }
        print(json.dumps(rows), flush=True)
    result = {
        "command": f"python benchmarks/samplers.py RUN --samples {arguments.samples} --repeats {arguments.repeats}"
        f" --samplers {' '.join(arguments.samplers)}",
        "run": find_run(arguments.run).id,
        "samples": arguments.samples,
        "samplers": rows,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    if REFERENCE in rows:
        reference = rows[REFERENCE]["fid"]
        result["fid_relative_to_ancestral"] = {name: row["fid"] / reference for name, row in rows.items()}
    print(json.dumps(result, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
