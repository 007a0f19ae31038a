"""Exports and models from the Hugging Face Hub: pulled once into the user's cache folder, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from operator import index
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self

from genlab.core.downloads import downloads_allowed
from genlab.core.errors import GenlabError, shown
from genlab.runs import hub
from genlab.runs.addresses import Address
from genlab.runs.atomic import atomic_file, make_folder, sync_folder, write_atomic
from genlab.runs.caches import user_cache_folder
from genlab.runs.exports import CARD, INDEX, FileInfo, most_bytes, parse_index
from genlab.runs.scratch import scratch_folder

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub.hf_api import RepoSibling

__all__ = ["Pulled", "commit_of", "pull", "pull_files"]

ALLOWED_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 20_000
"""A file may take so long, and longer the larger it is: a server that sends a byte now and then would keep us."""


class Pulled(NamedTuple):
    """An export or a model that lies in the cache folder.

    Attributes:
        folder: Where.
        address: Of its commit.
    """

    folder: Path
    address: Address


class _Listed(NamedTuple):
    """What the Hub says of a file: its size, and its SHA-256 where it is stored as a large one."""

    bytes: int | None
    sha256: str | None

    @classmethod
    def of(cls, file: RepoSibling) -> Self:
        return cls(None if file.size is None else index(file.size), file.lfs.sha256 if file.lfs else None)


_Listing = Mapping[str, _Listed]
Choose = Callable[[Collection[str], Path], Mapping[str, float]]
_Fetch = Callable[[Address, _Listing, Path, Mapping[str, str]], None]


def pull(address: Address) -> Pulled:
    """Return an export of the Hub; what was pulled before is not fetched again, and a commit not even asked about.

    Fetched are the index, the files that it names, whose number, names and sizes are bounded and whose SHA-256 it
    says, and the card.

    Raises:
        GenlabError: If it cannot be, or is no export; the cache folder is as it was then.
    """
    return _pull(address, user_cache_folder() / "hub", _fetch_export)


def pull_files(address: Address, kind: str, choose: Choose) -> Pulled:
    """Return files of anybody's model on the Hub, pulled as :func:`pull` pulls exports.

    Their sizes and, where the Hub says it, their SHA-256 are checked.

    Args:
        address: Of the model.
        kind: What is chosen, a word: of one commit each kind is kept by itself.
        choose: Returns, of the names of all files, some that are fetched and the most bytes that each may have; it is
            asked again, with the folder in which these lie then, until all that it names are there. Raises a
            :class:`GenlabError` where no more should be.

    Raises:
        GenlabError: If they cannot be pulled, or one is too large; the cache folder is as it was then.
    """

    def fetch(pinned: Address, listed: _Listing, folder: Path, headers: Mapping[str, str]) -> None:
        lies = f"is not what {shown(hub.endpoint())} says. Try again."
        there: set[str] = set()
        while chosen := _more(choose, pinned, listed, folder, there):
            _fetch_files(pinned, {name: listed[name] for name in chosen}, folder, headers, lies)
            there |= chosen

    return _pull(address, user_cache_folder() / "hub-models" / kind, fetch)


def _more(choose: Choose, pinned: Address, listed: _Listing, folder: Path, there: Collection[str]) -> set[str]:
    """Return which files are to be fetched next, none of those that are there, each of a size that it may have."""
    try:
        chosen = {name: most for name, most in choose(listed, folder).items() if name not in there}
    except GenlabError as error:  # the folder is one for the time being: what is in it is the commit's
        raise GenlabError(str(error).replace(shown(folder), str(pinned))) from error
    for name, most in chosen.items():
        if (size := listed[name].bytes) is None:
            raise GenlabError(f"{pinned}: {shown(hub.endpoint())} does not say how large {name} is.")
        if size > most:
            raise GenlabError(f"{pinned}: {name} has {size:,} bytes, expected at most {most:,.0f}.")
    return {*chosen}


def commit_of(address: Address, kind: str) -> Address:
    """Return the address of the commit that a branch or a tag is now; that of a commit is what it was given.

    Args:
        address: Of a model.
        kind: As of :func:`pull_files`.

    Raises:
        GenlabError: If the Hub does not say it; where there is no connection, what was pulled before is named.
    """
    return address if address.commit else _ask(address, user_cache_folder() / "hub-models" / kind / address.repo)[0]


def _pull(address: Address, root: Path, fetch: _Fetch) -> Pulled:
    kept = root / address.repo
    if address.commit and (kept / address.commit).is_dir():
        return Pulled(kept / address.commit, address)
    pinned, listed = _ask(address, kept)
    folder = kept / str(pinned.revision)
    if not folder.is_dir():
        try:
            make_folder(kept)
            # Beside its place, so that the last step is a rename within one file system: it is there whole or not.
            with scratch_folder(kept, ".pull-") as scratch:
                whole = scratch / folder.name
                whole.mkdir()
                fetch(pinned, listed, whole, hub.open_client()._build_hf_headers())
                _put(whole, folder)
        except OSError as error:
            if error.errno is None:
                raise
            where = shown(error.filename or folder)
            raise GenlabError(f"{address} cannot be kept: {where}: {error.strerror}. GENLAB_HOME moves it.") from error
    return Pulled(folder, pinned)


def _ask(address: Address, kept: Path) -> tuple[Address, _Listing]:
    """Return which commit an address is, and what the Hub says of its files; ``kept`` has the commits pulled before."""
    if not downloads_allowed():
        raise GenlabError(
            f"{address} is not in the cache folder, and nothing is pulled here. Pull it by genlab sample run=..."
        )
    timeout = hub.CONNECT_SECONDS + hub.READ_SECONDS
    client = hub.open_client()
    with hub.asked(address, "pulled", _there(address, kept)):
        info = client.model_info(address.repo, revision=address.revision, timeout=timeout, files_metadata=True)
        return address.at(info.sha), {file.rfilename: _Listed.of(file) for file in info.siblings or ()}


def _there(address: Address, kept: Path) -> str:
    found = list(kept.glob("[0-9a-f]*"))
    if not found:
        return ""
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return f"Pulled before: hf://{address.repo}@{newest.name}."


def _put(whole: Path, folder: Path) -> None:
    try:
        os.replace(whole, folder)
    except OSError:
        if not folder.is_dir():  # else somebody else was faster
            raise
    sync_folder(folder.parent)


def _fetch_export(address: Address, listed: _Listing, folder: Path, headers: Mapping[str, str]) -> None:
    if INDEX not in listed:
        raise GenlabError(f"{address} has no {INDEX}: it is no export of genlab.")
    content = io.BytesIO()
    _download(address, INDEX, content, most_bytes(INDEX), headers)
    export = parse_index(content.getvalue(), f"{INDEX} of {address}")
    lies = f"is not what its {INDEX} says. Do not use it, and tell who exported it."
    _fetch_files(address, export.files, folder, headers, lies)
    if CARD in listed:
        with atomic_file(folder / CARD) as file:
            _download(address, CARD, file, most_bytes(CARD), headers)
    write_atomic(folder / INDEX, content.getvalue())


def _fetch_files(
    address: Address, files: Mapping[str, FileInfo | _Listed], folder: Path, headers: Mapping[str, str], lies: str
) -> None:
    """Fetch files of known sizes into a folder; what is said of one that is not what it should be is ``lies``."""
    needed, free = sum(info.bytes or 0 for info in files.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free", os.fspath(folder))
    for name, info in files.items():
        size = info.bytes or 0
        (folder / name).parent.mkdir(exist_ok=True)
        with atomic_file(folder / name) as file:
            found = _download(address, name, file, size, headers)
            if found.bytes < size:
                raise GenlabError(f"{address}: {name} was cut off after {found.bytes:,} of {size:,} bytes. Try again.")
            if found.sha256 != (info.sha256 or found.sha256):
                raise GenlabError(f"{address}: {name} {lies}")


def _download(address: Address, name: str, sink: IO[bytes], most: int, headers: Mapping[str, str]) -> FileInfo:
    """Fetch a file of a commit, at most so many bytes, and return what came."""
    from huggingface_hub import hf_hub_url
    from tqdm import tqdm

    url = hf_hub_url(address.repo, name, revision=address.revision, endpoint=hub.endpoint())
    digest, size = hashlib.sha256(), 0
    began, longest = time.monotonic(), ALLOWED_SECONDS + most / SLOWEST_BYTES_PER_SECOND
    bar = tqdm(total=most, unit="B", unit_scale=True, desc=name, leave=False, disable=not sys.stderr.isatty())
    with hub.asked(address, "pulled"), bar, _answer(url, headers) as response:
        for piece in response.iter_raw():
            size += len(piece)
            if size > most:
                raise GenlabError(f"{address}: {name} is larger than {most:,} bytes. It is left where it is.")
            if time.monotonic() - began > longest:
                raise GenlabError(f"{address}: {name} comes too slowly, {size:,} bytes so far. Try again later.")
            digest.update(piece)
            sink.write(piece)
            bar.update(len(piece))
    return FileInfo(bytes=size, sha256=digest.hexdigest())


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator[Response]:
    import httpx2
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status

    timeout = httpx2.Timeout(hub.READ_SECONDS, connect=hub.CONNECT_SECONDS)
    # Where the Hub sends us to another host, the client leaves the token out.
    identity = {**headers, "Accept-Encoding": "identity"}
    with get_session().stream("GET", url, headers=identity, timeout=timeout, follow_redirects=True) as response:
        hf_raise_for_status(response)
        yield response
