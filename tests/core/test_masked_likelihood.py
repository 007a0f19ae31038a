"""Likelihoods of examples of several lengths: each value counts as much, and nothing that is not there."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.core.batch import Batch
from genlab.core.likelihood import bits_per_dim, mean_bits_per_dim, sum_dims
from genlab.core.negative_log_likelihood import NegativeLogLikelihood


def test_what_is_masked_out_is_not_added_even_where_it_is_infinite() -> None:
    x = torch.tensor([[1.0, 2.0, math.inf], [math.nan, 5.0, 6.0]])
    mask = torch.tensor([[True, True, False], [False, True, True]])
    assert sum_dims(x, mask).tolist() == [3.0, 11.0]


def test_without_a_mask_the_mean_is_that_of_the_examples() -> None:
    log_prob = torch.tensor([-3.0, -5.0])
    assert mean_bits_per_dim(log_prob, 4) == bits_per_dim(log_prob, 4).mean()
    everything = torch.ones(2, 4, dtype=torch.bool)
    torch.testing.assert_close(mean_bits_per_dim(log_prob, 4, everything), mean_bits_per_dim(log_prob, 4))


def test_bits_are_those_of_all_values_however_they_come() -> None:
    noise = torch.Generator().manual_seed(0)
    dims = torch.randint(1, 50, (400,), generator=noise)
    log_prob = -2.0 * dims - torch.randn(400, generator=noise)
    metric = NegativeLogLikelihood()
    for rows in torch.arange(400).split(37):
        metric.update(log_prob[rows], dims[rows])
    assert float(metric.bits_per_dim()) == pytest.approx(float(-log_prob.sum() / dims.sum() / math.log(2)))
    assert float(metric.compute()) == pytest.approx(float(-log_prob.mean()))


def test_the_standard_error_of_bits_is_how_they_vary_over_data_sets() -> None:
    noise = torch.Generator().manual_seed(0)
    found, told = [], []
    for _ in range(400):
        dims = torch.randint(1, 50, (100,), generator=noise)
        metric = NegativeLogLikelihood()
        metric.update(-2.0 * dims - 3 * torch.randn(100, generator=noise), dims)
        found.append(float(metric.bits_per_dim()))
        told.append(metric.bits_per_dim_standard_error())
    assert sum(told) / len(told) == pytest.approx(float(torch.tensor(found).std()), rel=0.1)


def test_of_equal_lengths_it_is_that_of_the_mean() -> None:
    log_prob = torch.randn(50, generator=torch.Generator().manual_seed(0))
    metric = NegativeLogLikelihood()
    metric.update(log_prob, 7)
    expected = float((-log_prob.double()).std()) / math.sqrt(50)
    assert metric.standard_error() == pytest.approx(expected)
    assert metric.bits_per_dim_standard_error() == pytest.approx(expected / (7 * math.log(2)))


def test_a_batch_knows_how_many_values_its_examples_have() -> None:
    x = torch.zeros(2, 1, 3)
    assert Batch(x).dims == 3
    mask = torch.tensor([[[True, True, False]], [[True, False, False]]])
    assert Batch(x, mask=mask).dims.tolist() == [2, 1]
