"""A result: what one run achieved under one evaluation protocol, as one typed object.

The figures of sample quality are those of the registry (:mod:`genlab.measure.figures`), so that a figure that is added
there is a field here. Nothing here imports torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge, Le, MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from genlab.core.words import counted
from genlab.measure.figures import FIGURES, Figure, of_section
from genlab.measure.missing import null_problems
from genlab.measure.result_problems import describe_problems
from genlab.runs.code import Code

__all__ = [
    "RESULT_SCHEMA",
    "CodeInfo",
    "DataInfo",
    "Likelihood",
    "ModelInfo",
    "OneDraw",
    "OrdinaryDifferentialEquation",
    "ProtocolInfo",
    "Quality",
    "ReferenceInfo",
    "Result",
    "ResultError",
    "Sampling",
    "Section",
    "Software",
    "Training",
    "VariationalBound",
    "is_estimate",
]

RESULT_SCHEMA = 1
"""Number of the layout of a result file; a change of the layout raises it."""

# A whole number stays one: a file that is read and written again is the same.
Real = int | float
NonNegative = Annotated[int, Ge(0)] | Annotated[float, Ge(0)]
Count = Annotated[int, Ge(0)]
Positive = Annotated[int, Ge(1)]
Text = Annotated[str, MinLen(1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Kind = Annotated[str, Field(pattern=r"^(exact|elbo|iwae-[0-9]+|dequantized-[0-9]+|vlb|ode|dequantized-ode)$")]


class ResultError(ValueError):
    """Says what is wrong with a result.

    Attributes:
        problems: One line for each key that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"not a valid result: {'; '.join(problems)}")
        self.problems = problems


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
    """

    nfe: NonNegative | None
    ms_per_sample: NonNegative | None
    batch_size: Positive | None
    precision: str | None = None
    device: str | None = None
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


class Result(Section):
    """The result of one run under one protocol. :meth:`of` and :meth:`from_json` make it.

    A figure that is not known is None, never 0, NaN or infinite, and ``missing`` says why by its dotted key, or by the
    name of its section. ``code_version`` and ``code_sha256`` are of the code that measured the figures.
    """

    layout: Annotated[int, Ge(RESULT_SCHEMA), Le(RESULT_SCHEMA)] = Field(alias="schema")
    code_version: Text
    created: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$")]
    missing: dict[str, Text]
    run_id: Text
    config_hash: Sha256
    command: str
    model: ModelInfo
    data: DataInfo
    seed: int
    training: Training
    likelihood: Likelihood | None
    likelihood_last: Likelihood | None
    quality: Quality | None
    sampling: Sampling | None
    protocol: ProtocolInfo
    reference: ReferenceInfo | None
    quality_last: Quality | None = None
    software: Software | None = None
    code_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _says_why_figures_are_missing(self) -> Self:
        if problems := null_problems(self, self.missing):
            raise ValueError("; ".join(problems))
        return self

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Result:
        """Make a result of its sections, as objects or as plain mappings.

        Raises:
            ResultError: If anything is wrong with it.
        """
        try:
            return _with_figures(tuple(FIGURES)).model_validate(content)
        except ValidationError as error:
            raise ResultError(describe_problems(error, content)) from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Read a result from the text of its file.

        Raises:
            pydantic.ValidationError: If it is none; :func:`genlab.measure.results.parse_result` says what is wrong.
        """
        return _with_figures(tuple(FIGURES)).model_validate_json(text)

    def as_dict(self) -> dict[str, Any]:
        """Return plain containers, as the file has them."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def value(self, figure: Figure) -> Any:
        """Return a figure of the registry as it is stored; None where it is not known."""
        section = getattr(self, figure.section)
        return None if section is None else section.get(figure.key)

    @property
    def trained_by(self) -> tuple[Code, ...]:
        """The code that trained the weights, the first one first; that of the evaluation where no other is known."""
        code = self.training.code
        return (self.measured_by,) if code is None else tuple(Code(part.version, part.get("sha256")) for part in code)

    @property
    def measured_by(self) -> Code:
        """The code that measured the figures."""
        return Code(self.code_version, self.get("code_sha256"))

    @property
    def checkpoint(self) -> str:
        """The checkpoint that the figures are of: ``"best"``, ``"last"`` or ``"none"``.

        Results of earlier versions say ``"best"`` where nothing was trained, and where nothing chose: of a model
        without a likelihood, samples that no features judged.
        """
        training = self.training
        if training.code is not None or training.checkpoint != "best":
            return training.checkpoint
        if training.examples_seen == 0:
            return "none"
        unjudged = self.quality is None and "feature extractor" in self.missing.get("quality", "")
        return "last" if self.likelihood is None and unjudged else "best"

    def reason(self, key: str) -> str:
        """Return why a figure or section is missing, by its dotted key, e.g. ``"quality.fid"``."""
        return self.missing.get(key) or self.missing.get(key.partition(".")[0], "the result does not have it")

    def warnings(self) -> list[str]:
        """Return what its figures warn of, e.g. that the samples lack classes."""
        classes = self.data.num_classes or "an unknown number of"
        return [
            figure.warning.format(value=value, classes=classes)
            for figure in FIGURES.values()
            if figure.warning and (value := self.value(figure))
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made of the registry, so that pickle would not find it.
        return Result.of, (self.as_dict(),)


@functools.lru_cache(maxsize=4)
def _with_figures(keys: tuple[str, ...]) -> type[Result]:
    """Make the classes whose quality has the figures of these keys, which are all of the registry."""
    fields: dict[str, Any] = {figure.key: _field(figure) for figure in of_section("quality")}
    quality = create_model("Quality", __base__=Quality, **fields)
    return create_model("Result", __base__=Result, quality=(quality | None, ...), quality_last=(quality | None, None))


def _whole(bound: float) -> float:
    """Return a whole number as an integer: equal annotations are one object, whose bounds messages then show."""
    return int(bound) if float(bound).is_integer() else bound


def _field(figure: Figure) -> tuple[Any, Any]:
    bounds = [Ge(_whole(figure.minimum))] if figure.minimum is not None else []
    bounds += [Le(_whole(figure.maximum))] if figure.maximum is not None else []
    whole: Any = Annotated[int, *bounds] if bounds else int
    real: Any = whole | (Annotated[float, *bounds] if bounds else float)
    many: Any = Annotated[tuple[real | None, ...], Field(strict=False)]
    kinds: dict[str, Any] = {"number": real, "whole": whole, "sha256": Sha256, "list": many}
    return kinds[figure.kind] | None, None if figure.optional else ...
