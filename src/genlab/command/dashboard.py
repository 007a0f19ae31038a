"""Save a W&B workspace for the runs of a project, or show what would be saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from genlab.command.config import check_config
from genlab.command.schemas import DashboardConfig
from genlab.core.errors import GenlabError
from genlab.core.secrets import redact_text
from genlab.loggers.wandb_access import check_project, find_access
from genlab.loggers.wandb_session import first_line
from genlab.loggers.wandb_workspace import build_workspace, describe_workspace
from genlab.runs.atomic import make_room, write_atomic

__all__ = ["run"]

_WAIT_SECONDS = 5.0


def run(config: DictConfig) -> dict[str, Any]:
    """Build the workspace that a config describes, and save it unless ``config.dry_run``.

    Args:
        config: The composed config.

    Returns:
        The workspace in plain containers, as it is written.

    Raises:
        GenlabError: If the library is missing, W&B cannot be reached, or it does not take the workspace.
    """
    settings = check_config(config, DashboardConfig)
    check_project("project", settings.project)
    workspace = build_workspace(
        settings.project, settings.entity or "", settings.name, settings.data, settings.protocol, settings.sweep
    )
    if settings.out is not None:
        make_room(Path(settings.out))  # before the workspace is saved
    if not settings.dry_run:
        print(f"Saved {_save(workspace)}")
    described = describe_workspace(workspace)
    text = redact_text(json.dumps(described, indent=2)) + "\n"
    if settings.out is not None:
        write_atomic(settings.out, text)
        print(f"Wrote {settings.out}")
    elif settings.dry_run:
        print(text, end="")
    return described


def _save(workspace: Any) -> str:
    """Save a workspace as a new view and return its address."""
    access = find_access("auto", _WAIT_SECONDS)
    if access.mode != "online":
        raise GenlabError(
            f"The workspace is not saved: W&B is {access.mode} ({access.reason}).\n--dry-run shows it without W&B."
        )
    import wandb

    try:
        workspace.entity = workspace.entity or wandb.Api().default_entity
        workspace.save()
        return workspace.url
    except Exception as error:  # the library raises whatever its transport does
        raise GenlabError(f"W&B did not save the workspace: {first_line(error)}") from error
