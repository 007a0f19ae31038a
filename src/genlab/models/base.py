"""What every family is: the contract."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.errors import GenlabError
from genlab.core.noise import integers
from genlab.core.spec import DataSpec
from genlab.modalities import Layout, Modality, all_modalities, modality_of
from genlab.models.options import GradClip, LearningRate, OptimizerFactory, Schedule
from genlab.models.steps import TrainedBySteps

__all__ = ["GenerativeModel"]


_CANNOT_USE = {
    "mask": ("cannot leave out what is masked", "Use data whose examples have one length."),
    "context": ("cannot be given covariates", "Use data without a context."),
    "fields": ("cannot model categories beside continuous values", "Use data with columns of numbers, or model=gmm."),
    "cells": (
        "cannot give the probability of a rounded number",
        "Use data.rounding=noise, which gives each column a density, or model=gmm.",
    ),
}
"""What is said to data that needs what a family cannot use: what the family cannot, and what to do."""


class GenerativeModel(TrainedBySteps):
    """A family of generative models, trained and compared like every other.

    A family implements :meth:`_loss`, :meth:`sample` and, unless it has no likelihood, :meth:`_log_prob`
    and :meth:`likelihood_kind`; what is given to :meth:`loss` and :meth:`log_prob` is checked before it gets there.

    Args:
        spec: What one example is. Shapes and alphabets come from here alone.

    The other arguments are those of :class:`ConditionalOptions`.

    Raises:
        GenlabError: If the family cannot take this kind of data, or labels are asked for that the data does not have.
    """

    family: ClassVar[str]
    """The family's name in results."""
    called: ClassVar[str] = ""
    """What messages call it where another model of its family can more; empty: by the family's name."""
    layouts: ClassVar[Mapping[Layout, str]]
    """How the family can see an example, and the name of its network for each layout. It takes the kinds of data that
    can be seen so; ``network=auto`` is the network of the first of their layouts that is here."""
    uses: ClassVar[frozenset[str]] = frozenset()
    """What the family can use beside values and labels, of ``mask``, ``context``, ``fields`` and ``cells``."""
    alternative: ClassVar[str] = ""
    """What to use for kinds of data that the family does not take, a sentence."""
    sampling_options: ClassVar[tuple[str, ...]] = ()
    """Keys of the config, dotted, that change how samples are drawn and nothing else: not the weights, nor the
    likelihood. Their last parts name them where samples are asked for."""
    conditional: bool
    """Whether the data is modelled given its label: then :meth:`log_prob` is log p(x|y)."""
    nfe: int = 1
    """Network evaluations that one sample costs."""
    adversarial: ClassVar[bool] = False
    """Whether the loss is that of a game, which need not fall as the model learns: the sum of ``g_loss`` and
    ``d_loss``, each of which one of two optimizers, in this order, lowers by its own parameters alone."""
    partial_gradients: ClassVar[bool] = False
    """Whether a backward pass may leave parameters without a gradient, as where each player of a game has one of its
    own; several devices that average their gradients must know."""
    likelihood_examples: int | None = None
    """Most examples whose likelihood is measured; None: as many as the protocol says."""
    initial_examples: int | None = 512
    """Training examples that :meth:`initialize` gets, or all where there are fewer; None: all."""
    comes_trained: ClassVar[bool] = False
    """Whether others have trained the model: then no step is taken, and a run is its evaluation."""

    def __init__(
        self,
        spec: DataSpec,
        *,
        name: str,
        optimizer: OptimizerFactory,
        lr: LearningRate,
        schedule: Schedule,
        grad_clip: GradClip | None,
        conditional: bool = False,
    ) -> None:
        super().__init__(optimizer=optimizer, lr=lr, schedule=schedule, grad_clip=grad_clip)
        if reason := self.unsupported(spec):
            raise GenlabError(reason)
        if conditional and spec.num_classes is None:
            raise GenlabError(f"model.conditional=true needs labels, and {spec.name} has none.")
        self.spec = spec
        self.codec = modality_of(spec).codec(spec)
        self.name = name
        self.conditional = conditional

    @classmethod
    def unsupported(cls, spec: DataSpec) -> str | None:
        """Say why the family cannot take such data, in one sentence; None if it can."""
        if cls._shared_layouts(modality_of(spec)):
            lacking = [what for what in _CANNOT_USE if what in spec.needs - cls.uses]
            return cls._cannot_use(lacking[0], f"{spec.name} needs") if lacking else None
        *others, last = (kind.name for kind in all_modalities() if cls._shared_layouts(kind))
        kinds = f"{', '.join(others)} and {last}" if others else last
        reason = f"The {cls.called or cls.family} family models {kinds} data, but {spec.name} is {spec.modality}."
        return f"{reason} {cls.alternative}".rstrip()

    @classmethod
    def layout_of(cls, spec: DataSpec) -> Layout:
        """Return how the family sees such data unless the config says otherwise."""
        return cls._shared_layouts(modality_of(spec))[0]

    @classmethod
    def default_network(cls, spec: DataSpec) -> str:
        """Return the network that ``network=auto`` is for such data."""
        return cls.layouts[cls.layout_of(spec)]

    @classmethod
    def _shared_layouts(cls, modality: Modality) -> list[Layout]:
        return [layout for layout in modality.layouts if layout in cls.layouts]

    @classmethod
    def _cannot_use(cls, what: str, who: str) -> str:
        lack, advice = _CANNOT_USE[what]
        return f"The {cls.called or cls.family} family {lack}, which {who}. {advice}"

    @classmethod
    def settled(cls, settings: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        """Return, of settings that name what moves on, what they name now, or did when the run began.

        A run's config has these in their place, so that the run stays what it is.

        Args:
            settings: Those of the model in a config, as plain containers.
            before: Those that the run's own config has; empty where it begins now.

        Raises:
            GenlabError: If it cannot be found out.
        """
        return {}

    # What a family implements.

    @property
    def variant(self) -> str:
        """What distinguishes this model within its family, in a few words, for tables."""
        return ""

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        """Compute :meth:`loss` of examples that are what they should be, reading nothing back from the device."""
        raise NotImplementedError

    def _log_prob(self, x: Tensor, y: Tensor | None, *, num_draws: int, generator: Generator | None) -> Tensor:
        """Compute :meth:`log_prob` of examples that are what they should be.

        A family that :attr:`uses` masks also takes ``mask: Tensor | None = None``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no likelihood.")

    def likelihood_kind(self, num_draws: int = 1) -> str:
        """Say what :meth:`log_prob` returns with so many draws.

        One of ``exact``, ``elbo``, ``iwae-K``, ``dequantized-K``, ``vlb``, ``ode``, ``dequantized-ode`` or ``none``.
        """
        return "none"

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """Draw ``[n, *spec.shape]`` in the data's own values and dtype.

        Args:
            n: Number of samples.
            y: Labels ``[n]`` for class-conditional models; when None each label is equally likely, however frequent it
                is in the data.
            generator: Source of the noise, on the model's device; the same one gives the same samples, each of which
                does not depend on ``n``. See :mod:`genlab.core.noise`, by whose functions a family draws.
        """
        raise NotImplementedError

    def validation_loss(self, batch: Batch) -> Tensor | None:
        """The loss on held-out data, of a model that samples choose; None where it says nothing."""
        return self.loss(batch)["loss"]

    def initialize(self, batch: Batch) -> None:
        """Set data-dependent starting values from some training data; called once, before the first step."""

    @property
    def not_captured(self) -> str | None:
        """Why a training step cannot be recorded and replayed as a CUDA graph, a clause; None if it can.

        A step that can reads nothing back from the device and computes nothing in Python that changes from step to
        step but what :meth:`step_kind` says.
        """
        return None

    def step_kind(self) -> Hashable:
        """Return what decides, by the progress of the run, which work the next training step does."""
        return ()

    # What all families share.

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``"loss"``, a scalar to minimize, and any parts that are worth logging.

        Values are checked where PyTorch looks for anomalies (``torch.autograd.detect_anomaly``), and else are not: a
        training step reads nothing back from the device. What is masked out enters nothing.

        Raises:
            GenlabError: If the batch brings what the family cannot use, or labels are missing.
        """
        self._check_loss_input(batch)
        return self._loss(self._filled(batch))

    def log_prob(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        num_draws: int = 1,
        generator: Generator | None = None,
    ) -> Tensor:
        """Log-probability of the data as it is, or a lower bound of it.

        Args:
            x: ``[N, *spec.shape]`` in the data's own values and dtype.
            y: Labels ``[N]`` for class-conditional models.
            mask: ``[N, *spec.shape]``, bool, true where there is a value; None: all is there. The log-probability is
                that of these values, given where they are.
            num_draws: Importance samples per example, where the family has a bound that uses them.
            generator: Source of any noise, which belongs to the example; see :mod:`genlab.core.noise`.

        Returns:
            ``[N]``, nats per example, float32 or better.

        Raises:
            GenlabError: If the data has another shape, dtype or range than :attr:`spec` says, or labels are missing.
        """
        self.check(Batch(x, y, mask))
        x, y, mask, _ = self._filled(Batch(x, y, mask))
        given = {} if mask is None else {"mask": mask}
        return self._log_prob(x, y, num_draws=num_draws, generator=generator, **given)

    def _filled(self, batch: Batch) -> Batch:
        """Put the same where nothing is, whatever stood there: then no network sees it."""
        if batch.mask is None:
            return batch
        return batch._replace(x=batch.x.where(batch.mask, modality_of(self.spec).padding(self.spec)))

    def check(self, batch: Batch) -> None:
        """Refuse examples whose shape, dtype or range is not what :attr:`spec` says.

        It reads values back from the device.

        Raises:
            GenlabError: What was given and what was expected, in a line.
        """
        self._check_parts(batch)
        self.codec.check(batch.x)
        if batch.y is not None:
            self.codec.check_labels(batch.y, len(batch.x))

    def _check_latents(self, z: Tensor, expected: int) -> None:
        """Refuse what are no latents of this model."""
        if z.ndim != 2 or z.shape[1] != expected:
            raise GenlabError(
                f"z has shape {list(z.shape)}, expected [N, {expected}], the latents of this {self.name}."
            )

    def _check_loss_input(self, batch: Batch) -> None:
        if torch.is_anomaly_enabled():
            self.check(batch)
        else:
            self._check_parts(batch)

    def _check_parts(self, batch: Batch) -> None:
        for part, tensor in (("mask", batch.mask), ("context", batch.context)):
            if tensor is not None and part not in self.uses:
                raise GenlabError(self._cannot_use(part, "this batch needs"))
        if batch.mask is not None and (batch.mask.dtype != torch.bool or batch.mask.shape != batch.x.shape):
            raise GenlabError(
                f"mask is {list(batch.mask.shape)}, {batch.mask.dtype}, expected the shape of x, "
                f"{list(batch.x.shape)}, torch.bool."
            )
        if self.conditional and batch.y is None:
            raise GenlabError(f"This {self.name} is class-conditional: give the labels y.")

    def _labels_to_draw(self, n: int, y: Tensor | None, generator: Generator | None) -> Tensor | None:
        """Return the labels of n samples: those given, else drawn uniformly; None for an unconditional model."""
        if not self.conditional:
            return None
        if y is None:
            return integers(self.num_classes, n, generator, self.device)
        self.codec.check_labels(y, n)
        return y

    @property
    def num_classes(self) -> int:
        """Labels that the model tells apart: those of the data, or 0 for an unconditional model."""
        return (self.spec.num_classes or 0) if self.conditional else 0

    @property
    def num_parameters(self) -> int:
        """How many numbers the model has learned."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def has_likelihood(self) -> bool:
        """Whether :meth:`log_prob` exists."""
        return self.likelihood_kind() != "none"

    @property
    def likelihood_settings(self) -> dict[str, Any]:
        """How :meth:`log_prob` computes an estimate, by the optional keys of a result's likelihood."""
        return {}

    @property
    def sampling_settings(self) -> dict[str, Any]:
        """How :meth:`sample` computes, by the optional keys of a result's sampling; nothing where it is in float32."""
        return {}

    @property
    def validation_draws(self) -> int:
        """Draws of the bound by which the best checkpoint is chosen."""
        return 1

    @property
    def chosen_by_samples(self) -> bool:
        """Whether validation measures samples to choose the best checkpoint, and not the likelihood."""
        return not self.has_likelihood

    @property
    def monitor(self) -> str:
        """Name of the validation metric by which the best checkpoint is chosen; lower is better."""
        if self.chosen_by_samples:
            return f"val/{modality_of(self.spec).sample_figure or 'loss'}"
        return "val/bits_per_dim" if self.spec.is_discrete else "val/nats"
