"""What a search found: its best trials as a table, what failed and why, the best as a recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genlab.core.pareto import pareto_front
from genlab.core.words import counted
from genlab.sweeps.objectives import Objective

__all__ = ["best_first", "complete", "number_text", "print_study", "recipe_text", "short_names", "trials_on_front"]

MOST_TRIALS = 10
MOST_REASONS = 5
PIPE_WIDTH = 120
"""Columns of text where the output is no terminal."""


def complete(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that have their objectives."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE]


def best_first(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """Return the complete trials by their first objective, the best first; of equals the earlier."""
    return sorted(complete(trials), key=lambda trial: _losses(trial, objectives))


def trials_on_front(trials: Sequence[FrozenTrial], objectives: Sequence[Objective]) -> list[FrozenTrial]:
    """Return the complete trials on the Pareto front of the objectives, by the first objective, the best first."""
    done = complete(trials)
    return [done[index] for index in pareto_front([_losses(trial, objectives) for trial in done])]


def _losses(trial: FrozenTrial, objectives: Sequence[Objective]) -> list[float]:
    """The objectives with a sign that makes lower better."""
    return [-v if o.maximize else v for v, o in zip(trial.values, objectives, strict=True)]


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key its shortest ending that no other has."""
    names = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]
        others = [other for other in keys if other != key]
        names[key] = next(e for e in endings if e == key or not any(o == e or o.endswith(f".{e}") for o in others))
    return names


def number_text(value: Any) -> str:
    """Return a value as a table shows it: a number with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_study(
    trials: Sequence[FrozenTrial],
    objectives: Sequence[Objective],
    keys: Sequence[str],
    title: str,
    console: Console | None = None,
) -> None:
    """Print the best trials, how many there are of each state, and why trials failed.

    Args:
        trials: All trials of the study.
        objectives: What they were searched for.
        keys: The parameters.
        title: Stands above the table.
        console: Where to; standard output by default.
    """
    if console is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=PIPE_WIDTH)
    front = trials_on_front(trials, objectives)
    shown = front if len(objectives) > 1 else best_first(trials, objectives)[:MOST_TRIALS]
    if shown:
        console.print()
        console.print(_table(shown, objectives, keys, title))
    console.print("\n".join(map(escape, _account(trials))), soft_wrap=True)


def _table(shown: Sequence[FrozenTrial], objectives: Sequence[Objective], keys: Sequence[str], title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("trial", justify="right")
    for objective in objectives:
        table.add_column(f"{objective.name} {'↑' if objective.maximize else '↓'}", justify="right", no_wrap=True)
    names = short_names(keys)
    for key in keys:
        table.add_column(escape(names[key]), justify="right", overflow="fold")
    table.add_column("run", no_wrap=False, overflow="fold")
    for place, trial in enumerate(shown):
        cells = [str(trial.number), *(f"{value:.4f}" for value in trial.values)]
        cells += [number_text(trial.params.get(key, "")) for key in keys]
        run = str(trial.user_attrs.get("run_dir", "")).rpartition("/")[2]
        best = "bold" if place == 0 and len(objectives) == 1 else None
        table.add_row(*map(escape, cells), escape(run), style=best)
    return table


def _account(trials: Sequence[FrozenTrial]) -> Iterator[str]:
    names = {
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "failed",
        TrialState.RUNNING: "in work",
        TrialState.WAITING: "waiting",
    }
    counts = Counter(trial.state for trial in trials)
    states = [f"{counts[state]} {name}" for state, name in names.items() if counts[state]]
    yield f"{counted(len(trials), 'trial')}: {', '.join(states)}."
    reasons: dict[str, list[FrozenTrial]] = {}
    for trial in trials:
        if trial.state is TrialState.FAIL:
            reasons.setdefault(str(trial.user_attrs.get("error", "No reason is known.")), []).append(trial)
    for reason, failed in sorted(reasons.items(), key=lambda item: -len(item[1]))[:MOST_REASONS]:
        numbers = ", ".join(str(trial.number) for trial in failed[:MOST_TRIALS])
        more = f" and {len(failed) - MOST_TRIALS} more" if len(failed) > MOST_TRIALS else ""
        yield f"  failed, {numbers}{more}: {' '.join(reason.split())[:300]}"
        yield f"    log: {failed[0].user_attrs.get('log', 'none')}"
    if len(reasons) > MOST_REASONS:
        yield f"  and {len(reasons) - MOST_REASONS} other reasons"
    for trial in trials:
        if trial.state is TrialState.RUNNING:
            owner = trial.user_attrs.get("owner") or {}
            where = f"process {owner['pid']} on {owner['host']}" if owner else "no process"
            yield f"  in work, {trial.number}: {where}; if it has died, the same command takes it over."


def recipe_text(header: Mapping[str, str], lines: Sequence[str], choices: Mapping[str, Any], values: Any) -> str:
    """Return a recipe for ``conf/experiment``, with what it is on top.

    Args:
        header: Named facts, in their order.
        lines: What it is, in sentences.
        choices: Option of each group; that of ``experiment`` is built upon.
        values: Nested settings.
    """
    width = max(map(len, header)) + 1
    text = ["# @package _global_", *(f"# {line}" for line in lines)]
    text += [f"#   {name + ':':{width}} {fact}" for name, fact in header.items()]
    text.append("defaults:")
    if choices.get("experiment"):
        text += [f"  - /experiment/{choices['experiment']}", "  - _self_"]
    text += [f"  - override /{group}: {option}" for group, option in choices.items() if group != "experiment"]
    # Lists stand in one line, as in the recipes of this project; sections do not.
    body = yaml.dump(values, Dumper=_Recipe, sort_keys=False, default_flow_style=False, width=110) if values else ""
    return "\n".join(text) + "\n" + body


class _Recipe(yaml.SafeDumper):
    pass


_Recipe.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)
