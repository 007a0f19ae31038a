"""Exports to the Hugging Face Hub: in one commit, and over nothing that is there unless that is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from genlab.core.errors import GenlabError
from genlab.core.words import counted
from genlab.runs import hub
from genlab.runs.addresses import Address
from genlab.runs.exports import CARD, INDEX, Export, is_file_of_export

if TYPE_CHECKING:
    from huggingface_hub import HfApi

__all__ = ["There", "look", "push"]

_OF_THE_HUB = {".gitattributes"}
"""What a new model on the Hub has by itself."""


class There(NamedTuple):
    """What is at an address.

    Attributes:
        commit: The newest; None: there is no such model yet.
        names: Its files.
    """

    commit: str | None
    names: frozenset[str]


def look(address: Address, overwrite: bool) -> There:
    """See whether an export can be pushed to an address: before the work, and not after it.

    Raises:
        GenlabError: If there is no token, the Hub does not answer, or files are there that nobody said to overwrite.
    """
    if address.revision is not None:
        raise GenlabError(f"to is {address}, expected an address without a revision: a push makes a new one.")
    client = hub.open_client()
    from huggingface_hub import get_token

    if get_token() is None:
        raise GenlabError(f"{address} cannot be pushed without a token: log in by 'hf auth login', or set HF_TOKEN.")
    with hub.asked(address, "pushed"):
        there = _there(client, address)
    if (others := there.names - _OF_THE_HUB) and not overwrite:
        raise GenlabError(
            f"{address} has {counted(len(others), 'file')} already. overwrite=true replaces those of an export and "
            "keeps all others; earlier commits stay on the Hub."
        )
    return there


def _there(client: HfApi, address: Address) -> There:
    from huggingface_hub.errors import HfHubHTTPError

    try:
        info = client.model_info(address.repo, timeout=hub.CONNECT_SECONDS + hub.READ_SECONDS)
    except HfHubHTTPError as error:
        if error.response.status_code == 404:
            return There(None, frozenset())
        raise
    return There(info.sha, frozenset(sibling.rfilename for sibling in info.siblings or ()))


def push(folder: Path, export: Export, address: Address, there: There, private: bool) -> Address:
    """Push the files of an export in one commit, and return the address of that.

    Args:
        folder: The export.
        export: Its index.
        address: Where to.
        there: What `look` found there; if that has changed since, nothing is pushed.
        private: Whether a model that is new shall be seen by its owner alone.

    Raises:
        GenlabError: If the Hub does not take it; then nothing there has changed, but that a new model may be empty.
    """
    client = hub.open_client()
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    names = [CARD, INDEX, *export.files]
    stale = sorted(name for name in there.names if is_file_of_export(name) and name not in names)
    operations = [CommitOperationDelete(name) for name in stale]
    operations += [CommitOperationAdd(name, folder / name) for name in names if (folder / name).is_file()]
    with hub.bounded(), hub.asked(address, "pushed"):
        if there.commit is None:
            client.create_repo(address.repo, private=private)
        try:
            done = client.create_commit(
                address.repo,
                operations,
                commit_message=f"Export of the genlab run {export.run_id}",
                parent_commit=there.commit,
            )
        except ValueError as error:  # the client asks the Hub first whether it takes the card's head
            if not str(error).startswith("Invalid metadata"):
                raise
            raise GenlabError(
                f"{address} cannot be pushed: the Hub does not take the head of its {CARD}. Licences are named as the "
                "Hub names them, such as mit or apache-2.0, or other."
            ) from error
        return address.at(done.oid)
