"""How much of a training step a GPU works, for each default model on MNIST, with and without CUDA graphs.

    OMP_NUM_THREADS=2 python benchmarks/gpu.py [--models vae flow] [--minutes 4] --out gpu.json

A row for each model: milliseconds of a step under the trainer, plain and with CUDA graphs, and of a bare PyTorch loop
over the same model; what the GPU works in a step and how many kernels it is, by the profiler; samples per second; how
long the host waits for the device; peak memory. Beside the rows stand networks of other packages where these are
installed: the U-Net of denoising-diffusion-pytorch, a spline flow of zuko. Every measurement has a few seconds, and all
together the minutes given: what no longer fits is null, and says so. Without a CUDA device it runs on the CPU, where
kernels are calls of operators and what a GPU alone has is null; without the files of MNIST it takes random images.

It needs torch, pytorch-lightning, torchmetrics, hydra-core, omegaconf, pydantic, zuko, pooch, platformdirs,
annotated-types and rich, and genlab itself on the path.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from genlab.command.build import build_datamodule, build_model
from genlab.command.config import check_config
from genlab.command.console import log_to
from genlab.command.schemas import TrainConfig
from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.hardware import device_name
from genlab.core.timetable import Timetable
from genlab.models.base import GenerativeModel
from genlab.processes.display import Display
from genlab.runs.folder import RunDir
from genlab.training.trainer import build_callbacks, build_trainer

ROOT = Path(__file__).parents[1]
MODELS = ("vae", "flow", "gan", "diffusion", "flow_matching", "pixelcnn", "transformer", "made", "pixelrnn")
WARM_UP = 12
"""Steps before a clock runs: libraries choose algorithms, and graphs are recorded and checked."""
SAMPLES = (16, 1000)
"""Samples drawn to warm up, and at most at a time afterwards."""


class Clock(Callback):
    """Takes the time of a training's steps once they have warmed up, and ends it.

    Args:
        seconds: How long steps are timed.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.steps = 0
        self.began = self.took = 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.steps += 1
        if self.steps == WARM_UP:
            synchronize(pl_module.device)
            self.began = time.perf_counter()
        elif self.steps > WARM_UP and time.perf_counter() - self.began > self.seconds:
            synchronize(pl_module.device)
            self.took = time.perf_counter() - self.began
            trainer.should_stop = True

    @property
    def milliseconds(self) -> float:
        """Of a step."""
        return 1000 * self.took / (self.steps - WARM_UP)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def config(model: str, batch: int, *overrides: str) -> TrainConfig:
    """Return the config of a default model on MNIST."""
    fixed = ["data=mnist", f"data.batch_size={batch}", "logger=none", "budget.examples=1000000000"]
    with initialize_config_dir(str(ROOT / "conf")):
        return check_config(compose("config", [f"model={model}", *fixed, "budget.minutes=null", *overrides]))


