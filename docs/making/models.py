"""What the code, the configs and the results say of each model: the second half of its page."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from omegaconf import OmegaConf

from genlab.command.signatures import read_signature
from genlab.command.targets import locate
from genlab.core.spec import DataSpec
from genlab.uses.catalogue import USES
from making.measured import RESULTS, comparisons, likelihood, quality, single_runs
from making.text import ROOT, Setting, commands, opening, read_settings, recipe, table

CONF = ROOT / "conf"


def names() -> list[str]:
    """All options of the group `model`."""
    return sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def lineage(model: str) -> list[Path]:
    """The model's config file and those that it inherits, nearest first."""
    files, waiting = [], [CONF / "model" / f"{model}.yaml"]
    while waiting:
        path = waiting.pop(0)
        files.append(path)
        parents = [entry.partition("@")[0] for entry in OmegaConf.load(path).get("defaults", []) if entry != "_self_"]
        waiting += [(CONF / parent[1:] if parent[0] == "/" else path.with_name(parent)) for parent in parents]
        waiting = [found.with_suffix(".yaml") for found in waiting]
    return files


def target(model: str) -> type:
    """The model's class."""
    return locate(next(name for path in lineage(model) if (name := OmegaConf.load(path).get("_target_"))))


@cache
def _families() -> dict:
    return runpy.run_path(str(ROOT / "docs" / "families.py"))


@cache
def _uses_by_model() -> dict[str, dict[str, bool]]:
    return runpy.run_path(str(ROOT / "docs" / "uses.py"))["by_model"]()


def part(model: str) -> str:
    """Return all that is known of a model, as the part of a page."""
    text = (CONF / "model" / f"{model}.yaml").read_text()
    said = " ".join(opening(text)).removesuffix(".")
    sections = [
        f"## `model={model}`\n\n{said}.\n",
        commands([f"python train.py model={model}{_path(model)} data={_data(model)}"]),
        _takes(model), _uses(model), _settings(model), _recipes(model), _search(model), _measured(model),
        _in_the_code(model),
    ]  # fmt: skip
    return "\n".join(section for section in sections if section)


def _data(model: str) -> str:
    """A small data set that the model takes: the first of these."""
    networks = dict(zip(_families()["KINDS"], _families()["networks"](model), strict=True))
    small = {"pictures": "digits", "vectors": "toy2d", "mixed tables": "diabetes", "text": "shakespeare"}
    if target(model).unsupported(DataSpec("characters", "text", (256,), levels=65, alphabet="")):
        small["text"] = "text_file data.by=bytes data.path=text.txt"
    small |= {"tables of numbers": "wine", "series": "stochastic_volatility", "sound": "spoken_digits"}
    return next((data for kind, data in small.items() if networks[kind] != "-"), "csv data.path=table.csv")


def _path(model: str) -> str:
    """What says where a model lies that others have trained; nothing of any other."""
    return " model.path=DIR" if "path" in OmegaConf.load(lineage(model)[0]) else ""


def _takes(model: str) -> str:
    kinds = zip(_families()["KINDS"], _families()["networks"](model), strict=True)
    taken = [f"{kind} (`{network}`)" for kind, network in kinds if network != "-"]
    is_conditional = any("conditional" in OmegaConf.load(path) for path in lineage(model))
    given = " Given labels with `model.conditional=true`." if is_conditional else ""
    return f"Takes {', '.join(taken)}; in brackets the default network.{given}\n"


def _uses(model: str) -> str:
    can = _uses_by_model()[model]
    about = {use.name: use.about for use in USES.values()}
    about["augment"] = "say what its samples are worth to a classifier, if it was trained with `model.conditional=true`"
    lacks: dict[str, list[str]] = {}
    for use in USES.values():
        if not can[use.name]:
            lacks.setdefault(use.lack.partition(". ")[0], []).append(f"`{use.name}`")
    if not can["augment"]:
        is_told = "conditional" in read_signature(target(model)).parameters
        lacks["there is no classifier of text" if is_told else "it is told no labels"] = ["`augment`"]
    lines = [f"- `{use}`: {does}" for use, does in about.items() if can[use]]
    without = [f"No {', '.join(names)}: {why}." for why, names in lacks.items()]
    command = "`python scripts/<use>.py run=<run>`, each described in [uses](/uses.md):"
    return "\n".join([f"### What `{model}` can be used for\n", f"{command}\n", *lines, "", *without]) + "\n"


