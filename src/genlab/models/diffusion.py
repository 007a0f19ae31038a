"""Diffusion models: a network that removes noise, from much to little."""

from __future__ import annotations

import math
from functools import partial
from typing import Annotated, Any, Literal, Unpack

import torch
from annotated_types import Ge, Le
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Stepping
from genlab.core.errors import GenlabError
from genlab.core.likelihood import standard_normal_log_prob
from genlab.core.replaying import replayed
from genlab.core.spec import DataSpec
from genlab.models.iterative import mean_over_values
from genlab.models.iterative_options import IterativeOptions
from genlab.models.iterative_uses import SteerableModel
from genlab.models.options import SamplingSteps
from genlab.networks.diffusion.inpainting import NoiseLevel, Stepwise
from genlab.networks.diffusion.noise_schedules import NoiseConfig, log_uniform_sigmas
from genlab.networks.diffusion.ode import Velocity, integrate, ode_log_prob
from genlab.networks.diffusion.preconditioning import (
    PARAMETERIZATIONS,
    SIGMA_DATA,
    Coefficients,
    ParameterizationName,
    edm_weight,
    likelihood_weight,
    min_snr_weight,
    noise_condition,
)
from genlab.networks.diffusion.samplers import SAMPLERS, SamplerName
from genlab.networks.diffusion.variational_bound import variational_bound

__all__ = ["Diffusion"]


