"""Every benchmark runs, at a size that takes seconds: one that is only started when a figure is needed fails then."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from genlab.core.batch import Batch
from genlab.core.recorded_graph import RecordedGraph
from genlab.core.stylized_facts import WindowFacts
from genlab.models.steps import Progress
from tests import forkserver
from tests.tiny import ROOT, SMALL, run_folder, train

sys.path.append(str(ROOT / "docs"))  # behind all packages: only `making` is looked for there

from making import worth

TINY = {
    "compare": ["--files", "20", "--rounds", "1"],
    "data_loading": ["--batches", "5", "--rounds", "1"],
    "generate": ["--samples", "20"],
    "explorer": [
        "--data", "digits", "--models", "gmm", "--pauses", "0", "--examples", "64", "--later", "1", "--rounds", "1"
    ],
    "gpu": ["--models", "vae", "--batch", "8", "--steps", "2", "--seconds", "40"],
    "inpainting": ["--examples", "4", "--each", "2"],
    "loop_overhead": ["--steps", "4", "--rounds", "1"],
    "same_bits": ["--only", "flow on two moons", "--examples", "64"],
    "metrics": ["--real", "1000", "--fake", "1000", "--features", "8"],
    "ngrams": ["--orders", "2", "--data", "shakespeare"],
    "operations": ["--models", "vae"],
    "ode_tolerances": ["--examples", "2", "--tolerances", "1e-2", "--reference", "1e-3"],
    "paired_likelihood": [],
    "old_and_new": ["--old", "HEAD", "--benchmarks", "compare --files 5 --rounds 1", "--rounds", "1"],
    "reading_pictures": ["--pictures", "12", "--fewer", "10", "--rounds", "1"],
    "samplers": ["--samples", "100", "--repeats", "1", "--samplers", "heun-2", "ddim-2"],
    "sampling_cache": ["--images", "1", "--values", "2", "--rounds", "1", "--families", "made"],
    "side_by_side": [
        "--at-a-time",
        "2",
        "--sweep",
        "seed=0",
        "model=gmm",
        "model.components=2",
        "model.em_steps=0",
        "data=toy2d",
        "data.train_size=1000",
        "logger=none",
        "budget.examples=256",
        "budget.validations=1",
        "validation_samples=null",
        "evaluation.num_samples=10",
    ],
    "start_up": ["--rounds", "1"],
    "stylized_facts": ["--samples", "20", "--draws", "2"],
    "sweep": ["--jobs", "1", "--trainings", "1"],
    "table_rows": ["--columns", "2", "--rows", "10", "--rounds", "1"],
    "unet": ["--batch", "1", "--rounds", "1"],
    "wavenet_sampling": ["--samples", "1", "--seconds", "0.02", "--values", "1", "--rounds", "1"],
}  # fmt: skip
OF_RUNS = {
    "generate": "gmm",
    "inpainting": "made",
    "ode_tolerances": "diffusion",
    "paired_likelihood": "gmm",
    "samplers": "diffusion",
    "stylized_facts": "gmm",
}
"""Those that are given a run, and of which model."""
ON_DATA = {"stylized_facts": ["data=stochastic_volatility", "data.train_size=200"]}
"""Those whose run is of data of its own."""
ON_PAGES = {"generate": worth.generating, "inpainting": worth.inpainting}
"""Those whose figures the documentation shows, and by what."""
ON_MNIST = ["data_loading", "start_up"]


def numbers(figures: Any) -> list[float]:
    """All numbers of a result, however deep."""
    if isinstance(figures, dict):
        return numbers(list(figures.values()))
    if isinstance(figures, list):
        return [number for part in figures for number in numbers(part)]
    return [figures] if isinstance(figures, int | float) else []


def test_each_is_tried() -> None:
    assert sorted(TINY) == sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))


NEEDED_ON_A_GPU = [
    *("torch", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf"),
    *("zuko", "pooch", "platformdirs", "annotated-types", "rich"),
]
"""What an image for GPUs has, and what has to be installed there for the benchmark."""
WITH_THESE_ALONE = """if True:
    import json, sys
    from importlib.machinery import PathFinder
    refused, distributions, small = json.loads(sys.argv[1])

    class Finder(PathFinder):
        @classmethod
        def find_spec(cls, name, path=None, target=None):
            if name.partition(".")[0] not in refused:
                return super().find_spec(name, path, target)

        @classmethod
        def find_distributions(cls, *context):
            return (d for d in super().find_distributions(*context) if d.name not in distributions)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
    sys.path.insert(0, "benchmarks")
    import gpu
    from hydra import compose, initialize_config_dir
    from types import SimpleNamespace

    gpu.compose = lambda name, overrides: compose(name, [*overrides, *small.get(overrides[0], [])])
    sizes = SimpleNamespace(steps=1, batch=1)
    with initialize_config_dir(str(gpu.ROOT / "conf")):
        for name in ("vae", "flow"):
            missing = gpu.row(name, sizes, 200)["not_measured"]
            assert not missing, missing
        for name in gpu.MODELS:
            gpu.bare_loop(gpu.compose("config", [f"model={name}", "data=mnist"]), 1)[1].step()
    assert sys.modules.keys().isdisjoint(refused)
