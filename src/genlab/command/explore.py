"""Serve the explorer: a local page over the runs of a folder of logs."""

from __future__ import annotations

import os

from omegaconf import DictConfig

from genlab.command.config import check_config
from genlab.command.explorer.guard import is_loopback
from genlab.command.explorer.server import Explorer
from genlab.command.schemas import ExploreConfig
from genlab.core.errors import GenlabError, Interrupted, shown

__all__ = ["run"]


def run(config: DictConfig) -> None:
    """Serve the page until Ctrl-C, and say where it is.

    Args:
        config: The composed config.

    Raises:
        GenlabError: If there is no such folder, or it cannot listen where it shall.
    """
    settings = check_config(config, ExploreConfig)
    if not os.path.isdir(settings.paths.logs):
        raise GenlabError(f"paths.logs is {shown(settings.paths.logs)}, which is no folder. Train first.")
    with Explorer(settings.paths.logs, settings.host, settings.port, settings.token, settings.device) as server:
        print(f"The explorer of {settings.paths.logs}: {server.address}", flush=True)
        if not is_loopback(settings.host):
            print("Other machines reach it, unencrypted: whoever has this address can use the models.", flush=True)
        print("Ctrl-C ends it.", flush=True)
        server.warm_up()  # while the address is being opened
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("Stopped.")
        except Interrupted as stopped:  # there is no checkpoint of which its message speaks
            raise Interrupted("Stopped.", stopped.signum) from stopped
