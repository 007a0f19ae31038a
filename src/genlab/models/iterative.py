"""What models share that turn noise into data in many steps of one network: networks, labels, data in and out."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, ClassVar, Unpack

import torch
from annotated_types import Ge
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.codec import Affine
from genlab.core.errors import GenlabError
from genlab.core.hardware import fast_bfloat16
from genlab.core.likelihood import dequantized_log_weights, sum_dims
from genlab.core.noise import normal
from genlab.core.spec import DataSpec
from genlab.core.tails import TamedAffine, TamedAmplitude
from genlab.modalities import Layout, modality_of
from genlab.models.base import GenerativeModel
from genlab.models.denoisers import DiffWaveConfig, DiTConfig, MLPConfig, NetworkName, Probability, Sizes, UNetConfig
from genlab.models.iterative_options import LikelihoodName, PrecisionName, TailsName
from genlab.models.options import ConditionalOptions
from genlab.networks.blocks.lengths import Lengths
from genlab.networks.blocks.rows import MOST_ROWS, Rows, encodes_rows
from genlab.networks.diffusion.ode import LikelihoodConfig

__all__ = ["IterativeModel", "mean_over_values"]


class IterativeModel(GenerativeModel):
    """A model that samples by many evaluations of one network, each at a noisy example and a noise level or time.

    A subclass implements :meth:`_loss`, :attr:`passes`, :meth:`generate` and :meth:`log_density`, all of *scaled* data:
    levels at the centres of their cells within [-1, 1], and continuous data with mean 0 and standard deviation
    :attr:`deviation` in each dimension. Samples choose its checkpoints: likelihoods cost hundreds of evaluations.

    Where the likelihood is that of the ODE, discrete data is trained with uniform noise in its cells, without which a
    continuous model would pile up its density on the levels.

    Rows of a mixed table are seen as vectors of another length; see :class:`genlab.networks.blocks.rows.Rows`. The
    probability of a row would be an integral over all of its vectors, so there is no likelihood.

    Args:
        spec: Images, vectors, sound, series or tables, discrete, continuous or mixed.

    The other arguments are those of :class:`genlab.models.iterative_options.IterativeOptions`.
    """

    layouts: ClassVar[Mapping[Layout, str]] = {
        "grid": "unet",
        "signal": "diffwave",
        "flat": "mlp",
        "series": "diffwave",
    }
    uses = frozenset({"mask", "fields", "cells"})
    initial_examples = 10_000
    chosen_by_samples = True
    deviation: ClassVar[float] = 1.0
    """Standard deviation to which continuous data is scaled."""
    likelihoods: ClassVar[tuple[str, ...]] = ("ode", "none")
    """The likelihoods that the family has."""

    def __init__(
        self,
        spec: DataSpec,
        *,
        network: NetworkName,
        label_dropout: Probability,
        guidance: Annotated[float, Ge(0)],
        unet: UNetConfig,
        dit: DiTConfig,
        mlp: MLPConfig,
        diffwave: DiffWaveConfig,
        likelihood: LikelihoodName,
        likelihood_ode: LikelihoodConfig,
        likelihood_images: Annotated[int, Ge(2)] | None,
        sampling_precision: PrecisionName,
        tails: TailsName = "auto",
        **shared: Unpack[ConditionalOptions],
    ) -> None:
        super().__init__(spec, **shared)
        _check_guidance(self.conditional, label_dropout, guidance)
        self.label_dropout = label_dropout
        self.guidance = guidance
        self.rows = Rows(spec) if encodes_rows(spec) else None
        self.likelihood = self._likelihood(likelihood)
        self.likelihood_ode = likelihood_ode
        self._is_large = modality_of(spec).is_large
        self.likelihood_examples = likelihood_images if self._is_large else None
        self.sampling_precision = sampling_precision
        kind = self.default_network(spec) if network == "auto" else network
        self.network_kind = kind
        sizes: dict[str, Sizes] = {"unet": unet, "dit": dit, "mlp": mlp, "diffwave": diffwave}
        if self.rows is not None:
            self.initial_examples = MOST_ROWS
        seen = spec if self.rows is None else self.rows.spec
        self.seen_shape = seen.shape
        self.network = sizes[kind].build(seen, self.num_classes)
        self.tails = _tails(spec, tails)
        self.scaling = self._scaling()
        self.lengths = Lengths(spec, self.num_classes) if spec.has_mask else None

    def _likelihood(self, asked: LikelihoodName) -> str:
        if self.rows is not None:
            if asked not in ("auto", "none"):
                raise GenlabError(
                    f"model.likelihood is {asked}, but the {self.family} family has none of the rows of a mixed table. "
                    "Use model.likelihood=auto, or a family that has: model=gmm, made or vae."
                )
            return "none"
        likelihood = "ode" if asked == "auto" else asked
        if likelihood not in self.likelihoods:
            expected = " or ".join(("auto", *self.likelihoods))
            raise GenlabError(f"model.likelihood is {asked}, expected {expected} for the {self.family} family.")
        return likelihood

    def _scaling(self) -> Affine:
        if self.rows is not None:
            return Affine((), self.deviation)
        # Of z in [0, 1] to [-1, 1] for levels; for continuous data the identity until `initialize`.
        if self.spec.is_discrete:
            mu = modality_of(self.spec).mu(self.spec)
            return TamedAmplitude(mu) if self.tails == "asinh" else Affine((), 2.0, -1.0)
        return TamedAffine(self.spec.shape) if self.tails == "asinh" else Affine(self.spec.shape)

    # What a subclass implements.

    @property
    @abstractmethod
    def passes(self) -> float:
        """Predictions that one sample costs, one after the other."""

    @abstractmethod
    def generate(
        self, noise: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None
    ) -> Tensor:
        """Turn standard normal ``noise [N, *shape]`` into scaled data ``[N, *shape]``, guided where that is asked for.

        Args:
            noise: Where the trajectories start, but for a factor.
            y: Labels ``[N]``, or None for an unconditional model.
            mask: ``[N, *shape]``, bool, true where there are values; elsewhere anything may come out.
            generator: Source of further noise.
        """

    @abstractmethod
    def log_density(
        self, scaled: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None
    ) -> Tensor:
        """Log-density ``[N]``, nats, of scaled data ``[N, *shape]`` under the probability-flow ODE.

        Of what is there alone, where a mask says so; the others are zero, and stay it along the way.
        """

    # What they share.

    @property
    def nfe(self) -> float:
        """Network evaluations that one sample costs; guidance needs two for each prediction."""
        return self.passes * (2 if self.guidance != 1 else 1)

    def describe(self, *words: str) -> str:
        """Return these words, the network and what is particular about labels, for :attr:`variant`."""
        parts = [self.network_kind, *words]
        parts += ["tamed tails"] if self.tails == "asinh" else []
        parts += ["class-conditional"] if self.conditional else []
        parts += [f"guidance {self.guidance:g}"] if self.guidance != 1 else []
        return ", ".join(parts)

    @property
    def scaling_words(self) -> str:
        """How data is scaled, in words, for who has the weights but not this program."""
        if type(self.scaling) is not Affine:
            kind = type(self.scaling).__name__
            return f"values as {kind} of genlab.core.tails scales them by the tensors scaling.* of the weights"
        if self.spec.is_discrete:
            return f"level k as 2 (k + 1/2) / {self.codec.levels} - 1"
        return "value v as scaling.scale * v + scaling.shift, which are tensors of the weights"

    def predict(self, x: Tensor, t: Tensor, y: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Evaluate the network once.

        Args:
            x: ``[N, *shape]``.
            t: ``[N]`` or a scalar for all: what the network is told of the noise, within about [-3, 3].
            y: Labels ``[N]``; the label ``num_classes``, and None, stand for no label.
            mask: ``[N, *shape]``, bool, true where there is a value; nothing is read of the others. None: all is there.

        Returns:
            ``[N, *shape]`` in the dtype of ``x``; zero where nothing is.
        """
        # Small examples, whose densities are exact, gain nothing from fewer digits.
        with _ambient() if self._is_large else torch.autocast(x.device.type, enabled=False):
            if mask is None:
                return self.network(x, t.view(-1), y).to(x.dtype)  # one time for all is embedded once
            return self.network(x.where(mask, 0), t.view(-1), y, mask).to(x.dtype).where(mask, 0)

    def guided(
        self,
        prediction: Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor],
        y: Tensor | None,
        mask: Tensor | None = None,
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """Bind labels and mask to a prediction, with guidance: of ``(x, t, y, mask)`` remains ``(x, t)``.

        The time t is a scalar or ``[N]``.
        """
        if self.guidance == 1 or y is None:
            return lambda x, t: prediction(x, t, y, mask)
        both = torch.cat([torch.full_like(y, self.num_classes), y])
        masks = None if mask is None else torch.cat([mask, mask])

        def blended(x: Tensor, t: Tensor) -> Tensor:
            times = torch.cat([t, t]) if t.ndim else t
            unconditional, conditional = prediction(torch.cat([x, x]), times, both, masks).chunk(2)
            return unconditional + self.guidance * (conditional - unconditional)

        return blended

    def training_values(self, x: Tensor) -> Tensor:
        """Scale data for training, ``[N, *seen_shape]``; see the class for when levels get noise."""
        if self.rows is not None:
            return self.scaling(self.rows.encode(x))[0]
        if self.spec.levels is None:
            return self.scaling(x)[0]
        if self.likelihood == "ode":
            return self.scaling(self.codec.dequantize(x))[0]
        return self.level_centres(x)

    def level_centres(self, x: Tensor) -> Tensor:
        """Scale levels to the centres of their cells, ``[N, *shape]`` within [-1, 1]."""
        return self.scaling(self.codec.to_centres(x, self.dtype))[0]

    def training_labels(self, y: Tensor | None) -> Tensor | None:
        """Drop the labels of some examples, at random; None for an unconditional model."""
        if not self.conditional or y is None:
            return None
        if self.label_dropout == 0:
            return y
        dropped = torch.rand(y.shape, device=y.device) < self.label_dropout
        return y.masked_fill(dropped, self.num_classes)

    def likelihood_kind(self, num_draws: int = 1) -> str:
        # One draw of noise, whatever is asked: the mean of exp(log p) over several draws would take the errors of
        # Hutchinson's probes for probability, and be no bound.
        return "dequantized-ode" if self.likelihood == "ode" and self.spec.is_discrete else self.likelihood

    @property
    def sampling_settings(self) -> dict[str, Any]:
        return {"precision": "bf16-mixed" if self._samples_in_bfloat16() else "32-true"}

    @property
    def likelihood_settings(self) -> dict[str, Any]:
        if self.likelihood != "ode":
            return {}
        ode = self.likelihood_ode
        adaptive, exact = ode.solver == "dopri5", ode.is_exact(self.spec.num_dims)
        return {
            "ode": {
                "solver": ode.solver,
                **({"rtol": ode.rtol, "atol": ode.atol} if adaptive else {"steps": ode.steps}),
                **({"trace": "exact"} if exact else {"trace": "hutchinson", "probes": ode.probes}),
                **({"dequantization_draws": 1} if self.spec.is_discrete else {}),
            }
        }

    def _log_prob(
        self,
        x: Tensor,
        y: Tensor | None,
        *,
        mask: Tensor | None = None,
        num_draws: int,
        generator: Generator | None,
    ) -> Tensor:
        if not self.has_likelihood:
            return super()._log_prob(x, y, num_draws=num_draws, generator=generator)
        with torch.autocast(x.device.type, enabled=False):
            return self._estimate(x, y if self.conditional else None, generator, mask)

    def _estimate(self, x: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None) -> Tensor:
        """Estimate the log-density, or of levels a lower bound of their log-probability, by the ODE: nats ``[N]``."""

        def log_density(values: Tensor) -> Tensor:
            scaled, log_det = self.scaling(values, mask)
            scaled = scaled if mask is None else scaled.where(mask, 0)
            return self.log_density(scaled, y, generator, mask) + log_det

        if self.spec.levels is None:
            return log_density(x)
        return dequantized_log_weights(x, self.spec.levels, log_density, generator=generator, mask=mask)

    @torch.no_grad()
    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        labels = self._labels_to_draw(n, y, generator)
        mask = None if self.lengths is None else self.lengths.sample(n, labels, generator)
        noise = normal((n, *self.seen_shape), generator, self.device)
        with self._precision():
            scaled = self.generate(noise, labels, generator, mask)
        return self._as_data(scaled, mask)

    def _as_data(self, scaled: Tensor, mask: Tensor | None) -> Tensor:
        values = self.scaling.inverse(scaled)[0]
        if self.rows is not None:
            return self.codec.as_data(self.rows.decode(values))
        x = self.codec.from_cells(values) if self.spec.is_discrete else self.codec.as_data(values)
        return x if mask is None else x.where(mask, modality_of(self.spec).padding(self.spec))

    @torch.no_grad()
    def initialize(self, batch: Batch) -> None:
        if self.rows is not None:
            self.rows.fit(batch.x)
        elif isinstance(self.scaling, TamedAmplitude):
            self.scaling.fit(self.codec.to_centres(batch.x, self.dtype), self.deviation, batch.mask)
        elif not self.spec.is_discrete:
            self.scaling.fit(batch.x, self.deviation)
        if self.lengths is not None:
            self.lengths.fit(batch.mask, batch.y)

    def _precision(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._samples_in_bfloat16())

    def _samples_in_bfloat16(self) -> bool:
        if not self._is_large:
            return False
        if self.sampling_precision == "auto":
            return fast_bfloat16(self.device.type)
        return self.sampling_precision == "bf16-mixed"


