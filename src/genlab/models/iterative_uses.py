"""What models that sample in many steps are used for beside sampling: codes by their ODE, in-painting, denoising."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from genlab.core.batch import Batch
from genlab.core.contract import Inpainting
from genlab.core.likelihood import sum_dims
from genlab.core.noise import normal
from genlab.core.words import counted
from genlab.models.filling_in import FillsIn, Given
from genlab.models.iterative import IterativeModel
from genlab.networks.diffusion.inpainting import Stepwise, repaint

__all__ = ["SteerableModel"]

ROUNDS = 5
"""How often each step is taken where values are filled in, unless said otherwise."""


class SteerableModel(FillsIn, IterativeModel):
    """A model that samples in many steps which can be taken back, bent towards given values, or looked at one by one.

    A subclass also implements :meth:`along_ode`, :meth:`denoised` and :meth:`stepwise`, of scaled data.

    The arguments are those of :class:`genlab.models.iterative.IterativeModel`.
    """

    @abstractmethod
    def along_ode(self, state: Tensor, y: Tensor | None, mask: Tensor | None, to_noise: bool) -> Tensor:
        """Carry scaled data ``[N, *shape]`` to standard normal noise along the ODE of :meth:`log_density`, or back."""

    @abstractmethod
    def denoised(self, clean: Tensor, noise: Tensor, sigma: float, y: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return the expected example ``[N, *shape]``, scaled, for ``clean + sigma noise``, noise being normal."""

    @abstractmethod
    def stepwise(
        self, noise: Tensor, y: Tensor | None, generator: Generator | None, mask: Tensor | None, times: int
    ) -> Stepwise:
        """Return what :meth:`generate` does as steps, each of which may be taken so many times."""

    def _fill_in(self, given: Given, generator: Generator | None, rounds: int | None) -> Tensor:
        """Go from noise to data, what is kept being that of the data; see
        :func:`genlab.networks.diffusion.inpainting.repaint`.

        Args:
            given: What is kept.
            generator: Source of the noise.
            rounds: How often each step is taken; None: 5.
        """
        x, kept, labels = given
        there = None if self.lengths is None else self.lengths.sample(len(x), labels, generator, kept)
        values = x.where(kept, 0)
        if self.rows is None:
            data, known = self.level_centres(values) if self.spec.is_discrete else self.scaling(values)[0], kept
        else:
            data, known = self.scaling(self.rows.encode(values, within=0.5))[0], self.rows.of_columns(kept)
        noise = normal((len(x), *self.seen_shape), generator, self.device)
        count = ROUNDS if rounds is None else max(1, rounds)
        with self._precision():
            path = self.stepwise(noise, labels, generator, there, count)
            scaled = repaint(path, data, known, count, generator)
        return self._as_data(scaled, there)

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        times = ROUNDS if rounds is None else max(1, rounds)
        return Inpainting(False, f"RePaint-like resampling, each step of the sampler {counted(times, 'time')}")

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the noise ``[N, D]`` to which the ODE carries ``x [N, *shape]``; levels start at their cells' centres.

        The equation is that of the likelihood, of the plain model without guidance, in float32.

        Raises:
            GenlabError: If the data has another shape, dtype or range than :attr:`spec` says, or labels are missing.
        """
        scaled, y, mask = self._checked(x, y, mask)
        with torch.autocast(x.device.type, enabled=False):
            return self.along_ode(scaled, y, mask, to_noise=True).flatten(1)

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return the data ``[N, *shape]``, floating point in the data's own units, to which the ODE carries ``z``.

        Raises:
            GenlabError: If the latents are not ``[N, D]``.
        """
        self._check_latents(z, math.prod(self.seen_shape))
        noise = z.view(len(z), *self.seen_shape)
        with torch.autocast(z.device.type, enabled=False):
            scaled = self.along_ode(noise, y if self.conditional else None, mask, to_noise=False)
        values = self.scaling.inverse(scaled)[0]
        if self.rows is not None:
            return self.rows.decode(values)
        return self.codec.unrounded(values) if self.spec.is_discrete else values

    def encoding_kind(self) -> str:
        where = ", from the cells' centres" if self.spec.is_discrete or self.rows is not None else ""
        return f"the model's ODE ({self.likelihood_ode}){where}"

    def encoding_evaluations(self) -> float:
        return 2 * self.likelihood_ode.usual_evaluations

    @torch.no_grad()
    def denoising_errors(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        ratios: Sequence[float],
        generator: Generator | None = None,
    ) -> Tensor:
        """Return how far denoised examples are from these, ``[N, K]``; see :class:`genlab.core.contract.Denoises`.

        The data's standard deviation is taken to be :attr:`deviation`. The network runs in float32, without guidance.

        Raises:
            GenlabError: If the data has another shape, dtype or range than :attr:`spec` says, or labels are missing.
        """
        clean, y, mask = self._checked(x, y, mask)
        found = []
        with torch.autocast(x.device.type, enabled=False):
            for ratio in ratios:
                noise = normal(clean.shape, generator, clean.device)
                denoised = self.denoised(clean, noise, ratio * self.deviation, y, mask)
                errors = ((denoised - clean) / self.deviation).square()
                found.append(
                    errors.flatten(1).mean(1) if mask is None else sum_dims(errors, mask) / Batch(x, mask=mask).dims
                )
        return torch.stack(found, dim=1)

    def _checked(self, x: Tensor, y: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Check examples and return them scaled, levels at their cells' centres, with the labels that are used."""
        self.check(Batch(x, y, mask))
        x, y, mask, _ = self._filled(Batch(x, y, mask))
        if self.rows is not None:
            x = self.rows.encode(x, within=0.5)
        scaled = self.scaling(self.codec.to_centres(x) if self.spec.is_discrete else x)[0]
        return scaled if mask is None else scaled.where(mask, 0), y if self.conditional else None, mask
