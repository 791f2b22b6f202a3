"""Logarithms of scales behind a function that is never below zero."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainability.doctor.measure.log_scales import floored_log_scale


def vae(function: Callable[[Tensor], Tensor], code: Tensor) -> Tensor:
    mean, log_variance = function(code).chunk(2, dim=1)
    drawn = mean + torch.exp(0.5 * log_variance) * torch.randn(4, 3)
    return drawn.square().mean() - 0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


def decay(function: Callable[[Tensor], Tensor], code: Tensor) -> Tensor:
    """Rates of forgetting, exp(-ReLU), as of recurrent cells for readings that are far apart."""
    gap = function(code)
    return (torch.exp(-gap) + torch.exp(-2 * gap)).mean()


def one_rate(function: Callable[[Tensor], Tensor], code: Tensor) -> Tensor:
    return function(code).exp().mean()


def two_rates(function: Callable[[Tensor], Tensor], code: Tensor) -> Tensor:
    """Two numbers above 1, each made of its own half."""
    one, other = function(code).chunk(2, dim=1)
    return one.exp().mean() + other.exp().mean()


@pytest.mark.parametrize(
    ("loss", "function", "found"),
    [
        (vae, F.relu, "ReLU"),
        (vae, F.softplus, "softplus"),
        (vae, lambda x: x, None),
        (vae, torch.tanh, None),
        (vae, lambda x: F.relu(x) - 2, None),
        (decay, F.relu, None),
        (one_rate, F.relu, None),
        (two_rates, F.relu, None),
    ],
)
def test_a_log_variance_that_is_never_below_zero(loss: Callable, function: Callable, found: str | None) -> None:
    torch.manual_seed(0)
    assert floored_log_scale(loss(function, torch.randn(4, 6, requires_grad=True))) == found
