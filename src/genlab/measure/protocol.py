"""The evaluation protocol as settings: what is measured, and the hash that says which figures compare.

Apart from :mod:`genlab.measure.likelihood`, which measures, so that a result can be found without importing torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt

from genlab.runs.folder import check_name

__all__ = ["PROTOCOL_VERSION", "EvaluationProtocol"]

PROTOCOL_VERSION = 2
"""Raised when the meaning of a figure changes, which moves every protocol's hash.

1: noise belonged to a batch, whose size was part of the protocol.
2: noise belongs to an example: no figure depends on the size of a batch.
"""


@dataclass(frozen=True)
class EvaluationProtocol:
    """How figures are measured; two results compare only if their protocols' hashes are equal.

    Args:
        name: Name of the protocol and of its result file.
        split: The split whose likelihood is measured: ``"test"`` or ``"validation"``.
        num_draws: Importance samples per example where the likelihood is a bound that uses them.
        max_examples: Number of examples of the split whose likelihood is measured, drawn by the seed, or None for all.
        num_samples: Number of samples drawn.
        batch_size: Examples per call, for likelihoods and samples, or None for what suits the device. Noise belongs to
            an example, so no figure depends on it, and it is no part of the hash.
        seed: Seed of the evaluation's own noise.
        classification_accuracy: Whether a classifier is trained on the samples of a class-conditional model.
        inception_weights: File of the network of published FIDs, or None for the figures without them; see
            :mod:`genlab.measure.features.inception`.
        stride: Symbols by which the windows of a text slide, each being scored on its last ones alone, given those
            before them; None: windows do not overlap, and a symbol is given what its own window has before it.
        series_scores: Whether recurrent networks are trained on samples of series: discriminative and predictive score.

    Attributes:
        inception_sha256: Checksum of that file; what it holds is part of the protocol, where it lies is not.

    Raises:
        GenlabError: If the name cannot name files, or that file is missing or of another network.
    """

    name: str
    split: Literal["validation", "test"]
    num_draws: Annotated[int, Ge(1), Le(100_000)]
    max_examples: Annotated[int, Ge(2)] | None
    num_samples: Annotated[int, Ge(1), Le(10_000_000)]
    batch_size: Annotated[int, Ge(1), Le(1_000_000)] | None
    seed: Annotated[int, Ge(0), Lt(2**63)]
    classification_accuracy: bool = False
    inception_weights: str | None = None
    stride: Annotated[int, Ge(1), Le(1_000_000)] | None = None
    series_scores: bool = False
    inception_sha256: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        check_name("evaluation.name", self.name)
        if self.inception_weights is not None:
            # Opened here, so that a wrong file is found before a training and not after it.
            from genlab.measure.features.inception import load_inception

            object.__setattr__(self, "inception_sha256", load_inception(self.inception_weights).sha256)

    @property
    def hash(self) -> str:
        """First 12 hex digits of the SHA-256 of everything but the name and the size of batches."""
        fields: dict[str, Any] = {**dataclasses.asdict(self), "version": PROTOCOL_VERSION}
        del fields["name"], fields["batch_size"], fields["inception_weights"]
        # Options move the hash only where they are on: those without them keep the hash that they had.
        for option in ("classification_accuracy", "inception_sha256", "stride", "series_scores"):
            if not fields[option]:
                del fields[option]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    def describe(self) -> dict[str, str]:
        """Return name and hash, as they stand in a result."""
        return {"name": self.name, "hash": self.hash}
