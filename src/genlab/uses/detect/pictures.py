"""Pictures of scores: how they are distributed over both sets."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from genlab.runs.atomic import atomic_file
from genlab.uses.detect.detect import Found

__all__ = ["draw_scores"]

IN_A_ROW = 3
BINS = (20, 60)
"""Least and most bars, the more the more examples there are."""
CUT = (0.005, 0.995)
"""Quantiles between which scores are drawn: a few far away would leave no room for the others."""


def draw_scores(found: Mapping[str, Found], names: tuple[str, str], path: Path, title: str) -> None:
    """Draw a histogram of each score, of both sets, as PNG.

    Args:
        found: By name of the score.
        names: Of one's own data and of the other set.
        path: The file; its folder must exist.
        title: Says which run.
    """
    # The object interface: pyplot would look for a display and keep the figure alive.
    from matplotlib.figure import Figure

    across = min(IN_A_ROW, len(found))
    rows = -(-len(found) // across)
    figure = Figure(figsize=(4.0 * across, 2.7 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False).flatten()
    for axes, (name, one) in zip(panels, found.items(), strict=False):
        sets = [part.numpy() for part in (one.own, one.other)]
        finite = np.concatenate([part[np.isfinite(part)] for part in sets])
        low, high = np.quantile(finite, CUT) if len(finite) else (0.0, 1.0)
        bins = int(np.clip(np.sqrt(len(finite)), *BINS))
        edges = np.linspace(low, high if high > low else low + 1, bins + 1)
        for values, label, colour in zip(sets, names, ("tab:blue", "tab:orange"), strict=True):
            shares = np.full(len(values), 1 / len(values))
            axes.hist(values.clip(edges[0], edges[-1]), edges, weights=shares, alpha=0.55, color=colour, label=label)
        separation = one.separation
        axes.set_title(f"{name}: AUROC {separation.auroc:.3f} ± {separation.auroc_se:.3f}", fontsize=9)
        axes.set_xlabel("score: to the right unusual", fontsize=8)
        axes.set_ylabel("share of examples", fontsize=8)
        axes.tick_params(labelsize=7)
    panels[0].legend(fontsize=7)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    figure.suptitle(textwrap.fill(title, 52 * across), fontsize=8)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Title": title})
