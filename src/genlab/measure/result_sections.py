"""The parts of a result: the model, the data, the training, the likelihood, the samples. Nothing here imports torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, MinLen
from pydantic import BaseModel, ConfigDict, Field

from genlab.core.words import counted

__all__ = [
    "CodeInfo",
    "DataInfo",
    "Likelihood",
    "ModelInfo",
    "OneDraw",
    "OrdinaryDifferentialEquation",
    "ProtocolInfo",
    "Quality",
    "ReferenceInfo",
    "Sampling",
    "Section",
    "Sha256",
    "Software",
    "Text",
    "Training",
    "VariationalBound",
    "is_estimate",
]

# A whole number stays one: a file that is read and written again is the same.
Real = int | float
NonNegative = Annotated[int, Ge(0)] | Annotated[float, Ge(0)]
Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Text = Annotated[str, MinLen(1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Kind = Annotated[str, Field(pattern=r"^(exact|elbo|iwae-[0-9]+|dequantized-[0-9]+|vlb|ode|dequantized-ode)$")]


class Section(BaseModel):
    """A part of a result: unknown keys, booleans for numbers, NaN and infinities are refused."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=(), defer_build=True
    )

    def get(self, key: str) -> Any:
        """Return the value of a key; None where it is null or not there."""
        return self.__dict__.get(key)

    def __contains__(self, key: str) -> bool:
        """Whether the section has a key, be it null."""
        return key in self.model_fields_set


class ModelInfo(Section):
    """The model: its name in ``conf/model``, how many weights are trained, and how many of them a sample needs.

    A GAN's discriminator and a VAE's encoder are trained, and not needed to sample. Older results do not say it. Of
    foreign samples neither is known.
    """

    name: Text
    family: str
    variant: str
    parameters: Count | None
    parameters_to_sample: Count | None = None


class DataInfo(Section):
    """The data and the split that the figures are of.

    ``levels`` is None for continuous data, ``num_classes`` for data without labels. ``unit`` is that of the likelihood,
    e.g. ``"bits/char"``; older results do not say it and mean bits/dim, or nats for continuous data. ``columns`` are
    the names of a table's; older results do not say them.
    """

    name: str
    split: str
    modality: Text
    shape: Annotated[tuple[Positive, ...], Field(strict=False)]
    levels: Annotated[int, Ge(2)] | None
    num_classes: Positive | None
    unit: Text | None = None
    columns: Annotated[tuple[str, ...], MinLen(1), Field(strict=False)] | None = None

    @property
    def likelihood_unit(self) -> str:
        """The unit of a likelihood: bits of what for discrete data, ``nats`` for continuous data."""
        return self.unit or ("nats" if self.levels is None else "bits/dim")


class CodeInfo(Section):
    """One state of the code: what it is called, and the hash of its source files; see :mod:`genlab.runs.code`."""

    version: Text
    sha256: Sha256 | None = None


class Training(Section):
    """What the training took, in examples, steps of one global batch each, seconds and bytes.

    ``checkpoint`` is the one that the figures are of: ``"best"``, which the figure of validation ``chosen_by`` chose,
    ``"last"``, or ``"none"`` where nothing was trained. ``code`` is the code of all starts, in their order.
    """

    examples_seen: Count | None
    optimizer_steps: Count | None
    wall_seconds: NonNegative | None
    device: str
    precision: str
    peak_memory_bytes: Count | None
    examples_per_second: NonNegative | None
    stopped_by: str
    checkpoint: str
    chosen_by: Text | None = None
    code: Annotated[tuple[CodeInfo, ...], MinLen(1), Field(strict=False)] | None = None

    @classmethod
    def elsewhere(cls) -> Self:
        """Return what is known of a training that others have done: nothing."""
        unknown = ("examples_seen", "optimizer_steps", "wall_seconds", "peak_memory_bytes", "examples_per_second")
        said = {"device": "unknown", "precision": "unknown", "stopped_by": "unknown", "checkpoint": "none"}
        return cls(**dict.fromkeys(unknown), **said)

    def unknown(self) -> list[str]:
        """Return the dotted keys of what is not known, of which a result says why."""
        return [f"training.{name}" for name in self.model_fields_set if self.get(name) is None]


class OrdinaryDifferentialEquation(Section):
    """How the equation of a likelihood of kind ``ode`` or ``dequantized-ode`` was solved.

    ``dequantization_draws`` are those of uniform noise in the cells of discrete data; older results do not say it and
    drew it once.
    """

    solver: str
    steps: Positive | None = None
    rtol: NonNegative | None = None
    atol: NonNegative | None = None
    trace: Literal["exact", "hutchinson"]
    probes: Positive | None = None
    dequantization_draws: Positive | None = None

    def __str__(self) -> str:
        accuracy = f"{self.steps} steps" if self.steps else f"rtol {self.rtol or 0:g}, atol {self.atol or 0:g}"
        trace = "exact trace"
        if self.trace == "hutchinson":
            trace = f"trace by Hutchinson with {counted(self.probes or 1, 'probe')} for each example"
        parts = [f"{self.solver}, {accuracy}", trace]
        if self.dequantization_draws:
            parts.append(counted(self.dequantization_draws, "draw") + " of dequantization noise")
        return "; ".join(parts)


