"""Whether a run may talk to Weights & Biases now: what the user wants, whether there is a key, whether it answers."""

from __future__ import annotations

import os
import ssl
import threading
import urllib.error
import urllib.request
from typing import Any, Literal, NamedTuple, get_args

from genlab.core.errors import GenlabError, nearest

__all__ = ["Access", "WandbMode", "check_project", "find_access"]

#: ``auto`` follows the user's own settings and is online where there is a key; the others are W&B's.
WandbMode = Literal["auto", "online", "offline", "disabled"]

# Other names that W&B has for its modes.
_ALIASES = {"dryrun": "offline", "run": "online", "shared": "online", "": "online"}


_NO_PROJECT = set("/\\#?%:")
_LONGEST_PROJECT = 128


def check_project(key: str, project: str) -> None:
    """Refuse a name that W&B has no project of, before it is asked.

    Args:
        key: Where the name was given.
        project: The name, without a user or team.

    Raises:
        GenlabError: If it is empty, too long or has one of W&B's own characters.
    """
    if not project.strip() or len(project) > _LONGEST_PROJECT or _NO_PROJECT & set(project):
        raise GenlabError(
            f"{key} is '{project[:60]}', expected the name of a W&B project: up to {_LONGEST_PROJECT} letters, none of "
            f"{' '.join(sorted(_NO_PROJECT))}"
        )


class Access(NamedTuple):
    """How to log, and why not online.

    Attributes:
        mode: ``"online"``, ``"offline"`` or ``"disabled"``.
        reason: Why the mode is not online, in a few words; empty if it is.
    """

    mode: Literal["online", "offline", "disabled"]
    reason: str = ""


def find_access(mode: WandbMode, timeout_seconds: float) -> Access:
    """Find out how to log, without ever asking the user and without waiting longer than told.

    Args:
        mode: ``"auto"`` takes the user's mode (``WANDB_MODE``, or what ``wandb offline`` has stored), and offline where
            there is no key. ``"online"`` insists on a key.
        timeout_seconds: How long to wait for the server.

    Raises:
        GenlabError: If the mode is unknown, or online without a key.
    """
    if mode not in get_args(WandbMode):
        choices = get_args(WandbMode)
        raise GenlabError(
            f"logger.mode is '{mode}', expected one of {', '.join(choices)}.{nearest(str(mode), choices)}"
        )
    wanted = _users_mode() if mode == "auto" else mode
    if wanted == "disabled":
        return Access("disabled", f"mode {mode}")
    if wanted == "offline":
        return Access("offline", "logger.mode=offline" if mode == "offline" else "your W&B settings say so")
    if not _has_credentials():
        if mode == "online":
            raise GenlabError(
                "logger.mode=online needs a W&B key, and there is none.\n"
                "Run `wandb login`, or set WANDB_API_KEY, or use logger.mode=auto."
            )
        return Access("offline", "not logged in; `wandb login` does that")
    server = _session().settings.base_url
    if not _answers(server, timeout_seconds):
        return Access("offline", f"{server} does not answer")
    return Access("online")


def _users_mode() -> str:
    mode = os.environ.get("WANDB_MODE") or _session().settings.mode
    return _ALIASES.get(mode, mode)


def _session(**settings: str) -> Any:
    # W&B's own telemetry would keep a finished process waiting for a server that hangs.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    # Silent from the start: what W&B would print while it looks for a key cannot be turned off later.
    return wandb.setup(wandb.Settings(silent=True, **settings))


def _has_credentials() -> bool:
    """Look for a key where W&B looks (environment, its settings, .netrc), never asking for one."""
    import wandb

    # W&B looks for no key where WANDB_MODE is offline, which logger.mode=online overrules.
    _session(mode="online")
    try:
        return wandb.login(prompt=False, verify=False)
    except wandb.Error:  # A key of the wrong form is no key.
        return False


def _answers(url: str, timeout_seconds: float) -> bool:
    """Whether anything answers at an address; looking up a name can hang for longer than any socket's time limit."""
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(f"{url.rstrip('/')}/graphql", timeout=timeout_seconds).close()
        except urllib.error.HTTPError:
            pass  # An error is an answer too.
        except urllib.error.URLError as error:
            # W&B trusts certificates of its own finding; that ours differ says nothing about the network.
            if not isinstance(error.reason, ssl.SSLCertVerificationError):
                return
        except (OSError, ValueError):
            return
        answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_seconds)
    return answered.is_set()
