"""Generators, discriminators, spectral norms and augmentations."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from genlab.networks.adversarial.augmentation import augment
from genlab.networks.adversarial.networks import (
    ConvDiscriminator,
    ConvGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
    Score,
    scale_widths,
)
from genlab.networks.adversarial.spectral_norm import SpectralNorm, normalize_spectrally

SHAPES = [(1, 2, 2), (1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 9, 13)]


def pair(kind: str, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
    widths = scale_widths(shape, 4, 8)
    if kind == "dcgan":
        return ConvGenerator(5, shape, widths), ConvDiscriminator(shape, widths)
    if kind == "residual":
        return ResidualGenerator(5, shape, widths=widths, blocks=1), ResidualDiscriminator(
            shape, widths=widths, blocks=1
        )
    dims = shape[0] * shape[1] * shape[2]
    return MLPGenerator(5, [6, 7], shape), MLPDiscriminator(dims, [7, 6])


def test_scales_end_at_four_to_seven_pixels() -> None:
    assert scale_widths((1, 28, 28), 32, 256) == [32, 64, 128]
    assert scale_widths((3, 64, 64), 32, 256) == [32, 64, 128, 256, 256]
    assert scale_widths((1, 8, 8), 16, 256) == [16, 32]
    assert scale_widths((1, 2, 2), 16, 256) == [16]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["dcgan", "residual", "mlp"])
def test_every_size_of_image_has_networks_that_look_at_each_example_alone(
    kind: str, shape: tuple[int, int, int]
) -> None:
    torch.manual_seed(0)
    generator, discriminator = pair(kind, shape)
    images = generator(torch.randn(3, 5))
    assert images.shape == (3, *shape)
    features = discriminator(images)
    assert features.shape == (3, discriminator.width)
    torch.testing.assert_close(discriminator(images[1:2]), features[1:2], rtol=1e-4, atol=1e-5)
    z = torch.randn(4, 5)
    torch.testing.assert_close(generator(z)[2:3], generator(z[2:3]), rtol=1e-4, atol=1e-5)
    # Every pixel counts, those at an odd border too.
    x = torch.randn(1, *shape, requires_grad=True)
    discriminator(x).square().sum().backward()
    assert (x.grad != 0).all()


def test_labels_add_their_inner_product_with_the_features() -> None:
    score = Score(4, num_classes=3)
    features, y = torch.randn(2, 4), torch.tensor([2, 0])
    expected = features @ score.linear.weight[0] + (features * score.labels.weight[y]).sum(1)
    torch.testing.assert_close(score(features, y), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert score(features.bfloat16(), y).dtype == torch.float32


def largest_singular_value(weight: torch.Tensor) -> float:
    return torch.linalg.matrix_norm(weight.flatten(1), ord=2).item()


def test_spectral_norms_approach_one() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Linear(5, 7), nn.Embedding(4, 5), nn.Conv1d(2, 6, 5))
    with torch.no_grad():
        network[0].weight *= 30
    normalize_spectrally(network)
    for _ in range(100):
        weights = [layer.weight for layer in network]
    assert [largest_singular_value(weight) for weight in weights] == pytest.approx([1, 1, 1, 1], abs=1e-3)


def test_the_power_iteration_is_state_that_training_alone_moves() -> None:
    torch.manual_seed(0)
    norm = SpectralNorm(torch.randn(6, 4))
    weight = torch.randn(6, 4)
    assert set(norm.state_dict()) == {"left"}
    before = norm.left.clone()
    norm.eval()(weight)
    assert torch.equal(norm.left, before)
    norm.train()(weight)
    assert not torch.equal(norm.left, before)


def test_spectral_norms_stay_in_float32_under_autocast() -> None:
    norm = SpectralNorm(torch.randn(6, 4))
    weight = torch.randn(6, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = norm.eval()(weight)
    assert torch.equal(lowered, norm(weight))


def test_the_gradient_goes_through_the_norm() -> None:
    """The weight's own direction only changes its gain, which the norm takes away: no gradient along it."""
    torch.manual_seed(0)
    layer = nn.Linear(4, 6, bias=False, dtype=torch.float64)
    parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight.float()).double())
    for _ in range(200):
        layer(torch.ones(1, 4, dtype=torch.float64))
    layer(torch.randn(3, 4, dtype=torch.float64)).square().sum().backward()
    original = layer.parametrizations.weight.original
    assert original.grad.abs().max() > 0.1
    assert (original.grad * original).sum().item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("name", ["color", "translation", "cutout"])
def test_augmentations_change_each_image_by_chance_and_let_gradients_through(name: str) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 16).expand(40, -1, -1, -1).clone().requires_grad_()
    changed = augment(x, [name])
    assert changed.shape == x.shape
    assert len(torch.unique(changed.detach().flatten(1), dim=0)) > 10
    changed.sum().backward()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    assert augment(x, []) is x


def test_translation_moves_by_at_most_an_eighth() -> None:
    torch.manual_seed(0)
    x = torch.zeros(500, 1, 16, 16)
    x[:, :, 8, 8] = 1
    _, _, rows, columns = augment(x, ["translation"]).nonzero(as_tuple=True)
    assert len(rows) == 500, "the point is moved, not lost or doubled"
    assert {r.item() - 8 for r in rows} == {c.item() - 8 for c in columns} == {-2, -1, 0, 1, 2}
    at_the_border = augment(torch.ones(500, 1, 16, 16), ["translation"])
    assert at_the_border.flatten(1).min(1).values.eq(0).float().mean() > 0.8, "what comes in is 0"


def test_cutout_leaves_a_hole_of_half_the_size() -> None:
    torch.manual_seed(0)
    holes = augment(torch.ones(500, 1, 16, 16), ["cutout"]).eq(0).flatten(1).sum(1)
    assert holes.max() == 64
    assert holes.min() >= 16


def test_color_keeps_what_is_where() -> None:
    """Each pixel is an affine function of what it was, the same for the whole gray image."""
    torch.manual_seed(0)
    x = torch.rand(5, 1, 8, 8)
    changed = augment(x, ["color"])
    for before, after in zip(x, changed, strict=True):
        correlation = torch.corrcoef(torch.stack([before.flatten(), after.flatten()]))[0, 1]
        assert correlation.item() == pytest.approx(1, abs=1e-4)
