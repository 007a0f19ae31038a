"""Who is first, by what each launcher sets."""

from __future__ import annotations

import os

import pytest

from genlab.processes.ranks import is_first_process, launch, without_launch

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4"}
SRUN = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train.sh", "SLURM_STEP_NUM_TASKS": "4"}


@pytest.fixture(autouse=True)
def _started_by_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "GROUP_RANK", "NODE_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("found", "first", "processes"),
    [
        ({}, True, 0),
        # Two nodes of two: local rank 0 of the second is the third process.
        ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True, 4),
        ({**TORCHRUN, "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0"}, False, 4),
        ({**TORCHRUN, "RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}, False, 4),
        ({**SRUN, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, True, 4),
        ({**SRUN, "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}, False, 4),
        # torchrun within a SLURM job: its ranks count.
        ({**SRUN, "SLURM_PROCID": "1", **TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, True, 4),
        # A batch script, and a shell, are one process each, however many tasks their job has.
        ({"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train.sh", "SLURM_PROCID": "0"}, True, 1),
        ({**SRUN, "SLURM_JOB_NAME": "interactive", "SLURM_PROCID": "3"}, True, 0),
        # Lightning's own launcher, on one node and on the second of two.
        ({"LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "2"}, True, None),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, False, None),
        ({"NODE_RANK": "0"}, True, 0),
        ({"NODE_RANK": "1"}, False, None),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False, None),
    ],
)
def test_the_first_process_is_the_one_of_global_rank_zero(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str], first: bool, processes: int | None
) -> None:
    """``processes`` is 0 where nothing but the user started this one."""
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first
    started = launch()
    assert (0 if started is None else started.processes) == processes
    for name in found.keys() - without_launch(os.environ).keys():
        monkeypatch.delenv(name)
    assert launch() is None, "a job that this process starts"
