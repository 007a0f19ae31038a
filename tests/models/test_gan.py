"""Adversarial training: two players that never touch each other's parameters, and penalties of known size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.models.gan import Gan
from genlab.networks.adversarial.wavegan import COARSEST_OF_SERIES, signal_widths
from tests.contract.families import COLOUR, GRAY, PLANE, SMALL_GAN, SPACE, Case, make_batch, make_model
from tests.tiny import train

MODELS = ["gan", "wgan_gp", "sngan", "r3gan"]


def make(spec: DataSpec, *overrides: str, model: str = "gan") -> Gan:
    return make_model(Case(model, spec, [*SMALL_GAN, *overrides]))


class Linear(nn.Module):
    """A discriminator with the same slope everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        return x.flatten(1) @ self.weight


def with_linear_discriminator(*overrides: str) -> tuple[Gan, float]:
    none = [f"objective.{name}=0" for name in ("r1", "r2", "gradient_penalty")]
    gan = make(SPACE, *none, "objective.penalty_interval=1", *overrides)
    weight = torch.tensor([1.0, -2.0, 2.0])
    gan.discriminator = Linear(weight)
    return gan, weight.norm().item()


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_r1_and_r2_of_a_linear_discriminator_are_half_its_squared_slope(name: str) -> None:
    gan, norm = with_linear_discriminator(f"objective.{name}=0.3")
    plain, _ = with_linear_discriminator()
    plain.load_state_dict(gan.state_dict())
    batch = make_batch(SPACE, 16)
    losses = []
    for model in (gan, plain):
        torch.manual_seed(0)
        losses.append(model.loss(batch)["d_loss"].item())
    assert losses[0] - losses[1] == pytest.approx(0.3 * norm**2 / 2, rel=1e-4)


def test_the_gradient_penalty_of_a_linear_critic_is_its_distance_from_slope_one() -> None:
    gan, norm = with_linear_discriminator("objective.loss=wasserstein", "objective.gradient_penalty=10")
    parts = gan.loss(make_batch(SPACE, 16))
    assert parts["gradient_penalty"].item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    assert parts["d_loss"].item() == pytest.approx(
        (parts["d_fake"] - parts["d_real"]).item() + 10 * (norm - 1) ** 2, rel=1e-4
    )


def test_the_gradient_penalty_is_taken_between_real_and_generated_examples() -> None:
    gan = make(SPACE, "objective.gradient_penalty=1")
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.square().flatten(1).sum(1)

    real, fake = torch.ones(200, 3), torch.full((200, 3), 3.0)
    gan.objective.penalties(critic, real, fake)
    between = seen[-1]
    assert (between == between[:, :1]).all(), "a point on the line, the same fraction for all of its dimensions"
    assert 1 <= between.min() < 1.2
    assert 2.8 < between.max() <= 3


def test_rare_penalties_weigh_as_much_in_all() -> None:
    always, rarely = (make(GRAY, "objective.r1=0.5", f"objective.penalty_interval={k}") for k in (1, 4))
    rarely.load_state_dict(always.state_dict())
    batch = make_batch(GRAY, 16)

    def penalty(model: Gan, number: int) -> float:
        model.progress.batches = number
        torch.manual_seed(0)
        with_it = model.loss(batch)["d_loss"].item()
        model.progress.batches = 1
        torch.manual_seed(0)
        return with_it - rarely.loss(batch)["d_loss"].item()

    rarely.progress.batches = 1
    once = penalty(always, 0)
    assert once > 0
    assert [penalty(rarely, n) for n in range(5)] == pytest.approx([4 * once, 0, 0, 0, 4 * once], rel=1e-3)


@pytest.mark.parametrize("model", MODELS)
def test_each_loss_reaches_its_own_player_alone(model: str) -> None:
    gan = make(GRAY, model=model)
    batch = make_batch(GRAY, 16)
    generator, discriminator = gan.generator, gan.discriminator
    for name, own, other in [("g_loss", generator, discriminator), ("d_loss", discriminator, generator)]:
        gan.zero_grad()
        gan.loss(batch)[name].backward()
        assert all(p.grad is None or not p.grad.any() for p in other.parameters())
        assert any(p.grad is not None and p.grad.any() for p in own.parameters())


class Loop:
    """What a training step needs of a trainer: optimizers that tell before and after each step."""

    def __init__(self, gan: Gan, monkeypatch: pytest.MonkeyPatch) -> None:
        self.changed: list[set[str]] = []
        self.gan = gan
        monkeypatch.setattr(gan, "optimizers", lambda: self.optimizers)
        monkeypatch.setattr(gan, "manual_backward", lambda loss: loss.backward())
        self.optimizers = gan.configure_optimizers()
        for optimizer in self.optimizers:
            monkeypatch.setattr(optimizer, "step", self._telling(optimizer.step))

    def _telling(self, step: Callable[[], None]) -> Callable[[], None]:
        def told() -> None:
            before = {name: p.detach().clone() for name, p in self.gan.named_parameters()}
            step()
            moved = {name.split(".")[0] for name, p in self.gan.named_parameters() if not torch.equal(p, before[name])}
            self.changed.append(moved)

        return told

    def run(self, batches: int) -> list[dict[str, Tensor]]:
        batch = make_batch(self.gan.spec, 16)
        parts = []
        for number in range(batches):
            self.gan.progress.batches = number
            parts.append(self.gan.training_step(batch, number))
        return parts


