"""What the command that started a sweep knows of its jobs: their arguments, how they ended, what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from genlab.command.explain import CommandLine
from genlab.core.errors import GenlabError
from genlab.core.secrets import redact_text
from genlab.core.words import counted
from genlab.sweeps.jobs import Outcome
from genlab.sweeps.summary import describe_failures, varying

__all__ = ["SweepRecord", "check_launcher", "check_no_search", "has_search_sweeper", "hydra_arguments", "is_trial"]

_IN_THIS_PROCESS = ("basic",)
"""Launchers whose jobs share the command line of the sweep, with which Lightning would start its helpers."""

_OF_THE_SWEEP = ("mode", "launcher", "sweeper", "sweep")
"""Parts of Hydra's own config that say how jobs are launched."""


def hydra_arguments(line: CommandLine) -> list[str]:
    """Return the settings of Hydra itself that a single run of a sweep needs too, such as ``hydra.searchpath``."""
    kept = [o for o in line.overrides if (part := _hydra_part(o)) and part not in _OF_THE_SWEEP]
    # Where the config itself asks for a sweep, its runs must be told that they are none.
    by_config = not line.multirun and HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN
    return [*kept, "hydra.mode=RUN"] if by_config else kept


def _hydra_part(override: str) -> str | None:
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    for separator in "./":
        if key.startswith(f"hydra{separator}"):
            return key[6:].partition(separator)[0]
    return None


class SweepRecord:
    """How the jobs of a sweep ended that ran as processes of their own."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._sweeper = "basic"

    def add(self, outcome: Outcome, sweeper: str) -> None:
        """Take in one job; ``sweeper`` is the choice that made it."""
        self.outcomes.append(outcome)
        self._sweeper = sweeper

    @property
    def failed(self) -> list[Outcome]:
        """The jobs that went wrong by themselves."""
        return [outcome for outcome in self.outcomes if outcome.failed]

    def results(self) -> list[dict[str, Any]]:
        """Return the results of the jobs that have one, in the order of the jobs."""
        ordered = sorted(self.outcomes, key=lambda outcome: outcome.job.number)
        return [outcome.result for outcome in ordered if outcome.result is not None]

    def describe(self, command: Sequence[str], stopped: bool = False) -> str:
        """Say which jobs failed, why, and what to do; an empty string if there is nothing to say.

        Args:
            command: The command that started the sweep, as it would be typed.
            stopped: Whether the sweep was stopped before its end.
        """
        lines: list[str] = []
        if self.failed:
            lines.append(f"{len(self.failed)} of {counted(len(self.outcomes), 'job')} failed:")
            lines.append(describe_failures(self.outcomes, varying(outcome.job for outcome in self.outcomes)))
        if stopped and self.outcomes:
            done = sum(outcome.code == 0 for outcome in self.outcomes)
            said = f"{done} {'job was' if done == 1 else 'jobs were'} done."
            again = "trains them afresh" if "rerun=true" in command else "goes on from there"
            lines.append(f"{said} The same command {again}.")
        elif self.failed and self._sweeper == "basic":
            lines.append(f"Just these again:\n  {self._again(command)}")
            if "rerun=true" not in command:  # which trains afresh what is done
                lines.append("The same command without that answers at once for what is done, and runs the rest.")
        elif self.failed:
            lines.append("The same command goes on.")
        return "\n".join(lines)

    def _again(self, command: Sequence[str]) -> str:
        numbers = ",".join(str(number) for number in sorted(outcome.job.number for outcome in self.failed))
        given = [argument for argument in command if not argument.startswith("hydra.launcher.only=")]
        return redact_text(shlex.join([*given, f"hydra.launcher.only=[{numbers}]"]))


def has_search_sweeper() -> bool:
    """Return whether the sweeper of the config that runs is ours for searches."""
    # By its class: a search may have a sweeper's config of the user's own.
    return str(HydraConfig.get().sweeper.get("_target_")).endswith(".OptunaSweeper")


def is_trial() -> bool:
    """Return whether this process is that of a search and runs a trial: those are judged by validation alone."""
    return HydraConfig.initialized() and HydraConfig.get().mode is RunMode.MULTIRUN and has_search_sweeper()


def check_no_search() -> None:
    """Refuse ``search=<family>`` in a single run, which has nothing to search.

    Raises:
        GenlabError: Says how a search begins.
    """
    if (name := HydraConfig.get().runtime.choices.get("search")) is not None:
        raise GenlabError(f"search={name} is a search over many runs, one at a time: add -m, or leave it out.")


def check_launcher(config: DictConfig) -> None:
    """Refuse a distributed training in a sweep whose launcher runs the jobs within its own processes.

    Lightning starts the other processes of a training with the arguments of the whole program, which there are those
    of the sweep: each would begin the sweep again.

    Raises:
        GenlabError: Says which launcher to use.
    """
    hydra = HydraConfig.get()
    trainer = OmegaConf.select(config, "trainer")
    if hydra.mode is not RunMode.MULTIRUN or trainer is None:
        return
    launcher = hydra.runtime.choices.get("hydra/launcher")
    nodes = trainer.get("num_nodes", 1)
    if launcher not in _IN_THIS_PROCESS or (_num_devices(trainer) <= 1 and nodes == 1):
        return
    raise GenlabError(
        f"trainer.strategy={trainer.get('strategy')} with trainer.devices={trainer.get('devices')} and "
        f"trainer.num_nodes={nodes} starts processes of its own, which hydra/launcher={launcher} would lead astray.\n"
        "Use hydra/launcher=process, or hydra/launcher=submitit_slurm on a cluster."
    )


def _num_devices(trainer: Any) -> int:
    from genlab.sweeps.places import visible_gpus

    devices = trainer.get("devices", 1)
    if OmegaConf.is_list(devices):
        return len(devices)
    if devices in ("auto", -1, "-1"):
        # On a CPU Lightning takes this for one.
        return 1 if trainer.get("accelerator") == "cpu" else len(visible_gpus())
    text = str(devices)
    return int(text) if text.isdigit() else len([part for part in text.split(",") if part.strip()])
