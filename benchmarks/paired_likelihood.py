"""How much more probable one run makes the test split than others do, with the error of the differences row by row.

    python benchmarks/paired_likelihood.py RUN OTHER [OTHER ...] [--split test] [--out results/paired_likelihood.json]

Two means over the same examples share what makes some examples hard, so that the error of their difference is that of
the examples' own differences, and not of the two means. All runs must have one kind of likelihood, over one data set.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import genlab
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.runs.code import code_version
from genlab.runs.finding import find_run

BATCH = 500


def mean_and_error(values: Tensor) -> dict[str, float]:
    """Return the mean of values ``[N]`` and its standard error."""
    return {"mean": values.mean().item(), "se": (values.std() / len(values) ** 0.5).item()}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("others", nargs="+")
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    batch = build_datamodule(read_trained(find_run(arguments.run))).tensors(arguments.split)
    models, nats = [], []
    for run in (arguments.run, *arguments.others):
        model = genlab.load_run(run).eval()
        parts = [batch.rows(slice(begun, begun + BATCH)) for begun in range(0, len(batch.x), BATCH)]
        log_probs = [model.log_prob(part.x, part.y if model.conditional else None) for part in parts]
        nats.append(-torch.cat(log_probs).double())
        models.append(model)
    first = models[0]
    for model in models[1:]:
        same = (model.spec, model.likelihood_kind(1), model.conditional)
        if same != (first.spec, first.likelihood_kind(1), first.conditional):
            parser.error(f"{model.name} on {model.spec.name} has another likelihood than {first.name}: none compares.")
    report = {
        "command": f"python benchmarks/paired_likelihood.py RUN OTHER ... --split {arguments.split}",
        "code_version": code_version(),
        "data": first.spec.name,
        "examples": len(batch.x),
        "likelihood": first.likelihood_kind(1),
        "run": {"model": f"{first.name} ({first.variant})", "nats": mean_and_error(nats[0])},
        "others": [
            {
                "model": f"{model.name} ({model.variant})",
                "nats": mean_and_error(own),
                "nats_above_the_run": mean_and_error(own - nats[0]),
            }
            for model, own in zip(models[1:], nats[1:], strict=True)
        ],
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
