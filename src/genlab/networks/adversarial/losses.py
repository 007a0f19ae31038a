"""Objectives of adversarial training: losses of discriminator and generator, and penalties on input gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LOSSES", "Critic", "GanLoss", "input_gradient", "one_centered_penalty", "zero_centered_penalty"]

Critic = Callable[[Tensor], Tensor]
"""Maps inputs ``[N, ...]`` to scores ``[N]``, higher for what looks real."""


@dataclass(frozen=True)
class GanLoss:
    """What the two players minimize, each a scalar function of the scores ``[N]`` of real and of generated examples.

    Attributes:
        discriminator: The discriminator's loss.
        generator: The generator's loss.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]


LOSSES: dict[str, GanLoss] = {
    # Goodfellow et al. (2014), "Generative adversarial nets", equation 1 and, for the generator, the end of section 3.
    "non_saturating": GanLoss(
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        lambda real, fake: F.softplus(-fake).mean(),
    ),
    # Arjovsky et al. (2017), "Wasserstein GAN", section 3; needs a critic of bounded slope.
    "wasserstein": GanLoss(
        lambda real, fake: fake.mean() - real.mean(),
        lambda real, fake: -fake.mean(),
    ),
    # Miyato et al. (2018), "Spectral normalization for generative adversarial networks", section 4.
    "hinge": GanLoss(
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda real, fake: -fake.mean(),
    ),
    # Huang et al. (2024), "The GAN is dead; long live the GAN!", section 2, after Jolicoeur-Martineau (2019).
    "relativistic": GanLoss(
        lambda real, fake: F.softplus(fake - real).mean(),
        lambda real, fake: F.softplus(real - fake).mean(),
    ),
}
"""The losses by their names in configs; the relativistic one pairs the i-th real with the i-th generated example."""


def input_gradient(scores: Tensor, inputs: Tensor) -> Tensor:
    """Gradient of each example's score by its own input, which can itself be differentiated.

    Args:
        scores: ``[N]``, computed from ``inputs`` with no exchange between examples.
        inputs: ``[N, ...]`` that requires a gradient.

    Returns:
        ``[N, D]``, float32 or better.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return gradient.flatten(1).to(scores.dtype)


def zero_centered_penalty(gradient: Tensor) -> Tensor:
    """Half the mean squared norm of gradients ``[N, D]``: R1 on real inputs, R2 on generated ones.

    Mescheder et al. (2018), "Which training methods for GANs do actually converge?", equations 9 and 10, with weight 1.
    """
    return 0.5 * gradient.square().sum(1).mean()


def one_centered_penalty(gradient: Tensor) -> Tensor:
    """Mean squared distance of the norms of gradients ``[N, D]`` from 1.

    Gulrajani et al. (2017), "Improved training of Wasserstein GANs", equation 3, with weight 1; the gradients are those
    at points between real and generated examples.
    """
    # The root has no slope at 0, where a critic that ignores its input would be.
    return ((gradient.square().sum(1) + 1e-12).sqrt() - 1).square().mean()
