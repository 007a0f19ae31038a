"""A server of the explorer for a test, which ends with it however it ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genlab.command.explorer.server import Explorer


@contextmanager
def served(logs: Path, **settings: Any) -> Iterator[Explorer]:
    """Serve a folder of logs within the block. A test that fails in it fails: nothing waits for its server."""
    with Explorer(str(logs), **{"device": "cpu"} | settings) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
