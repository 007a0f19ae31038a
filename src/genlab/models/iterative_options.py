"""The options that models share that sample in many steps of one network."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from annotated_types import Ge

from genlab.models.denoisers import DiffWaveConfig, DiTConfig, MLPConfig, NetworkName, Probability, UNetConfig
from genlab.models.options import ConditionalOptions
from genlab.networks.diffusion.ode import LikelihoodConfig

__all__ = ["IterativeOptions", "LikelihoodName", "PrecisionName", "TailsName"]

LikelihoodName = Literal["auto", "ode", "vlb", "none"]
TailsName = Literal["auto", "none", "asinh"]
PrecisionName = Literal["auto", "bf16-mixed", "32-true"]


class IterativeOptions(ConditionalOptions):
    """The options of every family that samples in many steps of one network.

    Attributes:
        network: ``unet``, ``dit``, ``mlp``, ``diffwave``, or ``auto`` for what suits the data.
        label_dropout: Probability that a training example comes without its label, which guidance needs.
        guidance: Weight w of classifier-free guidance, prediction = unconditional + w (conditional - unconditional);
            1 samples the plain conditional model. Ho and Salimans (2022), equation 6, with w - 1 for their w. The
            likelihood is that of the plain model.
        unet: Sizes of ``network=unet``.
        dit: Sizes of ``network=dit``.
        mlp: Sizes of ``network=mlp``.
        diffwave: Sizes of ``network=diffwave``.
        tails: Of continuous data: ``asinh`` brings values far from the mean nearer before they are standardized, see
            :class:`genlab.core.tails.TamedAffine`; ``none`` leaves them; ``auto`` is ``asinh`` for kinds of data that
            have such tails, as series do. Of levels of sound ``asinh`` is of their amplitudes, see
            :class:`genlab.core.tails.TamedAmplitude`.
        likelihood: ``ode``, ``vlb`` where the family has it, ``none``, or ``auto``, which is ``ode``.
        likelihood_ode: Solver and trace of the ``ode`` likelihood.
        likelihood_images: Most images whose likelihood is measured, or None for as many as the protocol says.
        sampling_precision: Of the network on large examples, as images are, while sampling: ``bf16-mixed``,
            ``32-true``, or ``auto`` for ``bf16-mixed`` where the hardware multiplies it fast. Likelihoods stay in
            float32.
    """

    network: NetworkName
    label_dropout: Probability
    guidance: Annotated[float, Ge(0)]
    unet: UNetConfig
    dit: DiTConfig
    mlp: MLPConfig
    diffwave: DiffWaveConfig
    tails: NotRequired[TailsName]  # runs from before there was the choice do not say it
    likelihood: LikelihoodName
    likelihood_ode: LikelihoodConfig
    likelihood_images: Annotated[int, Ge(2)] | None
    sampling_precision: PrecisionName
