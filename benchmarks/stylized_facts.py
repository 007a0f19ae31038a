"""How far the stylized facts of samples of a series are from real ones, in sampling errors of as many real windows.

    python benchmarks/stylized_facts.py RUN [--samples 30000] [--out results/stylized_facts.json]

Of data=stochastic_volatility the facts are those of its formula in closed form, and the errors are deviations over sets
of as many windows as the test split has, drawn afresh from the formula. Of a series in a file, such as data=sp500, the
facts are those of the test split, and the errors are deviations over all stretches of as many windows that the series
has, one after the other: a bootstrap of few windows knows nothing of the years that are not among them. Training and
test windows stand beside the samples.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import genlab
from genlab.command.build import build_datamodule
from genlab.command.config import read_trained
from genlab.core.stylized_facts import WindowFacts
from genlab.data.base import GenlabDataModule
from genlab.data.stochastic_volatility import StochasticVolatility, draw_returns
from genlab.runs.code import code_version
from genlab.runs.finding import find_run

BATCH = 5_000
Facts = dict[str, Tensor]


def facts_of(windows: Tensor) -> Facts:
    """Return the autocorrelation of squares ``[K]`` and the kurtosis of windows ``[N, 1, T]``."""
    facts = WindowFacts(windows).compute()
    return {"autocorrelation_squared": facts["autocorrelation_squared"][0, 0], "kurtosis": facts["kurtosis"].squeeze()}


def of_a_formula(data: StochasticVolatility, count: int, draws: int) -> tuple[Facts, list[Facts]]:
    """Return the facts of the formula, and those of sets of windows that are drawn from it."""
    random = np.random.RandomState(1_000)
    sets = [torch.from_numpy(draw_returns(count, data.length, random))[:, None] for _ in range(draws)]
    return data.true_facts(), [facts_of(windows) for windows in sets]


def of_a_file(data: GenlabDataModule, count: int) -> tuple[Facts, list[Facts]]:
    """Return the facts of the test split, and those of all stretches of as many windows, which do not overlap.

    Training windows are those of ``data.stride=1``.
    """
    train, validation, test = (data.tensors(split).x for split in ("train", "validation", "test"))
    windows = torch.cat([train[:: train.shape[-1]], validation, test])
    return facts_of(test), [facts_of(stretch) for stretch in windows.split(count) if len(stretch) == count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--draws", type=int, default=200, help="sets of windows that are drawn from a formula")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model = genlab.load_run(arguments.run)
    data = build_datamodule(read_trained(find_run(arguments.run)))
    sizes = [min(BATCH, arguments.samples - begun) for begun in range(0, arguments.samples, BATCH)]
    drawn = [model.sample(size, generator=torch.Generator().manual_seed(seed)) for seed, size in enumerate(sizes)]
    sets = {"samples": torch.cat(drawn), "test": data.tensors("test").x, "training": data.tensors("train").x}
    count = len(sets["test"])
    is_formula = isinstance(data, StochasticVolatility)
    real, others = of_a_formula(data, count, arguments.draws) if is_formula else of_a_file(data, count)
    errors = {name: torch.stack([facts[name] for facts in others]).std(0) for name in others[0]}
    report = {
        "command": f"python benchmarks/stylized_facts.py RUN --samples {arguments.samples} --draws {arguments.draws}",
        "code_version": code_version(),
        "run": f"{model.name} on {model.spec.name}",
        "against": "the formula" if is_formula else "the test split",
        "windows_of_an_error": count,
        "sets_of_an_error": len(others),
        "real": {name: real[name].tolist() for name in errors},
        "error": {name: error.tolist() for name, error in errors.items()},
        "errors_above_real": {
            of: {name: ((fact - real[name]) / errors[name]).tolist() for name, fact in facts_of(windows).items()}
            for of, windows in sets.items()
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
