"""One of two processes that are started at once and train several runs together, and what it records of them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.core.errors import GenlabError, Interrupted
from genlab.core.graphs import RecordedGraph
from genlab.core.sharded import whole
from tests.tiny import composed


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

    def install(self, replace: Callable[[Any, str, Any], None]) -> None:
        """Listen to all models, and give a GAN's players noise that does not depend on the number of processes."""
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
        replace(Gan, "_noise", given)
        replace(GenerativeModel, "on_train_end", self._end)

    @property
    def _end(self) -> Callable[[Any], None]:
        def end(model: Any) -> None:
            self.weights = {name: whole(value).clone() for name, value in model.state_dict().items()}

        return end


def main(folder: Path, rank: int) -> None:
    """Train the runs that ``<folder>/runs.json`` lists; leave ``<folder>/<name>.<rank>.pt`` of each."""
    from genlab.command.train import run

    for job in json.loads((folder / "runs.json").read_text()):
        os.environ.update(job["environment"][rank])
        recorder, error, result = Recorder(rank, 2, job["stop_at"]), None, None
        with pytest.MonkeyPatch.context() as patch:
            recorder.install(patch.setattr)
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
        kept["replays"] = recorder.replays
        torch.save({**kept, "error": error, "has_result": result is not None}, folder / f"{job['name']}.{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