"""


def brought_along(requirement: str, found: dict[str, set[str]]) -> None:
    """Add to what is found a distribution and all that it requires, by name, with the extras that are asked for."""
    asked = Requirement(requirement)
    name, extras = canonicalize_name(asked.name), {"", *asked.extras}
    if extras <= found.setdefault(name, set()):
        return
    found[name] |= extras
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # for other systems
        for further in importlib.metadata.requires(name) or []:
            marker = Requirement(further).marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
                brought_along(further, found)


def test_that_of_the_gpu_needs_little_beside_torch() -> None:
    """In a process in which nothing else is to be found, neither as a module nor as a distribution."""
    allowed: dict[str, set[str]] = {"genlab": {""}}
    for name in NEEDED_ON_A_GPU:
        brought_along(name, allowed)
    installed = importlib.metadata.packages_distributions()
    others = {module for module, of in installed.items() if allowed.keys().isdisjoint(map(canonicalize_name, of))}
    assert {"wandb", "sklearn", "scipy", "matplotlib", "pydantic", "safetensors"} <= others
    names = {d.name for d in importlib.metadata.distributions() if canonicalize_name(d.name) not in allowed}
    small = {f"model={name}": overrides for name, overrides in SMALL.items()} | {
        "model=vae": ["model.conv.channels=[8,8]"]
    }
    given = json.dumps([sorted(others), sorted(names), small])
    done = subprocess.run(
        [sys.executable, "-c", WITH_THESE_ALONE, given], cwd=ROOT, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark of the GPU as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def row_of(script: Any, seconds: float) -> dict[str, Any]:
    with initialize_config_dir(str(ROOT / "conf")):
        return script.row("vae", SimpleNamespace(steps=2, batch=8), seconds)


def test_the_time_of_a_figure_ends_what_goes_on_after_an_exception(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a step does that cannot be recorded: it would go on plainly, and no alarm be left."""

    def stubborn(*_: Any, **__: Any) -> float:
        with contextlib.suppress(Exception):
            time.sleep(20)
        return 1.0

    monkeypatch.setattr(gpu, "bare_loop", lambda config, batch: (torch.nn.Linear(1, 1), SimpleNamespace()))
    monkeypatch.setattr(gpu, "trained", stubborn)
    monkeypatch.setattr(gpu, "SHARES", dict.fromkeys(gpu.SHARES, 1.0))
    with pytest.raises(gpu.TimeUp), gpu.within(0.05):
        stubborn()
    found = row_of(gpu, 0.3)
    assert (found["plain_ms"], found["not_measured"]["plain_ms"]) == (None, "TimeUp: out of time")


def test_what_comes_before_the_figures_is_within_the_time_of_a_row(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "bare_loop", lambda config, batch: time.sleep(20))
    assert row_of(gpu, 0.2) == {"not_measured": {"all": "TimeUp: out of time"}}


