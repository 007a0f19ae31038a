"""A result: what one run achieved under one evaluation protocol, as one typed object.

The figures of sample quality are those of the registry (:mod:`genlab.measure.figures`), so that a figure that is added
there is a field here. Nothing here imports torch.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Self

from annotated_types import Ge, Le
from pydantic import Field, ValidationError, create_model, model_validator

from genlab.measure.figures import FIGURES, Figure, of_section
from genlab.measure.missing import null_problems
from genlab.measure.result_problems import describe_problems
from genlab.measure.result_sections import (
    DataInfo,
    Likelihood,
    ModelInfo,
    ProtocolInfo,
    Quality,
    ReferenceInfo,
    Sampling,
    Section,
    Sha256,
    Software,
    Text,
    Training,
)
from genlab.runs.code import Code

__all__ = ["RESULT_SCHEMA", "Result", "ResultError"]

RESULT_SCHEMA = 1
"""Number of the layout of a result file; a change of the layout raises it."""


class ResultError(ValueError):
    """Says what is wrong with a result.

    Attributes:
        problems: One line for each key that is wrong.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__(f"not a valid result: {'; '.join(problems)}")
        self.problems = problems


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
