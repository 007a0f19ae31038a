"""The protocol's figures, of a model whose log-probabilities are known."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise, integers
from genlab.core.randomness import Stream, stream_seed
from genlab.core.spec import DataSpec
from genlab.measure.features.inception import InceptionV3
from genlab.measure.likelihood import measure_likelihood
from genlab.measure.protocol import EvaluationProtocol
from genlab.measure.sampling import Drawn, describe_sampling, draw_samples

PROTOCOL = EvaluationProtocol("p", "test", num_draws=8, max_examples=None, num_samples=4, batch_size=3, seed=0)
DATA = Batch(torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1), torch.zeros(7, dtype=torch.int64))


@dataclass
class Model:
    """The log-probability of x is -x nats, one more with several draws where it is a bound."""

    kind: str = "elbo"
    conditional: bool = False
    spec: DataSpec = field(default_factory=lambda: DataSpec("d", "image", (1, 1, 1), levels=256))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    likelihood_examples: int | None = None
    likelihood_settings: dict[str, Any] = field(default_factory=dict)
    sampling_settings: dict[str, Any] = field(default_factory=dict)
    nfe: int = 1

    @property
    def has_likelihood(self) -> bool:
        return self.kind != "none"

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        return iter([])

    def likelihood_kind(self, num_draws: int = 1) -> str:
        return f"iwae-{num_draws}" if self.kind == "elbo" and num_draws > 1 else self.kind

    def log_prob(
        self, x: torch.Tensor, y: Any, *, mask: Any, num_draws: int, generator: torch.Generator
    ) -> torch.Tensor:
        return -x.flatten().float() + (1.0 if self.likelihood_kind(num_draws).startswith("iwae") else 0.0)


def measure(model: Any) -> dict[str, Any]:
    figures = measure_likelihood(model, DATA, PROTOCOL)
    assert figures is not None
    return figures


def test_a_bound_of_several_draws_stands_beside_that_of_one() -> None:
    figures = measure(Model())
    assert (figures["kind"], figures["draws"], figures["nats"]) == ("iwae-8", 8, 2.0)
    assert (figures["one_draw"]["kind"], figures["one_draw"]["nats"]) == ("elbo", 3.0)
    assert figures["one_draw"]["bits_per_dim"] == pytest.approx(3.0 / math.log(2))


def test_an_exact_figure_has_no_draws() -> None:
    figures = measure(Model("exact"))
    assert (figures["kind"], figures["draws"], figures["nats"], figures["examples"]) == ("exact", 1, 3.0, 7)
    assert figures["nats_se"] == pytest.approx(torch.arange(7.0).std().item() / math.sqrt(7))
    assert "one_draw" not in figures


def test_a_figure_that_says_nothing_of_draws_takes_one_and_says_how_it_was_computed() -> None:
    figures = measure(Model("ode", likelihood_settings={"ode": {"solver": "heun"}}))
    assert (figures["kind"], figures["draws"], figures["nats"]) == ("ode", 1, 3.0)
    assert figures["ode"] == {"solver": "heun"}


def test_a_figure_says_whether_the_labels_were_given() -> None:
    assert measure(Model())["of"] == "p(x)"
    assert measure(Model(conditional=True))["of"] == "p(x|y)"


def test_some_examples_are_drawn_from_the_whole_split() -> None:
    some = EvaluationProtocol("p", "test", num_draws=1, max_examples=3, num_samples=4, batch_size=2, seed=0)
    nats = [measure_likelihood(Model("exact"), DATA, replace(some, seed=seed))["nats"] for seed in range(8)]
    assert len(set(nats)) > 1, "the first three have 1 nat on average"
    assert measure_likelihood(Model("exact"), DATA, some)["examples"] == 3


def test_a_model_whose_likelihood_is_dear_gets_fewer_examples_of_the_same_draw() -> None:
    some = replace(PROTOCOL, max_examples=4)
    assert measure_likelihood(Model("ode", likelihood_examples=2), DATA, some)["examples"] == 2
    assert measure_likelihood(Model("ode", likelihood_examples=6), DATA, some)["examples"] == 4
    assert measure_likelihood(Model("ode", likelihood_examples=9), DATA, PROTOCOL)["examples"] == 7


def test_no_likelihood_is_no_figure() -> None:
    assert measure_likelihood(Model("none"), DATA, PROTOCOL) is None


def test_options_move_the_hash_only_where_they_are_on(tmp_path: Path) -> None:
    # The hash of results under version 2 of this protocol.
    quick = EvaluationProtocol("quick", "test", 1, None, 1000, None, 0)
    assert quick.hash == "ae8ff711f1be"
    assert replace(quick, batch_size=7).hash == quick.hash
    assert replace(quick, classification_accuracy=True).hash != quick.hash
    assert replace(quick, series_scores=True).hash != quick.hash
    with torch.random.fork_rng(devices=[]):
        torch.save(InceptionV3().state_dict(), tmp_path / "a.pth")
    shutil.copy(tmp_path / "a.pth", tmp_path / "b.pth")
    first, second = (replace(quick, inception_weights=str(tmp_path / name)) for name in ("a.pth", "b.pth"))
    assert first.hash == second.hash != quick.hash, "what the file holds counts, not where it lies"
    with pytest.raises(GenlabError, match="which is no file"):
        replace(quick, inception_weights=str(tmp_path / "c.pth"))


@dataclass
class Labelled(Model):
    """A sample is its label; without labels, all are 9."""

    def sample(self, n: int, y: torch.Tensor | None = None, generator: Any = None) -> torch.Tensor:
        return torch.full((n,), 9) if y is None else y


def test_the_cost_of_sampling_says_how_it_was_computed() -> None:
    drawn = Drawn(torch.zeros(9), None, ms_per_sample=0.5, batch_size=3, parameters=1)
    figures = describe_sampling(Model(sampling_settings={"precision": "bf16-mixed"}), drawn)
    assert figures == {"nfe": 1, "ms_per_sample": 0.5, "batch_size": 3, "precision": "bf16-mixed"}


def test_samples_are_drawn_with_the_labels_that_models_take() -> None:
    spec = DataSpec("d", "image", (1, 1, 1), levels=256, num_classes=3)
    protocol = replace(PROTOCOL, num_samples=50)
    samples, labels, *_ = draw_samples(Labelled(conditional=True, spec=spec), protocol)
    assert labels is not None
    assert samples.tolist() == labels.tolist()
    assert set(labels.tolist()) == {0, 1, 2}
    assert draw_samples(Labelled(conditional=False, spec=spec), protocol).labels is None
    assert draw_samples(Labelled(conditional=False, spec=spec), protocol).samples.tolist() == [9] * 50


def test_labels_are_as_frequent_as_those_of_the_training_examples() -> None:
    spec = DataSpec("d", "image", (1, 1, 1), levels=256, num_classes=4)
    protocol = replace(PROTOCOL, num_samples=2000, batch_size=700)
    model, frequent = Labelled(conditional=True, spec=spec), torch.tensor([5, 386, 0, 9])
    drawn = draw_samples(model, protocol, training_labels=torch.arange(4).repeat_interleave(frequent))
    assert drawn.labels is not None
    assert drawn.samples.tolist() == drawn.labels.tolist()
    shares = drawn.labels.bincount(minlength=4) / 2000
    assert (shares - frequent / 400).abs().max() < 0.01
    assert describe_sampling(model, drawn)["labels"] == "training frequencies"
    by_eleven = replace(protocol, batch_size=11)
    again = draw_samples(model, by_eleven, training_labels=torch.arange(4).repeat_interleave(frequent))
    assert again.samples.tolist() == drawn.samples.tolist()


def test_labels_of_equally_frequent_classes_are_those_that_are_drawn_uniformly() -> None:
    spec = DataSpec("d", "image", (1, 1, 1), levels=256, num_classes=4)
    model, protocol = Labelled(conditional=True, spec=spec), replace(PROTOCOL, num_samples=50)
    uniform = draw_samples(model, protocol)
    assert describe_sampling(model, uniform)["labels"] == "uniform"
    equal = draw_samples(model, protocol, training_labels=torch.arange(4).repeat_interleave(9))
    assert equal.samples.tolist() == uniform.samples.tolist()
    without = draw_samples(Labelled(conditional=False, spec=spec), protocol, training_labels=torch.arange(3))
    assert without.labels is None
    assert "labels" not in describe_sampling(model, without)


class Toss(Labelled):
    """A sample is what the noise gives after the label is drawn, if one is."""

    def sample(self, n: int, y: torch.Tensor | None = None, generator: Any = None) -> torch.Tensor:
        return integers(1000, n, generator, self.device)


def test_without_labels_the_noise_of_samples_is_that_of_before() -> None:
    protocol = replace(PROTOCOL, num_samples=20, batch_size=20)
    noise = ExampleNoise(stream_seed(Stream.SAMPLES, 0), 0, "cpu")
    expected = integers(1000, 20, noise, torch.device("cpu"))
    drawn = draw_samples(Toss(), protocol, training_labels=torch.tensor([0, 0, 1]))
    assert drawn.samples.tolist() == expected.tolist()


class Latent(Model):
    def latent_use(self, x: torch.Tensor, **_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        values = x.flatten(1).float()
        return values[:, 0], torch.cat([values, 0.06 * values, torch.ones_like(values)], dim=1)


def test_what_latents_tell_is_of_all_examples_and_not_of_a_batch() -> None:
    """The second unit has a variance of 0.014 over all, of 0.002 within a batch of three."""
    figures = measure_likelihood(Latent(), DATA, PROTOCOL)
    assert figures["latents"] == {"kl_nats": 3.0, "active_units": 2, "units": 3, "examples": 7}
    assert "latents" not in measure(Model())
