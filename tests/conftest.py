"""What every test leaves behind: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hydra.core.hydra_config import HydraConfig


@pytest.fixture(autouse=True)
def no_job_of_hydra_remains() -> Iterator[None]:
    """A command that a test runs in this process leaves Hydra's job config, which later tests would read."""
    yield
    HydraConfig.instance().cfg = None
