"""The labels of the samples that are measured."""

from __future__ import annotations

from torch import Generator, Tensor

from genlab.core.contract import Samples
from genlab.core.noise import integers

__all__ = ["LabelSource"]


class LabelSource:
    """Draws labels as frequent as those of the training examples, for class-conditional models.

    With other labels even samples of the true conditional distribution would not be distributed as the data is.

    Args:
        model: Whose samples are measured.
        training: Labels of the training examples, ``[N]``, int64; None where they are not known: then all labels are
            equally likely.

    Attributes:
        kind: How labels are drawn, ``"training frequencies"`` or ``"uniform"``; None for a model that is given none.
    """

    def __init__(self, model: Samples, training: Tensor | None) -> None:
        self._device = model.device
        self._classes = (model.spec.num_classes or 1) if model.conditional else 0
        self._training: Tensor | None = None
        self.kind = None if not self._classes else "uniform" if training is None else "training frequencies"
        if self._classes and training is not None:
            counts = training.bincount(minlength=self._classes)
            # Where classes are equally frequent the same noise gives the same labels as without the training examples.
            self._training = training.to(self._device) if bool((counts != counts[0]).any()) else None

    def draw(self, n: int, noise: Generator) -> Tensor | None:
        """Return ``n`` labels, int64, on the model's device, of noise that belongs to the examples; None for a model
        that is given none.
        """
        if not self._classes:
            return None
        if self._training is None:
            return integers(self._classes, n, noise, self._device)
        return self._training[integers(len(self._training), n, noise, self._device)]
