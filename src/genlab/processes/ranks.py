"""Which of the processes that train one run this one is, by what their launcher has set in the environment.

The launchers are recognized in Lightning's order: torchrun, SLURM's srun, and Lightning's own, which starts the helpers
of a process that a user started, or finds that they were started by hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Launch", "is_first_process", "launch", "others_wait", "without_launch"]

INTERACTIVE = ("bash", "interactive")
"""Names of SLURM jobs whose processes are no ranks: the user's shell, from which anything may be started."""

OWN_VARIABLES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_USE_AGENT_STORE", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS",
)  # fmt: skip
"""What makes a process one of several to Lightning and to us; no program that it starts is one of them too."""


class Launch(NamedTuple):
    """How a launcher started this process along with others of the same run.

    Attributes:
        by: ``"torchrun"``, ``"srun"`` or ``"Lightning"``.
        label: Names this process among the others, for messages.
        is_first: Whether it is the one process that writes and reports: global rank 0.
        processes: How many there are, on all nodes together; None where the launcher leaves that to the trainer.
    """

    by: str
    label: str
    is_first: bool
    processes: int | None


def launch() -> Launch | None:
    """Return how this process was started, or None for one that a user started by itself."""
    found = os.environ
    if "TORCHELASTIC_RUN_ID" in found:
        rank = int(found["RANK"])
        return Launch("torchrun", f"Process {rank}", rank == 0, int(found["WORLD_SIZE"]))
    if "SLURM_NTASKS" in found and found.get("SLURM_JOB_NAME") not in INTERACTIVE:
        rank = int(found.get("SLURM_PROCID", 0))
        # Of a step alone, which is what srun starts: a batch script has the job's number of tasks, but is one process.
        return Launch("srun", f"Process {rank}", rank == 0, int(found.get("SLURM_STEP_NUM_TASKS", 1)))
    node = int(found.get("NODE_RANK", found.get("GROUP_RANK", 0)))
    if "LOCAL_RANK" in found or node:
        rank = int(found.get("LOCAL_RANK", 0))
        return Launch("Lightning", f"Process {rank} of node {node}", node == 0 and rank == 0, None)
    return None


def is_first_process() -> bool:
    """Whether this process writes, locks, logs and reports, and not one that only helps it to train."""
    found = launch()
    return found is None or found.is_first


def others_wait(num_nodes: int) -> bool:
    """Whether other processes wait for what this one finds, and are not only started by it later.

    Args:
        num_nodes: Number of machines of the run.
    """
    started = launch()
    return num_nodes > 1 or (started is not None and started.processes != 1)


def without_launch(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process that stands by itself, and may start helpers of its own."""
    return {name: value for name, value in environment.items() if name not in OWN_VARIABLES}