def _settings(model: str) -> str:
    own, *inherited = lineage(model)
    meanings = {setting.key: setting.comment for path in reversed(inherited) for setting in _settings_in(path)}
    parts = [f"### Settings of `{model}`\n", _table_of_settings(own, meanings)]
    if inherited:
        parents = [path for path in inherited if path.parent.name == "model"]
        shared = [path for path in inherited if path.parent.name != "model"]
        if parents:
            parts.append(f"All others are those of `model={parents[0].stem}`.\n")
        elif shared:
            parts += ["With what it shares with other families:\n", _table_of_settings(shared[0])]
    return "\n".join(parts)


def _table_of_settings(path: Path, meanings: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a table of a file's settings; of what it says nothing about, those that it inherits from do."""
    rows = [
        (f"`{setting.key}`", f"`{setting.default}`", setting.comment or meanings.get(setting.key, ""))
        for setting in _settings_in(path)
    ]
    return table(("key", "default", "meaning"), rows)


def _settings_in(path: Path) -> list[Setting]:
    return [setting for setting in read_settings(path.read_text(), "model.") if setting.key != "model.name"]


def recipes(model: str) -> list[tuple[str, dict[str, str]]]:
    """The recipes of a model, each with what its head says."""
    found = []
    for path in sorted((CONF / "experiment").glob("*.yaml")):
        text = path.read_text()
        if f"override /model: {model}\n" in text:
            found.append((path.stem, recipe(text)))
    return found


def recipe_table(found: list[tuple[str, dict[str, str]]]) -> str:
    """Return recipes as a table."""
    rows = [(f"`{name}`", said["about"], said["hardware"], said["expect"]) for name, said in found]
    return table(("`experiment=`", "what", "hardware, time", "to expect"), rows)


def _recipes(model: str) -> str:
    found = recipes(model)
    if not found:
        return ""
    return f"### Recipes of `{model}`\n\n" + recipe_table(found)


def _search(model: str) -> str:
    path = CONF / "search" / f"{model}.yaml"
    if not path.is_file():
        return ""
    space = OmegaConf.to_container(OmegaConf.load(path), resolve=False)["hydra"]["sweeper"]["params"]
    rows = [(f"`{key}`", f"`{values}`") for key, values in space.items()]
    command = f"python train.py -m search={model} data={_data(model)}"
    return f"### Search over `{model}`\n\n{commands([command])}\n" + table(("key", "space"), rows)


def _measured(model: str) -> str:
    rows = []
    for comparison in comparisons():
        for row in comparison.rows:
            if row["model"] == model:
                minutes = f"{float(row['train_minutes']):.1f}" if row["train_minutes"] else ""
                where = f"[table]({comparison.page})"
                rows.append((row["data"], comparison.value(row), comparison.quality(row), minutes, where))
    for file, result in single_runs():
        if result["model"]["name"] == model:
            minutes = f"{result['training']['wall_seconds'] / 60:.1f}"
            rows.append((result["data"]["name"], likelihood(result), quality(result), minutes, _link_to_file(file)))
    if not rows:
        return ""
    head = ("data", "likelihood", "samples", "minutes", "where")
    return f"### Measured: `{model}`\n\n" + table(head, rows)


def _link_to_file(file: Path) -> str:
    return f"[`{file.relative_to(RESULTS)}`](/made/results.md)"


def _in_the_code(model: str) -> str:
    if "_target_" not in OmegaConf.load(lineage(model)[0]):
        return ""  # the page of the model that it varies has it
    made = target(model)
    path = f"{made.__module__}.{made.__qualname__}"
    return f"### In the code: `{made.__name__}`\n\n```{{eval-rst}}\n.. autoclass:: {path}\n   :no-index:\n```\n"
