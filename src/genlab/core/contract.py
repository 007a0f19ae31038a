"""What callers may ask of a model, as small protocols: they test for a capability, never for a family."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from genlab.core.batch import Batch
from genlab.core.spec import DataSpec

__all__ = [
    "Denoises",
    "DrawsInSteps",
    "Encodes",
    "EncodesInLayers",
    "Evaluable",
    "Inpainting",
    "Inpaints",
    "Samples",
    "Scores",
    "ScoresValues",
    "Stepping",
    "TakesTurns",
    "UsesLatents",
]


class Inpainting(NamedTuple):
    """How missing values are drawn.

    Attributes:
        is_exact: Whether they come from the model's own distribution given the others, and from no approximation of it.
        method: By what, a few words.
    """

    is_exact: bool
    method: str

    def __str__(self) -> str:
        return f"{'exact' if self.is_exact else 'approximate'}: {self.method}"


@runtime_checkable
class Encodes(Protocol):
    """A model with a latent code: what one example is for it, as numbers that can be changed and decoded.

    Both ways are functions, without chance, and an example's code does not depend on the batch that it comes in.
    """

    def encode(self, x: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return latents ``[N, Z]`` of examples.

        Args:
            x: ``[N, *spec.shape]`` in the data's own values and dtype.
            y: Labels ``[N]`` for class-conditional models.
            mask: ``[N, *spec.shape]``, bool, true where there is a value; None: all is there.

        Raises:
            GenlabError: If the data is not what the spec says.
        """
        ...

    def decode(self, z: Tensor, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Return data ``[N, *spec.shape]``, floating point in the data's own units, given latents ``z [N, Z]``.

        Of levels it is not rounded: level k is k. Of symbols without an order it is the symbols themselves.

        Raises:
            GenlabError: If the latents have another length.
        """
        ...

    def encoding_kind(self) -> str:
        """Say how :meth:`encode` finds a code, and so how far decoding it leads back to the example: a few words."""
        ...

    def encoding_evaluations(self) -> float:
        """Return about how many evaluations of its network a code costs, there and back; inf where it is searched for.

        What a search leaves of an example says as much of the search as of the model.
        """
        ...


@runtime_checkable
class EncodesInLayers(Encodes, Protocol):
    """A model whose code has layers, from coarse to fine."""

    def num_layers(self) -> int:
        """Return how many layers there are."""
        ...

    def decode_upper(self, z: Tensor, layers: int, y: Tensor | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Decode the upper layers of latents ``z [N, Z]`` alone; those below are what the model expects given them."""
        ...


class Stepping(NamedTuple):
    """How a model goes from noise to an example: by what steps is up to who solves the equation.

    Attributes:
        shape: Of a state, without the batch.
        state: What a state is, in words: how data is scaled there.
        time: What a time is, a few words.
        times: The first, at which there is noise alone, and the last.
        start: Standard deviation of that noise.
        output: What an evaluation gives, a few words.
        equation: What a state obeys on its way, in words.
    """

    shape: tuple[int, ...]
    state: str
    time: str
    times: tuple[float, float]
    start: float
    output: str
    equation: str


@runtime_checkable
class DrawsInSteps(Protocol):
    """A model that draws in steps, each of which evaluates one network at a state and a time."""

    def stepping(self) -> Stepping | None:
        """Say how it goes; None where a state is more than numbers to be scaled."""
        ...

    def evaluate(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate the network, ``[N, *shape]``, without guidance.

        Args:
            x: States ``[N, *shape]``.
            t: Times ``[N]``.
            y: Labels ``[N]`` for class-conditional models; the number after the last stands for no label.
        """
        ...


@runtime_checkable
class Denoises(Protocol):
    """A model that says what a noisy example was without its noise."""

    def denoising_errors(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        ratios: Sequence[float],
        generator: Generator | None = None,
    ) -> Tensor:
        """Return ``[N, K]``: how far examples are from what noisy copies of them are denoised to.

        Args:
            x: ``[N, *spec.shape]`` in the data's own values and dtype.
            y: Labels ``[N]`` for class-conditional models.
            mask: ``[N, *spec.shape]``, bool, true where there is a value; None: all is there.
            ratios: K standard deviations of the noise, over that of the data.
            generator: Of the noise.

        Returns:
            The mean squared error of an example's values at each ratio, over the data's variance.
        """
        ...


@runtime_checkable
class Inpaints(Protocol):
    """A model that fills in the rest of an example, given some of its values."""

    def inpaint(
        self,
        x: Tensor,
        mask: Tensor,
        y: Tensor | None = None,
        generator: Generator | None = None,
        *,
        rounds: int | None = None,
    ) -> Tensor:
        """Keep the values of an example where ``mask`` is true and draw the others given them.

        Args:
            x: ``[N, *spec.shape]`` in the data's own values; what stands where ``mask`` is false does not matter.
            mask: Boolean, broadcasts with ``x``.
            y: Labels ``[N]`` for class-conditional models; when None each label is equally likely.
            generator: Source of the noise, which belongs to the example; see :mod:`genlab.core.noise`.
            rounds: How long a method works that is exact in the limit alone, see :meth:`inpainting`; None: the model's
                own default. Exact methods have no use for it.

        Returns:
            ``[N, *spec.shape]`` in the data's own values and dtype.

        Raises:
            GenlabError: If ``mask`` is not boolean or does not broadcast, or what is kept of ``x`` is no such data.
        """
        ...

    def inpainting(self, mask: Tensor, rounds: int | None = None) -> Inpainting:
        """Say how values are filled in where ``mask [N, *spec.shape]`` is true of those that are given."""
        ...


@runtime_checkable
class ScoresValues(Protocol):
    """A model that says how probable each value of an example is, given those before it."""

    def log_prob_of_values(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return ``[N, D]``, nats, of the values of ``x [N, *spec.shape]`` in the order in which they are read.

        Their sum over an example is its log-probability.
        """
        ...


@runtime_checkable
class UsesLatents(Protocol):
    """A model with latents that a posterior infers, which may tell much of an example or nothing."""

    def latent_use(
        self, x: Tensor, *, mask: Tensor | None = None, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return how far the posterior of each example is off the prior.

        Args:
            x: ``[N, *spec.shape]``.
            mask: ``[N, *spec.shape]``, bool, true where there is a value; None: all is there.
            generator: Of the posterior's draws.

        Returns:
            The divergence, nats ``[N]``, and the posterior's means ``[N, Z]``, off the prior's where that varies.
        """
        ...


@runtime_checkable
class TakesTurns(Protocol):
    """A model in whose training step several optimizers, its players, step in turn; see :class:`genlab.models.gan.Gan`.

    A player is named by the place of its optimizer in what ``configure_optimizers`` returns.
    """

    def play(self, gradients: Callable[[int], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Let each player whose turn it is zero its gradients, compute them and step; return the parts of all losses.

        Args:
            gradients: Given a player, computes the gradients of its parameters, and returns the parts of its loss,
                ``"loss"`` among them.
        """
        ...

    def moves(self, batch: Batch) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Yield each player with the parts of its loss, ``"loss"`` among them, in the order of :meth:`play`.

        The next one is asked for when the players before it have stepped. A later loss may be computed from tensors of
        an earlier move, and its backward pass may go through them, unless that of an earlier loss has done so.
        """
        ...


class Samples(Protocol):
    """A model that draws examples; see :class:`genlab.models.base.GenerativeModel`."""

    spec: DataSpec
    device: torch.device
    conditional: bool
    nfe: float
    sampling_settings: dict[str, Any]

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def sample(self, n: int, y: Tensor | None = None, generator: Generator | None = None) -> Tensor: ...


class Scores(Protocol):
    """A model that says how probable an example is; where ``has_likelihood`` is false it cannot.

    See :class:`genlab.models.base.GenerativeModel`.
    """

    spec: DataSpec
    device: torch.device
    conditional: bool
    has_likelihood: bool
    likelihood_examples: int | None
    likelihood_settings: dict[str, Any]

    def likelihood_kind(self, num_draws: int = 1) -> str: ...

    def log_prob(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        mask: Tensor | None = None,
        num_draws: int = 1,
        generator: Generator | None = None,
    ) -> Tensor: ...


class Evaluable(Samples, Scores, Protocol):
    """A model whose samples and likelihood a protocol measures."""