class VariationalBound(Section):
    """How a likelihood of kind ``vlb`` was computed.

    ``noise_levels`` are those at which the bound in continuous time was sampled; older results are of a process in so
    many ``steps``, whose bound is looser, the more so the fewer.
    """

    noise_levels: Positive | None = None
    steps: Positive | None = None

    def __str__(self) -> str:
        if self.noise_levels:
            return f"continuous time, {counted(self.noise_levels, 'noise level')} for each example"
        return f"a process of {counted(self.steps or 1, 'step')}"


class Latents(Section):
    """What the latents of a model tell of the data, over so many examples of the split.

    ``kl_nats`` is the divergence of the posterior from the prior: near zero, the decoder does without the latents.
    ``active_units`` of all ``units`` have a posterior whose mean varies over the data.
    """

    kl_nats: Real | None
    active_units: Count
    units: Positive
    examples: Positive

    def __str__(self) -> str:
        divergence = "KL unknown" if self.kl_nats is None else f"KL {self.kl_nats:.4g} nats"
        return f"{divergence}, {self.active_units:,} of {self.units:,} units active"


def is_estimate(kind: str | None) -> bool:
    """Whether a likelihood may be too high, as one by an equation that is solved, and is no bound.

    ``dequantized-ode``, and ``ode`` in older results of discrete data, is the estimate of a bound.
    """
    return kind in ("ode", "dequantized-ode")


class OneDraw(Section):
    """A negative log-likelihood, in bits per dimension of discrete data and in nats per example.

    ``kind`` says whether it is exact, a bound or an estimate; ``_se`` is the standard error over examples, which takes
    in what probes and noise add, since these are drawn anew for each.
    """

    bits_per_dim: Real | None
    bits_per_dim_se: NonNegative | None
    nats: Real | None
    nats_se: NonNegative | None
    kind: Kind


class Likelihood(OneDraw):
    """The negative log-likelihood of a split, with the numbers of examples and of noise draws per example.

    ``p(x)`` and ``p(x|y)``, which was given the labels, do not compare. ``one_draw`` is the bound of a single draw,
    e.g. the ELBO, beside one of several draws. ``stride`` is there where windows slide by so many symbols.
    """

    of: Literal["p(x)", "p(x|y)"]
    examples: Positive
    draws: Positive
    ode: OrdinaryDifferentialEquation | None = None
    vlb: VariationalBound | None = None
    one_draw: OneDraw | None = None
    latents: Latents | None = None
    stride: Positive | None = None

    @property
    def how(self) -> str:
        """How an estimate or bound was computed, in a few words; empty where there is nothing to say."""
        if self.stride is not None:
            last = "symbol" if self.stride == 1 else f"{self.stride} symbols"
            return f"windows that slide, each scored on its last {last} given those before"
        return str(self.ode or self.vlb or "")


class Quality(Section):
    """How samples compare with data, and the features and numbers of examples that the figures rest on.

    The figures themselves are fields of the class that :class:`Result` makes of this one and the registry;
    :meth:`Section.get` reads them by their keys.
    """

    extractor: str | None
    extractor_sha256: Sha256 | None
    n_real: Positive | None
    n_fake: Positive | None
    reference_split: str | None


class Sampling(Section):
    """What a sample costs: network evaluations and milliseconds, in batches of so many, on a device.

    ``temperature``, ``top_k`` and ``top_p`` are there where samples come from another distribution than the likelihood.
    ``labels`` says of a class-conditional model how those of its samples were drawn, ``"training frequencies"`` or
    ``"uniform"``; older results do not say it and drew them uniformly.
    """

    nfe: NonNegative | None
    ms_per_sample: NonNegative | None
    batch_size: Positive | None
    precision: str | None = None
    device: str | None = None
    labels: str | None = None
    temperature: NonNegative | None = None
    top_k: Positive | None = None
    top_p: NonNegative | None = None


class ProtocolInfo(Section):
    """Name and hash of the evaluation protocol; the name is that of the file too."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]+$")]


class Software(Section):
    """The versions that the figures were computed with."""

    python: Text
    torch: Text


class ReferenceInfo(Section):
    """What is known of the distribution of the data: its entropy in nats."""

    true_entropy_nats: Real | None
