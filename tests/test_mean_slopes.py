"""Derivatives of a mean over examples, compared with something, beside losses that may take them."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from trainability.doctor.measure.mean_slopes import mean_slopes

NUM = 32


def slope(u: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(u, x, create_graph=True)[0]


def heat(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    u = model(x)
    du = slope(over(u), x)
    return (du[:, :1] - 0.1 * slope(over(du[:, 1:]), x)[:, 1:]).square().mean() + 10 * model(x.detach()).square().mean()


def growth(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    u = model(x)
    return (slope(over(u), x)[:, :1] + u).square().mean()


def lipschitz(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    u = model(x)
    return -u.mean() + 10 * (slope(over(u), x).norm(dim=1) - 1).square().mean()


def penalty(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    """On the square of a slope: the number of examples is in its weight."""
    u = model(x)
    return u.square().mean() + 10 * slope(over(u), x).square().sum(1).mean()


def multiplied(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    u = model(x)
    return (slope(over(u), x) * NUM + u).square().mean()


def direction(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    return (model(x + 0.1 * slope(over(model(x)), x).sign()) - 1).square().mean()


def of_a_cost(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    """A code of each example, moved along the slope of what it costs."""
    return (model(x - slope(over((model(x) - 1).square()), x)) - 1).square().mean()


def moved(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    return (model(x - slope(over(model(x)), x)) - 1).square().mean()


def energy(model: nn.Module, x: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    """Of one system: each part's number goes by all places."""
    u = model(x - x.mean(0))
    return (slope(over(u), x) + 1).square().mean() + u.mean().square()


BAD = (heat, growth, lipschitz)
SOUND = (penalty, multiplied, direction, of_a_cost, moved, energy)


def asked(loss: Callable[..., Tensor], over: Callable[[Tensor], Tensor]) -> int | None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.rand(NUM, 2)
    return mean_slopes(x, model, lambda model, batch: loss(model, batch.clone().requires_grad_(True), over))


@pytest.mark.parametrize("loss", BAD)
def test_slopes_of_a_mean_that_are_compared_are_told(loss: Callable[..., Tensor]) -> None:
    assert asked(loss, Tensor.mean) == NUM
    assert asked(loss, Tensor.sum) is None


@pytest.mark.parametrize("loss", SOUND)
def test_slopes_of_a_mean_that_are_not_compared_are_left_alone(loss: Callable[..., Tensor]) -> None:
    assert asked(loss, Tensor.mean) is None
