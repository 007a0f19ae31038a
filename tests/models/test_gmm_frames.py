"""Mixtures of texts and sound, which they see in frames, and of what a mask leaves."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.noise import ExampleNoise
from genlab.core.spec import DataSpec
from genlab.models.gmm import GMM
from tests.contract.families import Case, make_batch, make_model


def make(spec: DataSpec, components: int = 3, covariance: str = "diagonal") -> GMM:
    model = make_model(Case("gmm", spec, [f"components={components}", f"covariance={covariance}", "rank=1"]))
    assert isinstance(model, GMM)
    return model


WORDS = DataSpec("words", "text", (5,), levels=3)
CLICKS = DataSpec("clicks", "waveform", (1, 5), levels=4, has_mask=True)


@pytest.mark.parametrize("spec", [WORDS, CLICKS], ids=lambda spec: spec.name)
def test_the_probabilities_of_all_sequences_in_frames_sum_to_one(
    spec: DataSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last frame is shorter than the others; a mask leaves of each what there is."""
    monkeypatch.setattr("genlab.models.gmm.FRAME", 2)
    model = make(spec)
    data = make_batch(spec, 40)
    model.initialize(data._replace(mask=torch.ones_like(data.x, dtype=torch.bool)) if spec.has_mask else data)
    length = 3 if spec.has_mask else 5
    every = torch.tensor([[*v, *[0] * (5 - length)] for v in itertools.product(range(spec.levels), repeat=length)])
    there = (torch.arange(5) < length).expand_as(every)
    given = {"mask": there.view(-1, *spec.shape)} if spec.has_mask else {}
    log_prob = model.log_prob(every.view(-1, *spec.shape), **given)
    assert log_prob.double().exp().sum().item() == pytest.approx(1, abs=1e-5)
    if spec.has_mask:  # what stands where nothing is changes nothing
        assert torch.equal(model.log_prob(every.where(there, 3).view(-1, *spec.shape), **given), log_prob)


def test_symbols_are_categorical_and_levels_of_sound_are_binned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlab.models.gmm.FRAME", 2)
    assert [make(spec).variant.partition(",")[0] for spec in (WORDS, CLICKS)] == ["categorical", "diagonal"]
    assert make(replace(CLICKS, levels=2)).variant.startswith("categorical")
    assert make(replace(CLICKS, levels=None)).variant.startswith("diagonal")


def test_a_stretch_of_a_text_is_learned_wherever_it_stands() -> None:
    """Two words, in frames of their length: the mixture is of the words, and each half of an example is one of them."""
    spec = DataSpec("words", "text", (16,), levels=3)
    words = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1], [2, 2, 1, 1, 0, 0, 2, 2]])
    chosen = torch.randint(2, (200, 2), generator=torch.Generator().manual_seed(0))
    model = make(spec, components=2)
    torch.manual_seed(0)
    model.initialize(Batch(words[chosen].flatten(1)))
    assert -model.log_prob(words[torch.tensor([[0, 1], [1, 0]])].flatten(1)).mean().item() < 2 * math.log(2) + 0.2
    drawn = model.sample(50, generator=torch.Generator().manual_seed(0)).view(-1, 8)
    assert (drawn[:, None] == words).all(2).any(1).float().mean().item() > 0.9


def test_a_sample_has_noise_of_its_own() -> None:
    """Also where it has several frames: drawn alone it is what it is among others."""
    model = make(DataSpec("words", "text", (20,), levels=3))
    together = model.sample(6, generator=ExampleNoise(3, 0))
    assert torch.equal(model.sample(2, generator=ExampleNoise(3, 4)), together[4:])


@pytest.mark.parametrize("covariance", ["full", "low_rank"])
@pytest.mark.parametrize("spec", [WORDS, DataSpec("gaps", "vector", (2,), has_mask=True)], ids=lambda spec: spec.name)
def test_dependent_dimensions_cannot_be_left_out(spec: DataSpec, covariance: str) -> None:
    with pytest.raises(GenlabError, match=f"model.covariance is {covariance}, but {spec.name} is .* Use diagonal"):
        make(spec, covariance=covariance)


def test_continuous_values_that_are_not_there_leave_the_others_density() -> None:
    spec = DataSpec("gaps", "vector", (3,), has_mask=True)
    model, alone = make(spec), make(DataSpec("first", "vector", (1,)))
    x = torch.randn(300, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([2.0, 1.0, 5.0])
    model.initialize(Batch(x, None, torch.ones_like(x, dtype=torch.bool)))
    state = {
        name: value[..., :1] if value.ndim > 1 or name != "mixture.logits" else value
        for name, value in model.state_dict().items()
        if name != "lengths.counts"
    }
    alone.load_state_dict(state)
    there = torch.tensor([True, False, False]).expand_as(x)
    torch.testing.assert_close(model.log_prob(x, mask=there), alone.log_prob(x[:, :1]))
