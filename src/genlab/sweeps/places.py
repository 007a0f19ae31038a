"""Where jobs run: the GPUs or the share of the cores that each has to itself."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from genlab.core.errors import GenlabError
from genlab.core.words import counted

__all__ = ["Place", "allowed_cores", "make_places", "pinned_to", "visible_gpus"]

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Place:
    """Where one job at a time runs.

    Attributes:
        name: What the user calls it, e.g. ``"GPU 3"``; empty for the whole machine.
        environment: Variables that keep a job to it.
        cores: The only cores that the job may use, or None for all.
    """

    name: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] | None = None


def make_places(
    jobs: int | None,
    gpus_per_job: int = 1,
    gpus: Sequence[str] = (),
    cores: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
) -> list[Place]:
    """Divide the machine among the jobs that run at a time.

    With GPUs each job has ``gpus_per_job`` of them, and its share of the threads; cores are not pinned there, since
    which of them are near to which GPU is not known. Without GPUs each job has its share of the cores. A single place
    is the whole machine and sets no threads: the job runs as it would alone.

    Args:
        jobs: How many at a time; None for one per group of GPUs, and without GPUs one. More jobs than groups share
            the GPUs in turn.
        gpus_per_job: GPUs of one job.
        gpus: From `visible_gpus`.
        cores: From `allowed_cores`.
        environment: Read for a number of threads that is set already and is not exceeded; ``os.environ`` by default.

    Raises:
        GenlabError: If a number is below 1, or a job asks for more GPUs than there are.
    """
    for name, value in (("jobs", jobs), ("gpus_per_job", gpus_per_job)):
        if value is not None and (not isinstance(value, int) or value < 1):
            raise GenlabError(f"hydra.launcher.{name} is {value}, expected a whole number of at least 1.")
    if gpus and gpus_per_job > len(gpus):
        raise GenlabError(
            f"hydra.launcher.gpus_per_job is {gpus_per_job}, but {counted(len(gpus), 'GPU')} can be seen here "
            f"({', '.join(gpus)}).\nGive at most {len(gpus)}, or make more visible with CUDA_VISIBLE_DEVICES."
        )
    whole = len(gpus) // gpus_per_job * gpus_per_job
    groups = [tuple(gpus[start : start + gpus_per_job]) for start in range(0, whole, gpus_per_job)]
    count = jobs or len(groups) or 1
    shares = _shares(cores, count)
    environment = os.environ if environment is None else environment
    places = []
    for index, share in enumerate(shares):
        settings = _threads(len(share), environment) if count > 1 and share else {}
        if groups:
            group = groups[index % len(groups)]
            name = f"{'GPU' if len(group) == 1 else 'GPUs'} {', '.join(group)}"
            places.append(Place(name, {**settings, "CUDA_VISIBLE_DEVICES": ",".join(group)}))
        elif count > 1 and share:
            places.append(Place(f"{'core' if len(share) == 1 else 'cores'} {_ranges(share)}", settings, share))
        else:
            places.append(Place())
    return places


def visible_gpus() -> list[str]:
    """Return what CUDA may use: the entries of ``CUDA_VISIBLE_DEVICES``, or without it the numbers of all GPUs."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [str(index) for index in range(_count_gpus())]
    gpus: list[str] = []
    for name in (entry.strip() for entry in visible.split(",")):
        if not name or name.startswith("-"):  # CUDA stops at the first that is none
            break
        gpus.append(name)
    return gpus


def _count_gpus() -> int:
    """Ask NVIDIA's management library: torch would take seconds to import, and its CUDA would hold memory."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return 0
    count = ctypes.c_uint(0)
    if library.nvmlInit_v2() != 0:
        return 0
    try:
        return count.value if library.nvmlDeviceGetCount_v2(ctypes.byref(count)) == 0 else 0
    finally:
        library.nvmlShutdown()


def allowed_cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@contextmanager
def pinned_to(cores: Sequence[int] | None) -> Iterator[None]:
    """Keep this thread to some cores; a process that it starts meanwhile stays there. None changes nothing."""
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _shares(cores: Sequence[int], count: int) -> list[tuple[int, ...]]:
    if len(cores) < count:
        return [tuple(cores[index % len(cores) :][:1]) if cores else () for index in range(count)]
    bounds = [index * len(cores) // count for index in range(count + 1)]
    return [tuple(cores[start:end]) for start, end in itertools.pairwise(bounds)]


def _threads(share: int, environment: Mapping[str, str]) -> dict[str, str]:
    def fewer(name: str) -> int:
        given = environment.get(name, "")
        return min(share, int(given)) if given.isdigit() and int(given) > 0 else share

    return {name: str(fewer(name)) for name in THREAD_VARIABLES}


def _ranges(numbers: Sequence[int]) -> str:
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
