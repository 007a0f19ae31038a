"""What a kind of data is: how its examples are stored, seen by networks, judged and drawn."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from genlab.core.codec import Codec
from genlab.core.spec import DataSpec

__all__ = ["Layout", "Modality", "Places"]

Layout = Literal["grid", "sequence", "flat", "signal", "series", "symbols"]
"""How a network sees an example: as a ``grid`` ``[C, H, W]``, a ``sequence`` of values in an order, a ``flat`` vector
``[D]``, a ``signal`` ``[C, T]``, a ``series``, which is a short window ``[C, T]`` of columns over time, or as
``symbols`` ``[T]`` that people read."""


@dataclass(frozen=True)
class Places:
    """What the places of rows are that are ways or rankings.

    Attributes:
        label: What is said of an axis along them.
        names: Of each place, from the first on.
    """

    label: str
    names: Sequence[str]


class Modality(ABC):
    """A kind of data. One object of each is registered; nobody else asks which kind of data something is.

    Attributes:
        name: What a :class:`~genlab.core.spec.DataSpec` calls it.
        axes: Names of the axes of one example, e.g. ``("C", "H", "W")``.
        layouts: How networks can see an example, what suits best first. A family takes the kinds of data with which it
            shares a layout, and its network for the first of these is its default.
        has_order: Whether levels are ordered, so that nearby levels are alike; the symbols of a text are not.
        is_stationary: Whether the same holds at every place of an example, so that a stretch of it is an example too;
            where a window of a text begins is a matter of chance.
        has_heavy_tails: Whether values far from the mean are far more frequent than those of a normal distribution, so
            that networks had better not see them as they are.
        is_large: Whether examples are so large that networks may run in bfloat16 and that costly likelihoods are
            measured on some examples only.
        discrete_dtype: How levels are stored.
        features: What the quality of samples is measured on: the features of a ``network``, the ``values`` themselves,
            or nothing yet (None).
        judged_as: What figures of samples need that the data is, beside features: ``"text"``, ``"sound"``,
            ``"table"`` or ``"time series"``; see :meth:`genlab.measure.case.Case.lacks`.
        sample_figure: Key of the figure of samples that chooses a checkpoint where the likelihood does not.
        validation_samples_per_image: Samples that a validation draws where it would draw one image: small examples are
            cheap to draw, and few of them say little.
        preview_samples_per_image: Samples that a preview shows where it would show one image.
        endings_of_one: Endings of files that hold one example, which :meth:`read_one` reads.
        endings_of_many: Endings of files that hold many, which :meth:`read_many` reads.
        most_shown: Most samples that a preview shows, and that are written as files of their own; None: no limit.
    """

    name: ClassVar[str]
    axes: ClassVar[tuple[str, ...]]
    layouts: ClassVar[tuple[Layout, ...]]
    has_order: ClassVar[bool] = True
    is_stationary: ClassVar[bool] = False
    has_heavy_tails: ClassVar[bool] = False
    is_large: ClassVar[bool] = False
    discrete_dtype: ClassVar[torch.dtype] = torch.int64
    features: ClassVar[Literal["network", "values"] | None] = None
    judged_as: ClassVar[frozenset[str]] = frozenset()
    sample_figure: ClassVar[str | None] = None
    validation_samples_per_image: ClassVar[int] = 1
    preview_samples_per_image: ClassVar[int] = 1
    endings_of_one: ClassVar[tuple[str, ...]] = ()
    endings_of_many: ClassVar[tuple[str, ...]] = ()
    most_shown: ClassVar[int | None] = None

    def shown(self, images: int) -> int:
        """Return how many samples a preview shows that would show so many images."""
        count = images * self.preview_samples_per_image
        return count if self.most_shown is None else min(count, self.most_shown)

    def mu(self, spec: DataSpec) -> float | None:
        """Return the mu of the mu-law by which levels stand for amplitudes, 0 if evenly; None: they are none."""
        return None

    def bits_unit(self, spec: DataSpec) -> str:
        """Return the unit of the likelihood of discrete data: bits for each of what."""
        return "bits/dim"

    def dtype(self, spec: DataSpec) -> torch.dtype:
        """Return the dtype of examples as they are stored and sampled."""
        return self.discrete_dtype if spec.is_discrete else torch.float32

    def padding(self, spec: DataSpec) -> float:
        """Return what stands where an example has ended, in the data's own values."""
        return 0

    def blank(self, spec: DataSpec) -> float:
        """Return what stands in a picture for a value that is not given, in the data's own values."""
        return self.padding(spec)

    def codec(self, spec: DataSpec) -> Codec:
        """Return what encodes and checks such examples."""
        return Codec(spec, self.dtype(spec))

    def pictured(self, spec: DataSpec) -> DataSpec:
        """Return what :meth:`pictures` are: discrete images of the same classes; the data itself if that is images."""
        return spec

    def pictures(self, x: Tensor, spec: DataSpec) -> Tensor:
        """Return examples ``[N, *spec.shape]`` as the pictures that a network of features sees."""
        return x

    def preview(self, samples: Tensor, spec: DataSpec, path: Path, title: str, real: Tensor | None = None) -> bool:
        """Save a picture of samples as PNG, and say whether this kind of data has one.

        Args:
            samples: ``[N, *spec.shape]`` in the data's own values.
            spec: What one example is.
            path: File to write; its folder is made.
            title: Says which run; kept in the PNG's metadata and, on plots, drawn above.
            real: Real data ``[M, *spec.shape]`` to show beside them, where the picture has room for it.
        """
        return False

    def preview_pairs(self, upper: Tensor, lower: Tensor, spec: DataSpec, path: Path, title: str) -> bool:
        """Save a picture of pairs of examples, one above the other, and say whether this kind of data has one.

        Args:
            upper: ``[N, *spec.shape]`` in the data's own values.
            lower: ``[N, *spec.shape]``, the other of each pair.
            spec: What one example is.
            path: File to write; its folder is made.
            title: Says which run; kept in the PNG's metadata.
        """
        return False

    def preview_rows(
        self, rows: Mapping[str, Tensor], spec: DataSpec, path: Path, title: str, places: Places | None = None
    ) -> bool:
        """Save a picture of rows of examples that belong together place by place, and say whether there is one.

        Args:
            rows: For each name ``[N, *spec.shape]`` in the data's own values, as many in each; what is called
                ``example`` is real, and what is called ``given`` what a model was told of it, blank elsewhere.
            spec: What one example is.
            path: File to write; its folder is made.
            title: Says which run; kept in the PNG's metadata.
            places: What the places of the rows are, where these are ways or rankings; None: examples, of which some
                stand side by side.
        """
        drawn = torch.cat([x for name, x in rows.items() if name != "example"])
        return self.preview(drawn, spec, path, title, rows.get("example"))

    def write(self, samples: Tensor, spec: DataSpec, stem: Path, labels: Tensor | None = None) -> list[Path]:
        """Write samples as files to read or listen to, where that is more than a picture, and return these.

        Args:
            samples: ``[N, *spec.shape]`` in the data's own values.
            spec: What one example is.
            stem: Path of the files without what tells them apart; the folder is made.
            labels: ``[N]``, the classes of the samples, for files that have a place for their names; None: not known.
        """
        return []

    def has_files(self, spec: DataSpec) -> bool:
        """Return whether :meth:`write_one` writes such an example as a file of its own."""
        return bool(self.endings_of_one)

    def write_one(self, example: Tensor, spec: DataSpec, stem: Path) -> Path | None:
        """Write one example as a file that other programs read, and return it; None where this kind has no such file.

        Args:
            example: ``[*spec.shape]`` in the data's own values.
            spec: What one example is.
            stem: Path of the file without its suffix; the folder must exist.
        """
        return None

    def read_one(self, path: Path, spec: DataSpec) -> Tensor:
        """Read an example ``[*spec.shape]`` from a file of its own, as :meth:`write_one` leaves it.

        Raises:
            GenlabError: If the file holds no such example, in a line that names the file.
        """
        raise NotImplementedError(f"{self.name} data has no files of single examples.")

    def read_many(self, path: Path, spec: DataSpec) -> Tensor:
        """Read examples ``[N, *spec.shape]`` from one file.

        Raises:
            GenlabError: If the file holds no such examples, in a line that names the file.
        """
        raise NotImplementedError(f"{self.name} data has no files of many examples.")
