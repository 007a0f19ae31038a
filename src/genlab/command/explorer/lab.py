"""The models and data that are in use: loaded once, and used by one request at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from genlab.command.build import build_datamodule, check_same_data
from genlab.command.config import read_trained
from genlab.command.explorer import pictures
from genlab.command.explorer.logs import Logs
from genlab.command.explorer.turns import Turns
from genlab.command.load import find_checkpoint, open_run
from genlab.command.schemas import TrainedConfig
from genlab.core.batch import Batch
from genlab.core.downloads import no_downloads
from genlab.core.errors import GenlabError
from genlab.core.hardware import choose_device
from genlab.core.randomness import some_of
from genlab.data.base import GenlabDataModule
from genlab.modalities import modality_of
from genlab.models.base import GenerativeModel
from genlab.runs.caches import only_with_the_user
from genlab.runs.folder import RunDir
from genlab.uses.codes import encode
from genlab.uses.detect.evidence import Evidence, Examples

__all__ = ["SCORED", "Lab", "Opened"]

MOST_RUNS, MOST_DATA = 12, 4
"""Models, and data sets, that are kept in memory."""
MOST_WAITING = 32
"""Requests that wait for another to be computed."""
SCORED, SCORED_SLOWLY = 200, 16
"""Examples among which a drawing is placed; the latter where a likelihood takes hundreds of passes."""

Made = TypeVar("Made")
_Key = tuple[str, str, int]
"""A run's name, ``best`` or ``last``, and when that checkpoint was written."""


@dataclasses.dataclass
class Opened:
    """A run that is loaded.

    Attributes:
        place: The run.
        checkpoint: ``"best"``, or ``"last"`` where validation has chosen none yet.
        model: Frozen, in eval mode, on its device.
        data: Its data.
        scores: Of test examples by name, and why there are no others; None: not computed yet.
    """

    place: RunDir
    checkpoint: str
    model: GenerativeModel
    data: GenlabDataModule
    scores: tuple[dict[str, Tensor], dict[str, str | None]] | None = None
    _codes: dict[int, Tensor] = dataclasses.field(default_factory=dict)
    _evidence: Evidence | None = None
    _test: Batch | None = None

    @property
    def setting(self) -> str | None:
        """The checkpoint as a command is told it; None where it is the default."""
        return None if self.checkpoint == "best" else self.checkpoint

    @property
    def test(self) -> Batch:
        """All test examples, loaded at the first call.

        Raises:
            GenlabError: If they are of a file of one's own that has changed since.
        """
        if self._test is None:
            check_same_data(self.place, self.data.spec)
            self._test = self.data.tensors("test")
        return self._test

    @property
    def has_examples(self) -> bool:
        """Whether `test` is loaded, and so can be read beside a computation."""
        return self._test is not None

    def test_rows(self, key: str, *indices: int) -> Batch:
        """Return test examples by their numbers.

        Raises:
            GenlabError: If there are not so many; ``key`` says which setting that was.
        """
        test = self.test
        if max(indices) >= len(test.x):
            raise GenlabError(f"{key} is {max(indices)}, expected 0 to {len(test.x) - 1}, a test example.")
        return test.rows(torch.tensor(indices))

    def code(self, example: int) -> Tensor:
        """Return the code ``[1, Z]`` of a test example, found once."""
        if example not in self._codes:
            if len(self._codes) > 64:
                self._codes.clear()
            self._codes[example] = encode(self.model, self.test_rows("example", example))
        return self._codes[example]

    def evidence(self) -> Evidence:
        """Return what scores of a drawing are computed from: as `detect` has it, of fewer examples."""
        if self._evidence is None:
            training = self.data.tensors("train")
            most = self.model.likelihood_examples
            count = SCORED if most is None else min(most, SCORED_SLOWLY)
            rows = some_of(torch.arange(len(training.x)), count)
            some = Examples("training", training.rows(rows), 2)
            self._evidence = Evidence(self.model, some, training, len(some))
        return self._evidence


