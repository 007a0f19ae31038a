"""How a W&B run is started: online where it can be, else offline, quietly, its files beside what it shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genlab.core.errors import GenlabError
from genlab.core.secrets import redact_text
from genlab.loggers.wandb_access import Access, WandbMode, find_access

__all__ = ["first_line", "quiet_settings", "staged_in", "start_run"]

# What is not uploaded by then stays on the disk for `wandb sync`; batch systems kill a job about so long after SIGTERM.
_FINISH_SECONDS = 20.0


def start_run(mode: WandbMode, start_seconds: float, init: Callable[[str], Any]) -> tuple[Any, str]:
    """Start a run online, or offline where that fails.

    Args:
        mode: See :func:`genlab.loggers.wandb_access.find_access`.
        start_seconds: Longest wait for the server, in seconds.
        init: Starts the run in the mode that it is given, ``"online"`` or ``"offline"``.

    Returns:
        The run, None where W&B is disabled; and why it is not online, empty if it is.

    Raises:
        GenlabError: If the mode is unknown, or online without a key.
        Exception: Whatever ``init`` raises offline.
    """
    try:
        access = find_access(mode, start_seconds)
    except GenlabError:
        raise
    except Exception as error:  # Broken settings of the user's W&B, no room for its files, ...
        access = Access("offline", first_line(error))
    if access.mode == "disabled":
        return None, access.reason
    reason = access.reason
    if access.mode == "online":
        try:
            return init("online"), ""
        except Exception as error:
            reason = first_line(error)
            _stop_service()
    return init("offline"), reason


def _stop_service() -> None:
    # After a failed start the service still waits for the server, and would not answer an offline start either.
    import wandb

    wandb.teardown(exit_code=1)


def quiet_settings(start_seconds: float, machine_info: bool) -> Any:
    """Return the settings of a run that prints nothing and keeps no code.

    Args:
        start_seconds: Longest wait for the server at the start, in seconds.
        machine_info: Also record the host's name, hardware and load, and the command line as it was typed.
    """
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        save_code=False,
        disable_code=True,
        disable_git=True,
        init_timeout=start_seconds,
        finish_timeout=_FINISH_SECONDS,
        finish_timeout_raises=True,
        x_disable_meta=not machine_info,
        x_disable_stats=not machine_info,
        x_disable_machine_info=not machine_info,
    )


@contextmanager
def staged_in(folder: Path) -> Iterator[None]:
    """Keep what W&B stages for upload in a folder, so that the folder can be uploaded from another machine."""
    name = "WANDB_DATA_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(folder.absolute())
    try:
        yield
    finally:
        os.environ.pop(name, None)


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, without secrets."""
    lines = redact_text(str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
