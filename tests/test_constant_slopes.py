"""Derivatives without a graph in the residual of a differential equation; and others that are meant to have none."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.nn import functional as F

from trainability import Monitor
from trainability.doctor.measure.certain import facts_of

X, Y = torch.randn(32, 1, generator=torch.Generator().manual_seed(0)), torch.arange(32.0).reshape(-1, 1) / 32
Step = Callable[[Any, Any], Tensor]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(1, 16), nn.Tanh())
        self.head = nn.Linear(16, 1)
        self.teacher = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def slope(y: Tensor, x: Tensor, **words: Any) -> Tensor:
    return grad(y.sum(), x, **{"retain_graph": True, **words})[0]


def decay(model: Any, batch: Any, **words: Any) -> Tensor:
    x = leaf(batch[0])
    u = model(x)
    return (slope(u, x, **words) + 2 * u).square().mean() + (model(torch.zeros(1, 1)) - 1).square().mean()


def in_words(model: Any, batch: Any) -> Tensor:
    """By `torch.autograd.grad`, and a distance of PyTorch."""
    x = leaf(batch[0])
    u = model(x)
    found = torch.autograd.grad(u, x, grad_outputs=torch.ones_like(u), retain_graph=True)[0]
    return F.mse_loss(torch.cat([found]) * 0.5, -u)


def burgers(model: Any, batch: Any) -> Tensor:
    """The last of two derivatives has no graph."""
    x = leaf(batch[0])
    u = model(x)
    first = slope(u, x, create_graph=True)
    return (u * first - 0.1 * slope(first, x)).abs().mean().sqrt()


def with_last(model: Any, batch: Any) -> Tensor:
    x = batch[0].clone()
    x.requires_grad = True
    residual = slope(model(x), x) - model(x)
    return F.mse_loss(residual, torch.zeros_like(residual))


def moved(model: Any, batch: Any) -> Tensor:
    """Adversarial examples of several steps, and an autoencoder's answer held against them."""
    x = leaf(batch[0])
    for _ in range(2):
        x = (x + 0.1 * slope(F.mse_loss(model(x), batch[1]), x).sign()).detach_().requires_grad_()
    y = x + slope(model(x), x)
    return (
        F.mse_loss(model(y), batch[1])
        + (model(x) - y).square().mean()
        + (y + model.body(y).sum(1, keepdim=True)).square().mean()
    )


def hidden(model: Any, batch: Any) -> Tensor:
    """A step of inference on a hidden layer (predictive coding, a perturbed feature)."""
    h = model.body(batch[0])
    h = h - 0.1 * slope((model.head(h) - batch[1]).square(), h)
    return F.mse_loss(model.head(h), batch[1]) + (h - model.body(batch[0])).square().mean()


def adapted(model: Any, batch: Any) -> Tensor:
    """A head that takes two steps of first order, and is asked then."""
    weight, features = model.head.weight * 1.0, model.body(batch[0])
    for _ in range(2):
        weight = weight - 0.1 * slope((F.linear(features, weight) - batch[1]).square(), weight)
    return (F.linear(features, weight) - batch[1]).square().mean() + 1e-3 * weight.square().sum()


def taught(model: Any, batch: Any) -> Tensor:
    """The slope is to be a teacher's, whose weights train elsewhere."""
    x = leaf(batch[0])
    wanted = slope(model.teacher(x), x, retain_graph=False)
    return F.mse_loss(slope(model(x), x, create_graph=True), wanted) + F.mse_loss(model(x) + wanted, batch[1])


def surrogate(model: Any, batch: Any) -> Tensor:
    """A policy goes along the slope of its critic, which learns beside it."""
    action = model(batch[0])
    value = model.teacher(action)
    return -(slope(value, action) * action).mean() + F.mse_loss(value, batch[1])


def boosted(model: Any, batch: Any) -> Tensor:
    """Outputs go where a step along the loss of their own would take them."""
    out = model(batch[0])
    return F.mse_loss(out, out.detach() - slope((out - batch[1]).square(), out)) + F.mse_loss(
        out - slope(out**2, out), batch[1]
    )


def weighed(model: Any, batch: Any) -> Tensor:
    x = leaf(batch[0])
    each = (model(x) - batch[1]).square()
    weight = 1 + slope(each, x).abs()
    return (weight * each).mean() + (each / weight).mean()


def told_to_stop(model: Any, batch: Any) -> Tensor:
    """A value learns from its own slope, which is cut on purpose."""
    x = leaf(batch[0])
    value = model(x)
    return (value - (batch[1] + 0.9 * slope(value, x)).detach()).square().mean()


def reported(model: Any, batch: Any) -> Tensor:
    x = leaf(batch[0])
    loss = F.mse_loss(model(x), batch[1])
    model.seen = float((slope(model(x), x) - model(x)).square().mean())
    return loss


def matched(model: Any, batch: Any) -> Tensor:
    """Score matching, and a force whose target is known, by derivatives with a graph."""
    x = leaf(batch[0])
    score = slope(model(x), x, create_graph=True)
    return (slope(score, x, create_graph=True) + 0.5 * score.square()).mean() + (score - batch[1]).square().mean()


def sampled(model: Any, batch: Any) -> Tensor:
    """An energy that tells data from what Langevin's steps make of noise."""
    x = leaf(torch.randn(32, 1))
    for _ in range(3):
        x = leaf(x - 0.1 * slope(model(x), x) + 0.01 * torch.randn(32, 1))
    data, made = model(batch[0]), model(x)
    return (data - made).mean() + (data.square() + made.square()).mean()


BAD: list[Step] = [decay, in_words, burgers, with_last]
SOUND: list[Step] = [moved, hidden, adapted, taught, surrogate, boosted, weighed, told_to_stop, reported, matched, sampled]
SOUND.append(lambda model, batch: decay(model, batch, create_graph=True))


def named_by_monitor(step: Step, code: str = "flat_derivative.residual", model: nn.Module | None = None) -> bool:
    model = Net() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with Monitor(model, optimizer, every=1) as monitor:
        for _ in range(2):
            loss = step(model, (X, Y))
            optimizer.zero_grad()
            loss.backward()
            monitor.after_backward(loss)
            optimizer.step()
    return code in [f.code for f in monitor.diagnose().findings]


@pytest.mark.parametrize("step", BAD)
def test_a_residual_whose_derivative_has_no_graph_is_named(step: Step) -> None:
    graph = facts_of(Net(), (X, Y), training_step=step).graph
    assert graph is not None
    assert graph.constant_slope
    assert named_by_monitor(step)


@pytest.mark.parametrize("step", SOUND)
def test_derivatives_that_are_meant_to_have_none_are_left_alone(step: Step) -> None:
    graph = facts_of(Net(), (X, Y), training_step=step).graph
    assert graph is not None
    assert not graph.constant_slope
    assert not named_by_monitor(step)


@pytest.mark.parametrize("kind", [nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Softplus])
def test_a_curvature_of_piecewise_linear_units_is_named_in_a_watched_loop(kind: Callable[[], nn.Module]) -> None:
    def poisson(model: Any, batch: Any) -> Tensor:
        x = leaf(batch[0])
        first = slope(model(x), x, create_graph=True)
        return (slope(first, x, create_graph=True) + torch.sin(x)).square().mean() + model(torch.zeros(1, 1)).square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 16), kind(), nn.Linear(16, 16), kind(), nn.Linear(16, 1))
    assert named_by_monitor(poisson, "flat_derivative", model) == (kind in (nn.ReLU, nn.LeakyReLU))