@pytest.mark.parametrize("model", MODELS)
def test_one_optimizer_never_steps_the_others_parameters(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(make(GRAY, "objective.critic_steps=1", model=model), monkeypatch)
    loop.run(3)
    assert loop.changed == [{"discriminator"}, {"generator"}] * 3
    owned = [{id(p) for group in o.param_groups for p in group["params"]} for o in loop.optimizers]
    assert not owned[0] & owned[1]
    assert owned[0] | owned[1] == {id(p) for p in loop.gan.parameters()}


def test_the_generator_moves_at_every_nth_batch_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(make(GRAY, "objective.critic_steps=3"), monkeypatch)
    parts = loop.run(6)
    assert ["g_loss" in part for part in parts] == [False, False, True] * 2
    assert ["loss" in part for part in parts] == [False, False, True] * 2
    assert not any(value.requires_grad for part in parts for value in part.values())


def test_samples_approach_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a plane, where the energy distance is zero for equal distributions only."""
    loop = Loop(make(PLANE, "mlp.hidden=[32,32]", "lr=2e-3"), monkeypatch)
    real = make_batch(PLANE, 16).x

    @torch.no_grad()
    def distance() -> float:
        fake = loop.gan.sample(500, generator=torch.Generator().manual_seed(0))
        within = torch.cdist(real, real).mean() + torch.cdist(fake, fake).mean()
        return float(2 * torch.cdist(real, fake).mean() - within)

    before = distance()
    torch.manual_seed(0)
    loop.run(300)
    assert distance() < 0.25 * before


def test_the_discriminator_has_a_learning_rate_of_its_own() -> None:
    generator, discriminator = make(GRAY, "lr=1e-3", "discriminator_lr_ratio=4").configure_optimizers()
    assert generator.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert discriminator.param_groups[0]["lr"] == pytest.approx(4e-3)


@pytest.mark.parametrize("player", ["generator", "discriminator"])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_non_finite_number_in_either_network_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, player: str, where: str
) -> None:
    method = f"_{player}_parts"
    original = getattr(Gan, method)

    def poisoned(self: Gan, *arguments: Tensor) -> dict[str, Tensor]:
        parts = original(self, *arguments)
        if self.progress.batches == 12:
            weight = next(getattr(self, player).parameters())
            # x * sqrt(0) is zero with an infinite slope; divided, it is not a number at once.
            bad = (weight - weight.detach()).abs().sum().sqrt()
            name = f"{player[0]}_loss"
            parts[name] = parts[name] + (bad if where == "gradient" else bad / 0)
        return parts

    monkeypatch.setattr(Gan, method, poisoned)
    said = rf"part: .*{player[0]}_loss" if where == "loss" else rf"the gradient of {player}\."
    with pytest.raises(GenlabError, match=rf"step 13 \(384 examples seen\): .*{said}"):
        train(tmp_path, model="gan")


def test_labels_choose_what_is_generated_and_how_it_is_judged() -> None:
    gan = make(GRAY, "conditional=true")
    with torch.no_grad():
        zeros, ones = (
            gan.sample(200, torch.full((200,), label), torch.Generator().manual_seed(0)).float() for label in (0, 1)
        )
        assert not torch.equal(zeros, ones)
        x = gan._embed(make_batch(GRAY, 8).x)
        first, second = (gan._scores(x, torch.full((8,), label)) for label in (0, 1))
    assert not torch.equal(first, second)
    assert "class-conditional" in gan.variant


def test_continuous_data_is_standardized_and_brought_back() -> None:
    gan = make(PLANE)
    shifted = Batch(make_batch(PLANE, 2000).x * torch.tensor([10.0, 0.1]) + 50)
    gan.initialize(shifted)
    inside = gan._embed(shifted.x)
    torch.testing.assert_close(inside.mean(0), torch.zeros(2), atol=1e-3, rtol=0)
    torch.testing.assert_close(inside.std(0), torch.ones(2), atol=1e-2, rtol=0)
    drawn = torch.randn(5, 2)
    gan._generate = lambda z, y, mask: drawn
    torch.testing.assert_close(gan._embed(gan.sample(5)), drawn, atol=1e-4, rtol=1e-4)


def test_every_level_can_be_drawn_and_the_nearest_is() -> None:
    gan = make(GRAY)
    gan._generate = lambda z, y, mask: 0.98 * torch.linspace(-1, 1, 17).repeat(1, 1, 16, 1).expand(4, 1, 16, 17)
    drawn = gan.sample(4)
    assert drawn.dtype == torch.uint8
    assert drawn[0, 0, 0].tolist() == list(range(17))
    assert gan._embed(torch.tensor([0, 8, 16])).tolist() == [-1, 0, 1]


@pytest.mark.parametrize("change", ["network=conv", "objective.augment=[cutout]"])
def test_what_needs_images_says_so(change: str) -> None:
    with pytest.raises(GenlabError, match=r"needs images, but tiny_plane is vector"):
        make(PLANE, change)


def test_labels_that_the_data_lacks_are_refused() -> None:
    with pytest.raises(GenlabError, match="needs labels"):
        make(COLOUR, "conditional=true")


def test_windows_of_series_are_shortened_to_two_places_and_sound_to_sixteen() -> None:
    """With the coarsest scale of sound a window of 32 steps would get a single convolution."""
    assert signal_widths(32, 8, 64, COARSEST_OF_SERIES) == [8, 16]
    assert signal_widths(32, 8, 64) == [8]
    assert signal_widths(1024, 8, 20) == [8, 16, 20]
    gan = make(DataSpec("prices", "series", (1, 32)))
    assert gan.generator.lengths == [2, 8, 32]
    assert [tuple(layer.weight.shape[:2]) for layer in gan.discriminator.features.downs] == [(8, 1), (16, 8)]
