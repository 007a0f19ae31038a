"""CUDA graphs: replayed numbers are those of the plain work, noise follows the seed, a failure leaves no trace."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from genlab.core.graphs import CudaGraph, Replayed, graphs_for
from genlab.models.steps import Progress
from genlab.training.callbacks.counter_noise import CounterNoise

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


def test_gradients_are_replayed_into_the_same_buffers(device: torch.device) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 1)).to(device)
    x = torch.randn(32, 8, device=device)

    def work() -> Tensor:
        network.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            loss = network(x).float().square().mean()
        loss.backward()
        return loss.detach()

    graph = graphs_for(device)()
    for _ in range(3):
        graph.warm_up(work)
    network.zero_grad()
    loss = graph.capture(work)
    buffers = [parameter.grad for parameter in network.parameters()]
    for _ in range(2):
        x.normal_()
        graph.replay()
        replayed = [loss.clone(), *(buffer.clone() for buffer in buffers)]
        plain = [work(), *(parameter.grad for parameter in network.parameters())]
        for one, other in zip(replayed, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_noise_is_that_of_the_run_seed_and_step_in_each_start_of_a_run(device: torch.device) -> None:
    trainer = SimpleNamespace(global_rank=0, strategy=SimpleNamespace(root_device=device))
    own = torch.Generator(device)

    def draw() -> Tensor:
        return torch.cat([torch.randn(5, device=device), torch.rand(5, generator=own, device=device)])

    def seeded(step: int) -> None:
        model = SimpleNamespace(progress=Progress(batches=step))
        CounterNoise(3).on_train_batch_start(trainer, model, None, 0)
        own.manual_seed(step)

    drawn: list[list[Tensor]] = []
    for _ in range(2):
        graph = CudaGraph(device, [own])
        graph.warm_up(draw)
        result = graph.capture(draw)
        drawn.append([])
        for step in (5, 6, 7):
            seeded(step)
            graph.replay()
            drawn[-1].append(result.clone())
            seeded(step)
            assert torch.equal(draw(), result)
    assert all(torch.equal(one, other) for one, other in zip(*drawn, strict=True))
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_a_capture_that_fails_leaves_streams_generators_and_other_graphs_alone(device: torch.device) -> None:
    earlier = CudaGraph(device)
    noise = earlier.capture(lambda: torch.randn(3, device=device))
    stream = torch.cuda.current_stream(device)
    x = torch.ones(3, device=device)
    for reads_back in (lambda: float(torch.randn((), device=device) + x.sum()), lambda: 1 / 0):

        def work(failing=reads_back) -> None:
            x.add_(torch.randn(3, device=device))
            failing()

        torch.manual_seed(4)
        with pytest.raises((RuntimeError, ZeroDivisionError)):
            CudaGraph(device).capture(work)
        assert torch.cuda.current_stream(device) == stream
        first = torch.randn(3, device=device)
        torch.manual_seed(4)
        assert torch.equal(first, torch.randn(3, device=device)), "the capture took nothing from the generator"
        assert x.tolist() == [1, 1, 1]
        torch.manual_seed(4)
        earlier.replay()
        assert torch.equal(noise, first), "and the generator is still the one that other graphs know"


def test_a_replayed_function_follows_its_inputs(device: torch.device) -> None:
    network = nn.Linear(4, 2).to(device)
    replayed = Replayed(network, graphs_for(device))
    for rows in (3, 3, 5, 3):
        x = torch.randn(rows, 4, device=device)
        torch.testing.assert_close(replayed(x), network(x).detach(), rtol=1e-3, atol=1e-4)


def test_memory_is_used_again_after_a_capture_that_failed(device: torch.device) -> None:
    """Also what two streams have used, as DDP's gradients are."""
    with pytest.raises(RuntimeError):
        CudaGraph(device).capture(lambda: float(torch.ones((), device=device)))
    other, active = torch.cuda.Stream(device), []
    for _ in range(3):
        x = torch.empty(2**20, device=device)
        x.record_stream(other)
        del x
        torch.cuda.synchronize(device)
        torch.empty(1, device=device)  # then PyTorch looks what is free again
        active.append(torch.cuda.memory_stats(device)["active_bytes.all.current"])
    assert len(set(active)) == 1
