"""Small data files in the real formats, a local mirror, and the folder with the real data sets."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest


class _Mirror(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """An HTTP server on this machine: it serves ``folder`` at ``url`` and lists the ``requests``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "mirror"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Mirror, directory=folder)) as server:
        server.folder, server.requests = folder, []
        server.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _write_idx(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """Writes an array of bytes in the IDX format."""
    return _write_idx


@pytest.fixture
def real_root(request: pytest.FixtureRequest) -> Path:
    """The folder with the real data sets; skips the test where the one that it is parametrized with is missing."""
    root = os.environ.get("GENLAB_DATA")
    if not root:
        pytest.skip("GENLAB_DATA is not set: the real data sets are not at hand")
    if not (Path(root) / request.param).is_dir():
        pytest.skip(f"GENLAB_DATA has no folder {request.param}")
    return Path(root)
