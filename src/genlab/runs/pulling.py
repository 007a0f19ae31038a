"""Exports from the Hugging Face Hub: pulled once into the user's cache folder, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, NamedTuple

from genlab.core.errors import GenlabError, shown
from genlab.runs import hub
from genlab.runs.addresses import Address
from genlab.runs.atomic import atomic_file, make_folder, sync_folder, write_atomic
from genlab.runs.caches import user_cache_folder
from genlab.runs.exports import CARD, INDEX, Export, FileInfo, most_bytes, parse_index

if TYPE_CHECKING:
    from httpx2 import Response

__all__ = ["Pulled", "pull"]

ALLOWED_SECONDS = 60.0
SLOWEST_BYTES_PER_SECOND = 20_000
"""A file may take so long, and longer the larger it is: a server that sends a byte now and then would keep us."""


class Pulled(NamedTuple):
    """An export that lies in the cache folder.

    Attributes:
        folder: Where.
        address: Of its commit.
    """

    folder: Path
    address: Address


def pull(address: Address) -> Pulled:
    """Return an export of the Hub; what was pulled before is not fetched again, and a commit not even asked about.

    Fetched are the index, the files that it names, whose number, names and sizes are bounded and whose SHA-256 it
    says, and the card.

    Raises:
        GenlabError: If it cannot be, or is no export; the cache folder is as it was then.
    """
    kept = user_cache_folder() / "hub" / address.repo
    if address.commit and (kept / address.commit / INDEX).is_file():
        return Pulled(kept / address.commit, address)
    client = hub.open_client()
    timeout = hub.CONNECT_SECONDS + hub.READ_SECONDS
    with hub.asked(address, "pulled", _there(address, kept)):
        info = client.model_info(address.repo, revision=address.revision, timeout=timeout)
        pinned = address.at(info.sha)
        names = {sibling.rfilename for sibling in info.siblings or ()}
    folder = kept / str(pinned.revision)
    if not (folder / INDEX).is_file():
        if INDEX not in names:
            raise GenlabError(f"{address} has no {INDEX}: it is no export of genlab.")
        try:
            _fetch(pinned, folder, CARD in names, client._build_hf_headers())
        except OSError as error:
            if error.errno is None:
                raise
            where = shown(error.filename or folder)
            raise GenlabError(f"{address} cannot be kept: {where}: {error.strerror}. GENLAB_HOME moves it.") from error
    return Pulled(folder, pinned)


def _there(address: Address, kept: Path) -> str:
    found = [path.parent for path in kept.glob(f"*/{INDEX}")]
    if not found:
        return ""
    newest = max(found, key=lambda path: path.stat().st_mtime)
    return f"Pulled before: hf://{address.repo}@{newest.name}."


def _fetch(address: Address, folder: Path, has_card: bool, headers: Mapping[str, str]) -> None:
    make_folder(folder.parent)
    # Beside its place, so that the last step is a rename within one file system: it is there whole or not.
    with TemporaryDirectory(dir=folder.parent, prefix=".pull-") as scratch:
        index = io.BytesIO()
        _download(address, INDEX, index, most_bytes(INDEX), headers)
        export = parse_index(index.getvalue(), f"{INDEX} of {address}")
        whole = Path(scratch) / folder.name
        whole.mkdir()
        _check_room(export, whole)
        for name, info in export.files.items():
            (whole / name).parent.mkdir(exist_ok=True)
            with atomic_file(whole / name) as file:
                _check(address, name, info, _download(address, name, file, info.bytes, headers))
        if has_card:
            with atomic_file(whole / CARD) as file:
                _download(address, CARD, file, most_bytes(CARD), headers)
        write_atomic(whole / INDEX, index.getvalue())
        try:
            os.replace(whole, folder)
        except OSError:
            if not (folder / INDEX).is_file():  # else somebody else was faster
                raise
        sync_folder(folder.parent)


def _check_room(export: Export, folder: Path) -> None:
    needed, free = sum(info.bytes for info in export.files.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed, {free:,} are free", os.fspath(folder))


def _check(address: Address, name: str, expected: FileInfo, found: FileInfo) -> None:
    if found.bytes < expected.bytes:
        raise GenlabError(
            f"{address}: {name} was cut off after {found.bytes:,} of {expected.bytes:,} bytes. Try again."
        )
    if found != expected:
        raise GenlabError(f"{address}: {name} is not what its {INDEX} says. Do not use it, and tell who exported it.")


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
