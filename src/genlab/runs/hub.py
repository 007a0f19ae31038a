"""The Hugging Face Hub: its client, and what is said where it does not do what it was asked to.

The client, huggingface_hub, is an extra, and imported when it is needed. It finds the user's token by itself; nothing
here reads, shows or keeps it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import genlab
from genlab.core.errors import GenlabError, shown
from genlab.runs.addresses import Address

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["CONNECT_SECONDS", "READ_SECONDS", "asked", "bounded", "endpoint", "open_client"]

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
"""Longest wait for a connection, and for the next piece of an answer."""

_LOG_IN = "log in by 'hf auth login', or set HF_TOKEN"


def endpoint() -> str:
    """Return the Hub's address; ``HF_ENDPOINT`` names another."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def open_client() -> HfApi:
    """Return the client.

    Raises:
        GenlabError: If it is not installed.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise GenlabError("The Hugging Face Hub needs huggingface_hub: pip install 'genlab[hub]'.") from error
    return HfApi(endpoint=endpoint(), library_name="genlab", library_version=genlab.__version__)


@contextmanager
def asked(address: Address, what: str, remark: str = "") -> Iterator[None]:
    """Say in a line why the Hub did not do what it was asked to within the block.

    Args:
        address: What it was asked for.
        what: What could not be done, as in ``"pulled"``.
        remark: A sentence for where there is no connection.

    Raises:
        GenlabError: For whatever went wrong with the network, the Hub or its answer.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from huggingface_hub.utils import logging

    begin, told = f"{address} cannot be {what}:", logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)  # it would tell of each try
    try:
        yield
    except HfHubHTTPError as error:
        raise GenlabError(f"{begin} {_said(error.response)}") from error
    except OfflineModeIsEnabled as error:
        raise GenlabError(f"{begin} HF_HUB_OFFLINE is set. {remark}".rstrip()) from error
    except httpx2.TimeoutException as error:
        late = f"{shown(endpoint())} does not answer in time. Try again later."
        raise GenlabError(f"{begin} {late} {remark}".rstrip()) from error
    except httpx2.ConnectError as error:
        raise GenlabError(f"{begin} there is no connection to {shown(endpoint())}. {remark}".rstrip()) from error
    except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
        raise GenlabError(f"{begin} the connection was cut off. Try again.") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise GenlabError(f"{begin} {type(error).__name__} at {shown(endpoint())}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise GenlabError(f"{begin} the answer of {shown(endpoint())} cannot be read.") from error
    finally:
        logging.set_verbosity(told)


def _said(response: Any) -> str:
    """Return what an answer means, and what to do; without its text, which may be anybody's."""
    code = response.status_code
    if code == 401:
        return f"the Hub says 401: it is private, missing, or your token is not valid. Check the name, or {_LOG_IN}."
    if code == 403:
        return "the Hub says 403: you may not. Check the name, your membership and what your token is allowed to do."
    if code == 404:
        return f"the Hub says 404: there is no such model or revision. Check the name; if it is private, {_LOG_IN}."
    if code == 429:
        wait = response.headers.get("retry-after", "")
        told = wait.isascii() and wait.isdigit() and len(wait) < 7
        return f"the Hub says 429: too many requests. Try again {f'in {int(wait):,} s' if told else 'later'}."
    if code >= 500:
        return f"the Hub says {code}: it has trouble of its own. Try again later."
    return f"the Hub says {code}."


@contextmanager
def bounded() -> Iterator[None]:
    """Within the block the client waits for no answer for ever, as it does by itself, and shows bars to people only."""
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = getattr(_http, "_GLOBAL_CLIENT_FACTORY", _http.default_client_factory)  # one of the user's own, too
    shows = not are_progress_bars_disabled()
    # Each piece of a large file that is sent may take as long.
    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, write=3 * READ_SECONDS)

    def make() -> httpx2.Client:
        client = before()
        client.timeout = timeout
        return client

    set_client_factory(make)
    if shows and not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    finally:
        set_client_factory(before)
        if shows:
            enable_progress_bars()
