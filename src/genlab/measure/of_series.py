"""How the figures of samples of series are measured: how far their stylized facts are from the data's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from genlab.core.stylized_facts import FACTS, WindowFacts, gaps, resampled
from genlab.measure.case import Case
from genlab.measure.metrics.rows import MetricError

__all__ = ["RESAMPLES", "stylized_facts"]

RESAMPLES = 200
"""Bootstrap resamples of windows, of which the errors are."""


def stylized_facts(case: Case) -> Mapping[str, Any]:
    """Return how far the stylized facts of the samples are from those of the data, and how sure that is.

    Beside each gap stand its standard error and what it is by chance alone, both by a bootstrap of whole windows:
    Efron (1979); windows are taken as independent. By chance, the gap is that between two sets of real windows, drawn
    with replacement: one of as many as there are samples, one of as many as there are real windows.

    Raises:
        MetricError: If a value is not finite, or a column never changes.
    """
    real_windows, fake_windows = case.reference.examples.x.cpu(), case.samples.x.cpu()
    for name, x in (("real", real_windows), ("generated", fake_windows)):
        if broken := int((~x.isfinite()).flatten(1).any(1).sum()):
            raise MetricError(f"{broken} of {len(x)} {name} windows have values that are not finite.")
        if bool((x.amax((0, 2)) == x.amin((0, 2))).any()):
            raise MetricError(f"A column of the {name} windows never changes, so that it has no stylized facts.")
    real, fake = WindowFacts(real_windows), WindowFacts(fake_windows)
    noise = torch.Generator().manual_seed(0)
    real_again, other_real = (
        real.compute(resampled(real.count, n, RESAMPLES, noise)) for n in (real.count, fake.count)
    )
    fake_again = fake.compute(resampled(fake.count, fake.count, RESAMPLES, noise))
    found, true = fake.compute(), real.compute()
    gap, errors, chance = gaps(found, true), gaps(fake_again, real_again), gaps(other_real, real_again)
    figures = {}
    for name in FACTS:
        figures[f"{name}_gap"] = float(gap[name])
        figures[f"{name}_gap_se"] = float(errors[name].std())
        figures[f"{name}_gap_chance"] = float(chance[name].mean())
    for name in ("kurtosis", "tail_index"):
        figures |= {name: float(found[name].mean()), f"{name}_real": float(true[name].mean())}
    return figures
