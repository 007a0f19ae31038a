"""Several processes that train one run: they meet, do what the first one found, and none waits for one that is gone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch.distributed
from pytorch_lightning import Trainer
from torch import Tensor

from genlab.core.errors import GenlabError
from genlab.core.words import counted
from genlab.processes.ranks import is_first_process, launch

__all__ = ["Start", "check_devices", "leave_together", "meet", "on_this_process_alone", "stop_helpers"]

_log = logging.getLogger("genlab")


@dataclass(frozen=True)
class Start:
    """What the first process found and all processes do.

    Attributes:
        train: Whether there is anything to train.
        checkpoint: The checkpoint to go on from, or None for a new run.
        weights: A new run's starting values, which depend on the data.
    """

    train: bool
    checkpoint: Path | None = None
    weights: dict[str, Tensor] | None = None


def check_devices(trainer: Trainer, batch_size: int) -> None:
    """Check that the trainer's devices are the processes that were started and can share a batch, and say how.

    Args:
        trainer: The trainer, before it starts.
        batch_size: Examples of a batch, on all devices together.

    Raises:
        GenlabError: If there are other processes than devices, no other machine can join, or the batch cannot be
            divided.
    """
    devices, started = trainer.world_size, launch()
    if started is None and trainer.num_nodes > 1 and "MASTER_ADDR" not in os.environ:
        raise GenlabError(
            f"trainer.num_nodes is {trainer.num_nodes}, but nothing says where the other machines are: this one would "
            "wait for them for ever.\nStart the command by srun or torchrun on all of them (docs/multi_gpu.md)."
        )
    if started is not None and started.processes not in (None, devices):
        count = counted(started.processes, "process", "processes")
        raise GenlabError(
            f"{started.by} started {count}, but trainer.devices x trainer.num_nodes is {devices}: each process drives "
            f"one device.\nGive trainer=ddp, the devices of one node and the number of nodes, and start as many."
        )
    if batch_size % devices:
        raise GenlabError(
            f"data.batch_size is {batch_size}, expected a positive multiple of the number of devices, {devices}:"
            f" it counts the examples of all devices together."
        )
    if devices > 1:
        _log.info(
            "Batch %s = %s devices x %s; the learning rate belongs to the batch of all devices and is unchanged.",
            f"{batch_size:,}",
            devices,
            f"{batch_size // devices:,}",
        )


def meet(trainer: Trainer, start: Start | None) -> Start:
    """Return in all processes what the first one found; starts those that are not running yet.

    Args:
        trainer: The trainer that will train.
        start: What the first process found; None in the others.
    """
    if trainer.world_size == 1:
        return start

    def tell() -> Start:
        trainer.strategy.setup_environment()  # only the first call connects the processes
        return trainer.strategy.broadcast(start)

    # Once it has started the helpers the launcher takes them for given, so that the fit starts no others.
    launcher = trainer.strategy.launcher
    try:
        return tell() if launcher is None else launcher.launch(tell, trainer=trainer)
    except BaseException:
        stop_helpers(trainer)
        raise


def leave_together() -> None:
    """Let all processes end together; what follows in the first must not wait for the others."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def stop_helpers(trainer: Trainer) -> None:
    """Kill the processes that Lightning started here to help: they would wait for this one, which has failed.

    Those that something else started are for that to stop.
    """
    watched = getattr(trainer.strategy.launcher, "procs", [])
    helpers = list(watched)
    # Lightning watches this list, and would kill this process as well before it has said what went wrong.
    watched.clear()
    for helper in helpers:
        helper.send_signal(signal.SIGKILL)  # a process that waits for another hears nothing less
        helper.wait()


@contextlib.contextmanager
def on_this_process_alone() -> Iterator[None]:
    """Let an error name the process, if it is not the first: the others need not meet it."""
    try:
        yield
    except GenlabError as error:
        if is_first_process():
            raise
        raise GenlabError(f"{launch().label}: {error}") from error
