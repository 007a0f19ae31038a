"""How a decoder's predictions become probabilities, samples and decoded examples: all values at once, or in turn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from genlab.core.noise import uniform
from genlab.networks.blocks.observations import ObservationModel
from genlab.networks.latent.recurrent import RecurrentDecoder

__all__ = ["AtOnce", "Decoding", "InTurn"]


class Decoding(ABC):
    """The distribution of data given latents, by a decoder and the observation model of single values.

    Args:
        observation: Distribution of a value given its parameters.
    """

    def __init__(self, observation: ObservationModel) -> None:
        self.observation = observation

    def passes(self, decoder: nn.Module) -> int:
        """Evaluations of the decoder, one after the other, that a sample costs."""
        return 1

    @abstractmethod
    def log_prob(self, decoder: nn.Module, z: Tensor, x: Tensor) -> Tensor:
        """Return the log-probability of each value ``[N, *shape]``, nats, of ``x [N, *shape]`` given ``z [N, Z]``."""

    @abstractmethod
    def sample(self, decoder: nn.Module, z: Tensor, generator: Generator | None) -> Tensor:
        """Draw values ``[N, *shape]`` given latents ``z [N, Z]``."""

    @abstractmethod
    def redraw(self, decoder: nn.Module, z: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        """Draw the values of ``x [N, *shape]`` anew that are not ``kept``, given those that are and ``z [N, Z]``.

        It leaves the distribution of these values as it is, and where values depend on each other may keep the old.
        """

    @abstractmethod
    def decode(self, decoder: nn.Module, z: Tensor) -> Tensor:
        """Return the values ``[N, *shape]`` that latents ``z [N, Z]`` stand for, without chance."""


class AtOnce(Decoding):
    """Values that are independent given the latents; what latents stand for is the expectation."""

    def log_prob(self, decoder: nn.Module, z: Tensor, x: Tensor) -> Tensor:
        return self.observation.log_prob(x, decoder(z))

    def sample(self, decoder: nn.Module, z: Tensor, generator: Generator | None) -> Tensor:
        return self.observation.sample(decoder(z), generator)

    def redraw(self, decoder: nn.Module, z: Tensor, x: Tensor, kept: Tensor, generator: Generator | None) -> Tensor:
        drawn = self.sample(decoder, z, generator)
        return x.where(kept, drawn.to(x.dtype))

    def decode(self, decoder: nn.Module, z: Tensor) -> Tensor:
        return self.observation.mean(decoder(z))


class InTurn(Decoding):
    """Symbols that depend on those before them too.

    Symbols have no expectation: what latents stand for is the most probable symbol at each place, given those chosen
    before it.
    """

    def passes(self, decoder: RecurrentDecoder) -> int:
        return decoder.length

    def log_prob(self, decoder: RecurrentDecoder, z: Tensor, x: Tensor) -> Tensor:
        return self.observation.log_prob(x, decoder(z, x))

    def sample(self, decoder: RecurrentDecoder, z: Tensor, generator: Generator | None) -> Tensor:
        noise = self.observation.noise((len(z), decoder.length), generator, z.device)
        return self._chosen(decoder, z, lambda params, place: self.observation.transform(params, noise[:, place]))

    def redraw(
        self, decoder: RecurrentDecoder, z: Tensor, x: Tensor, kept: Tensor, generator: Generator | None
    ) -> Tensor:
        """Propose symbols, each given those before it, accepted by how probable they make those that are kept."""
        noise = self.observation.noise((len(z), decoder.length), generator, z.device)

        def choose(params: Tensor, place: int) -> Tensor:
            drawn = self.observation.transform(params, noise[:, place])
            return x[:, place].where(kept[:, place], drawn.to(x.dtype))

        other = self._chosen(decoder, z, choose)
        new, old = (self.log_prob(decoder, z, values).where(kept, 0).double().sum(1) for values in (other, x))
        accepted = uniform((len(z),), generator, z.device, torch.float64).log() < new - old
        return other.where(accepted[:, None], x)

    def decode(self, decoder: RecurrentDecoder, z: Tensor) -> Tensor:
        every = torch.arange(decoder.symbols, device=z.device).expand(len(z), -1)

        def most_probable(params: Tensor, place: int) -> Tensor:
            return self.observation.log_prob(every, params[..., None].expand(-1, -1, decoder.symbols)).argmax(1)

        return self._chosen(decoder, z, most_probable)

    @staticmethod
    def _chosen(decoder: RecurrentDecoder, z: Tensor, choose: Callable[[Tensor, int], Tensor]) -> Tensor:
        steps, values = decoder.steps(z), []
        # The steps run in the weights' own precision, as those of other models do that draw value by value.
        with torch.autocast(z.device.type, enabled=False):
            params = next(steps)
            for place in range(decoder.length):
                params = steps.send(values[-1]) if place else params
                values.append(choose(params, place))
        return torch.stack(values, dim=1)
