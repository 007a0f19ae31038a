"""Flow matching: a velocity field, learned by regression, that carries noise to data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Unpack

import torch
from annotated_types import Ge, Gt, Lt
from torch import Generator, Tensor
from torch.nn import functional as F

from genlab.core.batch import Batch
from genlab.core.contract import Stepping
from genlab.core.errors import GenlabError
from genlab.core.likelihood import standard_normal_log_prob
from genlab.core.spec import DataSpec
from genlab.models.iterative import mean_over_values
from genlab.models.iterative_options import IterativeOptions
from genlab.models.iterative_uses import SteerableModel
from genlab.networks.diffusion.inpainting import NoiseLevel, Stepwise
from genlab.networks.diffusion.ode import OdeConfig, Velocity, integrate, ode_log_prob
from genlab.networks.diffusion.paths import LinearPath, logit_normal, optimal_transport, stratified_uniform

__all__ = ["FlowMatching", "PathConfig"]


@dataclass(frozen=True)
class PathConfig:
    """What the velocity is learned from: paths between pairs of noise and data, at random times.

    Args:
        coupling: ``independent`` pairs, or ``optimal_transport`` within the batch; see
            :func:`genlab.networks.diffusion.paths.optimal_transport`.
        sigma_min: Standard deviation of the noise left at the data's end, in scaled data; see
            :class:`genlab.networks.diffusion.paths.LinearPath`.
        width: Standard deviation of the noise added halfway, in scaled data.
        times: Distribution of the training times, ``uniform`` or ``logit_normal``; see
            :func:`genlab.networks.diffusion.paths.logit_normal`.
        logit_mean: Mean of the logits of ``logit_normal``.
        logit_deviation: Standard deviation of these logits.
    """

    coupling: Literal["independent", "optimal_transport"]
    sigma_min: Annotated[float, Ge(0), Lt(1)]
    width: Annotated[float, Ge(0)]
    times: Literal["uniform", "logit_normal"]
    logit_mean: float
    logit_deviation: Annotated[float, Gt(0)]

    def draw_times(self, n: int, device: torch.device) -> Tensor:
        """Draw training times ``[n]`` in [0, 1]."""
        uniform = stratified_uniform(n, device)
        return uniform if self.times == "uniform" else logit_normal(uniform, self.logit_mean, self.logit_deviation)

    def pair(self, noise: Tensor, data: Tensor, y: Tensor | None) -> Tensor:
        """Return the noise ``[N, ...]`` in the order in which it belongs to the data, whose labels are ``y``."""
        return noise if self.coupling == "independent" else noise[optimal_transport(noise, data, y)]


class FlowMatching(SteerableModel):
    """Continuous normalizing flow trained by regression on velocities, from noise at time 0 to data at time 1.

    Lipman et al. (2023), "Flow Matching for Generative Modeling"; Liu et al. (2023), "Flow Straight and Fast"; Albergo
    and Vanden-Eijnden (2023), "Building Normalizing Flows with Stochastic Interpolants". The minimizer of the loss is
    the mean velocity of the paths through a point; Lipman et al., theorem 2. The loss also reports ``path_cost``, the
    mean squared distance between a noise and its data in each dimension, which optimal transport lowers.

    Args:
        spec: Images, vectors or sound, discrete or continuous.
        path: What the velocity is learned from.
        sampler: Solver of the equation from noise to data. With ``dopri5`` the network samples in float32, whatever
            ``sampling_precision`` says.

    The other arguments are those of :class:`genlab.models.iterative_options.IterativeOptions`.
    """

    family = "flow_matching"
    sampling_options = ("sampler.solver", "sampler.steps", "guidance", "sampling_precision")

    def __init__(
        self,
        spec: DataSpec,
        *,
        path: PathConfig,
        sampler: OdeConfig,
        **shared: Unpack[IterativeOptions],
    ) -> None:
        if sampler.solver == "dopri5":  # which would take rounding for a stiff equation
            shared["sampling_precision"] = "32-true"
        super().__init__(spec, **shared)
        if spec.has_mask and path.coupling == "optimal_transport":
            raise GenlabError(
                f"model.path.coupling is optimal_transport, which pairs whole examples, but those of {spec.name} "
                "differ in length. Use model.path.coupling=independent."
            )
        self.pairs = path
        self.path = LinearPath(path.sigma_min, path.width)
        self.sampler = sampler
        self._drawn = self._evaluations = 0

    @property
    def variant(self) -> str:
        coupling = ["optimal transport"] if self.pairs.coupling == "optimal_transport" else []
        return self.describe(*coupling, str(self.sampler))

    @property
    def passes(self) -> float:
        """Predictions that one sample costs; with the adaptive solver, the mean of all samples drawn so far."""
        if self.sampler.solver == "dopri5":
            return self._evaluations / max(1, self._drawn)
        return self.sampler.evaluations

    @property
    def not_captured(self) -> str | None:
        solves = self.pairs.coupling == "optimal_transport"
        return "pairs by optimal transport are assigned by a solver on the CPU" if solves else None

    def _loss(self, batch: Batch) -> dict[str, Tensor]:
        data = self.training_values(batch.x)
        noise = self.pairs.pair(torch.randn_like(data), data, batch.y if self.conditional else None)
        t = self.pairs.draw_times(len(data), data.device)
        point = self.path.at(t, noise, data)
        predicted = self.predict(point.x, t, self.training_labels(batch.y), batch.mask)
        return {
            "loss": _mean_square(predicted, point.velocity, batch.mask),
            "path_cost": _mean_square(noise, data, batch.mask),
        }

    def evaluate(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.predict(x, t, y)

    def stepping(self) -> Stepping | None:
        if self.rows is not None:
            return None
        return Stepping(
            shape=tuple(self.seen_shape),
            state=f"between noise and data, {self.scaling_words}",
            time="time",
            times=(0.0, 1.0),
            start=1.0,
            output="the velocity v",
            equation="dx/dt = v",
        )

    def denoised(self, clean: Tensor, noise: Tensor, sigma: float, y: Tensor | None, mask: Tensor | None) -> Tensor:
        # A point x = t data + c(t) noise, x / t being the noisy example, has the mean velocity data + g (x - t data)
        # with g = c'(t) / c(t), which is linear in the data.
        t = self.path.time_of(sigma)
        x = t * (clean + sigma * (noise if mask is None else noise.where(mask, 0)))
        velocity = self.predict(x, torch.full((len(x),), t, device=x.device, dtype=x.dtype), y, mask)
        growth = self.path.growth(t)
        return (velocity - growth * x) / (1 - growth * t)

    def generate(
        self, noise: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None
    ) -> Tensor:
        def velocity(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
            given = (None if part is None else part[rows] for part in (y, mask))
            return self.guided(self.predict, *given)(x, t)

        data, evaluations = integrate(velocity, noise, 0.0, 1.0, self.sampler)
        self._drawn += len(noise)
        self._evaluations += int(evaluations.sum())
        return data

    def stepwise(
        self, noise: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None, times: int
    ) -> Stepwise:
        ends = [step / self.sampler.steps for step in range(self.sampler.steps + 1)]
        solver = replace(self.sampler, steps=1)

        def velocity(t: Tensor, x: Tensor, rows: Tensor) -> Tensor:
            given = (None if part is None else part[rows] for part in (y, mask))
            return self.guided(self.predict, *given)(x, t)

        def step(x: Tensor, number: int) -> Tensor:
            return integrate(velocity, x, ends[number], ends[number + 1], solver)[0]

        return Stepwise(noise, [NoiseLevel(t, self.path.deviation(t)) for t in ends], step)

    def log_density(
        self, scaled: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None = None
    ) -> Tensor:
        return ode_log_prob(
            self._velocity(y, mask),
            scaled,
            1.0,
            0.0,
            lambda z: standard_normal_log_prob(z, mask),
            self.likelihood_ode,
            generator,
        )

    def along_ode(self, state: Tensor, y: Tensor | None, mask: Tensor | None, to_noise: bool) -> Tensor:
        ends = (1.0, 0.0) if to_noise else (0.0, 1.0)
        return integrate(self._velocity(y, mask), state, *ends, self.likelihood_ode)[0]

    def _velocity(self, y: Tensor | None, mask: Tensor | None) -> Velocity:
        return lambda t, x, rows: self.predict(x, t, *(None if part is None else part[rows] for part in (y, mask)))


def _mean_square(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    return F.mse_loss(a, b) if mask is None else mean_over_values((a - b).square(), mask).mean()
