"""A search as pictures: how it went on, which parameters mattered, and what quality costs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import optuna
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from genlab.sweeps.objectives import Objective
from genlab.sweeps.study_tables import best_first, complete, short_names, trials_on_front

__all__ = ["draw_history", "draw_importance", "draw_pareto"]

BLUE, ORANGE, GRAY, RED = "#4c72b0", "#dd8452", "#999999", "#c44e52"
FEWEST_FOR_IMPORTANCE = 4
MOST_PANELS = 8
"""Parameters whose values are drawn, the most important first."""


def draw_history(path: Path, trials: Sequence[FrozenTrial], objective: Objective, title: str) -> None:
    """Draw the objective of each trial in their order, the best so far, and where trials were pruned or failed.

    Args:
        path: The PNG file.
        trials: All trials.
        objective: What is drawn, the first objective of them.
        title: Says which study.
    """
    figure, axes = _figure(7, 4)
    done = complete(trials)
    numbers, values = [trial.number for trial in done], [trial.values[0] for trial in done]
    shown = _limit(axes, values, objective)
    inside = [place for place, value in enumerate(values) if shown[place] == value]
    beyond = [place for place, value in enumerate(values) if shown[place] != value]
    axes.scatter(
        [numbers[i] for i in inside], [values[i] for i in inside], s=22, color=BLUE, label="complete", zorder=3
    )
    if beyond:
        at = [numbers[i] for i in beyond], [shown[i] for i in beyond]
        mark = "v" if objective.maximize else "^"
        axes.scatter(*at, s=26, marker=mark, color=BLUE, label="off the scale", clip_on=False, zorder=3)
    best = list(accumulate(values, max if objective.maximize else min))
    axes.step(
        [*numbers, max(t.number for t in trials)], [*best, best[-1]], where="post", color=ORANGE, label="best so far"
    )
    low, _ = axes.get_ylim()
    for state, color, mark, name in ((TrialState.PRUNED, GRAY, "|", "pruned"), (TrialState.FAIL, RED, "x", "failed")):
        at = [trial.number for trial in trials if trial.state is state]
        if at:
            axes.scatter(at, [low] * len(at), marker=mark, color=color, label=name, clip_on=False, zorder=4)
    axes.set(xlabel="trial", ylabel=_label(objective))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper right")
    _save(figure, path, title)


def draw_importance(path: Path, study: optuna.Study, objective: Objective, title: str) -> bool:
    """Draw how much each parameter mattered, and the objective against the values of each.

    Args:
        path: The PNG file.
        study: With one objective or more, of which the first is drawn.
        objective: The first objective.
        title: Says which study.

    Returns:
        Whether there are enough trials to say anything.
    """
    done = complete(study.get_trials(deepcopy=False))
    varied = sorted({key for trial in done for key in trial.params if len({t.params.get(key) for t in done}) > 1})
    if len(done) < FEWEST_FOR_IMPORTANCE or not varied:
        return False
    sign = -1 if objective.maximize else 1  # with a target of its own, Optuna asks what matters for low values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = optuna.importance.get_param_importances(
            study, params=varied, target=lambda trial: sign * trial.values[0]
        )
    keys = sorted(weights, key=lambda key: -weights[key])
    names = short_names(keys)
    panels = keys[:MOST_PANELS]
    columns = len(panels) if len(panels) <= 4 else -(-len(panels) // 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * max(columns, 2), 0.6 + 0.26 * len(keys) + 2.2 * rows), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[0.6 + 0.26 * len(keys), 2.2 * rows])
    bars = upper.subplots()
    bars.barh([names[key] for key in reversed(keys)], [weights[key] for key in reversed(keys)], color=BLUE, height=0.6)
    bars.set_xlabel("importance (PED-ANOVA, sums to 1); below, the darker the later the trial", fontsize=8)
    _tidy(bars)
    grid = lower.subplots(rows, columns, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        _draw_values(axes, done, panels[place], names[panels[place]], objective)
    for row in grid:
        row[0].set_ylabel(objective.name, fontsize=8)
    _save(figure, path, title)
    return True


def draw_pareto(path: Path, trials: Sequence[FrozenTrial], objectives: Sequence[Objective], title: str) -> None:
    """Draw both objectives of all complete trials, and the trials that none beats.

    Args:
        path: The PNG file.
        trials: All trials.
        objectives: Two.
        title: Says which study.
    """
    figure, axes = _figure(6, 4.5)
    front = sorted(trials_on_front(trials, objectives), key=lambda trial: trial.values[1])
    rest = [trial for trial in best_first(trials, objectives) if trial not in front]
    every = [*front, *rest]
    shown = _limit(axes, [trial.values[0] for trial in every], objectives[0], whole=len(front))[len(front) :]
    placed = [(trial.values[1], y, trial.values[0] != y) for trial, y in zip(rest, shown, strict=True)]
    beyond = "v" if objectives[0].maximize else "^"
    for is_far, mark, name in ((False, "o", "beaten by another"), (True, beyond, "beaten, off the scale")):
        if at := [(x, y) for x, y, far in placed if far is is_far]:
            axes.scatter(*zip(*at, strict=True), s=20, marker=mark, color=GRAY, label=name, clip_on=False)
    x, y = [t.values[1] for t in front], [t.values[0] for t in front]
    # Between two of them a cost buys what the lower one does; a figure that shall be high is had with the higher one.
    axes.step(x, y, where="pre" if objectives[1].maximize else "post", color=ORANGE, linewidth=1)
    axes.scatter(x, y, s=30, color=BLUE, label="Pareto front", zorder=3)
    for trial in front:
        axes.annotate(
            str(trial.number), (trial.values[1], trial.values[0]), textcoords="offset points", xytext=(4, 4), fontsize=8
        )
    costs = [trial.values[1] for trial in complete(trials)]
    if costs and min(costs) > 0 and max(costs) > 20 * min(costs):
        axes.set_xscale("log")
    axes.set(xlabel=_label(objectives[1]), ylabel=_label(objectives[0]))
    axes.legend(frameon=False, fontsize=8)
    _save(figure, path, title)


def _draw_values(axes: Axes, done: Sequence[FrozenTrial], key: str, name: str, objective: Objective) -> None:
    having = [trial for trial in done if key in trial.params]
    distribution = having[-1].distributions[key]
    values = [trial.values[0] for trial in having]
    if isinstance(distribution, CategoricalDistribution):
        options = [str(choice) for choice in distribution.choices]
        axes.set_xticks(range(len(options)), options, rotation=30 if max(map(len, options)) > 6 else 0)
        axes.set_xlim(-0.5, len(options) - 0.5)
        at = [options.index(str(trial.params[key])) for trial in having]
    else:
        at = [trial.params[key] for trial in having]
        if getattr(distribution, "log", False):
            axes.set_xscale("log")
        if isinstance(distribution.low, int):
            axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    # Later trials are darker: where the search went.
    values = _limit(axes, values, objective)
    colors = {"c": range(len(having)), "cmap": "Blues", "vmin": -len(having)}
    axes.scatter(at, values, s=14, **colors, linewidths=0, clip_on=False)
    axes.set_xlabel(name, fontsize=8)
    _tidy(axes)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _limit(axes: Axes, values: Sequence[float], objective: Objective, whole: int = 0) -> list[float]:
    """Show what is worth a look, and return the values with those that are far worse moved to the edge.

    The first ``whole`` of them are always worth a look.
    """
    sign = -1 if objective.maximize else 1
    losses = sorted(sign * value for value in values)
    low, middle, high = losses[0], losses[len(losses) // 2], losses[-1]
    # A few trials that went astray must not flatten all others.
    if high - middle > 5 * (middle - low) > 0:
        high = max([middle + 2 * (middle - low), *(sign * value for value in values[:whole])])
    margin = 0.08 * (high - low) or abs(high) * 0.01 or 1.0
    axes.set_ylim(*sorted((sign * (low - margin), sign * (high + margin))))
    return [sign * min(sign * value, high + margin) for value in values]


def _tidy(axes: Axes) -> None:
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _label(objective: Objective) -> str:
    return f"{objective.name} ({'higher' if objective.maximize else 'lower'} is better)"


def _save(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title, fontsize=9)
    FigureCanvasAgg(figure).print_figure(path, dpi=150, metadata={"Software": None})
