"""Where a training step's time goes on a GPU, for models of pictures of MNIST's shape.

    python benchmarks/gpu.py [--models flow vae] [--out results/gpu.json]

A row has the milliseconds of a step in a bare PyTorch loop and under Lightning with the callbacks that act at each step
(``plain``, and ``graphs``, where ``replayed`` steps were timed, none of them a plain one), the time that the GPU works
in one, how many kernels it runs, the samples per second, and the peak of memory. Where steps are of several kinds, as
of a game that moves its generator or takes its penalties at some of them, all of these are means over whole periods of
the kinds. ``gpu_idle_share`` is the part of a bare step in which the GPU waits; ``host_idle_share`` that in which
Python waits for the GPU. Networks of peers stand beside ours where they are installed: zuko's spline flow,
denoising-diffusion-pytorch's U-Net. Those are other networks, of the sizes named.

All ends by ``--seconds``: what did not fit, or failed, stands in ``not_measured`` with the reason. The pictures are
random, so no files are needed. On a CPU kernels are the operators of PyTorch that ran (views left out), and the GPU's
figures are null. `side_by_side.py` measures several runs that share a GPU.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from timing.bare_loop import Loop, by_loss, by_own_steps, period_of, wait, warm
from torch import Tensor, nn

from genlab.core.batch import Batch
from genlab.core.graphs import WARM_UPS
from genlab.core.hardware import fast_bfloat16
from genlab.data.images import MNIST
from genlab.models.base import GenerativeModel
from genlab.training.callbacks.budget import NEVER, Budget
from genlab.training.callbacks.counter_noise import CounterNoise
from genlab.training.callbacks.ema import EMA
from genlab.training.callbacks.replay_steps import ReplaySteps

ROOT = Path(__file__).resolve().parents[1]
MODELS = ["vae", "flow", "gan", "diffusion", "flow_matching", "pixelcnn", "transformer", "made", "iwae", "hvae",
          "wgan_gp", "sngan", "r3gan", "gmm", "pixelrnn"]  # fmt: skip
SHARES = {
    "bare_ms": 0.3,
    "plain_ms": 0.5,
    "graphs_ms": 0.75,
    "kernels": 0.85,
    "peer_ms": 0.93,
    "samples_per_second": 1.0,
}
"""By which part of a row's time each of its figures must be there."""


class TimeUp(BaseException):
    """A figure took longer than it may; no Exception, since steps that fail as a graph go on plainly after one."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise :class:`TimeUp` in the block when it takes longer, at the next return from PyTorch."""

    def stop(*_: Any) -> None:
        raise TimeUp("out of time")

    if seconds <= 0:
        stop()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class RandomPictures(MNIST):
    """Random pictures of MNIST's shape and levels, four fifths of them background."""

    archives = ()

    def load(self, split: Any) -> dict[Any, Batch]:
        noise = torch.Generator().manual_seed(0)
        x = torch.randint(256, (4096, 1, 28, 28), generator=noise, dtype=torch.uint8)
        x[torch.rand(x.shape, generator=noise) < 0.8] = 0
        return {split: Batch(x, torch.randint(10, (4096,), generator=noise))}


class StepClock(Callback):
    """Time the steps of a training after the first ones, whole periods of their kinds, then end it.

    Args:
        steps: As many are timed, or as many as fit a second.
        period: Steps after which their kinds come again.
        replay: Replays the steps: the clock starts when it has replayed all of a period, not to time the plain steps
            before that; the training ends if it does not come to that. None where steps are plain.
    """

    def __init__(self, steps: int, period: int, replay: ReplaySteps | None) -> None:
        self.steps = steps
        self.period = period
        self.replay = replay
        self.milliseconds = math.nan
        self.timed = self.replayed = 0
        self._started = math.nan
        self._before: list[int] = []  # replays by the end of each step before the clock starts
        self._latest_start = warm(steps) + 2 * (WARM_UPS + 2) * period

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int) -> None:
        replays = 0 if self.replay is None else self.replay.replays
        if math.isnan(self._started):
            self._before.append(replays)
            if self._is_ready():
                wait(pl_module.device)
                self._started = time.perf_counter()
            elif len(self._before) >= self._latest_start:
                trainer.should_stop = True
            return
        self.timed += 1
        enough = self.timed >= self.steps or time.perf_counter() - self._started > 1
        if enough and self.timed % self.period == 0:
            wait(pl_module.device)
            self.milliseconds = 1000 * (time.perf_counter() - self._started) / self.timed
            self.replayed = replays - self._before[-1]
            trainer.should_stop = True

    def _is_ready(self) -> bool:
        if self.replay is None:
            return len(self._before) >= warm(self.steps)
        earlier = self._before[: -self.period]
        return bool(earlier) and self._before[-1] - earlier[-1] == self.period