class Bench:
    """What the rows share: sizes, the device, and the time that is left.

    Args:
        batch: Examples of a step.
        seconds: How long each figure is measured.
        minutes: When the last figure has begun.
    """

    def __init__(self, batch: int, seconds: float, minutes: float) -> None:
        self.batch = batch
        self.seconds = seconds
        self.deadline = time.monotonic() + 60 * minutes
        self.device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self.notes: list[str] = []

    def row(self, name: str) -> dict[str, Any]:
        """Measure all figures of a model."""
        row: dict[str, Any] = {"model": name}
        for figures in (self._bare, self._under_the_trainer, self._with_graphs, self._sampling):
            try:
                if time.monotonic() > self.deadline:
                    raise TimeoutError("the minutes were spent")
                row |= figures(name)
            except (RuntimeError, GenlabError, TimeoutError) as error:
                self.notes.append(f"{name}: no figure of {figures.__name__.strip('_')}: {str(error).splitlines()[0]}")
        return row

    def _bare(self, name: str) -> dict[str, Any]:
        settings = config(name, self.batch)
        model, batches = self._model(settings)
        self._reset_peak()
        step = bare_step(model)
        figures = self._of_steps(lambda: step(next(batches)))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return {"parameters": parameters, **{f"bare_{key}": value for key, value in figures.items()}}

    def _under_the_trainer(self, name: str) -> dict[str, Any]:
        return {"plain_ms": self._trained(config(name, self.batch, "trainer.cuda_graphs=false"))}

    def _with_graphs(self, name: str) -> dict[str, Any]:
        if self.device.type != "cuda":
            return {"graphs_ms": None}
        return {"graphs_ms": self._trained(config(name, self.batch, "trainer.cuda_graphs=auto"))}

    @torch.no_grad()
    def _sampling(self, name: str) -> dict[str, Any]:
        model, _ = self._model(config(name, self.batch))
        model.eval()
        model.sample(2)  # what libraries set up is not timed
        count = SAMPLES[0]
        while True:
            synchronize(self.device)
            began = time.perf_counter()
            model.sample(count)
            synchronize(self.device)
            took = time.perf_counter() - began
            more = min(SAMPLES[1], int(count * self.seconds / took / 2))
            if count >= SAMPLES[1] or more < 2 * count:
                return {"samples_per_second": count / took, "samples_at_once": count}
            count = more

    def _model(self, settings: TrainConfig) -> tuple[GenerativeModel, Iterator[Batch]]:
        data, model = build_datamodule(settings), build_model(settings).to(self.device)
        first = images(data, settings)
        model.initialize(first.rows(slice(model.initial_examples)).to(self.device))
        source = first.rows(slice(self.batch * 8)).to(self.device)
        parts = [source.rows(slice(i, i + self.batch)) for i in range(0, len(source.x), self.batch)]
        return model, itertools.cycle(parts)

    def _trained(self, settings: TrainConfig) -> float:
        data, model = build_datamodule(settings), build_model(settings)
        images(data, settings)
        clock = Clock(self.seconds)
        with tempfile.TemporaryDirectory() as folder:
            run = RunDir(Path(folder)).create()
            display = Display(Timetable())
            callbacks = [*build_callbacks(settings, run, model.name, settings.data.batch_size, display), clock]
            with log_to(run.log), display:
                make = _without_validation(settings.trainer.make)
                trainer = build_trainer(settings.trainer, make, run, model, callbacks, [])
                trainer.fit(model, datamodule=data)
        return clock.milliseconds

    def _of_steps(self, step: Callable[[], object]) -> dict[str, Any]:
        """Time steps, then look into some of them."""
        for _ in range(WARM_UP):
            step()
        synchronize(self.device)
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < self.seconds or steps < 3:
            step()
            steps += 1
        queued = time.perf_counter() - began
        synchronize(self.device)
        took = time.perf_counter() - began
        on_gpu = self.device.type == "cuda"
        busy, kernels = profiled(step) if on_gpu else (None, counted(step))
        return {
            "ms": 1000 * took / steps,
            "gpu_busy_ms": busy,
            "kernels": kernels,
            "host_waits": 1 - queued / took if on_gpu else None,
            "peak_memory_bytes": torch.cuda.max_memory_allocated(self.device) if on_gpu else None,
        }

    def _reset_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def peers(self) -> dict[str, Any]:
        """Measure the networks of other packages, those that are installed."""
        found = {}
        for name, make in PEERS.items():
            try:
                network, loss = make()
            except ImportError:
                found[name] = None
                self.notes.append(f"{name} is not installed")
                continue
            network = network.to(self.device)
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
            x = torch.rand(self.batch, 1, 28, 28, device=self.device)
            found[name] = {"parameters": sum(p.numel() for p in network.parameters())}
            found[name] |= self._of_steps(lambda o=optimizer, n=network, f=loss, x=x: _stepped(o, f(n, x)))
        return found


