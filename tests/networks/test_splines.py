"""Splines: the gradient that is written out is that of the values."""

from __future__ import annotations

import torch

from genlab.networks.flow.splines import SplineTransform


def test_the_gradient_is_that_of_differences() -> None:
    noise = torch.Generator().manual_seed(0)
    transform = SplineTransform(bins=4)
    # A third of the values lies outside of the interval, where the spline is the identity.
    x = (4 * torch.randn(12, 2, dtype=torch.float64, generator=noise)).requires_grad_()
    params = torch.randn(12, transform.num_params, 2, dtype=torch.float64, generator=noise).requires_grad_()
    assert 0 < int((x.abs() > transform.bound).sum()) < x.numel()
    assert torch.autograd.gradcheck(transform.forward, (x, params), eps=1e-7, atol=1e-5)


def test_the_log_derivative_is_that_of_the_values() -> None:
    noise = torch.Generator().manual_seed(1)
    transform = SplineTransform()
    x = (3 * torch.randn(200, 1, dtype=torch.float64, generator=noise)).requires_grad_()
    y, log_slope = transform.forward(x, torch.randn(200, transform.num_params, 1, dtype=torch.float64, generator=noise))
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())
