"""What holds for every test: how many run at a time, with how many threads, in which order, and what each leaves."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from genlab.processes.deferring import SELDOM_USED, deferred
from tests import forkserver

# One thread for each process that tests run in or start, before any of them imports torch. The models are tiny: threads
# would wait for each other, most of all where tests run beside each other. And the number of threads changes the order
# of sums, so that bits compare between processes only where it is the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell makes what it starts in the background (``nohup pytest &``) deaf to Ctrl-C, and so all that is started there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What is collected stays: a search for garbage in it, each time that enough is made, would take a third of the suite.
gc.disable()

MOST_WORKERS = 8
"""Of them each holds torch in memory, half a gigabyte, and the longest file keeps more of them waiting."""
ROOMS = (
    "core", "processes", "modalities", "runs", "data", "networks", "models", "contract", "measure", "loggers",
    "comparison", "training", "gpu", "sweeps", "hydra_plugins", "command",
)  # fmt: skip
"""From the foundation to the roof: what others stand on is tested first, and it takes milliseconds."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run folders on all cores, and files and single tests in this process: they begin at once, and ``-s`` shows."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    named = all(argument.partition("::")[0].endswith(".py") for argument in config.args)
    if named or config.option.capture == "no":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # One more: some tests wait for a cluster, a signal or a lease.
    return min(cores + 1, MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Let all workers share the server whose imports take as long as many a test."""
    forkserver.offer()


def pytest_configure(config: pytest.Config) -> None:
    """Let each worker begin as genlab's commands do, without what torchmetrics imports and hardly anything uses."""
    if hasattr(config, "workerinput"):
        with deferred(*SELDOM_USED):
            import torchmetrics  # noqa: F401


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the rooms that all others stand on; beside other workers, with what waits while they compute."""
    beside_others = hasattr(config, "workerinput")
    here = Path(__file__).parent

    def floor(item: pytest.Item) -> int:
        room = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return ROOMS.index(room) if room in ROOMS else -1

    items.sort(key=lambda item: (not (beside_others and item.get_closest_marker("waits")), floor(item)))


def pytest_collection_finish() -> None:
    """From here on garbage is searched for in what the tests make, and not among all that was imported for them."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def nothing_of_the_user_is_read_or_written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Extractors that were trained on this machine would change figures, and caches would stay behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENLAB_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(autouse=True)
def no_job_of_hydra_remains() -> Iterator[None]:
    """A command that a test runs in this process leaves Hydra's job config, which later tests would read."""
    yield
    HydraConfig.instance().cfg = None


@pytest.fixture(autouse=True)
def no_start_of_a_command_remains(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that a test runs as if it were the program ends this process, a worker of pytest, at Ctrl-C."""
    monkeypatch.setattr("genlab.processes.starting._started", False)
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    yield
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
