"""The answer to the command of a finished run, at once: without torch, whose import takes seconds.

A sweep that is started again asks this for each of its runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genlab.core.errors import GenlabError
from genlab.core.secrets import redact
from genlab.measure.finished_run import FinishedRun
from genlab.measure.protocol import EvaluationProtocol
from genlab.processes.ranks import others_wait
from genlab.runs.code import other_code
from genlab.runs.folder import RunDir, read_config
from genlab.runs.identity import run_id

if TYPE_CHECKING:
    from genlab.measure.result import Result

__all__ = ["find_finished", "finished_remark", "show_if_finished"]


_PROTOCOL = "genlab.measure.protocol.EvaluationProtocol"


def show_if_finished(config: DictConfig) -> FinishedRun | None:
    """Print the result of the run that a config describes, if there is one.

    Args:
        config: The composed config.

    Returns:
        The run and its result; None if training must see to the rest, errors too.
    """
    found = find_finished(config)
    if found is None:
        return None
    from genlab.command.console import show_result

    show_result(found.result, found.place, finished_remark(found.result))
    return found


def finished_remark(result: Result) -> str:
    """Say that a run is finished, by which other code if it is not that of now, and how to train it afresh."""
    if change := other_code(result.trained_by):
        return f"This run is finished, but it was trained by {change}; rerun=true trains afresh beside it."
    if change := other_code([result.measured_by]):
        return f"This run is finished, but it was measured by {change}; genlab evaluate measures it again."
    return "This run is finished; rerun=true trains afresh beside it."


def find_finished(config: DictConfig) -> FinishedRun | None:
    """Find the result of the run that a config describes under the config's protocol.

    The run's id holds the hash of the config, that of the data too: the folder's name needs no data module. Whatever
    is out of the ordinary, a rerun, a protocol of another kind, data of one's own, whose content is in no config, a
    config that is not complete, finds nothing here. The config is not checked, since that would import all that it
    names: so it has to be the one that was checked when the run began, in the settings too that are no part of the id,
    such as the trainer's.
    """
    try:
        plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        settings = {key: value for key, value in plain["evaluation"].items() if key != "_convert_"}
        if others_wait(plain["trainer"]["num_nodes"]):  # they must be told
            return None
        if plain["rerun"] or settings.pop("_target_") != _PROTOCOL or settings["inception_weights"] is not None:
            return None
        if plain["data"].get("path") is not None:  # what the file holds now is in the name of its folder alone
            return None
        protocol = EvaluationProtocol(**settings)
        pattern = f"*/{plain['model']['name']}/{run_id(plain, plain['seed'])}"
        places = [RunDir(path) for path in (Path(plain["paths"]["logs"]) / "runs").glob(pattern)]
        if len(places) != 1 or not places[0].is_finished:
            return None
        from genlab.measure.results import read_result, result_path

        if not (path := result_path(places[0], protocol)).exists() or not _as_it_began(places[0], plain):
            return None
        return FinishedRun(places[0], read_result(path))
    except (OmegaConfBaseException, GenlabError, KeyError, TypeError, AttributeError, ValueError, OSError):
        return None


def _as_it_began(place: RunDir, plain: Mapping[str, Any]) -> bool:
    began, now = read_config(place), redact(plain)
    return {**began, "paths": None} == {**now, "paths": None}  # a folder of runs may have moved
