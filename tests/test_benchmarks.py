"""Every benchmark runs, at a size that takes seconds: one that is only started when a figure is needed fails then."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from genlab.core.graphs import RecordedGraph
from genlab.core.stylized_facts import WindowFacts
from tests import forkserver
from tests.tiny import ROOT, run_folder, train

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
    "ode_tolerances": ["--examples", "2", "--tolerances", "1e-2", "--reference", "1e-3"],
    "paired_likelihood": [],
    "reading_pictures": ["--pictures", "10", "--rounds", "1"],
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


def test_that_of_the_gpu_needs_little_beside_torch() -> None:
    spared = (
        "wandb",
        "sklearn",
        "matplotlib",
        "optuna",
        "safetensors",
        "soundfile",
        "pandas",
        "submitit",
        "tensorboard",
    )
    code = f"import sys; sys.modules.update(dict.fromkeys({spared})); sys.path.insert(0, 'benchmarks'); import gpu"
    done = forkserver.run([sys.executable, "-c", code], cwd=ROOT, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark of the GPU as a module, whose models take no time."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    script = importlib.import_module("gpu")
    monkeypatch.setattr(script, "bare_loop", lambda config, batch: (torch.nn.Linear(1, 1), SimpleNamespace()))
    return script


def row_of(script: Any, seconds: float) -> dict[str, Any]:
    with initialize_config_dir(str(ROOT / "conf")):
        return script.row("vae", SimpleNamespace(steps=2, batch=8), seconds)


def test_the_time_of_a_figure_ends_what_goes_on_after_an_exception(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a step does that cannot be recorded: it would go on plainly, and no alarm be left."""

    def stubborn(*_: Any, **__: Any) -> float:
        with contextlib.suppress(Exception):
            time.sleep(20)
        return 1.0

    monkeypatch.setattr(gpu, "trained_ms", stubborn)
    monkeypatch.setattr(gpu, "SHARES", dict.fromkeys(gpu.SHARES, 1.0))
    with pytest.raises(gpu.TimeUp), gpu.within(0.05):
        stubborn()
    found = row_of(gpu, 0.3)
    assert (found["plain_ms"], found["not_measured"]["plain_ms"]) == (None, "TimeUp: out of time")


def test_what_comes_before_the_figures_is_within_the_time_of_a_row(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "bare_loop", lambda config, batch: time.sleep(20))
    assert row_of(gpu, 0.2) == {"not_measured": {"all": "TimeUp: out of time"}}


def test_a_step_as_a_graph_is_measured_only_where_one_is_replayed(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with initialize_config_dir(str(ROOT / "conf")):
        config = compose("config", ["model=vae", "data=mnist", "model.conv.channels=[8,8]"])
    with pytest.raises(gpu.NotReplayed):
        gpu.replayed_ms(config, 4, 8)
    monkeypatch.setattr("genlab.training.callbacks.replay_steps.graphs_for", lambda device: RecordedGraph)
    found = gpu.replayed_ms(config, 4, 8)
    assert found["graphs_ms"] > 0
    assert 0 < found["replayed"] <= 8, "of twelve, three warm up and one is compared; after a second it ends sooner"


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
