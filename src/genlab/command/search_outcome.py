"""What a search leaves: a table, the best configurations as recipes, pictures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from genlab.core.errors import GenlabError
from genlab.core.secrets import redact_text
from genlab.core.words import counted
from genlab.runs.atomic import write_atomic
from genlab.runs.code import codes_of, count_other_code
from genlab.sweeps.search import SearchPlan
from genlab.sweeps.shared_study import SharedStudy
from genlab.sweeps.study_plots import draw_history, draw_importance, draw_pareto
from genlab.sweeps.study_tables import best_first, complete, print_study, recipe_text, trials_on_front

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from genlab.command.search_space import SearchCommand

__all__ = ["recipe", "report"]

_MACHINES = ("paths", "rerun")
"""Keys that a recipe leaves to whoever uses it."""


def report(plan: SearchPlan, study: SharedStudy, command: SearchCommand, folder: Path, typed: Sequence[str]) -> None:
    """Print the best trials, and write recipes and pictures into the study's folder.

    Args:
        plan: What the search did.
        study: Its study.
        command: What all trials share.
        folder: The study's folder.
        typed: The command as it was typed.

    Raises:
        GenlabError: If no trial is complete.
    """
    trials = study.trials()
    title = f"{plan.study}, {', '.join(objective.name for objective in plan.objectives)}"
    print_study(trials, plan.objectives, list(plan.space), title)
    if line := count_other_code([codes_of(t.user_attrs.get("code")) for t in complete(trials)], "complete trials"):
        print(line)
    if not complete(trials):
        if any(not trial.state.is_finished() for trial in trials):
            return  # other processes are at work; the last one tells
        raise GenlabError(f"None of the {counted(len(trials), 'trial')} is complete: {_reason(trials)}")
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    one = len(plan.objectives) == 1
    chosen = {"best": best_first(trials, plan.objectives)[0]} if one else {}
    chosen |= {} if one else {f"pareto_{trial.number}": trial for trial in trials_on_front(trials, plan.objectives)}
    for old in (folder / "experiment").glob("pareto_*.yaml"):
        if old.stem not in chosen:
            old.unlink()
    for name, trial in chosen.items():
        text = recipe(name, trial, plan, command, folder, typed, len(trials))
        write_atomic(folder / "experiment" / f"{name}.yaml", text)
        use = use_command(name, folder, command, plan.overrides(trial.params), typed[:2])
        print(f"{'Best' if one else 'Pareto front'}: {use}")
    if plan.measured_by:
        print(f"{'This' if len(chosen) == 1 else 'Each'} measures the test split, which the search did not.")
    for picture in _draw(plan, study, trials, folder, title):
        print(f"Wrote {picture}")


def _reason(trials: Sequence[FrozenTrial]) -> str:
    failed = [trial for trial in trials if "error" in trial.user_attrs]
    if not failed:
        return "all were pruned. Give hydra.sweeper.pruner=none."
    return f"trial {failed[0].number}: {failed[0].user_attrs['error']}\nLog: {failed[0].user_attrs.get('log')}"


def _draw(plan: SearchPlan, study: SharedStudy, trials: Sequence[FrozenTrial], folder: Path, title: str) -> list[Path]:
    first = plan.objectives[0]
    drawn = [folder / "history.png"]
    draw_history(drawn[0], trials, first, title)
    if draw_importance(folder / "importance.png", study.study, first, title):
        drawn.append(folder / "importance.png")
    if len(plan.objectives) > 1:
        draw_pareto(folder / "pareto.png", trials, plan.objectives, title)
        drawn.append(folder / "pareto.png")
    return drawn


def use_command(
    name: str, folder: Path, command: SearchCommand, overrides: Sequence[str], program: Sequence[str]
) -> str:
    """Return the command that uses a recipe where it lies, or the settings themselves where Hydra cannot find it.

    Args:
        name: Of the recipe.
        folder: The study's folder.
        command: What all trials share.
        overrides: All settings of the trial.
        program: The words before the settings, such as ``["genlab", "train"]``.
    """
    if any(word.startswith("--config-dir=") for word in command.own):  # Hydra takes one
        return redact_text(shlex.join([*program, *command.own, *overrides]))
    more = [*command.own, *(str(o.input_line) for o in _parsed(command.fixed) if _left_out(o))]
    return redact_text(shlex.join([*program, f"--config-dir={folder}", f"experiment={name}", *more]))


def recipe(
    name: str,
    trial: FrozenTrial,
    plan: SearchPlan,
    command: SearchCommand,
    folder: Path,
    typed: Sequence[str],
    count: int,
) -> str:
    """Return a trial's configuration as a file for ``conf/experiment``."""
    overrides = plan.overrides(trial.params)
    parsed = _parsed(overrides)
    groups = command.choices
    # The family and the data are what a recipe is of, whatever the defaults are one day.
    choices: dict[str, Any] = {"model": groups["model"], "data": groups["data"]}
    values = OmegaConf.create()
    for override in parsed:
        if _left_out(override):
            continue
        if override.key_or_group in groups:
            choices[override.key_or_group] = override.value()
        else:
            OmegaConf.update(values, override.key_or_group, override.value())
    figures = ", ".join(f"{o.name} {v:.6g}" for o, v in zip(plan.objectives, trial.values, strict=True))
    header = {
        "use": use_command(name, folder, command, overrides, typed[:2]),
        "command": redact_text(shlex.join([*typed[:2], *command.own, *overrides])),
        "search": redact_text(shlex.join(typed)),
        "expect": f"{figures}, of one run, on validation",
    }
    what = "Best" if len(plan.objectives) == 1 else "On the Pareto front"
    lines = [f"{what} of {counted(count, 'trial')} of the study {plan.study}: trial {trial.number}."]
    return recipe_text(header, lines, choices, OmegaConf.to_container(values))


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(overrides))


def _left_out(override: Override) -> bool:
    """Whether a setting is not for a recipe: of the machine, or what a YAML file cannot say, such as a deletion."""
    cannot = override.is_delete() or override.package is not None or "[" in override.key_or_group
    return cannot or override.key_or_group.partition(".")[0] in _MACHINES
