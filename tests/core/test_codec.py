"""The codec: levels to numbers and back, standardization, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.core.codec import Affine, Codec, cells_to_levels, levels_to_signed, levels_to_unit, mean_and_deviation
from genlab.core.errors import GenlabError
from genlab.core.spec import DataSpec
from genlab.core.tails import TamedAffine

DIGITS = Codec(DataSpec("digits", "image", (1, 8, 8), levels=17, num_classes=10), torch.uint8)
POINTS = Codec(DataSpec("points", "vector", (2,), num_classes=3), torch.float32)


def levels_of(count: int, dtype: torch.dtype = torch.int64) -> tuple[Codec, Tensor]:
    """A codec of so many levels, and all of them."""
    return Codec(DataSpec("all", "vector", (1,), levels=count), dtype), torch.arange(count, dtype=dtype)[:, None]


@pytest.mark.parametrize("count", [2, 17, 256, 4096])
def test_every_encoding_of_levels_has_its_way_back(count: int) -> None:
    codec, x = levels_of(count)
    assert torch.equal(codec.from_unit(codec.to_unit(x)), x)
    assert torch.equal(codec.from_signed(codec.to_signed(x)), x)
    assert torch.equal(codec.from_cells(codec.to_centres(x)), x)
    # Float32 rounds a number that is nearly the next cell's first up to it: at 4,096 levels, one in 8,192.
    too_high = codec.from_cells(codec.dequantize(x, torch.Generator().manual_seed(0))) - x
    assert 0 <= too_high.min() <= too_high.max() <= (count > 1000)
    assert too_high.sum() <= 4


@pytest.mark.parametrize("count", [2, 17, 42, 256, 1000])
def test_the_ends_of_the_levels_are_exact(count: int) -> None:
    """With 42 levels a product with 2 / (levels - 1) would miss them by a rounding error."""
    x = torch.tensor([0, count - 1], dtype=torch.uint8 if count <= 256 else torch.int32)
    assert levels_to_unit(x, count).tolist() == [0.0, 1.0]
    assert levels_to_signed(x, count).tolist() == [-1.0, 1.0]


def test_encodings_agree_with_each_other() -> None:
    codec, x = levels_of(256)
    low, high = codec.to_cells(x)
    torch.testing.assert_close(codec.to_signed(x, torch.float64), 2 * codec.to_unit(x, torch.float64) - 1)
    torch.testing.assert_close(codec.to_centres(x, torch.float64), (low + high) / 2)
    assert torch.equal(low[1:], high[:-1])


def test_what_lies_outside_gets_the_nearest_level() -> None:
    codec, _ = levels_of(17)
    assert cells_to_levels(torch.tensor([-0.1, 1.0, 1.5]), 17).tolist() == [0, 16, 16]
    assert codec.from_unit(torch.tensor([-0.1, 1.5])).tolist() == [0, 16]
    assert codec.from_signed(torch.tensor([-1.2, 1.5])).tolist() == [0, 16]


def test_what_is_decoded_has_the_dtype_of_the_data() -> None:
    values = torch.rand(2, 1, 8, 8)
    assert {decode(values).dtype for decode in (DIGITS.from_unit, DIGITS.from_signed, DIGITS.from_cells)} == {
        torch.uint8
    }
    assert POINTS.from_signed(torch.zeros(3, 2, dtype=torch.float64)).dtype == torch.float32


def test_continuous_values_are_not_scaled() -> None:
    x = torch.tensor([[3.5, -2.0]])
    assert torch.equal(POINTS.to_signed(x), x)


@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_scaling_is_undone_and_its_log_determinant_is_autograds(shape: tuple[int, ...]) -> None:
    affine = Affine(shape, -2.5, 0.7).double()
    affine.scale += torch.rand(shape, dtype=torch.float64)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    y, log_det = affine(x)
    back, inverse_log_det = affine.inverse(y)
    torch.testing.assert_close(back, x)
    jacobian = torch.autograd.functional.jacobian(lambda flat: affine(flat.view(1, 2, 3))[0].flatten(), x[0].flatten())
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet.expand(4))
    torch.testing.assert_close(inverse_log_det, -log_det)


def test_fitted_scaling_standardizes_each_dimension_and_survives_a_constant_one() -> None:
    x = torch.randn(2000, 3) * torch.tensor([5.0, 0.1, 0.0]) + 7
    affine = Affine((3,))
    affine.fit(x, deviation=0.5)
    y, log_det = affine(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), rtol=0, atol=0.01)
    torch.testing.assert_close(y.std(0), torch.tensor([0.5, 0.5, 0.0]), rtol=0, atol=0.01)
    assert torch.isfinite(log_det).all()


@pytest.mark.parametrize("affine", [Affine((3,)), TamedAffine((3,))], ids=lambda affine: type(affine).__name__)
def test_small_numbers_are_standardized_and_what_differs_by_rounding_alone_is_not(affine: Affine) -> None:
    x = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1e-4, 1e-12, 3e-7])
    x[:, 1] += 1e-9
    x[:, 2] += 7
    assert x[:, 2].unique().numel() > 1
    affine.fit(x)
    y, _ = affine(x)
    torch.testing.assert_close(y.std(0)[:2], torch.ones(2), rtol=0.01, atol=0)
    assert y[:, 2].abs().max() < 0.01


@pytest.mark.parametrize("correction", [0, 1])
def test_one_example_is_standardized_to_finite_values(correction: int) -> None:
    mean, deviation = mean_and_deviation(torch.tensor([[3.0, -1.0]]), correction=correction)
    assert (mean.tolist(), deviation.tolist()) == ([3.0, -1.0], [1.0, 1.0])
    affine = Affine((2,))
    affine.fit(torch.tensor([[3.0, -1.0]]), deviation=0.5)
    assert affine(torch.tensor([[3.0, 0.0]]))[0].tolist() == [[0.0, 0.5]]


def test_means_over_several_axes_are_those_of_each_channel() -> None:
    x = torch.randn(5, 3, 4, 4) * 2 + 1
    mean, deviation = mean_and_deviation(x, (0, 2, 3))
    torch.testing.assert_close(mean, x.transpose(0, 1).flatten(1).mean(1))
    torch.testing.assert_close(deviation, x.transpose(0, 1).flatten(1).std(1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_levels_of_any_integer_dtype_are_taken(dtype: torch.dtype) -> None:
    DIGITS.check(torch.full((2, 1, 8, 8), 16, dtype=dtype))
    DIGITS.check(torch.zeros(0, 1, 8, 8, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_continuous_values_of_any_floating_dtype_are_taken(dtype: torch.dtype) -> None:
    POINTS.check(torch.full((2, 2), 100.0, dtype=dtype))


@pytest.mark.parametrize(
    ("codec", "x", "message"),
    [
        (
            DIGITS, torch.zeros(3, 1, 28, 28, dtype=torch.uint8),
            "x has shape [N, 1, 28, 28], expected [N, 1, 8, 8] (digits).",
        ),
        (DIGITS, torch.zeros(8, 8, dtype=torch.uint8), "x has shape [8, 8], expected [N, 1, 8, 8] (digits)."),
        (
            DIGITS, torch.zeros(3, 1, 8, 8),
            "x is float32, expected whole numbers 0 to 16 (uint8), the levels of digits. Give the data as it is.",
        ),
        (
            DIGITS, torch.zeros(3, 1, 8, 8, dtype=torch.uint16),
            "x is uint16, expected whole numbers 0 to 16 (uint8), the levels of digits. Give the data as it is.",
        ),
        (
            DIGITS, torch.tensor([-3, 15]).repeat(1, 1, 8, 4),
            "x has values from -3 to 15, expected whole numbers 0 to 16 (uint8), the levels of digits. "
            "Give the data as it is.",
        ),
        (
            DIGITS, torch.full((2, 1, 8, 8), 200, dtype=torch.uint8),
            "x has values from 200 to 200, expected whole numbers 0 to 16 (uint8), the levels of digits. "
            "Give the data as it is.",
        ),
        (
            POINTS, torch.zeros(3, 2, dtype=torch.int64),
            "x is int64, expected continuous values (float32), as those of points are.",
        ),
        (
            POINTS, torch.tensor([[0.0, 1.0], [torch.nan, 1.0], [0.0, torch.inf]]),
            "x has values that are not finite, in 2 of 3 examples, expected numbers (points). "
            "Remove these examples or fill in what is missing.",
        ),
    ],
)  # fmt: skip
def test_what_is_no_such_data_is_refused_in_one_line(codec: Codec, x: Tensor, message: str) -> None:
    with pytest.raises(GenlabError) as refused:
        codec.check(x)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(3, dtype=torch.int64), "y has shape [3], expected [4], a label for each example."),
        (torch.zeros(4, 1, dtype=torch.int64), "y has shape [4, 1], expected [4], a label for each example."),
        (torch.zeros(4), "y is float32, expected whole numbers 0 to 9 (int64), the classes of digits."),
        (
            torch.zeros(4, dtype=torch.int32),
            "y is int32, expected whole numbers 0 to 9 (int64), the classes of digits.",
        ),
        (
            torch.tensor([0, 1, 2, 10]),
            "y has values from 0 to 10, expected whole numbers 0 to 9 (int64), the classes of digits.",
        ),
        (
            torch.tensor([-1, 0, 0, 0]),
            "y has values from -1 to 0, expected whole numbers 0 to 9 (int64), the classes of digits.",
        ),
    ],
)
def test_labels_that_the_data_does_not_have_are_refused(y: Tensor, message: str) -> None:
    with pytest.raises(GenlabError) as refused:
        DIGITS.check_labels(y, 4)
    assert str(refused.value) == message
