"""The pictures of a search: what is on the front is seen, and what its line says is true."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from optuna.trial import create_trial

from genlab.sweeps import study_plots
from genlab.sweeps.objectives import Objective

FID, NFE, RECALL = Objective("val/fid"), Objective("sampling.nfe"), Objective("val/recall", True)


def pareto(values: Sequence[Sequence[float]], objectives: Sequence[Objective], monkeypatch: pytest.MonkeyPatch) -> Axes:
    drawn: list[Axes] = []
    monkeypatch.setattr(study_plots, "_save", lambda figure, path, title: drawn.extend(figure.axes))
    study_plots.draw_pareto(Path("x.png"), [create_trial(values=list(each)) for each in values], objectives, "")
    return drawn[0]


def test_a_cheap_trial_on_the_front_is_seen_however_bad_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    front = [(5, 100), (6, 50), (7, 20), (60, 1)]
    axes = pareto([*front, (900, 90)], [FID, NFE], monkeypatch)
    low, high = axes.get_ylim()
    assert all(low < fid < high for fid, _ in front)
    assert high < 900
    assert "beaten, off the scale" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(("second", "style"), [(NFE, "steps-post"), (RECALL, "steps-pre")])
def test_the_front_promises_no_more_than_its_trials(
    second: Objective, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [(5, 0.2), (20, 0.6)] if second.maximize else [(5, 100), (20, 10)]
    (line,) = pareto(values, [FID, second], monkeypatch).get_lines()
    assert line.get_drawstyle() == style