class NotReplayed(Exception):
    """A step was not replayed as a graph: what was measured are plain ones."""


def trained(config: DictConfig, batch_size: int, steps: int, replay: ReplaySteps | None = None) -> StepClock:
    """Return the clock of a training under Lightning."""
    data, model, device = RandomPictures(batch_size=batch_size), make_model(config), pick_device()
    clock = StepClock(steps, period_of(model), replay)
    callbacks = [CounterNoise(0), EMA(config.ema_decay), Budget(10**9, None, 1, batch_size), clock]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else "cpu", devices=1, logger=False,
            callbacks=callbacks if replay is None else [*callbacks, replay],
            precision="bf16-mixed" if fast_bfloat16(device.type) else "32-true", default_root_dir=folder,
            max_epochs=-1, limit_val_batches=0, val_check_interval=NEVER, check_val_every_n_epoch=None,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
    return clock


def replayed_ms(config: DictConfig, batch_size: int, steps: int) -> dict[str, float | int]:
    """Return the milliseconds of a step under Lightning as a graph, and of how many, all of them replayed."""
    clock = trained(config, batch_size, steps, ReplaySteps())
    if math.isnan(clock.milliseconds):
        raise NotReplayed(make_model(config).not_captured or "a warning says why")
    if clock.replayed < clock.timed:
        raise NotReplayed(f"{clock.timed - clock.replayed} of the {clock.timed} timed steps were plain")
    return {"graphs_ms": clock.milliseconds, "replayed": clock.replayed}


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_model(config: DictConfig) -> GenerativeModel:
    torch.manual_seed(0)
    return instantiate(config.model, spec=RandomPictures.spec, _execution_whitelist_=["genlab.*", "torch.optim.*"])


def bare_loop(config: DictConfig, batch_size: int) -> tuple[GenerativeModel, Loop]:
    device = pick_device()
    data, model = RandomPictures(batch_size=batch_size), make_model(config).to(device)
    model.initialize(data.tensors("train").rows(slice(512)).to(device))
    optimizers = model.configure_optimizers()
    if model.automatic_optimization:
        train = by_loss(lambda batch: model.loss(batch)["loss"], optimizers, device)
    else:
        train = by_own_steps(model, optimizers, device)
    batches, clip = on_device(data, device), config.model.grad_clip
    return model, Loop(train, optimizers, batches, clip, device, model.progress, period_of(model))


def on_device(data: RandomPictures, device: torch.device) -> Iterator[Batch]:
    return (batch.to(device) for batch in data.train_dataloader())


def peer(model: str, batch_size: int) -> tuple[str, int, Loop] | None:
    """Return the name of the peer's network, its parameters and a loop over it; None where there is none."""
    device = pick_device()
    network: nn.Module
    if model == "flow":
        import zuko

        name = "zuko.flows.NSF(784, transforms=3, hidden_features=[256, 256])"
        network = zuko.flows.NSF(784, transforms=3, hidden_features=[256, 256]).to(device)

        def loss(batch: Batch) -> Tensor:
            return -network().log_prob(batch.x.flatten(1) / 128 - 1).mean()
    elif model in ("diffusion", "flow_matching"):
        try:
            from denoising_diffusion_pytorch import Unet
        except ImportError:
            return None
        name = "denoising_diffusion_pytorch.Unet(32, dim_mults=(1, 2, 4), channels=1)"
        network = Unet(32, dim_mults=(1, 2, 4), channels=1).to(device)

        def loss(batch: Batch) -> Tensor:
            x, time_ = batch.x / 128 - 1, torch.rand(len(batch.x), device=device)
            return (network(x, time_) - x).square().mean()
    else:
        return None
    parameters = list(network.parameters())
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(parameters)]
    batches = on_device(RandomPictures(batch_size=batch_size), device)
    loop = Loop(by_loss(loss, optimizers, device), optimizers, batches, 1.0, device)
    return name, sum(p.numel() for p in parameters), loop