def _tails(spec: DataSpec, asked: TailsName) -> TailsName:
    """Return ``none`` or ``asinh``, as asked for or as suits the data."""
    if asked == "auto":
        return "asinh" if modality_of(spec).has_heavy_tails and not spec.is_discrete else "none"
    if asked == "asinh" and encodes_rows(spec):
        raise GenlabError(
            f"model.tails is asinh, but numbers of {spec.name}, a mixed table, are made normal as it is. "
            "Use model.tails=none."
        )
    if asked == "asinh" and spec.is_discrete and modality_of(spec).mu(spec) is None:
        raise GenlabError(
            f"model.tails is asinh, which is for continuous values and amplitudes, but {spec.name} has {spec.levels} "
            "levels. Use model.tails=none."
        )
    return asked


def mean_over_values(errors: Tensor, mask: Tensor | None) -> Tensor:
    """Return ``[N]``, whose mean over the batch is that of all values that are there, of ``errors [N, *shape]``."""
    if mask is None:
        return errors.flatten(1).mean(1)
    return sum_dims(errors, mask) * (len(errors) / mask.sum().clamp_min(1))


def _ambient() -> AbstractContextManager[None]:
    """The precision that is set around the call: the trainer's, or that of sampling."""
    return contextlib.nullcontext()


def _check_guidance(conditional: bool, label_dropout: float, guidance: float) -> None:
    if guidance != 1 and not conditional:
        raise GenlabError(f"model.guidance is {guidance:g}, which needs labels: add model.conditional=true.")
    if guidance != 1 and label_dropout == 0:
        raise GenlabError(
            f"model.guidance is {guidance:g} and model.label_dropout 0, but guidance needs a network that was also "
            "trained without labels: use model.label_dropout=0.1."
        )