class Lab:
    """The runs that are loaded, the last used ones of all.

    Args:
        logs: Where the runs lie.
        device: Where models go; see `choose_device`.
    """

    def __init__(self, logs: Logs, device: str = "auto") -> None:
        self.logs = logs
        self._device = device
        self._computing = Turns()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._runs: OrderedDict[_Key, Opened] = OrderedDict()
        self._data: OrderedDict[tuple[str, str], GenlabDataModule] = OrderedDict()

    @contextmanager
    def using(self, name: str) -> Iterator[Opened]:
        """Within it a run is loaded, nothing else is computed, nothing is downloaded or written where its config says.

        Raises:
            GenlabError: If there is no such run, it cannot be loaded from what is here, or too many are waiting.
            Left: If whoever asked has left before it was their turn.
        """
        if not self._waiting.acquire(blocking=False):
            raise GenlabError("Too much is waiting to be computed. Try again in a while.")
        try:
            with self._computing, no_downloads(), only_with_the_user():
                yield self._opened(name)
        finally:
            self._waiting.release()

    @contextmanager
    def looking_at(self, name: str) -> Iterator[Opened]:
        """As `using`, for what computes nothing: it waits for nobody where the run's test examples are there already.

        Raises:
            GenlabError: As of `using`.
            Left: Likewise.
        """
        opened = self._runs.get(self._found(name)[0])
        if opened is not None and opened.has_examples:
            yield opened
            return
        with self.using(name) as opened:
            yield opened

    def load(self, names: Sequence[str]) -> None:
        """Load runs before anybody asks for them, and what draws their examples.

        Of one that cannot be loaded or drawn is told who asks for it. Models that come trained wait to be asked for:
        their files lie wherever a run's config says.
        """
        for name in names:
            with contextlib.suppress(Exception):
                if not read_trained(self.logs.run(name)).model.target.comes_trained:
                    self._load_one(name)

    def _load_one(self, name: str) -> None:
        with self.using(name) as opened:
            spec = opened.model.spec
            pictures.of_samples(torch.zeros((1, *spec.shape), dtype=modality_of(spec).dtype(spec)), spec, "")

    def _found(self, name: str) -> tuple[_Key, RunDir, Path]:
        """Return by what a run is kept, the run, and its checkpoint."""
        place = self.logs.run(name)
        checkpoint = "best" if place.best_checkpoint.is_file() else "last"
        file = find_checkpoint(place, place.path, checkpoint)
        if not self.logs.holds(file):
            raise GenlabError(f"The checkpoint of '{name}' lies outside of {self.logs.root}.")
        # A run that is still being trained has other weights every few minutes.
        return (name, checkpoint, file.stat().st_mtime_ns), place, file

    def _opened(self, name: str) -> Opened:
        key, place, file = self._found(name)
        return _kept(self._runs, key, MOST_RUNS, lambda: self._open(place, key[1], file))

    def _open(self, place: RunDir, checkpoint: str, file: Path) -> Opened:
        config = _without_cache(read_trained(place))
        # Runs on two states of one file are told apart by the name of their data, their folder's.
        name, written = place.path.parent.parent.name, json.dumps(config.plain["data"], sort_keys=True, default=str)
        data = _kept(self._data, (name, written), MOST_DATA, lambda: build_datamodule(config))
        model = open_run(place, file, choose_device(self._device), spec=data.spec)
        return Opened(place, checkpoint, model, data)


def _without_cache(config: TrainedConfig) -> TrainedConfig:
    """Return the config of a run whose pictures are kept where the user's are, and in no folder that it names."""
    plain = {key: value for key, value in config.data.plain.items() if key != "cache"}
    return dataclasses.replace(config, data=dataclasses.replace(config.data, plain=plain))


Key = TypeVar("Key")


def _kept(there: OrderedDict[Key, Made], key: Key, most: int, make: Callable[[], Made]) -> Made:
    """Return what is kept by a key, or make it; what was not used for the longest time goes."""
    if key not in there:
        there[key] = make()
        while len(there) > most:
            there.popitem(last=False)
    there.move_to_end(key)
    return there[key]
