"""A run that several files of tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import go_on


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of one finished run, never interrupted."""
    logs = tmp_path_factory.mktemp("finished")
    go_on(logs)
    return logs