def images(data: Any, settings: TrainConfig) -> Batch:
    """Return the training images; random ones where there are no files, which take as long."""
    try:
        return data.tensors("train")
    except GenlabError:
        x = torch.randint(256, (10_000, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        y = torch.arange(len(x)) % 10
        data._splits = dict.fromkeys(("train", "validation", "test"), Batch(x, y))
        type(data).archives = ()
        return data.tensors("train")


def _without_validation(make: Callable[..., Trainer]) -> Callable[..., Trainer]:
    return lambda **arguments: make(**arguments, limit_val_batches=0)


def bare_step(model: GenerativeModel) -> Callable[[Batch], None]:
    """Return a step of a plain loop over a model; of a game, a step of each player."""
    optimizers = model.configure_optimizers()
    if not model.adversarial:
        (optimizer,) = optimizers
        return lambda batch: _stepped(optimizer, model.loss(batch)["loss"])

    def play(batch: Batch) -> None:
        parts = model.loss(batch)
        for optimizer, name in zip(optimizers, ("g_loss", "d_loss"), strict=True):
            own = [p for group in optimizer.param_groups for p in group["params"]]
            gradients = torch.autograd.grad(parts[name], own, retain_graph=True, allow_unused=True)
            for parameter, gradient in zip(own, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()

    return play


def _stepped(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def profiled(step: Callable[[], object], steps: int = 5) -> tuple[float, float]:
    """Return how many milliseconds of a step the GPU works, and the kernels of a step."""
    from torch.profiler import ProfilerActivity, profile

    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], acc_events=True) as watched:
        for _ in range(steps):
            step()
        torch.cuda.synchronize()
    kernels = [event for event in watched.events() if event.device_type.name == "CUDA"]
    return sum(event.self_device_time_total for event in kernels) / 1000 / steps, len(kernels) / steps


class _Calls(TorchDispatchMode):
    """Counts the operators that compute something; views compute nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not function.is_view
        return function(*args, **(kwargs or {}))


def counted(step: Callable[[], object]) -> int:
    """Return the operators of a step, nearly the kernels that it would be."""
    with _Calls() as calls:
        step()
    return calls.count


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Have imports that a network does not need succeed."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update({name: MagicMock() for name in absent})
    yield
    for name in absent:
        del sys.modules[name]


def _unet() -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    unused = ("torchvision", "torchvision.transforms", "torchvision.utils", "pytorch_fid", "accelerate", "ema_pytorch")
    with _without(*unused, "pytorch_fid.fid_score", "pytorch_fid.inception"):
        from denoising_diffusion_pytorch import Unet
    network = Unet(32, dim_mults=(1, 2, 2), channels=1)
    return network, lambda network, x: (network(x, x[:, 0, 0, 0]) - x).square().mean()


def _spline_flow() -> tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]:
    from zuko.flows import NSF

    return NSF(784, transforms=3, hidden_features=(256, 256)), lambda flow, x: -flow().log_prob(x.flatten(1)).mean()


PEERS = {"denoising-diffusion-pytorch's U-Net": _unet, "zuko's NSF": _spline_flow}


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return what a step with graphs takes of the GPU's own time, and plain ones of those with graphs."""
    found = {}
    for row in rows:
        graphs, busy, plain = row.get("graphs_ms"), row.get("bare_gpu_busy_ms"), row.get("plain_ms")
        if graphs and busy:
            found[f"{row['model']}: step with graphs over GPU busy"] = graphs / busy
        if graphs and plain:
            found[f"{row['model']}: plain step over step with graphs"] = plain / graphs
    if found:
        found["median of all steps with graphs over GPU busy"] = statistics.median(
            value for name, value in found.items() if name.endswith("GPU busy")
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--minutes", type=float, default=4.0, help="for all of them")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    bench = Bench(arguments.batch, arguments.seconds, arguments.minutes)
    rows = []
    for name in arguments.models:
        rows.append(bench.row(name))
        print(json.dumps(rows[-1]), flush=True)  # so that what was measured is there if the rest is not
    figures = {
        "command": f"python benchmarks/gpu.py --batch {arguments.batch}",
        "device": device_name(bench.device, 1),
        "torch": torch.__version__,
        "rows": rows,
        "peers": bench.peers(),
        "ratios": ratios(rows),
        "notes": bench.notes,
    }
    print(json.dumps({key: figures[key] for key in ("peers", "ratios", "notes")}, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