def config_of(model: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf")):
        return compose("config", [f"model={model}", "data=mnist", *overrides])


GAME = ["model.conv.channels=8", "model.conv.max_channels=8", "model.objective.critic_steps=2"]


@pytest.mark.parametrize(("model", "overrides"), [("vae", ["model.conv.channels=[8,8]"]), ("gan", GAME)])
def test_a_step_as_a_graph_is_measured_only_where_each_is_replayed(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, model: str, overrides: list[str]
) -> None:
    """Of a game the first kinds of step are replayed long before the last is."""
    config = config_of(model, *overrides)
    with pytest.raises(gpu.NotReplayed):
        gpu.replayed_ms(config, 2, 2)
    monkeypatch.setattr("genlab.training.callbacks.replay_steps.graphs_for", lambda device: RecordedGraph)
    found = gpu.replayed_ms(config, 2, 2)
    assert found["graphs_ms"] > 0
    assert found["replayed"] == {"vae": 2, "gan": 4}[model], "two, or the period of the kinds"


def test_a_bare_loop_takes_the_steps_of_a_game_that_the_trainer_takes(gpu: Any) -> None:
    config = config_of("wgan_gp", *GAME, "model.objective.penalty_interval=3", "model.grad_clip=1e-9")
    model, loop = gpu.bare_loop(config, 2)
    assert loop.run(4) == loop.period == model.progress.batches == 6, "the fewest that are of all kinds alike"
    for optimizer, steps in zip(model.optimizers(), (3, 6), strict=True):
        (group,) = optimizer.param_groups
        assert {int(optimizer.state[p]["step"]) for p in group["params"]} == {steps}, "of the generator, of the other"
        norms = [p.grad.norm() for p in group["params"]]
        assert torch.stack(norms).norm().item() == pytest.approx(1e-9, rel=0.1)


def test_kernels_are_those_of_a_mean_step(gpu: Any) -> None:
    progress = Progress()

    def train(batch: Batch) -> None:
        for _ in range(1 + 2 * (progress.batches % 2)):
            batch.x.add(1)

    batches = itertools.repeat(Batch(torch.zeros(1)))
    loop = gpu.Loop(train, [], batches, None, torch.device("cpu"), progress, period=2)
    assert loop.kernels() == (2, None)


@pytest.mark.real_data
@pytest.mark.parametrize("name", TINY)
def test_it_runs_and_leaves_its_figures(name: str, tmp_path: Path) -> None:
    if name in ON_MNIST and not (Path(os.environ.get("GENLAB_DATA", "data")) / "MNIST" / "raw").is_dir():
        pytest.skip("the files of mnist are not in $GENLAB_DATA")
    arguments = TINY[name]
    if name in OF_RUNS:
        train(tmp_path, "budget.examples=64", "budget.validations=1", *ON_DATA.get(name, []), model=OF_RUNS[name])
        arguments = [str(run_folder(tmp_path)), *arguments]
    if name == "inpainting":
        arguments += ["--exact", arguments[0]]
    if name == "paired_likelihood":
        arguments += arguments[:1]
    file = tmp_path / "figures.json"
    command = [sys.executable, f"benchmarks/{name}.py", *arguments, "--out", str(file)]
    done = forkserver.run(command, cwd=ROOT, timeout=250, children_too=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(file.read_text())
    assert figures["command"].startswith(f"python benchmarks/{name}.py")
    assert numbers(figures)
    assert all(map(math.isfinite, numbers(figures)))
    if name in ON_PAGES:
        assert f"| {OF_RUNS[name]} |" in ON_PAGES[name](figures)


def test_errors_of_a_series_are_of_stretches_that_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("stylized_facts_script", ROOT / "benchmarks" / "stylized_facts.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    series = torch.arange(96.0)  # each value tells when it was
    series += torch.randn(96, generator=torch.Generator().manual_seed(0)) / 10
    parts = {"train": (0, 56, 1), "validation": (56, 76, 4), "test": (76, 96, 4)}
    x = {name: series[start:stop].unfold(0, 4, step)[:, None] for name, (start, stop, step) in parts.items()}
    given, facts_of = [], script.facts_of
    monkeypatch.setattr(script, "facts_of", lambda windows: given.append(windows) or facts_of(windows))
    real, others = script.of_a_file(SimpleNamespace(tensors=lambda split: SimpleNamespace(x=x[split])), 5)
    test, *stretches = given
    assert torch.equal(test, x["test"])
    assert [stretch.shape for stretch in stretches] == [test.shape] * 4, "the fifth would be of four windows"
    assert torch.equal(torch.cat(stretches).flatten(), series[:80]), "one after the other, no value twice"
    for facts, windows in zip([real, *others], given, strict=True):
        expected = WindowFacts(windows).compute()
        assert facts["autocorrelation_squared"].tolist() == expected["autocorrelation_squared"].flatten().tolist()
        assert facts["kurtosis"].item() == expected["kurtosis"].item()