@torch.no_grad()
def samples_per_second(model: GenerativeModel) -> dict[str, float]:
    """Return how many samples a second the largest batch gave, of batches that grow while one takes under a second."""
    model.eval()
    count, seconds = 8, 0.0
    model.sample(1)
    while True:
        wait(model.device)
        started = time.perf_counter()
        model.sample(count)
        wait(model.device)
        seconds = time.perf_counter() - started
        if seconds > 0.5 or count >= 2048:
            return {"samples_per_second": count / seconds, "samples_in_a_batch": count}
        count *= 4


def row(name: str, arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Measure a model within so many seconds."""
    began, steps, batch = time.monotonic(), arguments.steps, arguments.batch
    config = compose("config", [f"model={name}", "data=mnist"])
    has_graphs = torch.cuda.is_available()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        with within(seconds):
            model, loop = bare_loop(config, batch)
    except (Exception, TimeUp) as error:
        return {"not_measured": {"all": reason(error)}}
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}

    def bare() -> dict[str, Any]:
        return {
            "bare_ms": loop.milliseconds(steps),
            "host_idle_share": loop.host_idle_share(),
            "peak_memory_bytes": peak(),
        }

    def kernels() -> dict[str, Any]:
        return dict(zip(("kernels", "gpu_busy_ms"), loop.kernels(), strict=True))

    def of_peer() -> dict[str, Any]:
        of = peer(name, batch)
        if of is None:
            return {"peer_ms": None}
        return {"peer": of[0], "peer_parameters": of[1], "peer_ms": of[2].milliseconds(steps)}

    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "bare_ms": bare,
        "plain_ms": lambda: {"plain_ms": trained(config, batch, steps).milliseconds},
        "graphs_ms": lambda: replayed_ms(config, batch, steps) if has_graphs else {"graphs_ms": None},
        "kernels": kernels,
        "peer_ms": of_peer,
        "samples_per_second": lambda: samples_per_second(model),
    }
    missing: dict[str, str] = {}
    for figure, measure in ways.items():
        try:
            with within(began + SHARES[figure] * seconds - time.monotonic()):
                found |= measure()
        except (Exception, TimeUp) as error:  # of one figure: the others are still worth their minute of a GPU
            found[figure], missing[figure] = None, reason(error)
            wait(pick_device())
    return {**found, **ratios(found), "not_measured": missing}


def reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def ratios(found: dict[str, Any]) -> dict[str, float | None]:
    def ratio(a: str, b: str) -> float | None:
        return found[a] / found[b] if found.get(a) and found.get(b) else None

    busy = ratio("gpu_busy_ms", "bare_ms")
    return {
        "gpu_idle_share": None if busy is None else max(0.0, 1 - busy),
        "plain_over_bare": ratio("plain_ms", "bare_ms"),
        "plain_over_graphs": ratio("plain_ms", "graphs_ms"),
        "graphs_over_busy": ratio("graphs_ms", "gpu_busy_ms"),
        "peer_over_bare": ratio("peer_ms", "bare_ms"),
    }


def peak() -> int | None:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def rows(arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Measure each model in an equal part of the time that is left."""
    end, found = time.monotonic() + arguments.seconds, {}
    with initialize_config_dir(str(ROOT / "conf")):
        for done, name in enumerate(arguments.models):
            left = end - time.monotonic()
            share = left / (len(arguments.models) - done)
            found[name] = row(name, arguments, share) if left > 1 else {"not_measured": {"all": "TimeUp: out of time"}}
            print(name, json.dumps(found[name]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20, help="timed in each way")
    parser.add_argument("--seconds", type=float, default=220, help="for all rows together")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    figures: dict[str, Any] = {
        "command": "python benchmarks/gpu.py",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "bfloat16": fast_bfloat16(pick_device().type),
        "batch": arguments.batch,
        "steps": arguments.steps,
        "rows": rows(arguments),
    }
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    reasons = [said for of in figures["rows"].values() for said in of["not_measured"].values()]
    if any(not said.startswith(("TimeUp", "NotReplayed")) for said in reasons):
        sys.exit("Some figures failed, neither for lack of time nor of a graph: see not_measured.")


if __name__ == "__main__":
    main()
