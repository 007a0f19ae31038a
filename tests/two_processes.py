"""Two processes that are started at once and train several runs together, and what each records of them."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError, Interrupted
from genlab.core.recorded_graph import RecordedGraph
from genlab.core.sharded import whole
from tests import forkserver
from tests.tiny import ROOT, composed


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def by_hand(port: int) -> list[dict[str, str]]:
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    return [{**shared, "LOCAL_RANK": str(rank)} for rank in (0, 1)]


def train_together(folder: Path, jobs: list[dict[str, Any]], patience_seconds: float) -> list[tuple[str, str]]:
    """Have two processes train jobs, see :func:`main`, and return what each has said; kill them if they hang."""
    (folder / "runs.json").write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "tests.two_processes", str(folder)]
    started = [forkserver.start([*command, str(rank)], cwd=ROOT) for rank in (0, 1)]
    try:
        said = [process.communicate(timeout=patience_seconds) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said[0][1] + said[1][1]
    return said


class Recorder:
    """Keeps a run's first gradients, the seeds of its noise and its last weights.

    Args:
        rank: Of the processes that share a batch.
        world_size: How many they are.
        stop_at: Number of the batch within which a signal seems to come, or None.
    """

    def __init__(self, rank: int, world_size: int, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.rank = rank
        self.world_size = world_size
        self.gradients: dict[str, torch.Tensor] = {}
        self.weights: dict[str, torch.Tensor] = {}
        self.seeds: list[int] = []
        self.replays = 0

    def graph(self, *arguments: Any) -> RecordedGraph:
        """Return a graph whose replays are counted, and which cannot be recorded by one process if it is so told."""
        graph = RecordedGraph(*arguments)
        replay, capture = graph.replay, graph.capture

        def counted() -> None:
            self.replays += 1
            replay()

        def failing(work: Callable[[], Any]) -> Any:
            raise RuntimeError("no memory for graphs")

        graph.replay = counted  # type: ignore[method-assign]
        graph.capture = failing if os.environ.get("NO_GRAPHS") else capture  # type: ignore[method-assign]
        return graph

    def install(self, replace: Callable[[Any, str, Any], None], noise_given: bool) -> None:
        """Listen to all models, and if so told give players noise that does not depend on the number of processes."""
        from genlab.models.base import GenerativeModel
        from genlab.models.gan import Gan

        step, noise = GenerativeModel.on_before_optimizer_step, Gan._noise

        def listen(model: Any, optimizer: Any) -> None:
            self.seeds.append(torch.initial_seed())
            if model.progress.batches == 0:
                mine = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
                named = {name: whole(p.grad).clone() for name, p in model.named_parameters() if id(p) in mine}
                self.gradients |= named
            if model.progress.batches == self.stop_at:
                raise Interrupted("stopped", 15, together=True)
            step(model, optimizer)

        def given(model: Any, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
            if generator is not None:
                return noise(model, n, generator)
            source = torch.Generator().manual_seed(model.progress.batches)
            return noise(model, n * self.world_size, source)[self.rank * n : (self.rank + 1) * n]

        replace(GenerativeModel, "on_before_optimizer_step", listen)
        if noise_given:
            replace(Gan, "_noise", given)
        replace(GenerativeModel, "on_train_end", self._end)

    @property
    def _end(self) -> Callable[[Any], None]:
        def end(model: Any) -> None:
            self.weights = {name: whole(value).clone() for name, value in model.state_dict().items()}

        return end


class Poison:
    """Makes a training not finite at one step of one process, whether Python computes it or a replay.

    Args:
        where: ``"loss"``, with its gradient; ``"value"`` of the loss alone; ``"gradient"`` alone.
        at: Number of the batch, from 0.
        is_here: Whether this is the process.
    """

    def __init__(self, where: str, at: int, is_here: bool) -> None:
        self._where = where
        self._at = at
        self._is_here = is_here
        self._amount = torch.zeros(())
        self.said = ""

    def install(self, replace: Callable[[Any, str, Any], None]) -> None:
        from genlab.command import train
        from genlab.models.base import GenerativeModel
        from genlab.models.gan import Gan

        loss, start, fit = GenerativeModel.loss, GenerativeModel.on_train_batch_start, train._fit
        moves = Gan._moves

        def poisoned(model: Any, batch: Batch) -> dict[str, Tensor]:
            parts = loss(model, batch)
            return {**parts, "loss": parts["loss"] + self._added(next(model.parameters()))}

        def poisoned_moves(model: Any, batch: Batch) -> Iterator[tuple[int, dict[str, Tensor]]]:
            for player, parts in moves(model, batch):
                more = self._added(next(model.parameters())) if player == 0 else 0  # the generator's, the last to move
                yield player, {**parts, "loss": parts["loss"] + more}

        def begin(model: Any, *arguments: Any) -> None:
            self._amount.fill_(self._is_here and model.progress.batches == self._at)
            start(model, *arguments)

        def listen(*arguments: Any) -> None:
            try:
                fit(*arguments)
            except GenlabError as error:
                self.said = f"{type(error).__name__}: {error}"
                raise

        replace(GenerativeModel, "loss", poisoned)
        replace(Gan, "_moves", poisoned_moves)
        replace(GenerativeModel, "on_train_batch_start", begin)
        replace(train, "_fit", listen)

    def _added(self, weight: Tensor) -> Tensor:
        """Return 0, with a gradient of 0, where nothing is poisoned."""
        nothing, rest = (weight - weight.detach()).abs().sum(), 1 - self._amount
        if self._where == "loss":
            return nothing / rest
        return rest.log() if self._where == "value" else (nothing + rest).sqrt() - rest


def main(folder: Path, rank: int) -> None:
    """Train the runs that ``<folder>/runs.json`` lists; leave ``<folder>/<name>.<rank>.pt`` of each.

    A job has a name, ``overrides``, the ``environment`` of both processes, ``stop_at``, see :class:`Recorder`, and
    whether steps are ``replayed``; it may have ``noise_given``. It may have a ``poison``, see :class:`Poison`, with the
    rank of its process, and a ``lag`` with which the checks of finite numbers are read.
    """
    from genlab.command.train import run

    for job in json.loads((folder / "runs.json").read_text()):
        os.environ.update(job["environment"][rank])
        recorder, error, result = Recorder(rank, 2, job["stop_at"]), None, None
        where, at, poisoned = job.get("poison", ["loss", -1, 0])
        poison = Poison(where, at, poisoned == rank)
        with pytest.MonkeyPatch.context() as patch:
            recorder.install(patch.setattr, job.get("noise_given", False))
            if "poison" in job:
                poison.install(patch.setattr)
                patch.setattr("genlab.core.finite.lag_on", lambda device, lag=job["lag"]: lag)
            if job["replayed"]:
                patch.setattr(
                    "genlab.training.callbacks.replay_steps.graphs_for",
                    lambda device, recorder=recorder: recorder.graph,
                )
            # Short as it is, the evaluation is rehearsed: by the first process, and the other must not wait for it.
            patch.setattr("genlab.training.callbacks.display.SHORTEST_TRAINING", 0.0)
            try:
                result = run(composed(job["overrides"]))
            except (GenlabError, Interrupted) as raised:
                error = str(raised)
        for name in job["environment"][rank]:
            os.environ.pop(name, None)
        kept = {"gradients": recorder.gradients, "weights": recorder.weights, "seeds": recorder.seeds}
        kept |= {"replays": recorder.replays, "said": poison.said}
        torch.save({**kept, "error": error, "has_result": result is not None}, folder / f"{job['name']}.{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