class Diffusion(SteerableModel):
    """Diffusion model; Ho et al. (2020), in the form of Karras et al. (2022), "Elucidating the Design Space".

    The network is trained to remove noise of all levels. Its likelihood is that of the probability-flow ODE from the
    lowest noise level on; or, of discrete data, a bound for the ancestral process in continuous time.

    Of the categories of a mixed table the network predicts how probable they are by what is known of the other columns;
    what their own noisy vector says is added in closed form, Bayes' rule, so that the denoised vector is a mean over
    categories. It learns these by cross-entropy, as Dieleman et al. (2022), "Continuous diffusion for categorical
    data"; the weight of noise levels is one of numbers alone.

    Args:
        spec: Images, vectors, sound, series or tables, discrete, continuous or mixed.
        parameterization: What the network predicts: ``edm``, ``epsilon``, ``v`` or ``x0``; see
            :mod:`genlab.networks.diffusion.preconditioning`.
        noise: Noise levels.
        weighting: Weight of each noise level in training: ``edm``, ``min_snr``, or ``likelihood``, the bound's own,
            with noise levels that are log-uniform whatever the schedule.
        sampler: ``heun``, ``stochastic_heun``, ``dpm_solver_2m``, ``ddim`` or ``ddpm``; see
            :mod:`genlab.networks.diffusion.samplers`.
        steps: Steps of the sampler.
        vlb_steps: Noise levels at which ``likelihood=vlb`` samples the integral that is its bound.

    The other arguments are those of :class:`genlab.models.iterative_options.IterativeOptions`.

    Raises:
        GenlabError: If the bound is asked for of continuous data; and as the base class does.
    """

    family = "diffusion"
    alternative = "For text there is model=masked_diffusion."
    deviation = SIGMA_DATA
    likelihoods = ("ode", "vlb", "none")
    sampling_options = ("sampler", "steps", "guidance", "sampling_precision")

    def __init__(
        self,
        spec: DataSpec,
        *,
        parameterization: ParameterizationName,
        noise: NoiseConfig,
        weighting: Literal["edm", "min_snr", "likelihood"],
        sampler: SamplerName,
        steps: SamplingSteps,
        vlb_steps: Annotated[int, Ge(2), Le(100_000)],
        **shared: Unpack[IterativeOptions],
    ) -> None:
        super().__init__(spec, **shared)
        if self.likelihood == "vlb" and not spec.is_discrete:
            raise GenlabError(
                f"model.likelihood is vlb, which bounds the probability of levels, but {spec.name} is continuous. "
                "Use model.likelihood=ode."
            )
        self.noise = noise.build()
        self.parameterization = parameterization
        self.weighting = weighting
        self.sampler = sampler
        self.steps = steps
        self.vlb_steps = vlb_steps
        self._variant = self.describe(parameterization, f"{noise.schedule} noise", f"{sampler}-{steps}")

    @property
    def variant(self) -> str:
        return self._variant

    @property
    def passes(self) -> int:
        return SAMPLERS[self.sampler].evaluations(self.steps)

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        clean, y = self.training_values(batch.x), self.training_labels(batch.y)
        sigma, weight = self._training_noise(clean)
        x = clean + _like(sigma, clean) * torch.randn_like(clean)
        factors = self._factors(sigma, clean)
        value = self.predict(factors.input * x, noise_condition(sigma), y, batch.mask)
        # The weight is one of the denoised example's error, which is `output` times that of the network's value.
        weight = weight * factors.output.flatten().square()
        squares = (value - factors.value(x, clean)).square()
        if self.rows is not None:
            surprise = self._surprise(clean, x, value, sigma)
            total = weight * self.rows.of_numbers(squares).sum(1) + surprise
            return {"loss": total.mean() / self.spec.num_dims}
        return {"loss": (weight * mean_over_values(squares, batch.mask)).mean()}

    def denoise(self, x: Tensor, sigma: Tensor, y: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Return the expected clean example for noisy ones: the denoiser D(x; sigma).

        Args:
            x: Noisy scaled data ``[N, *shape]``.
            sigma: Noise levels ``[N]``, or a scalar for all.
            y: Labels ``[N]``, or None.
            mask: ``[N, *shape]``, bool, true where there is a value; None: all is there.
        """
        factors = self._factors(sigma, x)
        value = self.predict(factors.input * x, noise_condition(sigma), y, mask)
        denoised = factors.denoised(x, value)
        if self.rows is None:
            return denoised
        probabilities = self._log_posterior(x, value, sigma).exp()
        return torch.cat([self.rows.of_numbers(denoised), self.deviation * (2 * probabilities - 1)], dim=1)

    def evaluate(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.denoise(x, t, y)

    def stepping(self) -> Stepping | None:
        if self.rows is not None:
            return None
        return Stepping(
            shape=tuple(self.seen_shape),
            state=f"noisy data, {self.scaling_words}",
            time="noise level s, the standard deviation of the noise",
            times=(self.noise.sigma_max, self.noise.sigma_min),
            start=self.noise.prior_scale,
            output="the expected clean data D, scaled likewise",
            equation="dx/ds = (x - D) / s",
        )

    def _surprise(self, clean: Tensor, x: Tensor, value: Tensor, sigma: Tensor) -> Tensor:
        """Return the sum of the cross-entropies of the columns of categories, ``[N]``, nats."""
        is_category = self.rows.of_categories(clean) > 0
        return -self._log_posterior(x, value, sigma).where(is_category, 0).sum(1)

    def _log_posterior(self, x: Tensor, value: Tensor, sigma: Tensor) -> Tensor:
        noisy, log_prior = map(self.rows.of_categories, (x / self.deviation, value))
        return self.rows.log_posterior(noisy, log_prior, _like(sigma, x) / self.deviation)

    def denoised(self, clean: Tensor, noise: Tensor, sigma: float, y: Tensor | None, mask: Tensor | None) -> Tensor:
        noisy = clean + sigma * (noise if mask is None else noise.where(mask, 0))
        return self.denoise(noisy, torch.tensor(sigma, device=clean.device, dtype=clean.dtype), y, mask)

    def generate(
        self, noise: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None
    ) -> Tensor:
        sigmas = self.noise.sampling_sigmas(self.steps)
        start = self.noise.prior_scale * noise
        denoise = replayed(self.guided(self.denoise, y, mask), start.device, self.passes, "the denoiser")
        return SAMPLERS[self.sampler].run(denoise, start, sigmas, generator)

    def stepwise(
        self, noise: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None, times: int
    ) -> Stepwise:
        sigmas = self.noise.sampling_sigmas(self.steps)
        start = self.noise.prior_scale * noise
        denoise = replayed(self.guided(self.denoise, y, mask), start.device, times * self.passes, "the denoiser")
        run = SAMPLERS[self.sampler].run
        levels = [NoiseLevel(1.0, sigma) for sigma in sigmas.tolist()]
        return Stepwise(start, levels, lambda x, number: run(denoise, x, sigmas[number : number + 2], generator))

    def log_density(
        self, scaled: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None
    ) -> Tensor:
        prior_scale, scale = self._ends_of_ode()
        dims = Batch(scaled, mask=mask).dims
        log_p = ode_log_prob(
            self._velocity(y, mask),
            scaled / scale,
            math.log(self.noise.sigma_min),
            math.log(self.noise.sigma_max),
            lambda z: standard_normal_log_prob(z / prior_scale, mask) - dims * math.log(prior_scale),
            self.likelihood_ode,
            generator,
        )
        return log_p - dims * math.log(scale)

    def along_ode(self, state: Tensor, y: Tensor | None, mask: Tensor | None, to_noise: bool) -> Tensor:
        prior_scale, scale = self._ends_of_ode()
        ends = math.log(self.noise.sigma_min), math.log(self.noise.sigma_max)
        velocity = self._velocity(y, mask)
        if to_noise:
            return integrate(velocity, state / scale, *ends, self.likelihood_ode)[0] / prior_scale
        return integrate(velocity, prior_scale * state, *ends[::-1], self.likelihood_ode)[0] * scale

    def _velocity(self, y: Tensor | None, mask: Tensor | None) -> Velocity:
        # In z = x / scale, which keeps unit variance, and tau = ln(sigma) the equation dx / d sigma = (x - D) / sigma,
        # Karras et al. (2022), equation 3, stands still for normal data: its solvers need a tenth of the steps.
        def velocity(tau: Tensor, z: Tensor, rows: Tensor) -> Tensor:
            sigma = tau.exp()
            scale = _like((sigma.square() + SIGMA_DATA**2).sqrt(), z)
            labels, there = (None if part is None else part[rows] for part in (y, mask))
            denoised = self.denoise(scale * z, sigma, labels, there)
            slope = z * (SIGMA_DATA / scale).square() - denoised / scale
            # Elsewhere z is 0 and the slope too, but not its derivative, which is a part of the trace.
            return slope if there is None else slope.where(there, 0)

        return velocity

    def _ends_of_ode(self) -> tuple[float, float]:
        """Return the prior's standard deviation, and what data is divided by, in the units in which it is solved."""
        low, high = self.noise.sigma_min, self.noise.sigma_max
        return self.noise.prior_scale / math.hypot(high, SIGMA_DATA), math.hypot(low, SIGMA_DATA)

    def _estimate(self, x: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None) -> Tensor:
        if self.likelihood == "ode":
            return super()._estimate(x, y, generator, mask)
        levels = torch.arange(self.spec.levels, device=x.device)
        centres = self.level_centres(levels[:, None])[:, 0]
        ends = self.noise.sigma_min, self.noise.sigma_max
        denoise = replayed(partial(self.denoise, y=y, mask=mask), x.device, self.vlb_steps, "the denoiser")
        return variational_bound(denoise, x, centres, ends, self.noise.prior_scale, self.vlb_steps, generator, mask)

    @property
    def likelihood_settings(self) -> dict[str, Any]:
        return {"vlb": {"noise_levels": self.vlb_steps}} if self.likelihood == "vlb" else super().likelihood_settings

    def _training_noise(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return a noise level and its weight for each example."""
        # Evenly spaced quantiles with one random offset: Kingma et al. (2021), appendix I.1.
        spaced = torch.arange(len(like), device=like.device) / len(like)
        u = (spaced + torch.rand((), device=like.device)) % 1
        if self.weighting == "likelihood":
            ends = (self.noise.sigma_min, self.noise.sigma_max)
            sigma = log_uniform_sigmas(u, *ends)
            return sigma, likelihood_weight(sigma, *ends)
        sigma = self.noise.training_sigmas(u)
        return sigma, {"edm": edm_weight, "min_snr": min_snr_weight}[self.weighting](sigma)

    def _factors(self, sigma: Tensor, like: Tensor) -> Coefficients:
        return PARAMETERIZATIONS[self.parameterization](_like(sigma, like))


def _like(sigma: Tensor, x: Tensor) -> Tensor:
    """View noise levels ``[N]``, or a scalar, so that they broadcast to ``x [N, ...]``."""
    return sigma.view(-1, *[1] * (x.ndim - 1))
